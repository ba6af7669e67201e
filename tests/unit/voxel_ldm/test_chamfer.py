"""Distance sums against scipy's distance transform, KD-trees and closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from voxel_ldm.chamfer import NARROW, Cells, chamfer, distance_sums, find_cells, join
from voxel_ldm.chamfer_kernels import LANES

Grids = NDArray[np.bool_]


def cells_of(grids: Grids) -> Cells:
    return find_cells(np.packbits(grids.reshape(len(grids), -1), axis=1), grids.shape[1])


def random_grids(rng: np.random.Generator, n: int, r: int, fill: float) -> Grids:
    """n grids with a random share of at most `fill` occupied, at least one cell."""
    grids = rng.random((n, r, r, r)) < rng.random((n, 1, 1, 1)) * fill
    for grid in grids:
        grid[tuple(rng.integers(r, size=3))] = True
    return grids


def by_transform(sources: Grids, targets: Grids) -> NDArray[np.int64]:
    tables = [np.rint(distance_transform_edt(~t) ** 2).astype(np.int64) for t in targets]
    return np.array([[table[source].sum() for table in tables] for source in sources])


def spots(r: int, *shapes: Sequence[tuple[int, int, int]]) -> Cells:
    """Shapes of a few cells each."""
    rows = []
    for shape in shapes:
        grid = np.zeros((r, r, r), np.bool_)
        grid[tuple(np.array(shape).T)] = True
        rows.append(np.packbits(grid))
    return find_cells(rows, r)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 13),
    st.integers(1, 4),
    st.integers(1, LANES + 3),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.integers(0, 2**32),
)
def test_sums_are_those_of_the_distance_transform(
    r: int, n: int, m: int, fill: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sources, targets = random_grids(rng, n, r, fill), random_grids(rng, m, r, fill)
    got = distance_sums(cells_of(sources), cells_of(targets))
    np.testing.assert_array_equal(got, by_transform(sources, targets))


@pytest.mark.parametrize("r", [31, 40])
def test_sums_of_larger_grids(r: int) -> None:
    rng = np.random.default_rng(r)
    sources = np.concatenate([random_grids(rng, 2, r, 0.5), random_grids(rng, 2, r, 1e-3)])
    targets = np.concatenate([sources, np.ones((1, r, r, r), np.bool_)])
    got = distance_sums(cells_of(sources), cells_of(targets))
    np.testing.assert_array_equal(got, by_transform(sources, targets))
    assert not got[:, -1].any() and not got.diagonal().any()


@pytest.mark.parametrize("r", [2, 9, 64, NARROW - 1, NARROW, NARROW + 1, 256])
def test_longest_distances(r: int) -> None:
    """Corner to corner is the largest value of a row; beyond NARROW rows are wider."""
    e = r - 1
    low, high, both = [(0, 0, 0)], [(e, e, e)], [(0, 0, 0), (e, e, e)]
    got = distance_sums(spots(r, low, high, both), spots(r, low, high, both, [(0, e, 0)]))
    far, side = 3 * e * e, e * e
    expected = [[0, far, 0, side], [far, 0, 0, far - side], [far, far, 0, far]]
    np.testing.assert_array_equal(got, expected)


def test_sums_beyond_32_bits() -> None:
    """Every cell of 128^3 to a corner: 3 R^2 times the sum of squares below R."""
    r = 128
    full = Cells(np.tile(np.arange(r * r, dtype=np.uint16), r), np.arange(r + 1)[None] * r * r)
    squares = (r - 1) * r * (2 * r - 1) // 6
    assert 3 * r * r * squares > 2**32
    assert distance_sums(full, spots(r, [(0, 0, 0)]))[0, 0] == 3 * r * r * squares


def test_a_plane_beyond_32_bits() -> None:
    r = 256
    plane = np.zeros((r, r, r), np.bool_)
    plane[-1] = True
    expected = r * r * (r - 1) ** 2 + 2 * r * ((r - 1) * r * (2 * r - 1) // 6)
    assert expected > 2**32
    source = find_cells([np.packbits(plane)], r)
    assert distance_sums(source, spots(r, [(0, 0, 0)]))[0, 0] == expected


def test_order_batches_and_threads_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    sources, targets = (cells_of(random_grids(rng, n, 11, 0.1)) for n in (3, 2 * LANES + 5))
    counted: list[int] = []
    whole = distance_sums(sources, targets, threads=3, done=counted.append)
    assert sum(counted) == len(targets)
    for j, (a, b) in enumerate(pairwise((*targets.starts[:, 0], len(targets.places)))):
        one = Cells(targets.places[a:b], targets.starts[j : j + 1] - a)
        np.testing.assert_array_equal(distance_sums(sources, one)[:, 0], whole[:, j])


def test_chamfer_is_that_of_kd_trees_at_any_resolution() -> None:
    for r in (5, 16, 33):
        rng = np.random.default_rng(r)
        a, b = random_grids(rng, 3, r, 0.05), random_grids(rng, 4, r, 0.3)
        first, second = cells_of(a), cells_of(b)
        sums = distance_sums(first, second), distance_sums(second, first)
        got = chamfer(*sums, first, second)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                p, q = np.argwhere(x) / (r - 1), np.argwhere(y) / (r - 1)
                there, back = cKDTree(q).query(p)[0], cKDTree(p).query(q)[0]
                want = (there**2).mean() + (back**2).mean()
                assert got[i, j] == pytest.approx(want, rel=1e-12, abs=1e-15)


def test_joined_sets_give_all_four_blocks() -> None:
    rng = np.random.default_rng(5)
    a, b = (cells_of(random_grids(rng, n, 7, 0.2)) for n in (4, 3))
    both = join(a, b)
    whole = distance_sums(both, both)
    np.testing.assert_array_equal(whole[:4, 4:], distance_sums(a, b))
    np.testing.assert_array_equal(whole[4:, :4], distance_sums(b, a))
    np.testing.assert_array_equal(whole[4:, 4:], distance_sums(b, b))


@pytest.mark.parametrize("r", [1, 3, 8])
def test_cells_and_occupancy(r: int) -> None:
    grids = random_grids(np.random.default_rng(r), 5, r, 0.5)
    cells = cells_of(grids)
    np.testing.assert_array_equal(cells.occupancy(), grids.sum(axis=0))
    np.testing.assert_array_equal(cells.counts, grids.sum(axis=(1, 2, 3)))
    x, y, z = np.nonzero(grids[-1])
    np.testing.assert_array_equal(cells.places[cells.starts[-1, 0] :], y * r + z)
    np.testing.assert_array_equal(np.diff(cells.starts[-1]), np.bincount(x, minlength=r))


def test_refusals() -> None:
    row = np.full(4, 255, np.uint8)
    bad = (
        ([row], 0, "resolution 0: expected 1 to 256"),
        ([row], 257, "resolution 257"),
        ([row], 4, r"shape 0: \(4,\) bytes, expected 8 for 4\^3"),
        ([row], 3, "shape 0: bits are set behind the last of its 27 cells"),
        ([np.packbits(np.ones(27, int)), row * 0], 3, "shape 1: no cell is occupied"),
        ([], 3, "no shapes"),
    )
    for packed, r, said in bad:
        with pytest.raises(ValueError, match=said):
            find_cells(packed, r)
    with pytest.raises(ValueError, match="shape b: no cell is occupied"):
        find_cells([np.packbits(np.ones(27, int)), row * 0], 3, ["a", "b"])
    small, large = spots(3, [(0, 0, 0)]), spots(4, [(0, 0, 0)])
    for call in (join, distance_sums):
        with pytest.raises(ValueError, match="resolutions 3 and 4: expected equal"):
            call(small, large)
    with pytest.raises(ValueError, match="threads 0"):
        distance_sums(small, small, threads=0)
    with pytest.raises(ValueError, match="resolution 1"):
        chamfer(np.zeros((1, 1), int), np.zeros((1, 1), int), *[spots(1, [(0, 0, 0)])] * 2)
