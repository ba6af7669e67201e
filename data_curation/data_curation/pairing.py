"""A label for every caption: what goes in, the two kinds of labeller, the files that come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .bank import Bank
from .csv_tables import read_table, write_table
from .encoder import Encoder
from .files import write_json, write_text
from .lexicon import Lexicon
from .shapes_index import read_index

USES = ("name", "tags", "category")
COLUMNS = ("uid", "caption", "kept", "status", "label", "score", "runner_up", "margin", "reason")
BINS = 50


class Item(NamedTuple):
    """One row to label: `caption` as it stands in the input, and what else is known."""

    uid: str
    caption: str
    tags: tuple[str, ...] = ()
    category: str = ""


Found = dict[str, Any]  # status, label, score, runner_up, margin, reason
Labeller = Callable[[Sequence[Item]], Iterator[Found]]


def read_items(path: Path, use: Sequence[str], stop: frozenset[str], language: str) -> list[Item]:
    """Rows of a CSV (uid, caption; with or without a header) or of a shapes.json (names, tags).

    Args:
        use:      of `USES`: what of a shape may be looked at.
        stop:     catalogue words in lower case, no tags of a thing.
        language: of names and tags in shapes.json.
    """
    if path.suffix != ".json":
        table = read_table(path, bare=("uid", "caption"))
        if not table.columns:
            return []
        uid, caption = table.column("uid"), table.column("caption")
        return [Item(row[uid].strip(), row[caption].strip()) for row in table.rows]
    found = []
    for row in read_index(path):
        tags = row.get("tags", {}).get(language, []) if "tags" in use else []
        category = row.get("category", "") if "category" in use else ""
        name = str(row.get("names", {}).get(language, "")).strip()
        kept = tuple(tag for tag in tags if tag.lower() not in stop)
        found.append(Item(row["id"], name, kept, category))
    return found


def by_lexicon(lexicon: Lexicon) -> Labeller:
    def label(items: Sequence[Item]) -> Iterator[Found]:
        for item in items:
            found = lexicon.label(item.caption, item.tags, item.category)._asdict()
            yield found | {"score": round(found["score"], 6), "margin": round(found["margin"], 6)}

    return label


def by_embedding(bank: Callable[[], Bank], encoder: Encoder) -> Labeller:
    def label(items: Sequence[Item]) -> Iterator[Found]:
        texts = [
            encoder.query(", ".join([i.caption, *i.tags, i.category]).strip(", ")) for i in items
        ]
        for vector in encoder.encode(texts):
            yield {"status": "embedding", **bank().match(vector)._asdict(), "reason": ""}

    return label


def verdict(item: Item, found: Found, threshold: float, margin: float) -> Found:
    """A row of the table of all rows: kept or not, and why not."""
    reason = found["reason"]
    if found["label"] and found["score"] < threshold:
        reason = f"score below {threshold:g}"
    elif found["label"] and found["margin"] < margin:
        reason = f"margin below {margin:g}"
    kept = bool(found["label"]) and found["score"] >= threshold and found["margin"] >= margin
    return found | {
        "uid": item.uid, "caption": item.caption, "kept": "yes" if kept else "no", "reason": reason
    }  # fmt: skip


EMPTY: Found = {
    "status": "empty", "label": "", "score": 0.0, "runner_up": "", "margin": 0.0,
    "reason": "no caption",
}  # fmt: skip
TWICE: Found = EMPTY | {"status": "duplicate", "reason": "uid stands before"}


def write_results(
    output: Path, prefix: Path, rows: Sequence[Found], summary: Mapping[str, Any]
) -> dict[str, int]:
    """Write the kept rows, all rows, counts, histogram and summary; returns the counts.

    Rows are written with six decimals, whatever computed them.
    """
    shown = [
        row | {"score": f"{row['score']:.6f}", "margin": f"{row['margin']:.6f}"} for row in rows
    ]
    kept = [row for row in shown if row["kept"] == "yes"]
    write_table(_beside(prefix, "all.csv"), COLUMNS, shown)
    write_table(output, ("uid", "caption", "label", "sim"), [r | {"sim": r["score"]} for r in kept])
    count = Counter(row["label"] for row in kept)
    order = sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))
    lines = ["class\tkept", *(f"{name}\t{number}" for name, number in order)]
    write_text(_beside(prefix, "counts.tsv"), "\n".join(lines) + "\n")
    write_text(_beside(prefix, "hist.tsv"), _histogram(rows))
    counts = {"rows": len(rows), "kept": len(kept), "classes": len(count)}
    counts |= {f"status {k}": v for k, v in sorted(Counter(r["status"] for r in rows).items())}
    share = round(len(kept) / len(rows), 6) if rows else 0.0
    write_json(_beside(prefix, "summary.json"), {**summary, "counts": counts, "kept share": share})
    return counts


def _beside(prefix: Path, ending: str) -> Path:
    return prefix.with_name(f"{prefix.name}.{ending}")


def _histogram(rows: Sequence[Found]) -> str:
    """50 bins of the score over [0, 1]; rows without a label are left out, others clipped in."""
    scored = [row for row in rows if row["label"]]
    edges = np.linspace(0.0, 1.0, BINS + 1)

    def bins(kept: tuple[str, ...]) -> list[int]:
        values = [min(max(row["score"], 0.0), 1.0) for row in scored if row["kept"] in kept]
        return [int(n) for n in np.histogram(values, edges)[0]]

    lines = ["bin_left\tbin_right\tall\tkept"]
    for left, right, whole, part in zip(
        edges, edges[1:], bins(("yes", "no")), bins(("yes",)), strict=False
    ):
        lines.append(f"{left:.2f}\t{right:.2f}\t{whole}\t{part}")
    return "\n".join(lines) + "\n"
