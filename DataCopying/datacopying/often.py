"""How often training shapes were copied, and whether that is seen, when the truth is known.

Duplicated training samples are memorised more often than others (Carlini et al., ICLR 2023;
Somepalli et al., NeurIPS 2023). Two generators stand for this. Both repeat the planted copies,
drawn with replacement as often as there are copies: all with the same chance, or in proportion to
1 + the near-duplicates of the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from .duplicates import by_duplication
from .excess import Rule
from .study import Measured, Row, Setting, copied_from, read_measured, rule_of, source_of
from .zu import Array


def of_metric(metric: str, setting: Setting) -> list[Row]:
    """`how_often` of the retrieval results in the folder, by one metric."""
    measured = read_measured(setting.folder, metric)
    sources = copied_from(setting.folder / "copies")
    return how_often(measured, sources, rule_of(measured, setting), setting)


def how_often(
    measured: Measured, sources: Mapping[str, str], rule: Rule, setting: Setting
) -> list[Row]:
    """A row for each generator; lists have an entry for every repeat.

    Args:
        sources: id of a copy -> training shape it was made of.

    Returns:
        `planted` and `found`: copies by `by_duplication`; `correlation`: of planted and found
        counts, by rank; `shapes`: the counts of the first set, of shapes that were or seem copied.
    """
    twins = {
        name: sum(d < rule.threshold for d in found.values())
        for name, found in measured.twins.items()
    }
    rows = []
    for generator in ("even", "near-duplicates"):
        extra = generator == "near-duplicates"
        chance = np.array([1.0 + extra * twins[name] for name in sources.values()])
        sets = [_counts(measured, sources, chance, rule, [setting.seed, i])
                for i in range(setting.repeats)]  # fmt: skip
        split = [
            [by_duplication(counts, measured.own, rule.threshold, setting.seed) for counts in both]
            for both in sets
        ]
        rows.append({
            "generator": generator,
            "planted": [planted for planted, _ in split],
            "found": [found for _, found in split],
            "correlation": [_correlation(*both, sources) for both in sets],
            "shapes": [
                {"id": n, "near_duplicates": twins[n], "planted": sets[0][0][n],
                 "found": sets[0][1][n]}
                for n in sorted({*sources.values(), *sets[0][1]})
            ],
        })  # fmt: skip
    return rows


def _counts(
    measured: Measured, sources: Mapping[str, str], chance: Array, rule: Rule, seed: list[int]
) -> tuple[Counter[str], Counter[str]]:
    """Planted and found copies of the training shapes in one set with all held-out shapes."""
    names, rng = list(sources), np.random.default_rng(seed)
    drawn = [names[i] for i in rng.choice(len(names), len(names), p=chance / chance.sum())]
    queries = [measured.nearest["copies"][name] for name in drawn]
    queries += measured.nearest["held_out"].values()
    found = Counter(source_of(query) for query in queries if query.distance < rule.threshold)
    return Counter(sources[name] for name in drawn), found


def _correlation(
    planted: Counter[str], found: Counter[str], sources: Mapping[str, str]
) -> float | None:
    """Spearman's, over all shapes that were or seem copied; None when nothing was found."""
    from scipy.stats import spearmanr

    if not found:
        return None
    shapes = {*sources.values(), *found}
    return float(
        spearmanr(*([side[name] for name in shapes] for side in (planted, found))).statistic
    )
