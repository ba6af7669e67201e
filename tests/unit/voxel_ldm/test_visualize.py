"""Pictures of grids and meshes: what is where in them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from visualize import main
from voxel_ldm.grids import each_grid, pack, write_grids
from voxel_ldm.pictures import CAPTION, View, cubes, shaded, sheet, slices

FRONT, ABOVE, SIDE = View(0, 0), View(0, 90), View(90, 0)


def step(side: int = 16) -> np.ndarray:
    """A step: the left half (small x) full, the right half full to a quarter of the height."""
    grid = np.zeros((side,) * 3, np.uint8)
    grid[: side // 2] = 1
    grid[:, : side // 4] = 1
    return grid


def drawn(picture: np.ndarray) -> np.ndarray:
    return (picture < 250).any(axis=2)


def test_cubes_are_the_faces_between_full_and_free_cells() -> None:
    grid = np.random.default_rng(0).random((5, 6, 7)) < 0.5
    vertices, faces = cubes(grid)
    padded = np.pad(grid, 1).astype(int)
    borders = sum(int(np.abs(np.diff(padded, axis=axis)).sum()) for axis in range(3))
    assert len(faces) == 2 * borders and len(vertices) == 4 * borders
    sides = np.linalg.norm(np.diff(vertices.reshape(-1, 4, 3), axis=1), axis=2)
    assert (sides == 1).all()
    single = np.zeros((4, 4, 4))
    single[1, 2, 3] = 1
    box = trimesh.Trimesh(*cubes(single))
    assert box.is_watertight and box.bounds.tolist() == [[1, 2, 3], [2, 3, 4]]
    assert len(cubes(np.zeros((4, 4, 4)))[1]) == 0


def test_views_show_the_right_side() -> None:
    mesh = cubes(step())
    front = drawn(shaded(*mesh, 64, FRONT))  # x to the right, y up
    assert front[50:58, 10:54].all()
    assert front[8:40, 8:30].all() and not front[8:40, 36:].any()
    assert drawn(shaded(*mesh, 64, ABOVE))[8:56, 8:56].all()
    low = np.zeros((16, 16, 16))
    low[:, :4] = 1
    low[:, 4:, 12:] = 1  # a wall at the front (large z): from the right side it is to the left
    side = drawn(shaded(*cubes(low), 64, SIDE))
    assert side[10:40, 5:14].all() and not side[10:40, 30:].any()


def test_a_view_fills_the_picture_whatever_the_unit() -> None:
    vertices, faces = cubes(step())
    picture = shaded(vertices, faces, 48, View())
    box = np.argwhere(drawn(picture))
    assert (box.min() <= 3) and (box.max() >= 44)
    assert np.array_equal(shaded(vertices * 8 + 64, faces, 48, View()), picture)


def test_corners_are_darker_than_open_faces() -> None:
    picture = shaded(*cubes(step(32)), 96, ABOVE).astype(int)
    floor = picture[48, :, 0][50:88]  # the low half, from the wall to the right
    assert floor[1] < floor[-1] - 5
    assert np.all(shaded(*cubes(np.zeros((4, 4, 4))), 16, View()) == 255)


def test_slices_go_from_the_bottom_to_the_top() -> None:
    values = np.zeros((8, 8, 8), np.float32)
    values[:4, :4] = 1
    values[6, 5, 1] = 0.5
    cut = slices(values, 16, 4)
    assert cut.shape == (16, 4 * 17, 3)
    parts = [cut[:, 17 * i : 17 * i + 16, 0] for i in range(4)]  # heights 1, 3, 5, 7
    for part in parts[:2]:
        assert (part[:, :8] == 0).all() and (part[:, 8:] == 255).all()
    assert np.argwhere(parts[2] < 255).tolist() == [[2, 12], [2, 13], [3, 12], [3, 13]]
    assert parts[2][2, 12] == 128 and (parts[3] == 255).all()


def test_sheet() -> None:
    tiles = [(f"a long name of the shape {i}", np.full((20, 30, 3), 40 * i, np.uint8))
             for i in range(5)]  # fmt: skip
    made = np.asarray(sheet(tiles, 3))
    assert made.shape == (2 * (20 + CAPTION), 90, 3)
    assert (made[:20, 60:90] == 80).all() and (made[34:54, 30:60] == 160).all()
    assert (made[34:, 60:] == 255).all()
    assert (made[20:34, :30] < 100).any()


def soft(path: Path) -> Path:
    """Two grids of probabilities: 0.2 and 0.8 in a block, 0.4 everywhere."""
    values = np.zeros((2, 8, 8, 8), np.float32)
    values[0, 2:6, 2:4, 2:6], values[0, 2:6, 4:6, 2:6], values[1] = 0.2, 0.8, 0.4
    np.save(path, values)
    return path


def run(*argv: Any) -> int:
    return main([str(a) for a in (*argv, "--quiet")])


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_grids(tmp_path / "a.npz", ["x", "y"], ["", ""], pack(np.stack([step(8), 0 * step(8)])),
                {"resolution": 8})  # fmt: skip
    np.save(tmp_path / "b.npy", step(8)[None].astype(np.float32))
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "c.glb")
    (tmp_path / "m").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "m/d.ply")
    out = tmp_path / "out.png"
    paths = [tmp_path / name for name in ("a.npz", "b.npy", "c.glb", "m")]
    assert run("--input", *paths, "--output", out, "--columns", 3, "--size", 40) == 0
    assert capsys.readouterr().out == f"{out}: 5 pictures\n"
    assert size_of(out) == (120, 2 * (40 + CAPTION))
    with Image.open(out) as picture:
        pixels = np.asarray(picture)
    assert np.array_equal(pixels[:40, :40], pixels[:40, 80:])  # x of a.npz and b.npy
    assert (pixels[:40, 40:80] == 255).all()  # y is empty
    assert np.array_equal(pixels[54:94, :40], pixels[54:94, 40:80])  # the two boxes


def test_probabilities_need_a_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = soft(tmp_path / "x.npy"), tmp_path / "out.png"
    assert run("--input", path, "--output", out) == 1
    assert "x.npy: x_0000: probabilities; give --threshold" in capsys.readouterr().err
    assert not out.exists()
    assert run("--input", path, "--output", out, "--threshold", 0.5, "--limit", 1) == 0
    assert size_of(out) == (160, 160 + CAPTION)


def test_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = soft(tmp_path / "x.npy"), tmp_path / "out.png"
    flags = ("--mode", "thresholds", "--thresholds", 0.1, 0.4, 0.5, "--size", 20)
    assert run("--input", path, "--output", out, *flags) == 0
    assert size_of(out) == (60, 2 * (20 + CAPTION))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines[:3]] == [
        ["0.1", "288.0"], ["0.4", "16.0"], ["0.5", "16.0"]
    ]  # fmt: skip
    assert lines[0].endswith("cells on average (n = 2)")


def test_slices_of_a_file(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    argv = ("--input", soft(tmp_path / "x.npy"), "--mode", "slices", "--size", 16)
    assert run(*argv, "--output", out) == 0
    assert size_of(out) == (8 * 17, 2 * (16 + CAPTION))


def test_a_bad_mesh_is_named_and_the_others_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "a.ply")
    (tmp_path / "b.ply").write_bytes(b"no ply")
    out = tmp_path / "out.png"
    assert run("--input", tmp_path, "--output", out) == 3
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 1 pictures\n" and captured.err.startswith("b: ")
    assert run("--input", tmp_path / "b.ply", "--output", tmp_path / "none.png") == 1
    assert "nothing to draw, 1 shapes failed" in capsys.readouterr().err


def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = soft(tmp_path / "x.npy")
    for argv in (
        ("--output", "x.jpg"), ("--output", "x.png", "--thresholds", "1"),
        ("--output", "x.png", "--view", "0", "91"), ("--output", "x.png", "--columns", "0"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            run("--input", path, *argv)
    trimesh.creation.box().export(tmp_path / "a.ply")
    for mode in ("slices", "thresholds"):
        flags = ("--output", tmp_path / "o.png", "--mode", mode)
        assert run("--input", tmp_path / "a.ply", *flags) == 1
        assert "a.ply: expected grids" in capsys.readouterr().err


def test_each_grid_reads_no_more_than_asked_for(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 4, 4), np.float32)
    values[2] = np.nan
    np.save(tmp_path / "x.npy", values)
    assert [name for name, _ in each_grid(tmp_path / "x.npy", 2)] == ["x_0000", "x_0001"]
    with pytest.raises(ValueError, match="grid 2: NaN"):
        list(each_grid(tmp_path / "x.npy"))
