"""The report as one HTML page, without scripts and without anything from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from . import galleries, plots, quality
from .duplicates import sentence
from .fragments import (
    card,
    chance,
    definitions,
    esc,
    flat,
    number,
    percent,
    signed,
    table,
    times,
    whisker,
)
from .galleries import Sources
from .selection import Row, Selection

_TEMPLATES = Path(__file__).parent / "templates"
_FINDINGS = {
    "copies": "More near-copies than chance explains",
    "chance": "Some shapes are close to training shapes, no more than chance explains",
    "none": "No generated shape is suspiciously close to a training shape",
}


def page(
    title: str,
    result: Row,
    chosen: Selection,
    views: Sources,
    records: Mapping[str, Any],
    measured: Row | None = None,
) -> str:
    """The whole page.

    Args:
        result:  as `report_input.read_result` gives it.
        records: further provenance: digests, versions, the run record of the result.
        measured: the quality of the set as `quality.read_quality` gives it.
    """
    parts = {
        "title": esc(title),
        "style": (_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        "finding": result["verdict"]["finding"],
        "headline": _FINDINGS[result["verdict"]["finding"]],
        "sentence": esc(result["verdict"]["sentence"]),
        "warnings": _warnings(result),
        "cards": _cards(result),
        "plots": _plots(result),
        "pairs": galleries.suspicious(result, chosen, views),
        "held_out": galleries.held_out(chosen, views),
        "typical": galleries.typical(chosen, views),
        "copied": galleries.copied(chosen, views),
        "duplicates": _duplicates(result),
        "categories": _categories(result),
        "cells": _cells(result),
        "quality": quality.section(measured),
        "provenance": _provenance(result, records, measured),
    }
    return Template((_TEMPLATES / "report.html").read_text(encoding="utf-8")).substitute(parts)


def _warnings(result: Row) -> str:
    lines = "".join(f"<li>{esc(line)}</li>" for line in result["verdict"]["warnings"])
    return f'<ul class="warnings">{lines}</ul>' if lines else ""


# the numbers


def _interval(result: Row, text: str) -> str:
    return f"{100 * result['settings']['confidence']:g}\u202f% interval {text}"


def _between(result: Row, interval: list[float] | None, show: Any) -> str:
    if interval is None:
        return "no interval: no bootstrap draws were asked for"
    return _interval(result, f"{show(interval[0])} to {show(interval[1])}")


def _cards(result: Row) -> str:
    z = result["zu"]
    sizes = f"{z['n_gen']:,} generated, {z['n_test']:,} held-out shapes"
    made = [_flagged, _excess, _z_u, _auc, _p, _medians]
    return "".join(make(result, sizes) for make in made)


def _flagged(result: Row, sizes: str) -> str:
    e, m = result["excess"], result["zu"]["n_gen"]
    beyond = f"{100 * (1 - e['quantile']):g}\u202f% of" if e["resolved"] else "every one of"
    held_out = f"{result['zu']['n_test']:,} held-out shapes"
    return card(
        "Flagged shapes",
        f"{e['flagged']:,} <small>of {m:,} generated</small>",
        f"{percent(e['share'])}; {_between(result, e['share_interval'], percent)}",
        whisker(e["share"], e["share_interval"], e["false_positive_rate"], (0, 0.05)),
        f"Closer to a training shape than {beyond} the {held_out} are: distance below "
        f"{number(e['threshold'])}. Chance alone would flag {number(e['expected'], 2)} (line); "
        f"the probability of this many or more is {chance(e['p_more'])}.",
        "A flag is a reason to look, not a proof: a generator that keeps to very common shapes "
        "is flagged as well.",
    )


def _excess(result: Row, sizes: str) -> str:
    e = result["excess"]
    return card(
        "Excess share",
        percent(e["excess_share"], sign=True),
        _between(result, e["excess_interval"], lambda v: percent(v, sign=True)),
        whisker(e["excess_share"], e["excess_interval"], 0.0, (-0.01, 0.05)),
        "Flagged share minus what chance gives: an estimate of the share of copies. "
        f"0 (line): as many as chance gives. {sizes}.",
        "Copies that were changed so much that held-out shapes are as close are not counted.",
    )


def _z_u(result: Row, sizes: str) -> str:
    z = result["zu"]
    return card(
        "Z<sub>U</sub> of the whole set",
        signed(z["z_u"]),
        _between(result, z["z_u_interval"], signed),
        whisker(z["z_u"], z["z_u_interval"], 0.0, (-5, 5)),
        "Compares all distances at once. Below 0 (line): the generated set leans to the training "
        f"data; 0: like held-out shapes; above: farther away. {sizes}.",
        "It stays positive while one shape in ten is a copy if the others are far off, and it "
        "grows with the number of shapes: do not compare it across sets of other sizes.",
    )


def _auc(result: Row, sizes: str) -> str:
    z = result["zu"]
    return card(
        "AUC",
        f"{z['auc']:.3f}",
        _between(result, z["auc_interval"], lambda v: f"{v:.3f}"),
        whisker(z["auc"], z["auc_interval"], 0.5, (0, 1)),
        "Chance that a generated shape is farther from the training set than a held-out one. "
        f"0.5 (line): alike; 0: all are closer. {sizes}.",
        "The same comparison as Z<sub>U</sub> and blind to the same mixtures, but comparable "
        "across sets of different sizes.",
    )


def _p(result: Row, sizes: str) -> str:
    z = result["zu"]
    return card(
        "p-value, one-sided",
        chance(z["p_less"]),
        f"{esc(z['p_method'])}; {percent(z['tie_share'])} of pairs tie",
        "",
        "Probability of a set this close to the training data if generated and held-out shapes "
        f"were alike. {sizes}.",
        "About the set as a whole. A large value does not show that no shape is a copy.",
    )


def _medians(result: Row, sizes: str) -> str:
    z, e = result["zu"], result["excess"]
    zeros = f"{e['zero_gen']:,} generated and {e['zero_test']:,} held-out shapes"
    metric = result["provenance"]["metric"]
    return card(
        "Median distance",
        f"{number(z['median_gen'])} <small>generated</small>",
        f"{number(z['median_test'])} held-out",
        "",
        f"To the nearest training shape{f', by {esc(metric)}' if metric else ''}. "
        f"{zeros} are at distance 0. {sizes}.",
        "Held-out shapes at distance 0 mean that training and test set share shapes: split again.",
    )


def _plots(result: Row) -> str:
    d = result["distances"]
    threshold = result["excess"]["threshold"]
    infinite = sum(v is None for side in ("gen", "test") for v in d[side])
    note = f"<p>{times(infinite, 'shape', 'shapes')} at infinite distance not drawn.</p>"
    draw = [plots.histogram, plots.cumulative]
    names = ["How many shapes are at which distance", "How many shapes are at most that far"]
    figures = "".join(
        f"<figure>{plot(d['gen'], d['test'], threshold)}<figcaption>{name}</figcaption></figure>"
        for plot, name in zip(draw, names, strict=True)
    )
    return f'<div class="plots">{figures}</div>{note if infinite else ""}'


# the tables


def _categories(result: Row) -> str:
    c = result["categories"]
    if not c["rows"]:
        return f"<p>None: {esc(c['reason'])}.</p>"
    heads = ["category", "flagged", "held-out", "Z<sub>U</sub>", "AUC", "p", "adj. p"]
    rows = sorted(c["rows"], key=lambda row: (row["q"] is None, row["q"] or 0, row["category"]))
    body = table(heads, [_category(row) for row in rows], 1)
    return f"<p>Categories: {esc(c['reason'])}.</p>{body}"


def _category(row: Row) -> list[str]:
    counts = [f"{row['flagged']:,} of {row['n_gen']:,}", f"{row['n_test']:,}"]
    if row["z_u"] is None:
        return [esc(row["category"]), *counts, f"<i>{esc(row['reason'])}</i>", "", "", ""]
    p, q = chance(row["p_less"]), chance(row["q"])
    small = row["q"] is not None and row["q"] < 0.05
    auc = "" if row["auc"] is None else f"{row['auc']:.3f}"
    return [
        esc(row["category"]),
        *counts,
        signed(row["z_u"]),
        auc,
        p,
        f"<b>{q}</b>" if small else q,
    ]


def _duplicates(result: Row) -> str:
    found = result.get("duplicates")
    return f"<p>{esc(sentence(found))}.</p>" if found else ""


def _cells(result: Row) -> str:
    found = result.get("c_t")
    if found is None:
        return ""
    heads = ["cell", "training", "held-out", "generated", "Z<sub>U</sub>", "counts"]
    rows = []
    for c in found["cells"]:
        counts = [f"{c[key]:,}" for key in ("n_train", "n_test", "n_gen")]
        rows.append([esc(c["cell"]), *counts, signed(c["z_u"]), "yes" if c["used"] else "no"])
    value = "not defined" if found["c_t"] is None else signed(found["c_t"])
    return (
        f"<section><h2>C<sub>T</sub> = {value}</h2><p>Z<sub>U</sub> inside regions of the feature "
        f"space ({esc(found['cells_from'])}), averaged over those with more than "
        f"{percent(found['tau'])} of the generated shapes. Below 0: copying in these regions.</p>"
        f"{table(heads, rows, 1)}</section>"
    )


def _provenance(result: Row, records: Mapping[str, Any], measured: Row | None) -> str:
    rows = [("metric", esc(result["provenance"]["metric"] or "not recorded"))]
    for side, name in (("gen", "generated"), ("test", "held-out")):
        i = result["inputs"][side]
        left = f", {len(i['dropped']):,} left out" if i["dropped"] else ""
        text = f"{esc(i['path'])}, {i['used']:,} of {i['queries']:,} shapes{left}"
        rows.append((f"distances, {name}", f"{text}<br><code>{esc(i['sha256'])}</code>"))
    rows += [(name, esc(value)) for name, value in flat(result["settings"])]
    if measured:
        rows += [(f"quality, {name}", esc(value)) for name, value in flat(measured["inputs"])]
    runs = {
        "Run record of the test": records["run"],
        "Run record of the generated distances": result["provenance"]["gen"],
        "Run record of the held-out distances": result["provenance"]["test"],
    }
    rows += [(name, esc(value)) for name, value in flat(records["report"])]
    notes = "".join(f"<li>{esc(k)}: {esc(v)}</li>" for k, v in result["notes"].items())
    return (
        definitions(rows)
        + "".join(_record(name, run) for name, run in runs.items())
        + (f"<h3>Why a number is missing</h3><ul>{notes}</ul>" if notes else "")
    )


def _record(name: str, run: Mapping[str, Any] | None) -> str:
    if run is None:
        return f"<p>{name}: there is none.</p>"
    body = definitions((key, esc(value)) for key, value in flat(dict(run)))
    return f"<details><summary>{name}</summary>{body}</details>"
