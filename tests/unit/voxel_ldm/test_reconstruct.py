"""Grids given back: figures, meshes, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import reconstruct
from voxel_ldm.checkpoints import load_autoencoder, load_denoiser
from voxel_ldm.grids import read_grids


def test_figures_are_those_of_the_shapes(
    sets: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, weights = sets / "box_voxels_val.npz", trained / "autoencoder.safetensors"
    assert reconstruct.main(["--input", str(path), "--ae_ckpt_path", str(weights), "-q"]) == 0
    truth = read_grids(path).unpack(slice(None)) > 0
    with torch.no_grad():
        found = load_autoencoder(weights)(torch.from_numpy(truth)).numpy() > 0
    both, either = ((found & truth).sum((1, 2, 3)), (found | truth).sum((1, 2, 3)))
    told = capsys.readouterr().out
    assert told.startswith(f"{path}: 3 shapes, iou {(both / either).mean():.4f}, precision ")
    assert told.endswith(f"median iou {np.median(both / either):.4f}\n")


def test_plain_meshes_are_the_shapes(sets: Path, tmp_path: Path) -> None:
    """Closed, and as large as the cells of the grid: centres 0 and R - 1 are at -1 and 1."""
    args = ["--input", *map(str, sorted(sets.glob("*_val.npz"))), "--plain", "-q"]
    assert reconstruct.main([*args, "--output", str(tmp_path)]) == 0
    assert len([*tmp_path.glob("box/*.ply")]) == len([*tmp_path.glob("plate/*.ply")]) == 3
    mesh = trimesh.load(tmp_path / "box/box_val_0.ply", force="mesh")
    assert mesh.is_watertight
    assert np.allclose(mesh.extents, np.array([9, 8, 9]) * 2 / 15, atol=0.15)


def test_a_shape_without_a_surface_fails_alone(
    sets: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sets / "box_voxels_val.npz"
    grids = read_grids(path)
    grids.packed[1] = 0
    monkeypatch.setattr("voxel_ldm.rebuilding.read_grids", lambda path: grids)
    args = ["--input", str(path), "--plain", "--output", str(tmp_path), "-q"]
    assert reconstruct.main(args) == 3
    assert sorted(p.stem for p in tmp_path.glob("box/*")) == ["box_val_0", "box_val_2"]
    assert "box_val_1" in (tmp_path / "failures.json").read_text()


def test_two_shapes_of_one_name_are_an_error(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(sets / "box_voxels_val.npz")
    args = ["--input", path, path, "--plain", "--output", str(tmp_path), "-q"]
    assert reconstruct.main(args) == 1
    assert "box_val_0.ply: two shapes of the input" in capsys.readouterr().err


def test_half_precision_halves_the_file(sets: Path, trained: Path, tmp_path: Path) -> None:
    """The trainer's own weights rounded, those of few numbers and latents' figures not."""
    import train_n

    (tmp_path / "half.yaml").write_text(
        (sets / "tiny.yaml").read_text().replace("epochs: 2", "epochs: 2, half: true")
    )
    weights = trained / "autoencoder.safetensors"
    args = ["-c", tmp_path / "half.yaml", "--dataset_path", sets, "--use_cfg", "--ae_ckpt_path",
            weights, "--output", tmp_path, "--device", "cpu", "-q"]  # fmt: skip
    assert train_n.main([*map(str, args)]) == 0
    half, full = tmp_path / "denoiser.safetensors", trained / "denoiser.safetensors"
    assert half.stat().st_size < 0.6 * full.stat().st_size
    rounded, exact = (load_denoiser(p, weights).state_dict() for p in (half, full))
    assert rounded.keys() == exact.keys()
    for name, value in exact.items():
        inside = name.startswith("network.") and value.ndim > 1
        assert torch.equal(rounded[name], value.half().float() if inside else value), name
