"""Frames, surface samples and voxels, and the scripts that write their tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

import retrieve
import sample_points
import voxelize as voxelize_script
from retrieval.normalize import normalize
from retrieval.sampling import generator_of, sample_surface, voxelize
from retrieval.tables import read_table

BOX = trimesh.creation.box((1.0, 2.0, 4.0))
BALL = trimesh.creation.icosphere(subdivisions=4, radius=2.0)


def arrays(mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    return np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64)


def test_frames_put_the_box_in_the_middle_and_the_size_at_one():
    vertices, faces = arrays(BOX)
    moved = np.concatenate([vertices * 7 + (5, -3, 11), [[1e6, 0, 0]]])  # the last one is unused
    sphere = normalize(moved, faces, "unit-sphere")[:-1]
    assert np.linalg.norm(sphere, axis=1).max() == pytest.approx(1)
    assert sphere.max(axis=0) + sphere.min(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    cube = normalize(moved, faces, "unit-cube")[:-1]
    assert np.ptp(cube, axis=0) == pytest.approx([0.25, 0.5, 1.0])
    assert normalize(moved, faces, "none") is moved


@pytest.mark.parametrize("size", [1e-200, 1e-20, 1e30, 1e200])
def test_frames_survive_tiny_and_huge_shapes(size):
    vertices, faces = arrays(BALL)
    got = normalize(vertices * size, faces, "unit-sphere")
    assert got == pytest.approx(vertices / 2, abs=1e-12)


def test_a_shape_without_extent_and_an_unknown_frame_are_refused():
    with pytest.raises(ValueError, match="all vertices in one place"):
        normalize(np.ones((3, 3)), np.array([[0, 1, 2]]), "unit-cube")
    with pytest.raises(ValueError, match="unknown frame 'box'; one of unit-sphere"):
        normalize(*arrays(BOX), "box")


def test_samples_lie_on_the_surface_in_proportion_to_area():
    vertices, faces = arrays(BOX)
    points = sample_surface(vertices, faces, 200_000, np.random.default_rng(0))
    assert points.dtype == np.float32 and points.shape == (200_000, 3)
    at = np.abs(points) / (0.5, 1.0, 2.0)
    assert at.max() <= 1 + 1e-6
    share = (at > 1 - 1e-6).mean(axis=0)  # on the faces across x, y, z: areas 16, 8, 4 of 28
    assert share == pytest.approx([16 / 28, 8 / 28, 4 / 28], abs=0.005)
    top = points[at[:, 2] > 1 - 1e-6]  # uniform on the rectangle 1 x 2: variances 1/12 and 4/12
    assert top[:, :2].var(axis=0) == pytest.approx([1 / 12, 4 / 12], rel=0.03)


def test_samples_depend_on_shape_and_seed_alone():
    vertices, faces = arrays(BOX)
    draws = [generator_of(vertices, faces, seed).random() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert generator_of(vertices * 1.5, faces, 0).random() != draws[0]


def test_what_has_no_area_or_no_float32_is_refused():
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], float)
    with pytest.raises(ValueError, match="surface of area 0"):
        sample_surface(line, np.array([[0, 1, 2]]), 5, np.random.default_rng(0))
    vertices, faces = arrays(BOX)
    with pytest.raises(ValueError, match="range of float32"):
        sample_surface(vertices * 1e40, faces, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="nothing to sample"):
        sample_surface(vertices * 1e200, faces, 5, np.random.default_rng(0))


def test_voxels_of_a_cube_are_its_shell_or_all_of_it():
    vertices, faces = arrays(trimesh.creation.box((1, 1, 1)))
    shell = voxelize(vertices, faces, 8)
    assert shell.sum() == 8**3 - 6**3 and not shell[1:-1, 1:-1, 1:-1].any()
    assert voxelize(vertices, faces, 8, fill=True).all()


def test_every_sampled_point_of_a_surface_is_in_a_voxel_or_next_to_one():
    vertices, faces = arrays(BALL)
    frame = normalize(vertices, faces, "unit-cube")
    grid = voxelize(frame, faces, 32)
    points = sample_surface(frame, faces, 20_000, np.random.default_rng(1)).astype(np.float64)
    cell = np.clip(((points + 0.5) * 32).astype(int), 0, 31)
    assert grid[tuple(cell.T)].mean() > 0.98
    ball = voxelize(frame, faces, 32, fill=True).mean()
    widest = 0.5 + 3**0.5 / 32  # a voxel the surface touches reaches out by its diagonal at most
    assert np.pi / 6 < ball < 4 / 3 * np.pi * widest**3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "meshes"
    made.mkdir()
    for i in range(4):
        trimesh.creation.box((1, 1 + i, 2)).export(made / f"box{i}.obj")
        trimesh.creation.icosphere(subdivisions=2).apply_scale((1, 1, 1 + i)).export(
            made / f"egg{i}.ply"
        )
    (made / "torn.stl").write_bytes(b"solid x")
    return made


def sample(folder: Path, output: Path, *more: str) -> int:
    return sample_points.main(
        ["--input", str(folder), "--output", str(output), "-q", "--points", "64", *more]
    )


def test_shards_workers_and_one_run_give_the_same_table(folder, tmp_path):
    assert sample(folder, tmp_path / "a.npz") == 3
    for i in range(3):
        sample(folder, tmp_path / "b.npz", "--shard", f"{i}/3", "--workers", str(i))
    assert sample(folder, tmp_path / "b.npz") == 3
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    table = read_table([tmp_path / "a.npz"])
    assert table.settings == {"normalize": "unit-sphere", "points": 64, "seed": 0}
    assert table.arrays["points"].shape == (8, 64, 3)
    failures = json.loads((tmp_path / "a.npz.failures.json").read_text())
    assert [row["id"] for row in failures] == ["torn"]


def retrieved(query: Path, database: Path, output: Path, *more: str) -> int:
    names = ["--query", str(query), "--database", str(database), "--output", str(output)]
    return retrieve.main([*names, "--metric", "cd", "-q", *more])


def test_other_frames_or_counts_are_not_compared_other_seeds_are(folder, tmp_path, capsys):
    sample(folder, tmp_path / "a.npz")
    sample(folder, tmp_path / "cube.npz", "--normalize", "unit-cube")
    sample(folder, tmp_path / "few.npz", "--points", "32")
    sample(folder, tmp_path / "many.npz", "--points", "512")
    sample(folder, tmp_path / "seed.npz", "--points", "512", "--seed", "1")
    assert retrieved(tmp_path / "a.npz", tmp_path / "cube.npz", tmp_path / "r.json") == 1
    assert "normalize: 'unit-sphere' and 'unit-cube'" in capsys.readouterr().err
    assert retrieved(tmp_path / "a.npz", tmp_path / "few.npz", tmp_path / "r.json") == 1
    assert "points: 64 and 32" in capsys.readouterr().err
    assert retrieved(tmp_path / "many.npz", tmp_path / "seed.npz", tmp_path / "r.json") == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert all(row[0]["model_id"] == name for name, row in result.items())


def test_the_voxel_table_feeds_iou(folder, tmp_path):
    names = ["--input", str(folder), "--output", str(tmp_path / "v.npz"), "-q"]
    assert voxelize_script.main([*names, "--resolution", "16"]) == 3
    table = read_table([tmp_path / "v.npz"])
    assert table.arrays["voxels"].shape == (8, 512)
    assert table.settings == {"fill": False, "normalize": "unit-cube", "resolution": 16}
    assert retrieved(tmp_path / "v.npz", tmp_path / "v.npz", tmp_path / "r.json") == 1
    v = str(tmp_path / "v.npz")
    args = ["--query", v, "--database", v, "--output", str(tmp_path / "r.json"), "-q"]
    assert retrieve.main([*args, "--metric", "iou"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert all(row[0] == {**row[0], "model_id": n, "distance": 0.0} for n, row in result.items())
