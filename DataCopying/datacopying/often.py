"""How often training shapes were copied, and whether that is seen, when the truth is known.

Duplicated training samples are memorised more often than others (Carlini et al., ICLR 2023;
Somepalli et al., NeurIPS 2023). Two generators stand for this: one copies every training shape with
the same chance, one in proportion to 1 + its near-duplicates. Both copy with replacement, as many
times as there are training shapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from .duplicates import by_duplication
from .excess import Rule
from .study import SIDES, Measured, Row, Setting, copied_from, read_measured, rule_of, source_of
from .zu import Array


def of_metric(metric: str, setting: Setting) -> list[Row]:
    """`how_often` of the copies in the folder `pool`, by one metric."""
    measured = read_measured(setting.folder, metric, (*SIDES, "pool"))
    rule = rule_of(measured, setting)
    return how_often(measured, copied_from(setting.folder / "pool"), rule, setting)


def how_often(
    measured: Measured, pool: Mapping[str, str], rule: Rule, setting: Setting
) -> list[Row]:
    """A row for each generator; lists have an entry for every repeat.

    Args:
        measured: `nearest["pool"]` holds the copies to draw from, some of every training shape.
        pool:     id of a copy -> training shape it was made of.

    Returns:
        `planted` and `found`: copies by `by_duplication`; `correlation`: rank correlation of the
        planted and found counts of the training shapes; `shapes`: the counts of the first set.
    """
    twins = {
        name: sum(d < rule.threshold for d in measured.twins[name].values())
        for name in measured.own
    }
    each = Counter(pool.values())
    rows = []
    for generator in ("even", "near-duplicates"):
        extra = generator == "near-duplicates"
        chance = np.array([(1 + extra * twins[name]) / each[name] for name in pool.values()])
        sets = [_counts(measured, pool, chance, rule, [setting.seed, i])
                for i in range(setting.repeats)]  # fmt: skip
        planted, found = (
            [by_duplication(both[k], measured.own, rule.threshold, setting.seed) for both in sets]
            for k in (0, 1)
        )
        first = [
            {"id": n, "near_duplicates": twins[n], "planted": sets[0][0][n], "found": sets[0][1][n]}
            for n in sorted(measured.own)
        ]
        correlation = [_correlation(*both, measured) for both in sets]
        rows.append({"generator": generator, "planted": planted, "found": found,
                     "correlation": correlation, "shapes": first})  # fmt: skip
    return rows


def _counts(
    measured: Measured, pool: Mapping[str, str], chance: Array, rule: Rule, seed: list[int]
) -> tuple[Counter[str], Counter[str]]:
    """Planted and found copies of the training shapes in one set with all held-out shapes."""
    names = list(pool)
    rng = np.random.default_rng(seed)
    drawn = [names[i] for i in rng.choice(len(names), len(measured.own), p=chance / chance.sum())]
    queries = [measured.nearest["pool"][name] for name in drawn]
    queries += measured.nearest["held_out"].values()
    found = Counter(source_of(query) for query in queries if query.distance < rule.threshold)
    return Counter(pool[name] for name in drawn), found


def _correlation(planted: Counter[str], found: Counter[str], measured: Measured) -> float | None:
    """Spearman's, over all training shapes; None when nothing was found."""
    from scipy.stats import spearmanr

    if not found:
        return None
    counts = [[side[name] for name in measured.own] for side in (planted, found)]
    return float(spearmanr(*counts).statistic)
