"""Faces that are drawn from one side only, and small triangles decided for all views at once."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from retrieval import lfd_raster
from retrieval.lfd_closed import closed, distinct, weld
from retrieval.lfd_cover import COLUMNS, LANES, PADDED, ROWS
from retrieval.lfd_raster import _draw, _draw_faces, silhouettes

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]
BOX: Mesh = (
    np.array(trimesh.creation.box().vertices),
    np.array(trimesh.creation.box().faces, np.int64),
)


def _join(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in meshes])
    faces = [mesh[1] + start for mesh, start in zip(meshes, starts, strict=False)]
    return np.concatenate([mesh[0] for mesh in meshes]), np.concatenate(faces)


def _moved(mesh: Mesh, *offset: float) -> Mesh:
    return mesh[0] + np.array(offset), mesh[1]


def _flags(mesh: Mesh) -> NDArray[np.bool_]:
    local = np.full(len(mesh[0]), -1, np.int64)
    _, corners = weld(mesh[0], mesh[1], np.zeros(3), 1.0, local)
    assert (local == -1).all()
    return closed(corners)


def _torus(*, seed: int) -> Mesh:
    """A torus with other proportions and directions for every seed, each triangle on its own."""
    rng = np.random.default_rng(seed)
    mesh = trimesh.creation.torus(1, rng.uniform(0.1, 0.8), major_sections=20, minor_sections=9)
    turn = trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
    return mesh.vertices[mesh.faces].reshape(-1, 3) @ turn, np.arange(mesh.faces.size).reshape(
        -1, 3
    )


FIN: Mesh = (np.array([[0.5, 0.5, 0.5], [0.5, 0.5, -0.5], [2, 2, 0]]), np.array([[0, 1, 2]]))
THIN: Mesh = (np.array([[0.5, 0.5, 0.5], [0.5, 0.5, -0.5]]), np.array([[0, 1, 1], [0, 0, 0]]))
TURNED: Mesh = (BOX[0], np.where(np.arange(12)[:, None] == 5, BOX[1][:, ::-1], BOX[1]))
OPEN: Mesh = (BOX[0], BOX[1][2:])
TORUS = _torus(seed=0)

CASES: dict[str, tuple[Mesh, list[bool]]] = {
    "box": (BOX, [True] * 12),
    "inside out": ((BOX[0], BOX[1][:, ::-1]), [True] * 12),
    "box without a side": (OPEN, [False] * 10),
    "one face turned": (TURNED, [False] * 12),
    "twice": (_join(BOX, BOX), [True] * 24),
    "from both sides": (_join(OPEN, (OPEN[0], OPEN[1][:, ::-1])), [True] * 20),
    "common edge": (_join(BOX, _moved(BOX, 1, 1, 0)), [True] * 24),
    "common corner with an open one": (
        _join(BOX, _moved(OPEN, 1, 1, 1)),
        [True] * 12 + [False] * 10,
    ),
    "fin": (_join(BOX, FIN), [False] * 13),
    "faces without area": (_join(THIN, BOX), [True] * 12),
    "unwelded": (TORUS, [True] * len(TORUS[1])),
    "one triangle": (FIN, [False]),
}


@pytest.mark.parametrize("name", CASES)
def test_closed_parts_are_found(name: str) -> None:
    mesh, expected = CASES[name]
    assert _flags(mesh).tolist() == expected


def _plain(monkeypatch: pytest.MonkeyPatch, mesh: Mesh, flag: bool) -> NDArray[np.uint64]:
    """Silhouettes with all faces, or none, taken for parts of closed ones."""
    with monkeypatch.context() as patch:
        patch.setattr(lfd_raster, "closed", lambda corners: np.full(len(corners), flag))
        return silhouettes(*mesh)


@pytest.mark.parametrize("name", CASES)
def test_one_side_of_closed_parts_is_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = CASES[name][0]
    drawn = silhouettes(*mesh)
    assert drawn.any()
    assert np.array_equal(drawn, _plain(monkeypatch, mesh, False))
    if name in ("box without a side", "one face turned", "one triangle"):
        assert not np.array_equal(drawn, _plain(monkeypatch, mesh, True))


@pytest.mark.parametrize("seed", range(12))
def test_one_side_is_enough_for_scattered_parts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    parts = [(points * size, faces) for (points, faces), size in _random_parts(rng)]
    mesh = _join(*(_moved(part, *rng.uniform(-1, 1, 3)) for part in parts))
    if seed % 2:
        mesh = np.round(mesh[0] * 64) / 64, mesh[1]  # flat parts, edges on pixel centres
    mesh = mesh[0], rng.permutation(mesh[1])
    assert 0 < _flags(mesh).mean() < 1
    assert np.array_equal(silhouettes(*mesh), _plain(monkeypatch, mesh, False))


def _random_parts(rng: np.random.Generator) -> list[tuple[Mesh, float]]:
    kinds = [*(case for case, _ in CASES.values()), _torus(seed=int(rng.integers(100)))]
    order = [BOX, OPEN, *(kinds[k] for k in rng.integers(len(kinds), size=8))]
    return [(mesh, float(rng.choice([0.02, 0.1, 0.5]))) for mesh in order]


def test_equal_faces_are_drawn_once() -> None:
    corners = np.array([[4, 2, 9], [9, 4, 2], [2, 4, 9], [9, 4, 3]], np.int32)
    for flag, count in ((False, 2), (True, 3)):
        found, flags = distinct(corners, np.full(4, flag))
        assert len(found) == len(flags) == count
        assert (flags == flag).all()
        assert {tuple(sorted(row)) for row in found} == {(2, 4, 9), (3, 4, 9)}


def _draw_both(corners: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Images of (100, 3, 2) corners in 1/256 pixel, a triangle a view, drawn in both ways."""
    window = np.zeros((3, 2, LANES), np.float32)
    window[..., :100] = corners.transpose(1, 2, 0)
    cells = np.zeros((3, 2, PADDED), np.uint8)
    cells[:, 0, :100] = -(-corners[..., 0].T // 256)
    cells[:, 1, :100] = corners[..., 1].T // 256
    images = np.zeros((2, 100, 256, 4), np.uint64)
    face = np.array([[0, 1, 2]], np.int32)
    _draw_faces(face, np.zeros(1, np.bool_), window, cells, images[0])
    for view in range(100):
        _draw(images[1], view, *(int(value) for value in corners[view].ravel()))
    return images[0], images[1]


def _near_miss(rng: np.random.Generator) -> NDArray[np.int64]:
    """Corners of an edge that passes a pixel centre as closely as its height allows, and one."""
    while True:
        height, width = int(rng.integers(1700, 2304)), int(rng.integers(-2047, 2048))
        if np.gcd(height, width) != 1:
            continue
        below = pow(width, -1, height) if rng.random() < 0.5 else -pow(width, -1, height) % height
        row = 256 * int(rng.integers(60, 70))
        x = 256 * int(rng.integers(60, 190)) - round(below * width / height)
        top = row - below
        third = [x + int(rng.integers(0, 1700)), top + int(rng.integers(0, height + 1))]
        corners = np.array([[x, top], [x + width, top + height], third])
        spans = -(-corners[:, 0] // 256), corners[:, 1] // 256
        if np.ptp(spans[0]) <= COLUMNS and np.ptp(spans[1]) <= ROWS:
            return rng.permutation(corners)


@pytest.mark.parametrize("seed", range(20))
def test_float32_decides_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    if seed < 10:
        corners = np.stack([_near_miss(rng) for _ in range(100)])
    else:
        size = (256, 700, 1024, 1536, 2048)[seed // 2 - 5]
        corners = 20000 + rng.integers(0, size, (100, 3, 2)) + rng.integers(0, 9000, (100, 1, 2))
        if seed % 2:
            corners = corners // 32 * 32  # corners and edges on pixel centres
    together, alone = _draw_both(corners)
    assert together.any()
    assert np.array_equal(together, alone)
