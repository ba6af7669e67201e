"""Where to put a threshold: share of rows kept and share of those labelled right, by score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STEPS = tuple(round(0.05 * i, 2) for i in range(20))


class Point(NamedTuple):
    """Of `rows` labelled rows: kept by the threshold, and right among those (nan: none kept)."""

    threshold: float
    kept: float
    agree: float
    rows: int


def curve(
    scores: Sequence[float], right: Sequence[bool], thresholds: Sequence[float] = STEPS
) -> list[Point]:
    """A point for each threshold; a row is kept when its score is at least that."""
    if len(scores) == 0:
        raise ValueError("no labelled rows to calibrate with")
    value, good = np.asarray(scores, np.float64), np.asarray(right, bool)
    found = []
    for threshold in thresholds:
        kept = value >= threshold
        agree = float(good[kept].mean()) if kept.any() else float("nan")
        found.append(Point(threshold, float(kept.mean()), agree, len(value)))
    return found


def choose(scores: Sequence[float], right: Sequence[bool], target: float) -> Point:
    """The lowest score as threshold whose kept rows agree at least `target`.

    Only thresholds that keep ten rows or more count: fewer prove little.

    Raises:
        ValueError: no threshold reaches the target.
    """
    candidates = sorted(set(scores))
    points = curve(scores, right, candidates)
    for point in points:
        if point.agree >= target and point.kept * point.rows >= min(10, point.rows):
            return point
    best = max(points, key=lambda point: (point.agree, point.kept))
    raise ValueError(
        f"no threshold agrees in {target:.0%} of the rows it keeps; the best is "
        f"{best.agree:.0%} at {best.threshold:.3f}; lower --target"
    )
