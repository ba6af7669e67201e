"""Do shapes with a near-duplicate in the training set account for the copies?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .zu import Array

Row = dict[str, Any]
DRAWS = 9999  # permutations; the smallest p is 1 / (DRAWS + 1)


def by_duplication(
    charged: Mapping[str, int], own: Mapping[str, float], threshold: float, seed: int
) -> Row:
    """Flagged copies of the training shapes with and without a near-duplicate.

    A near-duplicate is another training shape at a distance below `threshold`.

    Args:
        charged: training id -> flagged generated shapes nearest to it; left out is 0.
        own:     id of every training shape -> distance to the nearest other one.

    Returns:
        `with_near_duplicate` and `without`: `shapes`, and `flagged` copies charged to them; `p`:
        chance of so many copies of the former when near-duplicates have nothing to do with it
        (one-sided, labels permuted among the training shapes); None when either group is empty or
        nothing is flagged.

    Raises:
        ValueError: a charged shape is not among the training shapes.
    """
    if missing := sorted(set(charged) - set(own)):
        raise ValueError(
            f"training shape {missing[0]!r} ({len(missing)} in all) has no neighbour among the "
            "training shapes; give the neighbours of the training set that was searched"
        )
    counts = np.array([charged.get(name, 0) for name in own], np.float64)
    twin = np.array([distance < threshold for distance in own.values()])
    groups = {"with_near_duplicate": counts[twin], "without": counts[~twin]}
    rows = {k: {"shapes": len(v), "flagged": int(v.sum())} for k, v in groups.items()}
    tested = counts.any() and 0 < twin.sum() < len(twin)
    return {**rows, "p": _p_more(counts, twin, seed) if tested else None}


def _p_more(counts: Array, twin: Any, seed: int) -> float:
    """Permutation p of the sum of `counts` over `twin`; with the total fixed, also of the mean.

    How many shapes of each count fall into a group of this size is multivariate hypergeometric.
    """
    values, shapes = np.unique(counts, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(shapes, int(twin.sum()), DRAWS, method="marginals")
    more = (drawn @ values >= counts[twin].sum()).sum()
    return float((1 + more) / (1 + DRAWS))


def sentence(found: Row, quantity: str = "flagged copies") -> str:
    """The result in words, with its n."""
    parts = []
    for key, name in (("with_near_duplicate", "with"), ("without", "without")):
        row = found[key]
        per = f", {row['flagged'] / row['shapes']:.2f} each" if row["shapes"] else ""
        parts.append(
            f"{row['shapes']} training shapes {name} a near-duplicate: {row['flagged']} {quantity}"
            f"{per}"
        )
    p = "no test" if found["p"] is None else f"p = {found['p']:.2g} for more with one"
    return "; ".join([*parts, p])
