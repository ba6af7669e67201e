"""How often a search finds the source of a copy: rank, recall, interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple


class Share(NamedTuple):
    """hits of n, and the ends of the 95 % interval of the share."""

    hits: int
    n: int
    low: float
    high: float


def rank(neighbours: Sequence[Mapping[str, Any]], source: str) -> int | None:
    """Place of `source`, 1 for the nearest; None when it is not among the neighbours.

    Shapes at the same distance share the best place: a set that holds a shape twice cannot say
    which of the two was copied.
    """
    distance = {row["model_id"]: row["distance"] for row in neighbours}
    if source not in distance:
        return None
    return 1 + sum(other < distance[source] for other in distance.values())


def recall(ranks: Sequence[int | None], k: int) -> Share:
    """Share of ranks that are k or less."""
    hits = sum(place is not None and place <= k for place in ranks)
    return Share(hits, len(ranks), *wilson(hits, len(ranks)))


def wilson(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Interval of a share of `hits` in `n` trials (Wilson 1927), 95 % for the default z.

    Raises:
        ValueError: not 0 <= hits <= n with n >= 1.
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"{hits} hits of {n}: expected 0 <= hits <= n, n >= 1")
    share, square = hits / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * sqrt(share * (1 - share) / n + square / (4 * n))
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == n else min(1.0, middle + half)
