"""The voxel weights that ship, as a user finds them; sampling in bounded memory; the audit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from e2e.running import ROOT, run

from voxel_ldm.checkpoints import Denoiser, save_autoencoder, save_denoiser
from voxel_ldm.files import sha256
from voxel_ldm.models.autoencoder import VoxelAutoencoder

SMALL = ROOT / "voxel_ldm" / "weights" / "small"
LEAST_IOU = 0.8  # of shapes that no one has seen
KINDS = ["bed", "chair", "lamp", "sofa", "table"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        patched.setenv("NUMBA_NUM_THREADS", "1")
        yield


def test_they_weigh_10_mb_at_most() -> None:
    files = sorted(SMALL.glob("*.safetensors"))
    assert [f.stem for f in files] == ["autoencoder", "denoiser"]
    assert sum(f.stat().st_size for f in files) <= 10e6


def test_sampling_without_a_model_given(tmp_path: Path) -> None:
    done = run("sampling_n.py", "--save_dir", tmp_path, "--num_samples", 1, "--scheduler", "ddim",
               "--steps", 25, "--device", "cpu")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.splitlines() == [f"{tmp_path / name}.npy: 1 samples" for name in KINDS]
    for name in KINDS:
        (grid,) = np.load(tmp_path / f"{name}.npy")
        assert grid.shape == (64, 64, 64)
        assert 500 < grid.sum() < 150_000
        mesh = trimesh.load(tmp_path / name / f"{name}_0000.ply", force="mesh")
        assert mesh.is_watertight
        if name != "lamp":  # of which the card says that they are lumps
            assert 0.8 < mesh.extents.max() <= 2.1  # the longest side fills the grid


def test_score_distillation_without_a_model_given(tmp_path: Path) -> None:
    done = run("sds.py", "--save_dir", tmp_path, "--class-name", "bed", "--num_samples", 1,
               "--step", 3, "--meshes", "none", "--device", "cpu")  # fmt: skip
    assert (done.code, done.out) == (0, f"{tmp_path / 'bed'}.npy: 1 samples\n"), done.err


def test_the_autoencoder_gives_new_shapes_back(tmp_path: Path) -> None:
    made = run("make_shapes.py", "--output", tmp_path / "made", "--count", 12, "--seed", 4321,
               "--families", "chair,table,sofa,bed")  # fmt: skip
    assert made.code == 0, made.err
    done = run("load_data.py", "--input", tmp_path / "made", "--mode", "solid", "--output",
               tmp_path, "-q")  # fmt: skip
    assert done.code == 0, done.err
    told = run("reconstruct.py", "--input", *sorted(tmp_path.glob("*_voxels_train.npz")), "-q")
    assert told.code == 0, told.err
    found = [float(s.split("iou ")[1].split(",")[0]) for s in told.out.splitlines()]
    assert len(found) == 4 and np.mean(found) > LEAST_IOU


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Flags of two untrained models of 128^3."""
    folder = tmp_path_factory.mktemp("large")
    flags = [folder / "ae.safetensors", folder / "ldm.safetensors"]
    sizes = {"channels": [8, 8], "latent_channels": 4, "resolution": 128, "stem": 8}
    save_autoencoder(flags[0], VoxelAutoencoder(**sizes), sizes)  # type: ignore[arg-type]
    network = {"channels": 4, "width": 32, "multipliers": [1], "blocks": 1, "attention": []}
    torch.manual_seed(0)
    save_denoiser(flags[1], Denoiser(network, {"steps": 5}, [], sha256(flags[0])))
    return ["--ae_ckpt_path", flags[0], "--ldm_ckpt_path", flags[1], "--device", "cpu"]


def test_memory_does_not_grow_with_the_number_of_samples(
    large: list[object], tmp_path: Path
) -> None:
    """At 128^3 and 8 MiB a sample: 20 more are 160 MiB."""
    peaks = []
    for count in (4, 24):
        done = run("sampling_n.py", *large, "--save_dir", tmp_path / str(count), "--num_samples",
                   count, "--batch_size", 2, "--scheduler", "ddim", "--steps", 1, "--meshes",
                   "none", "--probabilities")  # fmt: skip
        assert done.code == 0, done.err
        assert np.load(tmp_path / f"{count}/samples.npy", mmap_mode="r").shape == (
            count,
            *[128] * 3,
        )
        peaks.append(done.peak)
    assert peaks[1] < peaks[0] + 60, peaks


def test_the_audit_reads_samples(tmp_path: Path) -> None:
    """Training shapes as grids and back are found to be copies, by id."""
    for name, count, seed in (("train", 12, 1), ("test", 8, 2)):
        made = run("make_shapes.py", "--output", tmp_path / name, "--count", count, "--seed", seed,
                   "--families", "chair,table")  # fmt: skip
        assert made.code == 0, made.err
    done = run("load_data.py", "--input", tmp_path / "train", "--mode", "solid", "--output",
               tmp_path / "grids", "-q")  # fmt: skip
    assert done.code == 0, done.err
    done = run("reconstruct.py", "--plain", "--input", *(tmp_path / "grids").glob("*.npz"),
               "--output", tmp_path / "samples", "-q")  # fmt: skip
    assert done.code == 0, done.err
    argv = ["bash", "scripts/evaluate.sh", "--generated", tmp_path / "samples", "--train",
            tmp_path / "train", "--test", tmp_path / "test", "--output", tmp_path / "audit",
            "--pairs", 1, "--workers", 1, "--encoder", "none"]  # fmt: skip
    there = {
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ended = subprocess.run([*map(str, argv)], cwd=ROOT, env={**os.environ, **there},
                           capture_output=True, text=True, timeout=300)  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.startswith("Z_U = -") and "12 generated, 8 test shapes" in ended.stdout
    samples = json.loads((tmp_path / "audit/result.json").read_text())["samples"]
    assert all(row["id"].split("/")[-1] == row["nearest_id"] for row in samples)
