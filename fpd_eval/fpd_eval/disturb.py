"""Does a Frechet distance see what is wrong with shapes? Clouds made worse, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .frechet import frechet

Rows = NDArray[np.float32]

NOISE = (0.0, 0.01, 0.02, 0.04, 0.08)  # standard deviation, radii
PARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # share of the surface removed
MODES = (0.0, 0.25, 0.5, 0.75)  # share of the categories dropped
DRAWS = 20  # of halves, or of categories and shapes, averaged


def add_noise(points: Rows, level: float, rng: np.random.Generator) -> Rows:
    """Points (n, 3) with Gaussian noise of standard deviation `level`."""
    return np.asarray(points + level * rng.normal(size=points.shape), np.float32)


def cut_part(points: Rows, share: float, count: int, rng: np.random.Generator) -> Rows:
    """The first `count` of points without the `share` farthest in a random direction.

    Raises:
        ValueError: fewer remain.
    """
    direction = rng.normal(size=3)
    along = points @ (direction / np.linalg.norm(direction))
    left = points[along <= np.quantile(along, 1 - share)]
    if len(left) < count:
        raise ValueError(f"{len(left)} of {len(points)} points left; {count} wanted")
    return left[:count]


def halves(
    categories: Sequence[str], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of two random halves of a set, with nearly equal numbers of every category."""
    drawn = rng.permutation(len(categories))
    order = drawn[np.argsort(np.array(categories)[drawn], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def half_distance(clean: Rows, worse: Rows, categories: Sequence[str], seed: int) -> float:
    """Mean Frechet distance between one half of the shapes and the other half made worse.

    The two halves of one draw differ by more than fine noise does; over draws this cancels.
    """
    total = 0.0
    for draw in range(DRAWS):
        first, second = halves(categories, np.random.default_rng([seed, draw]))
        total += frechet(clean[first].astype(float), worse[second].astype(float)).distance
    return total / DRAWS


def mode_distances(
    reference: Rows, rows: Rows, categories: Sequence[str], seed: int
) -> list[float]:
    """Mean Frechet distance to `reference` for every share in MODES of dropped categories.

    Every distance is of equally many rows, drawn from what is left, so that their number plays no
    role.

    Raises:
        ValueError: fewer than four categories.
    """
    names = np.array(sorted(set(categories)))
    if len(names) < 4:
        raise ValueError(f"{len(names)} categories; mode dropping needs 4 or more")
    labels = np.array(categories)
    count = min(np.bincount(np.searchsorted(names, labels))) * max(1, len(names) // 4)
    totals = np.zeros(len(MODES))
    for draw in range(DRAWS):
        order = np.random.default_rng([seed, draw]).permutation(names)
        for i, share in enumerate(MODES):
            left = np.flatnonzero(np.isin(labels, order[: len(names) - round(share * len(names))]))
            rng = np.random.default_rng([seed, draw, i])
            drawn = rows[rng.choice(left, count, replace=False)]
            totals[i] += frechet(reference.astype(np.float64), drawn.astype(np.float64)).distance
    return [float(value) for value in totals / DRAWS]
