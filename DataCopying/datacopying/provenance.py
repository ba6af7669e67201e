"""Do two retrieval results belong together? Compare the run records beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
_FREE = {"topk", "exclude_self", "query", "output", "workers", "device", "limit", "shard"}


def differences(gen: Record | None, test: Record | None) -> list[str]:
    """What makes two results incomparable, in words; empty when nothing does or a record lacks.

    Settings must agree (metric, descriptor, normalisation), and the database must be the same
    file: its digest is among the inputs of both runs.
    """
    if gen is None or test is None:
        return []
    ours, theirs = gen["settings"], test["settings"]
    keys = sorted(k for k in {*ours, *theirs} - _FREE if ours.get(k) != theirs.get(k))
    found = [f"{key}: generated {ours.get(key)!r}, test {theirs.get(key)!r}" for key in keys]
    gen_inputs, test_inputs = set(gen["inputs"].values()), set(test["inputs"].values())
    if gen_inputs and test_inputs and not gen_inputs & test_inputs:
        found.append("training set: the two runs share no input file (by SHA-256)")
    if gen_inputs and gen_inputs == test_inputs:
        found.append("queries: both runs read the same input files (by SHA-256)")
    return found


def summary(record: Record | None) -> dict[str, Any] | None:
    """The part of a run record that a result quotes."""
    if record is None:
        return None
    return {key: record[key] for key in ("command", "settings", "inputs", "versions")}


def metric(*records: Record | None) -> str | None:
    """Name of the metric, from the first record that says it."""
    named = [r["settings"]["metric"] for r in records if r and r["settings"].get("metric")]
    return str(named[0]) if named else None
