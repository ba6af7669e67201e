"""The weights that ship: what they weigh, and that each of them works as a user finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh
from e2e.running import run

SMALL = Path(__file__).parents[2] / "hy3dshape" / "weights" / "small"


def test_they_weigh_20_mb_at_most() -> None:
    files = sorted(SMALL.glob("*.safetensors"))
    assert [f.stem for f in files] == ["autoencoder", "autoencoder_for_samples", "class", "model"]
    assert sum(f.stat().st_size for f in files) <= 20e6


@pytest.mark.parametrize("asked", [("--text", "a chair"), ("--class-name", "table")])
def test_inference_without_a_model_given(asked: tuple[str, str], tmp_path: Path) -> None:
    done = run("inference.py", *asked, "--out_dir", tmp_path, "--resolution", "48")
    assert done.code == 0, done.err
    (path,) = tmp_path.rglob("*.glb")
    mesh = trimesh.load(path, force="mesh")
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert 0.5 < mesh.extents.max() <= 2.02


def test_autoencoder_gives_new_shapes_back(tmp_path: Path) -> None:
    made = run("make_shapes.py", "--output", tmp_path / "shapes", "--count", 16, "--seed", 1234)
    assert made.code == 0, made.err
    samples = ("--volume-points", 8000, "--near-points", 4000, "--surface-points", 4096)
    listed = tmp_path / "shapes" / "shapes.json"
    done = run("prepare_sdf.py", "--input", listed, "--output", tmp_path / "sdf", *samples)
    assert done.code == 0, done.err
    told = run("evaluate_autoencoder.py", "--input", tmp_path / "sdf", "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["iou_mean"] > 0.8
