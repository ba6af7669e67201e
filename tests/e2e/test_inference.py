"""inference.py as a process: killed in mid-run it goes on to the same files."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from e2e.running import run, start
from unit.hy3dshape.tiny_sampler import class_model, digests

COUNT = 12


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags of a run of a dozen meshes, long enough to be killed in the middle."""
    model = class_model(tmp_path_factory.mktemp("model"))
    count = ["--num_samples", str(COUNT), "--class-name", "chair"]
    return [*model, *count, "--resolution", "64", "--batch_size", "3"]


def test_a_killed_run_goes_on_to_the_same_files(flags: list[str], tmp_path: Path) -> None:
    whole = run("inference.py", *flags, "--out_dir", tmp_path / "whole")
    assert whole.code == 0 and f"{COUNT} samples made" in whole.out
    out, manifest = tmp_path / "out", tmp_path / "m.csv"
    more = ("--out_dir", out, "--manifest", manifest)
    process = start("inference.py", *flags, *more, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while len(digests(out)) < 4 and time.monotonic() < limit:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    made = digests(out)
    assert 4 <= len(made) < COUNT
    (out / "class_1/.sample_0000011.abc123.glb").write_bytes(b"half")  # as a kill leaves it
    resumed = run("inference.py", *flags, *more)
    assert resumed.code == 0 and f"{len(made)} existed" in resumed.out
    assert digests(out) == digests(tmp_path / "whole")
    rows = list(csv.DictReader(manifest.open()))
    assert len(rows) == COUNT == len({row["out_path"] for row in rows})
    left = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert left == {*digests(out), "run.json"}
    assert json.loads((out / "run.json").read_text())["counts"]["missing"] == 0


def test_help_is_fast_and_a_failure_is_told(flags: list[str], tmp_path: Path) -> None:
    started = time.process_time()
    assert run("inference.py", "--help").code == 0
    assert time.process_time() - started < 2
    flags = [*flags[: flags.index("--num_samples")], "--class_id", "9"]
    failed = run("inference.py", *flags, "--out_dir", tmp_path / "o")
    assert failed.code == 1 and failed.out == ""
    assert failed.err == "inference.py: --class_id 9: the model has 3 classes, 0 to 2\n"
