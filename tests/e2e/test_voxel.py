"""The voxel stage as processes: from shapes to pictures; killed, interrupted, spread over two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from e2e import voxel_ranks
from e2e.running import ROOT, run, start
from e2e.test_resume import lines

CONFIG = """
autoencoder: {channels: [8, 16], latent_channels: 4}
network: {width: 32, multipliers: [1, 2], blocks: 1, attention: [1]}
schedule: {steps: 20, prediction: v}
training: {batch_size: 4, save_every: 2}
"""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        patched.setenv("NUMBA_NUM_THREADS", "1")
        yield


def did(script: str, *flags: object) -> str:
    """stdout of a script that has to succeed."""
    ended = run(script, *flags)
    assert ended.code == 0, ended.err
    return ended.out


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with data/ of a dozen chairs and tables of 16^3, and models trained for a moment."""
    work = tmp_path_factory.mktemp("voxel")
    (work / "tiny.yaml").write_text(CONFIG)
    for split, count, seed in (("train", 12, 0), ("val", 4, 1)):
        did("make_shapes.py", "--output", work / split, "--count", count, "--seed", seed,
            "--families", "chair,table", "-q")  # fmt: skip
        did("load_data.py", "--input", work / split, "--split", split, "--mode", "solid",
            "--resolution", 16, "--output", work / "data", "-q")  # fmt: skip
    did("autoencoder.py", *trainer(work, "autoencoder.py", work / "ae"), "--num_epochs", 30)
    did("train_n.py", *trainer(work, "train_n.py", work / "ldm"), "--num_epochs", 10)
    return work


def trainer(work: Path, script: str, out: Path) -> list[object]:
    same = ["-c", work / "tiny.yaml", "--dataset_path", work / "data", "--device", "cpu"]
    if script == "autoencoder.py":
        return [*same, "--ckpt_path", out, "--lr", 0.01]
    return [*same, "--output", out, "--use_cfg", "--ae_ckpt_path", work / "ae" / WEIGHTS[0]]


WEIGHTS = ("autoencoder.safetensors", "denoiser.safetensors")


def sampler(work: Path, out: Path) -> list[object]:
    models = ["--ae_ckpt_path", work / "ae" / WEIGHTS[0], "--ldm_ckpt_path",
              work / "ldm" / WEIGHTS[1]]  # fmt: skip
    return [*models, "--class-name", "chair", "--save_dir", out, "--threshold", 0.2, "--device",
            "cpu"]  # fmt: skip


def test_from_shapes_to_pictures(work: Path, tmp_path: Path) -> None:
    record = json.loads((work / "ae/run.json").read_text())
    assert record["figures"]["val/iou"] > 0.3
    out = tmp_path / "samples"
    ended = run("sampling_n.py", *sampler(work, out), "--num_samples", 4, "--scheduler", "ddim",
                "--steps", 5, "--use_cfg")  # fmt: skip
    assert ended.code in (0, 3) and ended.out == f"{out / 'chair'}.npy: 4 samples\n"
    failed = out / "chair.npy.failures.json"
    missing = len(json.loads(failed.read_text())) if failed.exists() else 0
    assert len([*out.glob("chair/*.ply")]) == 4 - missing and bool(missing) == (ended.code == 3)
    result = json.loads(did("eval.py", "chair", out / "chair.npy", "--reference",
                            work / "data/chair_voxels_val.npz", "--json", "-q"))  # fmt: skip
    assert (result["n_generated"], result["n_reference"], result["resolution"]) == (4, 2, 16)
    assert 0 < result["jsd"] < np.log(2) and result["mmd"] > 0
    did("visualize.py", "--input", out / "chair.npy", work / "data/chair_voxels_train.npz",
        "--output", tmp_path / "sheet.png", "-q")  # fmt: skip
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def stop_twice(script: str, flags: list[object], first: Callable[[], int]) -> None:
    """Kill the script after some progress, let it go on, interrupt it after some more."""
    for how, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = first()
        process = start(script, *flags, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 300
        while first() < before + 3:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.005)
        os.killpg(process.pid, how)
        assert process.wait(60) == code


@pytest.mark.parametrize("script", ["autoencoder.py", "train_n.py"])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    script: str, work: Path, tmp_path: Path
) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    epochs = ("--num_epochs", 12)
    flags = [*trainer(work, script, parts), *epochs]
    stop_twice(script, flags, lambda: lines(parts / "stats.jsonl"))
    made = did(script, *flags)
    assert made == did(script, *trainer(work, script, whole), *epochs)
    for name in (WEIGHTS[script == "train_n.py"], "stats.jsonl"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_a_stopped_sampling_goes_on_to_the_same_bytes(work: Path, tmp_path: Path) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    more = ("--num_samples", 12, "--batch_size", 1)
    flags = [*sampler(work, parts), *more]
    stop_twice("sampling_n.py", flags, lambda: lines(parts / ".chair.journal"))
    assert not (parts / "chair.npy").exists()
    assert run("sampling_n.py", *flags).code == run("sampling_n.py", *sampler(work, whole),
                                                    *more).code  # fmt: skip
    assert contents(parts) == contents(whole)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the run record, which has the time in it."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("run.json")]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "voxel_ldm"), "GPUS": "2"}


def in_two(script: str, *flags: object) -> subprocess.CompletedProcess[str]:
    argv = ["bash", ROOT / "scripts/train_voxel_multi_gpu.sh", script, *flags]
    return subprocess.run([*map(str, argv)], cwd=ROOT, env=environment(), capture_output=True,
                          text=True, timeout=300)  # fmt: skip


@pytest.mark.parametrize("script", ["autoencoder.py", "train_n.py"])
def test_two_processes_are_one_run(script: str, work: Path, tmp_path: Path) -> None:
    """Twelve shapes in batches of four are two steps an epoch; they are gone on with in two."""
    flags = [*trainer(work, script, tmp_path), "--num_epochs", 4]
    ended = in_two(f"voxel_ldm/{script}", *flags)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1 and ended.stdout.startswith("loss = ")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["counts"]["steps"] == 8 and record["settings"]["processes"] == 2
    steps = [json.loads(s)["step"] for s in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert steps == [2, 2, 4, 4, 6, 6, 8, 8]  # training and validation
    refused = run(script, *flags)
    assert refused.code == 1 and "processes: there 2, here 1" in refused.err


def test_both_processes_end_with_the_weights_of_both_batches(tmp_path: Path) -> None:
    ended = in_two(str(Path(voxel_ranks.__file__)), tmp_path)
    assert ended.returncode == 0, ended.stderr
    first, second = (torch.load(tmp_path / f"{i}-of-2.pt", weights_only=True) for i in (0, 1))
    learnt = [name for name, _ in voxel_ranks.network().named_parameters()]
    for kind in ("plain", "averaged"):
        assert all(torch.equal(first[kind][name], second[kind][name]) for name in learnt)
    for name, value in voxel_ranks.alone().items():
        assert torch.allclose(first["plain"][name], value, atol=1e-6), name
