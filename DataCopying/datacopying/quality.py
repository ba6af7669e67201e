"""The quality of a set beside its memorization: what npz_eval.py wrote, for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from .files import read_json
from .fragments import esc, number, table

Row = dict[str, Any]
BLIND = (
    "FD, KID and 1-NNA do not see copies: they compare sets as a whole, and a generator that hands "
    "out its training shapes does well in them. Good values here take nothing back from the "
    "numbers above; bad ones say that a set without copies may be a set without quality. AuthPct "
    "and the FLD gap are the only two that look for copies."
)
_NAMES = {
    "fd": "Frechet distance",
    "fd_infinity": "Frechet distance, endless n",
    "kid": "KID",
    "vendi": "Vendi score",
    "authpct": "AuthPct",
    "fld_gap": "FLD gap",
    "one_nna": "1-NNA",
    "cov": "COV",
    "mmd": "MMD",
}
_SETS = {"train": "training", "test": "held-out", "generated": "generated"}


def read_quality(path: Path) -> Row:
    """Read and check what the report shows (formats/quality.schema.json).

    Raises:
        OSError, ValueError: unreadable, or naming the key that is missing or of another kind.
    """
    result = read_json(path)
    rows = result.get("metrics") if isinstance(result, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: metrics: expected the rows that npz_eval.py writes")
    level = (result.get("settings") or {}).get("confidence")
    if not _is_number(level) or not 0 < level < 1:
        raise ValueError(f"{path}: settings.confidence: expected a share, found {level!r:.60}")
    if not isinstance(result.get("inputs"), dict) or "generated" not in result["inputs"]:
        raise ValueError(f"{path}: inputs: expected what was read, generated rows among them")
    for place, row in enumerate(rows):
        wrong = "expected a row" if not isinstance(row, dict) else _wrong(row)
        if wrong:
            raise ValueError(f"{path}: metrics[{place}]: {wrong}; rerun npz_eval.py")
    return dict(result)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _wrong(row: Row) -> str | None:
    """What is wrong with a row, None when nothing is."""
    if not all(isinstance(row.get(key), str) and row[key] for key in ("name", "reads")):
        return "name, reads: expected text"
    if "value" not in row or not (row["value"] is None or _is_number(row["value"])):
        return f"value: expected a number or null, found {row.get('value')!r:.60}"
    if row["value"] is None:
        return None if isinstance(row.get("reason"), str) else "reason: expected text"
    ends = row.get("interval")
    if ends is not None and not (
        isinstance(ends, list) and list(map(_is_number, ends)) == [True] * 2
    ):
        return f"interval: expected two numbers or null, found {ends!r:.60}"
    counts = row.get("n")
    if not isinstance(counts, dict) or not counts or not counts.keys() <= _SETS.keys():
        return f"n: expected counts by set, found {counts!r:.60}"
    if not all(isinstance(count, int) for count in counts.values()):
        return f"n: expected whole numbers, found {counts!r:.60}"
    beside = row.get("equal_n")
    if beside is not None and not (
        isinstance(beside, dict)
        and all(_is_number(beside.get(key)) for key in ("n", "generated", "baseline"))
        and beside.get("of") in ("held-out", "training")
    ):
        return f"equal_n: expected n, generated, baseline, of; found {beside!r:.60}"
    return None


def section(result: Row | None) -> str:
    """HTML of the section; without a result it says that quality was not measured."""
    if result is None:
        return (
            "<p>Not measured: no embeddings were given. Without it nobody can tell a generator "
            "that is original from one that is poor.</p>"
        )
    level = f"{100 * result['settings']['confidence']:g}\u202f%"
    heads = ["", "value", f"{level} interval", "at equal n", "in their place", "shapes", "reads"]
    body = table(heads, [_cells(row) for row in result["metrics"]], 1)
    said = (
        "In their place: what the metric says of as many held-out shapes taken for generated ones "
        "(of training shapes where it compares with held-out ones); at equal n: of as many "
        "generated shapes. Intervals come from half-samples of generated and held-out shapes."
    )
    return f"<p><b>{BLIND}</b></p>{body}<p>{said}</p>"


def _cells(row: Row) -> list[str]:
    name = esc(_NAMES.get(row["name"], row["name"]))
    if row["value"] is None:
        return [name, f"<i>{esc(row['reason'])}</i>", "", "", "", "", esc(row["reads"])]
    ends, beside = row["interval"], row["equal_n"]
    counts = ", ".join(f"{count:,} {_SETS[side]}" for side, count in row["n"].items())
    return [
        name,
        number(row["value"]),
        f"{number(ends[0])} to {number(ends[1])}" if ends else "",
        number(beside["generated"]) if beside else "",
        f"{number(beside['baseline'])} ({beside['of']}, n = {beside['n']:,})" if beside else "",
        counts,
        esc(row["reads"]),
    ]
