"""Points, surfaces and solids to cells: the paper's rule, the pooling relation, exact overlap."""

from __future__ import annotations

import numpy as np
import pytest

from voxel_ldm.voxelise import filled, of_mesh, of_points

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def cloud(n: int = 2048, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, 3)) * [1, 0.5, 0.2]
    return points.astype(np.float32)


def triangles(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Large, small and thin triangles in a box of 1 x 0.7 x 0.4."""
    rng = np.random.default_rng(seed)
    middle, size = rng.random((n, 1, 3)), 10 ** rng.uniform(-3, 0, (n, 1, 1))
    corners = middle + size * rng.normal(size=(n, 3, 3)) * rng.choice([1, 0.01], (n, 1, 3))
    return corners.reshape(-1, 3) * [1, 0.7, 0.4], np.arange(3 * n).reshape(-1, 3)


def pooled(grid: np.ndarray) -> np.ndarray:
    side = len(grid) // 2
    return grid.reshape(side, 2, side, 2, side, 2).max(axis=(1, 3, 5))


def test_stretch_is_the_rule_of_the_paper_in_its_precision() -> None:
    points = cloud()
    wanted = np.zeros((64, 64, 64))
    for p in points:  # each axis by itself to [0, 1], then floor(p (res - 1)), all in float32
        unit = (p - points.min(axis=0)) / (points.max(axis=0) - points.min(axis=0))
        assert unit.dtype == np.float32
        i, j, k = np.floor(unit * 63).astype(int)
        wanted[i, j, k] = 1
    assert np.array_equal(of_points(points, 64, stretch=True), wanted)


def test_stretch_reaches_the_last_cell_with_the_maximum_alone() -> None:
    grid = of_points(np.array([[0, 0, 0], [0.999, 5, 0.5], [1, 10, 1.0]]), 64, stretch=True)
    assert np.argwhere(grid).tolist() == [[0, 0, 0], [62, 31, 31], [63, 63, 63]]


def test_aspect_is_kept_and_the_shape_is_in_the_middle() -> None:
    grid = of_points(np.array([[0, 0, 0], [4, 2, 1.0]]), 16)
    assert np.argwhere(grid).tolist() == [[0, 4, 6], [15, 12, 10]]


@pytest.mark.parametrize("side", [5, 64])
def test_the_double_grid_pooled_is_the_grid(side: int) -> None:
    points, mesh = cloud(), triangles()
    assert np.array_equal(pooled(of_points(points, 2 * side)), of_points(points, side))
    assert np.array_equal(pooled(of_mesh(*mesh, 2 * side)), of_mesh(*mesh, side))


def test_it_is_not_so_when_stretched() -> None:
    points = cloud()
    assert (pooled(of_points(points, 128, True)) != of_points(points, 64, True)).sum() > 500


def test_moving_scaling_and_order_change_nothing() -> None:
    points = cloud().astype(np.float64)
    grid = of_points(points, 32)
    assert np.array_equal(of_points(points[::-1] * 4 + 8, 32), grid)
    vertices, faces = triangles()
    far = np.concatenate([vertices, [[1e6, 0, 0]]])  # a vertex of no face
    assert np.array_equal(of_mesh(far, faces[::-1, ::-1], 32), of_mesh(vertices, faces, 32))


@pytest.mark.parametrize(
    ("points", "stretch", "message"),
    [
        (np.zeros((0, 3)), False, r"points are \(0, 3\)"),
        (np.zeros((4, 2)), False, r"points are \(4, 2\)"),
        (np.zeros((2, 4, 3)), False, r"points are \(2, 4, 3\)"),
        (np.array([[0, 0, 0], [1, np.nan, 1], [2, 2, 2]]), False, "point 1 is not finite"),
        (np.array([[0, 0, 0], [1, np.inf, 1]]), True, "point 1 is not finite"),
        (np.array([[0, 0, 1], [1, 1, 1.0]]), False, "flat: no extent along z"),
        (np.array([[0, 0, 1], [1, 0, 1.0]]), True, "flat: no extent along y, z"),
        (np.array([[-3e38] * 3, [3e38] * 3], np.float32), True, "beyond the range"),
    ],
)
def test_bad_points(points: np.ndarray, stretch: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        of_points(points, 8, stretch)


def _clipped(corners: np.ndarray, low: np.ndarray) -> bool:
    """Whether a triangle has a part in the cube from low to low + 1, by clipping it to six sides.

    Sutherland and Hodgman, 1974: another method than the one under test.
    """
    polygon = list(corners)
    for axis in range(3):
        for sign, limit in ((1, low[axis]), (-1, -low[axis] - 1)):
            kept = []
            for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
                x, y = sign * a[axis] - limit, sign * b[axis] - limit
                if x >= 0:
                    kept.append(a)
                if (x < 0) != (y < 0):
                    kept.append(a + (b - a) * (x / (x - y)))
            polygon = kept
    return len(polygon) > 0


def test_the_surface_is_just_the_cells_it_touches() -> None:
    side = 7
    vertices, faces = triangles(30, seed=1)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    size = (high - low).max()
    corners = ((vertices - (low + high) / 2) / size + 0.5)[faces] * side
    wanted = [
        [[any(_clipped(c, np.array([i, j, k])) for c in corners) for k in range(side)]
         for j in range(side)] for i in range(side)
    ]  # fmt: skip
    assert 0 < np.sum(wanted) < side**3
    assert np.array_equal(of_mesh(vertices, faces, side), wanted)


def test_a_cube_is_a_shell_of_one_cell_and_fills_to_all() -> None:
    shell = np.ones((9, 9, 9))
    shell[1:-1, 1:-1, 1:-1] = 0
    for stretch in (False, True):
        assert np.array_equal(of_mesh(CUBE, CUBE_FACES, 9, stretch), shell)
        assert of_mesh(CUBE, CUBE_FACES, 9, stretch, solid=True).all()


def test_a_surface_between_two_cells_is_in_the_upper_one_whatever_the_rounding() -> None:
    noise = np.random.default_rng(0).uniform(-1e-9, 1e-9, (4, 3))
    plate = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]) + noise
    grid = of_mesh(plate, np.array([[0, 1, 2], [0, 2, 3]]), 8)
    assert sorted(set(np.argwhere(grid)[:, 2])) == [4] and grid.sum() == 64


def test_meshes_without_extent() -> None:
    face = np.array([[0, 1, 2]])
    with pytest.raises(ValueError, match="all corners in one place"):
        of_mesh(np.ones((3, 3)), face, 8)
    flat = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    with pytest.raises(ValueError, match="flat: no extent along z"):
        of_mesh(flat, face, 8, stretch=True)
    assert of_mesh(flat, face, 8).any(axis=(0, 1)).sum() == 1


def test_a_turned_face_and_a_gap_within_a_cell_do_not_empty_a_solid() -> None:
    turned = CUBE_FACES.copy()
    turned[0] = turned[0, ::-1]
    assert of_mesh(CUBE, turned, 16, solid=True).all()
    apart = np.concatenate(
        [CUBE[CUBE_FACES[:6]].reshape(-1, 3), CUBE[CUBE_FACES[6:]].reshape(-1, 3)]
    )
    apart[18:] = (apart[18:] - 0.5) * 0.99 + 0.5
    assert of_mesh(apart, np.arange(36).reshape(-1, 3), 16, solid=True)[2:-2, 2:-2, 2:-2].all()


def test_an_open_box_shuts_in_nothing() -> None:
    shell = of_mesh(CUBE, CUBE_FACES[2:], 16)
    assert np.array_equal(of_mesh(CUBE, CUBE_FACES[2:], 16, solid=True), shell)


def test_filling_goes_over_faces_and_takes_cavities() -> None:
    grid = np.ones((7, 7, 7), np.uint8)
    grid[2:5, 2:5, 2:5] = 0
    assert filled(grid).all()
    grid[1, 1, 2] = 0  # meets the cavity at an edge: no way over a face
    grid[0, 1, 2] = 0
    assert filled(grid)[2:5, 2:5, 2:5].all() and not filled(grid)[1, 1, 2]
    grid[1, 2, 2] = 0
    assert not filled(grid)[2:5, 2:5, 2:5].any()


def test_the_ground_shuts_a_shape_without_a_bottom_but_not_the_room_under_a_table() -> None:
    grid = np.zeros((9, 9, 9), np.uint8)
    grid[2:7, 3:8, 2:7] = 1
    grid[3:6, 3:7, 3:6] = 0  # open below, its lowest layer at height 3
    assert filled(grid).sum() == 5**3
    table = np.zeros((9, 9, 9), np.uint8)
    table[:, 7] = 1
    table[::8, :, ::8] = 1
    assert np.array_equal(filled(table), table)
