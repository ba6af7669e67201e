"""Tables per generated shape and per training shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .excess import Rule
from .multiplicity import benjamini_hochberg
from .records import Query
from .zu import Array

Row = dict[str, Any]


def sample_table(
    queries: Sequence[Query], categories: Sequence[str | None], test: Array, rule: Rule
) -> list[Row]:
    """One row per generated shape, smallest distance first, equal distances by id.

    Args:
        queries:    the m generated shapes.
        categories: their categories.
        test:       (n,) held-out distances.
    """
    distance = np.array([query.distance for query in queries])
    ordered = np.sort(test)
    below = np.searchsorted(ordered, distance, "left")
    up_to = np.searchsorted(ordered, distance, "right")
    percentile = (below + up_to) / (2 * len(test))
    p = (1 + up_to) / (len(test) + 1)
    q = benjamini_hochberg(p)
    rows = [
        {
            "id": query.id,
            "category": categories[i],
            "nearest_id": query.nearest_id,
            "nearest_category": query.nearest_category,
            "distance": finite(query.distance),
            "percentile": float(percentile[i]),
            "p": float(p[i]),
            "q": float(q[i]),
            "ratio_to_second": _ratio(query.distance, query.second),
            "flagged": query.distance < rule.threshold,
        }
        for i, query in enumerate(queries)
    ]
    return sorted(rows, key=lambda row: (_last_if_none(row["distance"]), row["id"]))


def training_table(samples: Sequence[Row], held_out: Sequence[Query]) -> list[Row]:
    """One row per training shape nearest to a generated one, most often flagged first.

    Args:
        samples:  rows of `sample_table`.
        held_out: the n held-out shapes.
    """
    in_test = Counter(query.nearest_id for query in held_out)
    rows: dict[str, Row] = {}
    for sample in samples:
        name = sample["nearest_id"]
        if name is None:
            continue
        row = rows.setdefault(
            name,
            {
                "id": name,
                "category": sample["nearest_category"],
                "generated": 0,
                "flagged": 0,
                "held_out": in_test[name],
                "smallest_distance": sample["distance"],
            },
        )
        row["generated"] += 1
        row["flagged"] += sample["flagged"]
    return sorted(
        rows.values(),
        key=lambda r: (
            -r["flagged"],
            -r["generated"],
            _last_if_none(r["smallest_distance"]),
            r["id"],
        ),
    )


def finite(value: float) -> float | None:
    """`value`, or None for infinity, which strict JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def _last_if_none(value: float | None) -> float:
    return float("inf") if value is None else value


def _ratio(distance: float, second: float | None) -> float | None:
    """distance / second; None without a second one, or when both are 0 or infinite."""
    if second is None or second == 0 or not np.isfinite(distance):
        return None
    return float(distance / second)
