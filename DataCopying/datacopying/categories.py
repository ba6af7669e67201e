"""Z_U per category, with counts and control of the false discovery rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .excess import Rule
from .multiplicity import benjamini_hochberg
from .records import Query, Retrieval
from .zu import compare

MINIMUM = 5  # fewest shapes a side; smallest exact p-value is then 1/252


@dataclass(frozen=True)
class Assignment:
    """Category of every shape of both sides.

    Args:
        by:     `query` (its own), `nearest` (of its nearest training shape), None (unknown).
        reason: where they come from, or why there are none.
        gen, test: one entry per query; None where unknown.
    """

    by: str | None
    reason: str
    gen: list[str | None]
    test: list[str | None]


def assign(gen: Retrieval, test: Retrieval, listed: Mapping[str, str]) -> Assignment:
    """Own categories if every shape of both sides has one, else those of the nearest shapes.

    Args:
        listed: id -> category from `--categories`; it goes before what the results say.
    """
    own = [[own_category(query, listed) for query in side.queries] for side in (gen, test)]
    lacking = sum(name is None for side in own for name in side)
    total = len(own[0]) + len(own[1])
    if not lacking:
        return Assignment("query", "each shape's own category", own[0], own[1])
    near = [[query.nearest_category for query in side.queries] for side in (gen, test)]
    why = f"{lacking} of {total} shapes have no category of their own"
    if all(name is None for side in near for name in side):
        reason = f"{why}, and the nearest training shapes have none either"
        return Assignment(None, reason, own[0], own[1])
    return Assignment("nearest", f"category of the nearest training shape: {why}", *near)


def own_category(query: Query, listed: Mapping[str, str]) -> str | None:
    """Category of the shape itself: from `listed`, else from the retrieval result."""
    return listed.get(query.id, query.category)


def category_table(
    gen: Retrieval, test: Retrieval, assignment: Assignment, rule: Rule
) -> list[dict[str, Any]]:
    """One row per category, by name; too few shapes on a side: no test, with the reason."""
    if assignment.by is None:
        return []
    sides = [
        (side.distances, np.array([name or "" for name in names]))
        for side, names in ((gen, assignment.gen), (test, assignment.test))
    ]
    names = sorted({name for _, labels in sides for name in labels.tolist()})
    rows = []
    for name in names:
        g, t = (distances[labels == name] for distances, labels in sides)
        row = {
            "category": name or "(none)",
            "n_gen": len(g),
            "n_test": len(t),
            "flagged": int((g < rule.threshold).sum()),
            **dict.fromkeys(("z_u", "auc", "p_less", "q", "reason")),
        }
        if min(len(g), len(t)) < MINIMUM:
            row["reason"] = f"{len(g)} generated, {len(t)} test shapes: fewer than {MINIMUM}"
        else:
            found = compare(g, t)
            row |= {"z_u": found.z_u, "auc": found.auc, "p_less": found.p_less}
            row["reason"] = None if found.p_less is not None else "all distances are equal"
        rows.append(row)
    tested = [row for row in rows if row["p_less"] is not None]
    q = benjamini_hochberg(np.array([row["p_less"] for row in tested], np.float64))
    for row, value in zip(tested, q, strict=True):
        row["q"] = float(value)
    return rows
