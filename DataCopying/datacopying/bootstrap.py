"""Bootstrap of both sides: generated and held-out distances are redrawn with replacement.

Only ranks enter, so each draw costs two counts over the distinct values and nothing grows with m n.
Draw b uses `default_rng([seed, b])` on sorted distances: neither the order of the input nor the
number of draws changes a draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .zu import Array, checked


@dataclass(frozen=True)
class Draws:
    """Per draw: U as in `zu.Zu` and the share of generated below the k-th smallest held-out one."""

    u: Array
    share: Array


def bootstrap(gen: Array, test: Array, k: int, draws: int, seed: int) -> Draws:
    """Redraw (m,) `gen` and (n,) `test` `draws` times; memory grows with m + n + draws."""
    gen, test = checked(gen, "generated"), checked(test, "test")
    values, rank = np.unique(np.concatenate([gen, test]), return_inverse=True)
    sides = np.sort(rank[: len(gen)]), np.sort(rank[len(gen) :])
    u, below = np.empty(draws), np.empty(draws)
    for b in range(draws):
        rng = np.random.default_rng([seed, b])
        g, t = (_redrawn(side, len(values), rng) for side in sides)
        up_to = np.cumsum(t)
        u[b] = int(g @ (2 * up_to - t)) / 2
        below[b] = g[: np.searchsorted(up_to, k)].sum()
    return Draws(u, below / len(gen))


def _redrawn(ranks: NDArray[np.int64], values: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each distinct value occurs in a sample with replacement, (values,) int64."""
    return np.bincount(ranks[rng.integers(0, len(ranks), len(ranks))], minlength=values)


def percentile_interval(draws: Array, confidence: float) -> tuple[float, float] | None:
    """Central `confidence` share of the draws; None without draws."""
    if not draws.size:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
