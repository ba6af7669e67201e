"""Point samples of mode raw: balance, augmentation, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hy3dshape.data.datamodule import UnifiedDataModule
from hy3dshape.data.raw import RawOptions, balanced, draw_sample, random_rotation

SMALL = {"surface_size": 16, "num_vol_samples": 20, "num_near_samples": 6, "return_sdf": True}


def ball(points: int = 400, radius: float = 0.5) -> dict[str, Any]:
    """Samples of a ball; distances are exact."""
    rng = np.random.default_rng(0)
    volume, near = rng.uniform(-1, 1, (points, 3)), rng.normal(0, 0.3, (points, 3))
    surface = rng.normal(size=(points, 3))
    surface *= radius / np.linalg.norm(surface, axis=1, keepdims=True)
    arrays = {"vol_points": volume, "near_points": near, "surface_points": surface}
    for name in ("vol", "near"):
        arrays[f"{name}_sdf"] = np.linalg.norm(arrays[f"{name}_points"], axis=1) - radius
    return {k: v.astype(np.float32) for k, v in arrays.items()}


def module(folder: Path, **options: Any) -> UnifiedDataModule:
    values = {"mode": "raw", "batch_size": 2, "num_workers": 0, "dataset_folder": str(folder)}
    return UnifiedDataModule(**{**values, **SMALL, **options})


def test_half_of_the_volume_points_lie_inside() -> None:
    points, sdf = balanced(ball(), 20, np.random.default_rng(0))
    assert points.shape == (20, 3) and (sdf < 0).tolist() == [True] * 10 + [False] * 10
    assert np.allclose(np.linalg.norm(points, axis=1) - 0.5, sdf, atol=1e-6)
    assert len(np.unique(points, axis=0)) == 20


def test_missing_inside_points_come_from_near_the_surface() -> None:
    arrays = ball()
    outside = arrays["vol_sdf"] >= 0
    outside[np.flatnonzero(~outside)[:3]] = True  # three inside points are left
    arrays |= {k: arrays[k][outside] for k in ("vol_points", "vol_sdf")}
    points, sdf = balanced(arrays, 20, np.random.default_rng(0))
    assert int((sdf < 0).sum()) == 10
    assert np.isin(points[3:10], arrays["near_points"]).all()
    assert np.isin(points[:3], arrays["vol_points"]).all()
    arrays |= {k: arrays[k][arrays["near_sdf"] >= 0] for k in ("near_points", "near_sdf")}
    arrays |= {k: arrays[k][arrays["vol_sdf"] >= 0] for k in ("vol_points", "vol_sdf")}
    with pytest.raises(ValueError, match="no point lies inside the shape"):
        balanced(arrays, 20, np.random.default_rng(0))


def test_labels_are_distances_or_occupancies() -> None:
    arrays, rng = ball(), np.random.default_rng
    options = RawOptions(16, True, True, False, 20, 6)
    made = draw_sample(arrays, options, rng(1))
    assert made["points"].shape == (26, 3) and made["surface"].shape == (16, 3)
    taken = draw_sample(arrays, RawOptions(16, True, True, True, 20, 6), rng(1))
    assert np.array_equal(taken["labels"], (made["labels"] < 0).astype(np.float32))


@pytest.mark.parametrize("kind", ["light", "full"])
def test_augmentation_keeps_lengths_and_moves_cloud_and_queries_alike(kind: Any) -> None:
    rng = np.random.default_rng(5)
    matrices = np.stack([random_rotation(kind, rng) for _ in range(64)])
    assert np.allclose(matrices @ matrices.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    exact = np.isin(np.abs(matrices), (0.0, 1.0)).all()
    assert exact == (kind == "light")
    assert set(np.round(np.linalg.det(matrices))) == {-1.0, 1.0}


def test_full_augmentation_is_rz_ry_rx() -> None:
    """Against the matrices written out, for the draws that the generator gives."""
    rng = np.random.default_rng(7)
    found = random_rotation("full", rng)
    rng = np.random.default_rng(7)
    light = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    (cx, cy, cz), (sx, sy, sz) = (f(a) for a in [rng.normal(size=3)] for f in (np.cos, np.sin))
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    assert np.allclose(found, light @ (rz @ ry @ rx).T, atol=1e-6)


def test_training_is_turned_and_validation_is_not(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    for i in range(2):
        np.savez(tmp_path / "train" / f"t{i}.npz", **ball())
        np.savez(tmp_path / "val" / f"v{i}.npz", **ball())
    made = module(tmp_path / "train", val_dataset_folder=str(tmp_path / "val"))
    batch = next(made.train_batches())
    assert batch["surface"].shape == (2, 16, 3) and batch["points"].shape == (2, 26, 3)
    distances = batch["points"].norm(dim=-1) - 0.5
    assert np.allclose(distances, batch["labels"], atol=1e-6)
    (first,), (again,) = list(made.val_batches()), list(made.val_batches())
    assert first["source_path"] == again["source_path"]
    assert np.array_equal(first["surface"], again["surface"])
    assert np.isin(first["surface"][0].numpy(), ball()["surface_points"]).all()
    plain = next(module(tmp_path / "train", augmentation="none").train_batches())
    assert not np.array_equal(plain["surface"], batch["surface"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vol_sdf": None}, r"a\.npz: no array vol_sdf; it has"),
        ({"near_sdf": np.zeros(3)}, r"a\.npz: near_sdf: expected \(400,\), found \(3,\)"),
        ({"vol_points": np.full((400, 3), np.nan)}, r"a\.npz: vol_points: holds NaN"),
        ({"surface_points": np.zeros((4, 2))}, r"a\.npz: surface_points: expected \(n, 3\)"),
        ({"vol_sdf": np.ones(400), "near_sdf": np.ones(400)}, r"a\.npz: no point lies inside"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {k: v for k, v in {**ball(), **change}.items() if v is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        next(module(tmp_path, batch_size=1).train_batches())


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"a\.npz: not a readable npz archive"):
        next(module(tmp_path, batch_size=1).train_batches())
