"""The result as a few lines of text, every number with its n."""

from __future__ import annotations

import csv
import io
from typing import Any

from .duplicates import sentence

SHOWN = 5  # rows of a table in the text; all are in the JSON

Section = dict[str, Any]


def text(result: Section) -> str:
    """Head line, verdict, one line per number, caveats."""
    zu, excess = result["zu"], result["excess"]
    level = f"{100 * result['settings']['confidence']:g} %"
    sizes = f"({zu['n_gen']} generated, {zu['n_test']} test shapes)"
    p = "none, all distances equal" if zu["p_less"] is None else f"{zu['p_less']:.4g}"
    tie = zu["z_tie_corrected"]
    lines = [
        f"Z_U = {zu['z_u']:.4f}  {sizes}",
        result["verdict"]["sentence"],
        "",
        f"Z_U            {zu['z_u']:+.4f}{_interval(zu['z_u_interval'], level, '+.4f')}  {sizes}",
        f"  no 1/2       {zu['z_no_continuity']:+.4f}; variance corrected for ties "
        + ("none" if tie is None else f"{tie:+.4f}")
        + f"; {100 * zu['tie_share']:.2f} % of pairs tie",
        f"AUC            {zu['auc']:.4f}{_interval(zu['auc_interval'], level, '.4f')}  {sizes}",
        f"p (one-sided)  {p}, {zu['p_method']}  {sizes}",
        f"flagged        {excess['flagged']} of {excess['n_gen']}, expected "
        f"{excess['expected']:.2f} (p = {excess['p_more']:.3g}); distance below "
        f"{_number(excess['threshold'])}, number {excess['order_statistic']} of "
        f"{excess['n_test']} test distances",
        f"excess share   {excess['excess_share']:+.2%}"
        f"{_interval(excess['excess_interval'], level, '+.2%')}  {sizes}; false-positive rate "
        f"{excess['false_positive_rate']:.2%}",
        f"distance       median {_number(zu['median_gen'])} generated, "
        f"{_number(zu['median_test'])} test; at 0: {excess['zero_gen']} of {zu['n_gen']} "
        f"generated, {excess['zero_test']} of {zu['n_test']} test",
        *_samples(result["samples"]),
        *_training(result["training_shapes"]),
        *_duplicates(result["duplicates"]),
        *_categories(result["categories"]),
        *_cells(result["c_t"]),
        *_left_out(result["inputs"]),
        *(f"note: {line}" for line in result["verdict"]["warnings"]),
    ]
    return "\n".join(lines)


def _interval(ends: list[float] | None, level: str, form: str) -> str:
    if ends is None:
        return "  (no interval)"
    return f"  {level} interval [{ends[0]:{form}}, {ends[1]:{form}}]"


def _number(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.6g}"


def _samples(rows: list[Section]) -> list[str]:
    flagged = [row for row in rows if row["flagged"]]
    lines = [
        f"  {row['id']}: {_number(row['distance'])} from {row['nearest_id'] or '(no id)'}, "
        f"percentile {100 * row['percentile']:.2f} among test distances"
        for row in flagged[:SHOWN]
    ]
    return [f"closest        {len(flagged)} flagged", *lines, *_more(flagged)] if flagged else []


def _training(rows: list[Section]) -> list[str]:
    often = [row for row in rows if row["flagged"]]
    lines = [
        f"  {row['id']}: nearest to {row['generated']} generated ({row['flagged']} flagged) and "
        f"{row['held_out']} test shapes{_twin(row)}"
        for row in often[:SHOWN]
    ]
    head = f"their sources  {len(often)} training shapes"
    return [head, *lines, *_more(often)] if often else []


def _twin(row: Section) -> str:
    if "nearest_training" not in row:
        return ""
    return f"; {_number(row['nearest_training'])} from another training shape"


def _duplicates(section: Section | None) -> list[str]:
    return [f"duplicates     {sentence(section)}"] if section else []


def _more(rows: list[Section]) -> list[str]:
    return [f"  ... {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []


def _categories(section: Section) -> list[str]:
    rows = section["rows"]
    if not rows:
        return [f"per category   none: {section['reason']}"]
    tested = sorted((r for r in rows if r["q"] is not None), key=lambda r: r["p_less"])
    lines = [
        f"per category   {len(tested)} of {len(rows)} tested (at least {section['minimum']} a "
        f"side); {section['reason']}"
    ]
    for row in tested[:SHOWN]:
        lines.append(
            f"  {row['category']}: Z_U {row['z_u']:+.2f}, AUC {row['auc']:.3f}, "
            f"q = {row['q']:.3g}, {row['flagged']} flagged "
            f"({row['n_gen']} generated, {row['n_test']} test)"
        )
    return lines + _more(tested)


def _cells(section: Section | None) -> list[str]:
    if section is None:
        return []
    used = sum(cell["used"] for cell in section["cells"])
    value = "none" if section["c_t"] is None else f"{section['c_t']:+.4f}"
    return [
        f"C_T            {value}, {used} of {len(section['cells'])} cells above tau "
        f"{section['tau']:.3g}; {section['cells_from']} ({section['n_train']} training, "
        f"{section['n_test']} test, {section['n_gen']} generated embeddings)"
    ]


def _left_out(inputs: Section) -> list[str]:
    return [
        f"left out       {len(part['dropped'])} of {part['queries']} queries of {part['path']} "
        f"(first: {part['dropped'][0]['id']} {part['dropped'][0]['reason']})"
        for part in inputs.values()
        if part["dropped"]
    ]


def samples_csv(samples: list[Section]) -> str:
    """The per-sample table as CSV, columns as the keys of a row; null is an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(samples[0]), lineterminator="\n")
    writer.writeheader()
    for row in samples:
        writer.writerow(row | {"flagged": str(row["flagged"]).lower()})
    return buffer.getvalue()
