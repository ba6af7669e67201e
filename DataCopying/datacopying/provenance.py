"""Do two retrieval results belong together? Compare the run records beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
_FREE = {"topk", "exclude_self", "limit", "query", "database"}  # may differ, or are told apart


def differences(gen: Record | None, test: Record | None) -> list[str]:
    """What makes two results incomparable, in words; empty when nothing does or a record lacks.

    Metric settings and descriptor settings (`tables`) must agree, the database files must be the
    same and the query files must not (both by SHA-256).
    """
    if gen is None or test is None:
        return []
    ours, theirs = _decisive(gen), _decisive(test)
    keys = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
    found = [f"{key}: generated {ours.get(key)!r}, test {theirs.get(key)!r}" for key in keys]
    if gen["settings"].get("database") != test["settings"].get("database"):
        found.append("training set: the database files differ (by SHA-256)")
    query = gen["settings"].get("query")
    if query is not None and query == test["settings"].get("query"):
        found.append("queries: both results are of the same files (by SHA-256)")
    return found


def _decisive(record: Record) -> dict[str, Any]:
    settings = {key: value for key, value in record["settings"].items() if key not in _FREE}
    tables = record.get("tables") or {}
    return settings | {f"tables.{key}": value for key, value in tables.items()}


def summary(record: Record | None) -> dict[str, Any] | None:
    """The part of a run record that a result quotes."""
    if record is None:
        return None
    keys = ("command", "settings", "tables", "inputs", "versions")
    return {key: record[key] for key in keys if key in record}


def metric(*records: Record | None) -> str | None:
    """Name of the metric, from the first record that says it."""
    named = [r["settings"]["metric"] for r in records if r and r["settings"].get("metric")]
    return str(named[0]) if named else None
