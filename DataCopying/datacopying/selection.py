"""Which shapes the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .records import Query

Row = dict[str, Any]


@dataclass(frozen=True)
class Selection:
    """Shapes of the report.

    Args:
        flagged, close: the most suspicious samples, those with a flag and those without; each
                        has its `rank` added, 1 for the closest.
        typical:        the same for samples around the median, none of which is in the others.
        copied:         training shapes with flagged samples, most often copied first, with the
                        ids of these samples as `copies`.
        held_out:       held-out shapes nearest to the training set, for comparison.
    """

    flagged: list[Row]
    close: list[Row]
    typical: list[Row]
    copied: list[Row]
    held_out: list[Query]

    def ids(self, side: str) -> list[str]:
        """Shapes of one side ("generated", "train" or "test") that need pictures, sorted."""
        pairs = self.flagged + self.close + self.typical
        found: dict[str, list[str | None]] = {
            "generated": [row["id"] for row in pairs],
            "train": [row["nearest_id"] for row in pairs]
            + [row["id"] for row in self.copied]
            + [query.nearest_id for query in self.held_out],
            "test": [query.id for query in self.held_out],
        }
        return sorted({name for name in found[side] if name is not None})


def select(
    result: Row, pairs: int, typical: int, copied: int, held_out: Sequence[Query] = ()
) -> Selection:
    """Choose from a result; `pairs`, `typical` and `copied` are the most to show of each."""
    samples = [row | {"rank": place + 1} for place, row in enumerate(result["samples"])]
    shown, rest = samples[:pairs], samples[pairs:]
    middle = len(samples) // 2 - pairs - typical // 2
    first = max(min(middle, len(rest) - typical), 0)
    copies: dict[str | None, list[str]] = {}
    for row in samples:
        if row["flagged"]:
            copies.setdefault(row["nearest_id"], []).append(row["id"])
    trained = [row for row in result["training_shapes"] if row["flagged"]][:copied]
    return Selection(
        [row for row in shown if row["flagged"]],
        [row for row in shown if not row["flagged"]],
        rest[first : first + typical],
        [row | {"copies": copies.get(row["id"], [])} for row in trained],
        list(held_out),
    )
