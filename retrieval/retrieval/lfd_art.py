"""Angular radial transform of silhouettes: the 35 region-moment bytes.

Source: Chen et al. 2003, feature version 1.8. Its table is built with pi to ten digits, and its
division by the first coefficient divides that coefficient by itself first, so it changes nothing.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from .jit import inlined, kernel
from .lfd_bits import SIZE, Image, pixel, row_ends, runs

PI = 3.141592653
ANGULAR, RADIAL, RADIUS = 12, 3, 50
GRID = 2 * RADIUS + 2  # one more than the table has: the program reads zeros there
ORDERS = ANGULAR * RADIAL
QUARTER = RADIUS + 1

_NEAR = 1e-7  # closer than this to a whole number, the order of summation may decide the byte


@functools.cache
def tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The complete table (2, 36, GRID, GRID) of [Re, Im][order][x][y] and its folded quadrants.

    The second is (4, 18, 51 * 51): basis functions by parity, see `fold`.
    """
    full = np.zeros((2, ORDERS, GRID, GRID))
    _fill_table(full)
    quarter = full[:, :, RADIUS : GRID - 1, RADIUS : GRID - 1].reshape(2, ORDERS, -1)
    odd = np.repeat(np.arange(ANGULAR) % 2 == 1, RADIAL)
    return full, np.stack([quarter[0, ~odd], quarter[1, ~odd], quarter[0, odd], quarter[1, odd]])


@kernel()
def _fill_table(full: NDArray[np.float64]) -> None:
    for a in range(GRID - 1):
        for b in range(GRID - 1):
            rho = math.sqrt((a - RADIUS) * (a - RADIUS) + (b - RADIUS) * (b - RADIUS))
            theta = math.atan2(b - RADIUS, a - RADIUS)
            if rho < RADIUS:
                for order in range(ORDERS):
                    radial = math.cos(rho * PI * (order % RADIAL) / RADIUS)
                    full[0, order, a, b] = radial * math.cos(theta * (order // RADIAL))
                    full[1, order, a, b] = radial * math.sin(theta * (order // RADIAL))


@kernel()
def fold(
    image: Image,
    box: NDArray[np.int64],
    scale: float,
    grid: NDArray[np.float64],
    folded: NDArray[np.float64],
) -> None:
    """Spread the object pixels of one view over the table and fold by parity about its centre.

    Args:
        image:  silhouette, not empty.
        box:    (4,) y0, y1, x0, x1 of its pixels.
        scale:  table cells a pixel, 50 / R.
        grid:   (2, GRID + 1, GRID) scratch, [x][y], zero before and after.
        folded: (4, 51 * 51) overwritten, [x][y] from the centre outwards: sums even in x and y,
                odd in both, odd in x and even in y, even in x and odd in y. These meet
                Re and Im of even angular orders, then Re and Im of odd ones.

    At the very centre Re is 1 for odd angular orders too, so it takes part as even there.
    """
    first, last = _splat(image, box, scale, grid)
    for x in range(QUARTER):
        right, left = RADIUS + x, RADIUS - x if x > 0 else GRID  # the last column stays zero
        for y in range(QUARTER):
            up = grid[0, right, RADIUS + y] + grid[0, left, RADIUS + y]
            down = grid[0, right, RADIUS - y] + grid[0, left, RADIUS - y]
            up_odd = grid[0, right, RADIUS + y] - grid[0, left, RADIUS + y]
            down_odd = grid[0, right, RADIUS - y] - grid[0, left, RADIUS - y]
            place = x * QUARTER + y
            folded[0, place] = up + down
            folded[1, place] = up_odd - down_odd
            folded[2, place] = up_odd + down_odd
            folded[3, place] = up - down
        folded[0, x * QUARTER] /= 2  # y = 0 was met from above and from below
        folded[2, x * QUARTER] /= 2
    folded[2, 0] = grid[0, RADIUS, RADIUS]
    grid[:, first : last + 2] = 0.0


@kernel()
def _splat(
    image: Image, box: NDArray[np.int64], scale: float, grid: NDArray[np.float64]
) -> tuple[int, int]:
    """Bilinear weights of all object pixels on the table; the first and last column they start in.

    The cells inside a run take the same weight from every row of pixels, so a run marks in
    grid[1] only where they begin and end; its two end cells are added at once.
    """
    y0, y1, x0, x1 = box
    cx, cy = (x0 + x1) / 2.0, (y0 + y1) / 2.0
    cell = np.empty(SIZE + 1, np.int64)
    cell_start = np.empty(GRID + 1, np.int64)  # first pixel in this cell or a later one
    low, high = np.zeros(SIZE + 1), np.zeros(SIZE + 1)  # running sums of a pixel's two weights
    cell_low, cell_high = np.zeros(GRID), np.zeros(GRID)
    opened = 0
    for x in range(x0, x1 + 1):
        t = (x - cx) * scale + RADIUS
        cell[x] = int(t)
        while opened <= cell[x]:
            cell_start[opened] = x
            opened += 1
        low[x + 1] = low[x] + (1.0 - (t - cell[x]))
        high[x + 1] = high[x] + (t - cell[x])
        cell_low[cell[x]] += 1.0 - (t - cell[x])
        cell_high[cell[x]] += t - cell[x]
    starts, stops = np.empty(128, np.int64), np.empty(128, np.int64)
    for y in range(y0, y1 + 1):
        t = (y - cy) * scale + RADIUS
        at = int(t)
        share = t - at
        for k in range(runs(image, y, starts, stops)):
            x, stop = starts[k], stops[k]
            a, b = cell[x], cell[stop - 1]
            if b > a:
                _mark(grid, a + 1, b, at, share)
                tail, beyond = low[stop] - low[cell_start[b]], high[stop] - high[cell_start[b]]
                _add(grid, b, at, share, tail, beyond)
                stop = cell_start[a + 1]
            _add(grid, a, at, share, low[stop] - low[x], high[stop] - high[x])
    for x in range(cell[x0] + 1, cell[x1] + 1):
        for y in range(GRID):
            grid[1, x, y] += grid[1, x - 1, y]
        for y in range(GRID):
            grid[0, x, y] += cell_low[x] * grid[1, x, y]
        for y in range(GRID):
            grid[0, x + 1, y] += cell_high[x] * grid[1, x, y]
    return cell[x0], cell[x1]


@inlined()
def _mark(grid: NDArray[np.float64], start: int, stop: int, at: int, share: float) -> None:
    grid[1, start, at] += 1.0 - share
    grid[1, start, at + 1] += share
    grid[1, stop, at] -= 1.0 - share
    grid[1, stop, at + 1] -= share


@inlined()
def _add(
    grid: NDArray[np.float64], x: int, at: int, share: float, here: float, beyond: float
) -> None:
    grid[0, x, at] += here * (1.0 - share)
    grid[0, x, at + 1] += here * share
    grid[0, x + 1, at] += beyond * (1.0 - share)
    grid[0, x + 1, at + 1] += beyond * share


def art_bytes(
    images: NDArray[np.uint64],
    boxes: NDArray[np.int64],
    scales: NDArray[np.float64],
    counts: NDArray[np.int64],
    folded: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """The 35 bytes of every view, (views, 35) uint8.

    Args:
        images, boxes, scales: as for `fold`, one row a view.
        counts:  (views,) object pixels; a view without any gets zeros.
        folded:  what `fold` left.
    """
    full, quarter = tables()
    parts = [folded[:, k] @ quarter[k].T for k in range(4)]  # (views, 18) each
    sums = np.zeros((2, len(images), ANGULAR, RADIAL))
    for k, part in enumerate(parts):
        sums[k % 2, :, k // 2 :: 2] = part.reshape(len(images), -1, RADIAL)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums.reshape(2, len(images), ORDERS) / counts[:, None]
        levels = 256 * np.sqrt(means[0] ** 2 + means[1] ** 2)
        nearest = np.rint(levels)
        doubtful = (np.abs(levels - nearest) < _NEAR) & (nearest >= 1)
    for view in np.flatnonzero(doubtful[:, 1:].any(axis=1) & (counts > 0)):
        levels[view] = 256 * _in_order(images[view], boxes[view], scales[view], counts[view], full)
    levels[(counts == 0) | (levels[:, 0] == 0)] = 0
    return np.minimum(levels[:, 1:], 255).astype(np.uint8)


@kernel()
def _in_order(
    image: Image, box: NDArray[np.int64], scale: float, count: int, full: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients (36,) of one view summed pixel by pixel as the program does."""
    sums = np.zeros((2, ORDERS))
    cx, cy = (box[2] + box[3]) / 2.0, (box[0] + box[1]) / 2.0
    for y in range(box[0], box[1] + 1):
        ty = (y - cy) * scale + RADIUS
        b = int(ty)
        for x in range(box[2], box[3] + 1):
            if not pixel(image, y, x):
                continue
            tx = (x - cx) * scale + RADIUS
            a = int(tx)
            for kind in range(2):
                for order in range(ORDERS):
                    t = full[kind, order]
                    g0 = t[a, b] + (t[a + 1, b] - t[a, b]) * (tx - a)
                    g1 = t[a, b + 1] + (t[a + 1, b + 1] - t[a, b + 1]) * (tx - a)
                    value = g0 + (g1 - g0) * (ty - b)
                    sums[kind, order] += value if kind == 0 else -value
    values = np.empty(ORDERS)
    for order in range(ORDERS):
        re, im = sums[0, order] / count, sums[1, order] / count
        values[order] = math.sqrt(re * re + im * im)
    return values


@kernel()
def farthest(image: Image, box: NDArray[np.int64]) -> float:
    """Largest distance of an object pixel from the middle of the box."""
    cx, cy = (box[2] + box[3]) / 2.0, (box[0] + box[1]) / 2.0
    most = 0.0
    for y in range(box[0], box[1] + 1):
        first, last = row_ends(image, y)
        if last >= 0:
            dx = max(cx - first, last - cx)
            most = max(most, dx * dx + (y - cy) * (y - cy))
    return math.sqrt(most)
