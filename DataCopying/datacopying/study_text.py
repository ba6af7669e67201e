"""The study of known copies as Markdown, every table with its n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
GROUPS = ("with_near_duplicate", "without")


def text(result: Row) -> list[str]:
    """Markdown: a table of all metrics and a line for each about the sources."""
    lines = [
        "| metric | copies | Z_U | AUC [95 %] | excess share [95 %] | caught | false flags "
        "| AuthPct | 1-NNA | FD | KID |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for metric, found in result["metrics"].items():
        beside = result["quality"] if metric == "embeddings" else [None] * len(found["rows"])
        lines += [_line(metric, r, q) for r, q in zip(found["rows"], beside, strict=True)]
    for metric, found in result["metrics"].items():
        lines += ["", *_sources(metric, found)]
    return lines + _often(result["often"])


def _often(found: Row) -> list[str]:
    """A table of the generators that copy some training shapes again and again."""
    lines = [
        "",
        "| metric | chance of a copy | training shapes with / without near-duplicate "
        "| planted each | found each | rank correlation | p, planted | p, found "
        "| p, found < 0.05 |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for metric, rows in found.items():
        for row in rows:
            sides = row["planted"], row["found"]
            shapes = [row["planted"][0][group]["shapes"] for group in GROUPS]
            cells = [metric, row["generator"], " / ".join(map(str, shapes)), *map(_each, sides)]
            cells += [_mean(row["correlation"]), *(_median_p(side) for side in sides)]
            small = sum(run["p"] is not None and run["p"] < 0.05 for run in row["found"])
            lines.append(f"| {' | '.join(cells)} | {small} of {len(row['found'])} |")
    return lines


def _each(sets: Sequence[Row]) -> str:
    """Copies for each training shape with and without near-duplicate, means over the sets."""
    both = []
    for group in GROUPS:
        shapes = sets[0][group]["shapes"]
        total = np.mean([found[group]["flagged"] for found in sets])
        both.append(f"{total / shapes:.2f}" if shapes else "none")
    return " / ".join(both)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if known else ""


def _median_p(sets: Sequence[Row]) -> str:
    known = [found["p"] for found in sets if found["p"] is not None]
    return f"{np.median(known):.2g}" if known else ""


def _line(metric: str, row: Row, beside: dict[str, float] | None) -> str:
    low, high = row["excess_interval"]
    honest = row["generated"] - row["planted"]
    caught = f"{row['planted_flagged'] / row['planted']:.0%}" if row["planted"] else ""
    false = f"{row['honest_flagged'] / honest:.1%}" if honest else ""
    fd, kid = (f"{beside['fd']:.4g}", f"{beside['kid']:.2g}") if beside else ("", "")
    auc = "{:.3f} [{:.3f}, {:.3f}]".format(row["auc"], *row["auc_interval"])
    return (
        f"| {metric} | {row['copies']:.0%} | {row['z_u']:+.2f} | {auc} "
        f"| {row['excess']:.1%} [{low:.1%}, {high:.1%}] | {caught} | {false} "
        f"| {row['authpct']:.1f} | {row['one_nna']:.3f} | {fd} | {kid} |"
    )


def _sources(metric: str, found: Row) -> list[str]:
    s, n = found["sources"], found["n"]
    lines = [
        f"{metric}: {n['train']} training, {n['test']} test, {n['held_out']} held-out shapes, "
        f"{n['copies']} copies; flagged below {found['threshold']:.6g}, false-positive rate "
        f"{found['false_positive_rate']:.2%}"
    ]
    for key, name in (("with_near_duplicate", "with"), ("without", "without")):
        c = s[key]
        lines.append(
            f"- copies of sources {name} a near-duplicate in the training set: {c['copies']}, "
            f"{c['flagged']} flagged; nearest is the source {c['source']}, a near-duplicate of it "
            f"{c['near_duplicate']}, another shape {c['elsewhere']}"
        )
    lines.append(
        f"- training shapes with a near-duplicate: {s['training_with_near_duplicate']} of "
        f"{s['training']}; charged with one flagged copy: {s['charged_once']}, with more: "
        f"{s['charged_more']} ({s['charged_more_with_near_duplicate']} of these have a "
        "near-duplicate)"
    )
    return lines
