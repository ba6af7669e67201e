"""The result as text, every number with its n."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
NAMES = {"fd": "FD", "fd_infinity": "FD-infinity", "kid": "KID", "one_nna": "1-NNA"} | {
    name: name.upper() for name in ("cov", "mmd")
}


def text(result: Row) -> str:
    """Head line for the Frechet distance, then a line for every value."""
    rows = result["metrics"]
    return "\n".join([*_frechet(result), *(line for row in rows for line in _lines(row, result))])


def _frechet(result: Row) -> list[str]:
    row = next((r for r in result["metrics"] if r["name"] == "fd" and r["details"]), None)
    if row is None:
        return []
    d = result["dimensions"]
    counts = f"{_counts(row)[:-1]}, {d} dimension{'s' * (d != 1)})"
    lines = [f"FD = {row['value']:.6f}  {counts}"]
    if abs(row["value"] - row["details"]["exact"]) > 1e-6:
        lines.append(f"FD without clipping = {row['details']['exact']:.6f}  {counts}")
    return [*lines, ""]


def _counts(row: Row) -> str:
    names = {"train": "reference", "test": "test", "generated": "generated"}
    return f"({', '.join(f'{count} {names[side]}' for side, count in row['n'].items())})"


def _lines(row: Row, result: Row) -> list[str]:
    head = f"{NAMES.get(row['name'], row['name']):<12}"
    if row["value"] is None:
        return [f"{head}none: {row['reason']}"]
    level = f"{100 * result['settings']['confidence']:g} %"
    ends = row["interval"]
    between = f"  {level} interval [{_short(ends[0])}, {_short(ends[1])}]" if ends else ""
    lines = [f"{head}{_short(row['value'])}{between}  {_counts(row)}"]
    if beside := row["equal_n"]:
        lines.append(
            f"{'':<12}at n = {beside['n']}: {_short(beside['generated'])} generated, "
            f"{_short(beside['baseline'])} {beside['of']} shapes"
        )
    if row["reason"]:
        lines.append(f"{'':<12}{row['reason']}")
    return lines


def _short(value: float) -> str:
    return f"{value:.6g}"
