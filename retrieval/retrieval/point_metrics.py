"""Distances between point clouds: Chamfer, earth mover's, F-score.

For every point of a cloud, d is its distance to the nearest point of the other cloud.

    cd      mean of d^2 over the points of A + mean of d^2 over the points of B
    cd-l1   mean of d over the points of A + mean of d over the points of B
    fscore  1 - 2PR / (P + R), P and R the shares of the points of A and of B with d <= threshold
    emd     mean length of the cheapest one-to-one assignment (Rubner, Tomasi, Guibas 2000)

Exact, with few exact evaluations. A grid over each cloud holds d at the middle of each cell, which
bounds d of any point in the cell from below (d changes no faster than the point moves). Pairs are
taken in the order of the bounds of their distances until no bound can improve the result, and a
pair is left as soon as its distance, some of its d exact and the others bounds, is too large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import Found, Options
from .tables import Table

Cloud = NDArray[np.float32]  # (p, 3)
Reals = NDArray[np.floating]
Combine = Callable[[Reals, Reals], Reals]  # d (..., p) of A and of B to distance (...)
Finish = Callable[[Cloud, Cloud, float], float | None]
CELLS = 20  # along one axis
LEVELS = 255  # steps in which d is stored
BLOCK = 1 << 25  # bytes of clouds bounded at once
CHUNK = 256  # points measured between two looks at the limit
SAFETY = 1e-5  # relative, against rounding of the bounds
ROUNDS, SOFTNESS = 40, 0.04  # of Sinkhorn's iteration; softness in parts of the mean cost


def cd(query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options) -> Found:
    """Chamfer distance of squared lengths, both ways added."""
    return _nearest(query, database, k, skip, options, _squared)


def cd_l1(
    query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options
) -> Found:
    """Chamfer distance of lengths, both ways added."""
    return _nearest(query, database, k, skip, options, _lengths)


def fscore(
    query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options
) -> Found:
    """1 - F-score at `options.threshold` (Tatarchenko et al., CVPR 2019)."""
    if not options.threshold > 0:
        raise ValueError(f"--threshold {options.threshold}: expected more than 0")

    def combine(a: Reals, b: Reals) -> Reals:
        near = [(d <= options.threshold).mean(axis=-1) for d in (a, b)]
        return np.asarray(1 - 2 * near[0] * near[1] / np.maximum(near[0] + near[1], 1e-300))

    return _nearest(query, database, k, skip, options, combine)


def emd(query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options) -> Found:
    """Earth mover's distance; about p^2 to p^3 steps a pair, so take 256 to 512 points."""
    return _nearest(query, database, k, skip, options, _larger_mean, _assignment)


def _squared(a: Reals, b: Reals) -> Reals:
    return np.asarray((a**2).mean(axis=-1) + (b**2).mean(axis=-1))


def _lengths(a: Reals, b: Reals) -> Reals:
    return np.asarray(a.mean(axis=-1) + b.mean(axis=-1))


def _larger_mean(a: Reals, b: Reals) -> Reals:
    """Bound of the earth mover's distance: no partner is nearer than the nearest point."""
    return np.asarray(np.maximum(a.mean(axis=-1), b.mean(axis=-1)))


def _assignment(a: Cloud, b: Cloud, limit: float) -> float | None:
    """Mean length of the cheapest assignment, None once it must exceed `limit`."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(a.astype(np.float64), b.astype(np.float64))
    if limit < np.inf and _dual_bound(cost) * (1 - SAFETY) > limit:
        return None
    return float(cost[linear_sum_assignment(cost)].mean())


def _dual_bound(cost: NDArray[np.float64]) -> float:
    """Lower bound of the mean cost of any assignment, NaN where the kernel vanishes.

    Prices f, g of Sinkhorn's iteration (Cuturi 2013), lowered until f_i + g_j <= cost_ij: about
    98 % of the optimum in a sixth of its time.
    """
    with np.errstate(all="ignore"):
        least = cost.min(axis=1)
        soft = SOFTNESS * cost.mean()
        kernel = np.exp((least[:, None] - cost) / soft).astype(np.float32)
        across = np.ascontiguousarray(kernel.T)
        v = np.ones(len(cost), np.float32)
        for _ in range(ROUNDS):
            u = 1 / (kernel @ v)
            v = 1 / (across @ u)
        f = soft * np.log(u.astype(np.float64)) + least
        g = (cost - f[:, None]).min(axis=0)
        return float((cost - g).min(axis=1).mean() + g.mean())


def _nearest(
    query: Table,
    database: Table,
    k: int,
    skip: NDArray[np.int64],
    options: Options,
    combine: Combine,
    finish: Finish | None = None,
) -> Found:
    """The k nearest clouds.

    Args:
        combine: the distance, or a lower bound of it, from d; never falls when a d grows.
        finish:  the distance, where it is not what `combine` makes of the exact d; None once it
                 must exceed a limit.
    """
    ours, theirs = query.arrays["points"], database.arrays["points"]
    index = np.full((len(ours), k), -1, np.int64)
    value = np.zeros((len(ours), k))
    with ThreadPoolExecutor(max(1, options.workers)) as pool:
        grids = _Grids(ours, theirs, pool) if options.pruning else None
        bounds = grids.bounds(combine, pool) if grids else np.zeros((len(ours), len(theirs)))

        def one(i: int) -> tuple[int, list[tuple[float, int]]]:
            return _walk(i, ours[i], theirs, bounds[i], k, int(skip[i]), grids, combine, finish)

        for i, (count, best) in enumerate(pool.map(one, range(len(ours)))):
            for place, (distance, row) in enumerate(best):
                index[i, place], value[i, place] = row, distance
            for key, more in (("pairs", len(theirs)), ("pairs_measured", count)):
                options.statistics[key] = options.statistics.get(key, 0) + more
            options.progress(1)
    return index, value


def _walk(
    i: int,
    cloud: Cloud,
    theirs: NDArray[np.float32],
    bound: Reals,
    k: int,
    skip: int,
    grids: _Grids | None,
    combine: Combine,
    finish: Finish | None,
) -> tuple[int, list[tuple[float, int]]]:
    """Pairs measured to the end, and the k smallest (distance, row), in the order of `bound`."""
    from scipy.spatial import cKDTree

    tree, measured = cKDTree(cloud), 0
    best: list[tuple[float, int]] = []
    for row in np.argsort(bound, kind="stable"):
        limit = best[-1][0] if grids and len(best) == k else np.inf
        if bound[row] * (1 - SAFETY) > limit:
            break
        if row == skip:
            continue
        start = grids.pair(i, int(row)) if grids else (np.zeros(len(cloud)),) * 2
        distance = _measure(cloud, tree, theirs[row], start, combine, limit)
        if finish and distance is not None:
            distance = finish(cloud, theirs[row], limit)
        if distance is None:
            continue
        best = sorted([*best, (distance, int(row))])[:k]
        measured += 1
    return measured, best


def _measure(
    cloud: Cloud,
    tree: Any,
    other: Cloud,
    start: tuple[Reals, Reals],
    combine: Combine,
    limit: float,
) -> float | None:
    """`combine` of the exact d of two clouds, None once it must exceed `limit`.

    Args:
        tree:  KD-tree of `cloud`.
        start: lower bounds of d of the points of `cloud` and of `other`.
    """
    from scipy.spatial import cKDTree

    a, b = (np.array(d, np.float64) for d in start)
    for d, points, target in ((b, other, tree), (a, cloud, None)):
        target = target or cKDTree(other)
        for part in _slices(len(points), CHUNK):
            d[part] = target.query(points[part])[0]
            if combine(a, b) * (1 - SAFETY) > limit:
                return None
    return float(combine(a, b))


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(i, i + step) for i in range(0, count, step))


class _Grids:
    """Lower bounds of d between the points of every pair of two lists of clouds (n, p, 3).

    One grid covers all clouds. `levels[c]`: d to a cloud at the middle of cell c, in whole steps,
    rounded down; a point at distance r from that middle has d >= step * level - r.
    """

    def __init__(
        self, ours: NDArray[np.float32], theirs: NDArray[np.float32], pool: ThreadPoolExecutor
    ) -> None:
        both = (ours, theirs)
        self.low = np.minimum(*(c.min(axis=(0, 1)) for c in both)).astype(np.float64)
        high = np.maximum(*(c.max(axis=(0, 1)) for c in both)).astype(np.float64)
        self.side = max(float((high - self.low).max()) / CELLS, 1e-30)
        self.step = np.float32(self.side * CELLS * np.sqrt(3) / LEVELS)
        cells = np.indices((CELLS,) * 3).reshape(3, -1).T
        self.middle = self.low + (cells + 0.5) * self.side  # (CELLS^3, 3)
        self.clouds = both
        self.levels = [np.array(list(pool.map(self._level, c))) for c in both]

    def _level(self, cloud: Cloud) -> NDArray[np.uint8]:
        from scipy.spatial import cKDTree

        near = cKDTree(cloud).query(self.middle)[0]
        return np.asarray(np.clip(near / self.step, 0, LEVELS).astype(np.uint8))

    def _place(self, points: NDArray[np.float32]) -> tuple[NDArray[np.intp], Reals]:
        """Number of the cell of each point (..., 3), and the distance to its middle."""
        cell = ((points - self.low) / self.side).astype(np.intp)
        cell = np.clip(cell, 0, CELLS - 1) @ np.array([CELLS * CELLS, CELLS, 1])
        far = np.linalg.norm(points - self.middle[cell], axis=-1) + SAFETY * self.side
        return cell, far.astype(np.float32)

    def pair(self, i: int, j: int) -> tuple[Reals, Reals]:
        """Bounds (p,) of d of the points of cloud i of the first list and j of the second."""
        ends = self._place(self.clouds[0][i]), self._place(self.clouds[1][j])
        return self._look_up(self.levels[1][j], ends[0]), self._look_up(self.levels[0][i], ends[1])

    def bounds(self, combine: Combine, pool: ThreadPoolExecutor) -> Reals:
        """`combine` of the bounds of d, for all pairs."""
        ours, theirs = self.clouds
        made = np.empty((len(ours), len(theirs)))
        places = [self._place(cloud) for cloud in ours]
        for part in _slices(len(theirs), max(1, BLOCK // theirs[0].nbytes)):
            other = self._place(theirs[part])

            def one(i: int, part: slice = part, other: Any = other) -> Reals:
                cell, far = places[i]
                a = np.maximum(self.levels[1][part][:, cell] * self.step - far, 0)  # (n, p)
                return combine(a, self._look_up(self.levels[0][i], other))

            made[:, part] = list(pool.map(one, range(len(ours))))
        return made

    def _look_up(self, levels: NDArray[np.uint8], place: tuple[NDArray[np.intp], Reals]) -> Reals:
        cell, far = place
        return np.asarray(np.maximum(levels[cell] * self.step - far, 0))
