"""Chamfer distances of all pairs of two sets of voxel grids, by exact integer distance sums.

With D_S(v) the squared distance in cells from v to the nearest cell of S, the Chamfer distance is

    (mean of D_B over the cells of A + mean of D_A over the cells of B) / (R - 1)^2

so one distance transform a shape replaces two KD-trees a pair (chamfer_kernels.py says how).
Letters: R cells a side, n shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chamfer_kernels import BLOCK, LANES, add_batch, count_shapes, find_places

MAX_RESOLUTION = 256  # a place in a plane fits 16 bits
NARROW = 148  # above it 3 (R - 1)^2 does not fit 16 bits


@dataclass(frozen=True)
class Cells:
    """Occupied cells of n grids.

    places: (total,) uint16 y R + z, by shape, then by x, then rising.
    starts: (n, R + 1) int64: shape s has places[starts[s, x] : starts[s, x + 1]] in plane x.
    """

    places: NDArray[np.uint16]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def resolution(self) -> int:
        return self.starts.shape[1] - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) occupied cells of every shape."""
        return self.starts[:, -1] - self.starts[:, 0]

    def occupancy(self) -> NDArray[np.int64]:
        """(R, R, R): how many shapes have the cell."""
        r = self.resolution
        made = np.zeros((r, r * r), np.int64)
        count_shapes(self.places, self.starts, made)
        return made.reshape(r, r, r)


def find_cells(
    packed: Iterable[NDArray[np.uint8]], resolution: int, names: Sequence[str] = ()
) -> Cells:
    """Occupied cells of packed grids, read one after the other.

    Args:
        packed:     rows of ceil(R^3 / 8) bytes, numpy.packbits of the C-ordered (R, R, R) grid.
        resolution: R, 1 to MAX_RESOLUTION.
        names:      of the shapes, for messages (default: their places).

    Raises:
        ValueError: resolution out of range, a row of another length, set bits behind the grid, or
                    an empty grid.
    """
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise ValueError(f"resolution {resolution}: expected 1 to {MAX_RESOLUTION}")
    bits = resolution**3
    parts, rows = [], []
    total = 0
    for i, row in enumerate(packed):
        name = names[i] if names else i
        if row.shape != ((bits + 7) // 8,):
            raise ValueError(
                f"shape {name}: {row.shape} bytes, expected {(bits + 7) // 8} for {resolution}^3"
            )
        if int(row[-1]) & ((1 << -bits % 8) - 1):
            raise ValueError(f"shape {name}: bits are set behind the last of its {bits} cells")
        starts = np.zeros(resolution + 1, np.int64)
        parts.append(find_places(np.ascontiguousarray(row), resolution, starts))
        if not starts[-1]:
            raise ValueError(f"shape {name}: no cell is occupied")
        rows.append(starts + total)
        total += len(parts[-1])
    if not rows:
        raise ValueError("no shapes")
    return Cells(np.concatenate(parts), np.stack(rows))


def join(first: Cells, second: Cells) -> Cells:
    """The shapes of both, those of `first` first. Raises ValueError for unequal resolutions."""
    _same_resolution(first, second)
    starts = np.concatenate([first.starts, second.starts + len(first.places)])
    return Cells(np.concatenate([first.places, second.places]), starts)


def _same_resolution(first: Cells, second: Cells) -> None:
    if first.resolution != second.resolution:
        raise ValueError(f"resolutions {first.resolution} and {second.resolution}: expected equal")


def distance_sums(
    sources: Cells,
    targets: Cells,
    threads: int = 1,
    done: Callable[[int], object] = lambda count: None,
) -> NDArray[np.int64]:
    """Sums over a source's cells of the squared distance, in cells, to the nearest target cell.

    Args:
        sources: n shapes.
        targets: m shapes of the same resolution.
        threads: that work on batches of LANES targets; they share the result's memory alone.
        done:    called with the number of targets finished since the last call.

    Returns:
        (n, m) int64, exact; sums[a, b] = 0 where b holds every cell of a.

    Raises:
        ValueError: unequal resolutions, or threads below 1.
    """
    _same_resolution(sources, targets)
    if threads < 1:
        raise ValueError(f"threads {threads}: expected 1 or more")
    wanted = sources.occupancy() > 0
    result = np.empty((len(sources), len(targets)), np.int64)

    def work(start: int) -> int:
        chosen = np.arange(start, min(start + LANES, len(targets)))
        sums = np.zeros((len(sources), LANES), np.int64)
        padded = np.resize(chosen, LANES)  # repeats them, so that no lane is empty
        last, following, line, least, plane, most = _scratch(targets.resolution)
        own, others = (sources.places, sources.starts), (targets.places, targets.starts)
        add_batch(*own, wanted, *others, padded, last, following, line, least, plane, most, sums)
        result[:, chosen] = sums[:, : len(chosen)]
        return len(chosen)

    with ThreadPoolExecutor(threads) as pool:
        for count in pool.map(work, range(0, len(targets), LANES)):
            done(count)
    return result


def _scratch(resolution: int) -> tuple[NDArray[Any], ...]:
    """Arrays of one batch: last, following, line, least, plane, most."""
    small, large = (np.uint8, np.uint16) if resolution <= NARROW else (np.uint16, np.uint32)
    area, pad = resolution**2, resolution + 2 * BLOCK
    return (
        _filled(area, small),
        _filled(area, small),
        _filled(resolution + 2 * pad, large),
        _filled(resolution + 2 * pad, large),
        _filled(area, large),
        np.zeros((1, LANES), large),
    )


def _filled(rows: int, dtype: Any) -> NDArray[Any]:
    """(rows, LANES) with all bits set, from the start of a cache line on."""
    size = rows * LANES * np.dtype(dtype).itemsize
    memory = np.full(size + 64, 255, np.uint8)
    start = -memory.ctypes.data % 64
    made: NDArray[Any] = memory[start : start + size].view(dtype).reshape(rows, LANES)
    return made


def chamfer(
    forward: NDArray[np.int64],
    backward: NDArray[np.int64],
    first: Cells,
    second: Cells,
) -> NDArray[np.float64]:
    """Chamfer distance of every pair: squared, means of both directions added, side length 1.

    Args:
        forward:  (n, m) distance sums of `first` to `second`.
        backward: (m, n) distance sums of `second` to `first`.

    Raises:
        ValueError: resolution 1, whose only cell has no side length.
    """
    if first.resolution < 2:
        raise ValueError("resolution 1: distances need 2 or more")
    side = (first.resolution - 1) ** 2
    to_second = forward / (first.counts[:, None] * side)
    to_first = backward.T / (second.counts[None, :] * side)
    made: NDArray[np.float64] = to_second + to_first
    return made
