"""From two retrieval results to the result of the test (formats/zu_result.schema.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import verdict
from .bootstrap import bootstrap, percentile_interval
from .categories import MINIMUM, assign, category_table, own_category
from .cells import Ct
from .excess import Rule, clopper_pearson, flag_rule, p_at_least
from .records import Retrieval
from .samples import finite, sample_table, training_table
from .zu import Array, Zu, compare, z_from_u

Section = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What decides the numbers.

    Args:
        quantile:   of the held-out distances, in (0, 1); the false-positive rate aimed at.
        bootstrap:  draws, 0 for no bootstrap intervals.
        confidence: of all intervals, in (0, 1).
        seed:       of the bootstrap and of k-means.
        missing:    `error` or `drop`.
    """

    quantile: float = 0.01
    bootstrap: int = 2000
    confidence: float = 0.95
    seed: int = 0
    missing: str = "error"


def statistics(
    gen: Retrieval, test: Retrieval, listed: Mapping[str, str], settings: Settings
) -> Section:
    """All sections that come from the distances and categories alone.

    Args:
        listed: id -> category from outside, may be empty.
    """
    g, t = gen.distances, test.distances
    zu, rule = compare(g, t), flag_rule(t, settings.quantile)
    draws = bootstrap(g, t, rule.k, settings.bootstrap, settings.seed)
    excess = _excess(g, t, rule, draws.share, settings)
    categories = assign(gen, test, listed)
    own = [own_category(query, listed) for query in gen.queries]
    samples = sample_table(gen.queries, own, t, rule)
    facts = excess["flagged"], excess["share_interval"], settings.confidence, excess["p_more"]
    limits = excess["zero_test"], excess["tied_with_threshold"]
    return {
        "verdict": {
            "finding": verdict.finding(excess["flagged"], excess["p_more"]),
            "sentence": verdict.sentence(zu, rule, settings.quantile, *facts),
            "warnings": verdict.warnings(zu, rule, settings.quantile, *limits),
        },
        "zu": _zu(zu, g, t, draws.u, settings.confidence),
        "excess": excess,
        "distances": {
            side: [finite(d) for d in np.sort(d)] for side, d in (("gen", g), ("test", t))
        },
        "samples": samples,
        "training_shapes": training_table(samples, test.queries),
        "categories": {
            "by": categories.by,
            "reason": categories.reason,
            "minimum": MINIMUM,
            "rows": category_table(gen, test, categories, rule),
        },
    }


def _zu(zu: Zu, gen: Array, test: Array, u: Array, confidence: float) -> Section:
    values = asdict(zu)
    m, n = values.pop("m"), values.pop("n")
    z = np.asarray(z_from_u(u, m, n))
    return {
        **values,
        "n_gen": m,
        "n_test": n,
        "z_u_interval": _pair(percentile_interval(z, confidence)),
        "auc_interval": _pair(percentile_interval(u / (m * n), confidence)),
        "median_gen": finite(float(np.median(gen))),
        "median_test": finite(float(np.median(test))),
    }


def _excess(gen: Array, test: Array, rule: Rule, drawn: Array, settings: Settings) -> Section:
    m, flagged = len(gen), int((gen < rule.threshold).sum())
    interval = percentile_interval(drawn - rule.rate, settings.confidence)
    return {
        "quantile": settings.quantile,
        "order_statistic": rule.k,
        "threshold": finite(rule.threshold),
        "resolved": rule.resolved,
        "false_positive_rate": rule.rate,
        "n_gen": m,
        "n_test": rule.n,
        "flagged": flagged,
        "share": flagged / m,
        "share_interval": _pair(clopper_pearson(flagged, m, settings.confidence)),
        "expected": m * rule.rate,
        "excess_share": flagged / m - rule.rate,
        "excess_interval": _pair(interval),
        "p_more": p_at_least(flagged, m, rule),
        "tied_with_threshold": int((gen == rule.threshold).sum()),
        "zero_gen": int((gen == 0).sum()),
        "zero_test": int((test == 0).sum()),
    }


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def ct_section(found: Ct, cells_from: str, dimensions: int, reduced_to: int | None) -> Section:
    """The `c_t` section; sizes are those of the embedding files."""
    sizes = {
        f"n_{side}": sum(getattr(cell, f"n_{side}") for cell in found.cells)
        for side in ("train", "test", "gen")
    }
    return {
        **asdict(found),
        **sizes,
        "cells_from": cells_from,
        "dimensions": dimensions,
        "reduced_to": reduced_to,
    }


def notes(result: Section) -> dict[str, str]:
    """Why a number is null, by dotted path."""
    found = {}
    if result["zu"]["p_less"] is None:
        found["zu.p_less"] = found["zu.z_tie_corrected"] = "all distances are equal: variance 0"
    if result["zu"]["z_u_interval"] is None:
        for path in ("zu.z_u_interval", "zu.auc_interval", "excess.excess_interval"):
            found[path] = "no bootstrap draws were asked for"
    for path in ("zu.median_gen", "zu.median_test", "excess.threshold"):
        section, key = path.split(".")
        if result[section][key] is None:
            found[path] = "infinite"
    for side, values in result["distances"].items():
        if None in values:
            found[f"distances.{side}"] = f"{values.count(None)} infinite, ranked last"
    if any(row["distance"] is None for row in result["samples"]):
        found["samples.distance"] = "infinite, ranked last"
    if result["duplicates"] is None:
        found["duplicates"] = "no neighbours of the training shapes given"
    elif result["duplicates"]["p"] is None:
        found["duplicates.p"] = "nothing is flagged, or all training shapes are alike in this"
    if result["c_t"] is None:
        found["c_t"] = "no embeddings given; `categories` is a per-class Z_U, not C_T"
    elif result["c_t"]["c_t"] is None:
        found["c_t.c_t"] = "no cell holds a share of generated shapes above tau"
    return found
