"""Readers of the files the test takes: retrieval results, run records, categories, embeddings.

Formats: formats/retrieval.schema.json, run.schema.json, npz.md. Every error names file and query.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import failures_path, read_json, run_path
from .zu import Array

_FEATURES = ("embeddings", "arr", "X", "features", "emb", "data")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Unusable(ValueError):
    """A query without a usable nearest neighbour; `--missing drop` may leave it out."""


@dataclass(frozen=True)
class Query:
    """One query and its nearest database shape.

    Args:
        id, category:      of the query; category None when the file does not say.
        nearest_id, nearest_category: of the database shape, None when the file does not say.
        distance:          to it, >= 0, may be infinite.
        second:            distance of the second neighbour, None without one.
    """

    id: str
    category: str | None
    nearest_id: str | None
    nearest_category: str | None
    distance: float
    second: float | None


@dataclass(frozen=True)
class Retrieval:
    """A retrieval result: usable queries in file order, and what was left out as (id, reason)."""

    path: Path
    layout: str
    queries: list[Query]
    dropped: list[tuple[str, str]]

    @property
    def distances(self) -> Array:
        """(n,) nearest distances in file order."""
        return np.array([query.distance for query in self.queries])


def read_retrieval(path: Path, missing: str = "error") -> Retrieval:
    """Read a retrieval result in any of its layouts.

    Args:
        missing: `error` refuses a query without a usable neighbour (none, no distance, NaN, or
                 listed in `<name>.failures.json`); `drop` leaves it out and lists it.

    Raises:
        OSError:    the file cannot be read.
        ValueError: not JSON, another layout, no query left, a query that is unusable, a distance
                    that is negative or no number, or a first neighbour that is not the nearest.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object of queries, found {_kind(content)}")
    grouped = bool(content) and all(map(_is_group, content.values()))
    queries: list[Query] = []
    dropped: list[tuple[str, str]] = []
    for name, group, value in _entries(content, grouped):
        try:
            queries.append(_query(name, group, value))
        except Unusable as error:
            dropped.append((name, str(error)))
        except ValueError as error:
            raise ValueError(f"{path}: query {name!r}: {error}") from error
    known = {query.id for query in queries} | {name for name, _ in dropped}
    dropped += [row for row in _failed(path) if row[0] not in known]
    if dropped and missing == "error":
        name, reason = dropped[0]
        raise ValueError(
            f"{path}: query {name!r} {reason} ({len(dropped)} of {len(queries) + len(dropped)} "
            "queries are like this); rerun retrieve.py for it or use --missing drop"
        )
    if not queries:
        left = f"; all {len(dropped)} were left out" if dropped else ""
        raise ValueError(f"{path}: empty: no usable query{left}; expected at least one")
    return Retrieval(path, "grouped" if grouped else "flat", queries, dropped)


def _failed(path: Path) -> list[tuple[str, str]]:
    """(id, reason) of the queries that retrieve.py could not answer."""
    beside = failures_path(path)
    rows = read_failures(beside) if beside.exists() else []
    return [(row["id"], f"has no neighbour: {row['error']}") for row in rows]


def read_failures(path: Path) -> list[dict[str, str]]:
    """Read a failure list (formats/failures.schema.json). ValueError names file and row."""
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: expected a list of failures, found {_kind(rows)}")
    for i, row in enumerate(rows):
        keys = {"id", "stage", "error"} | (row.keys() if isinstance(row, dict) else set())
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) and row[key] for key in keys
        ):
            raise ValueError(f"{path}: row {i}: expected texts under id, stage and error")
    return rows


def _is_group(value: Any) -> bool:
    """A dict of queries: no `distance` of its own, every value a list, an object or null."""
    return (
        isinstance(value, dict)
        and "distance" not in value
        and all(inner is None or isinstance(inner, (dict, list)) for inner in value.values())
    )


def _entries(content: dict[str, Any], grouped: bool) -> list[tuple[str, str | None, Any]]:
    """(query id, group, value) of every query; an id of several groups becomes `group/id`."""
    if not grouped:
        return [(name, None, value) for name, value in content.items()]
    rows = [(name, group, value) for group in content for name, value in content[group].items()]
    count: dict[str, int] = {}
    for name, _, _ in rows:
        count[name] = count.get(name, 0) + 1
    return [(f"{g}/{name}" if count[name] > 1 else name, g, value) for name, g, value in rows]


def _query(name: str, group: str | None, value: Any) -> Query:
    entries = value if isinstance(value, list) else [] if value is None else [value]
    if not entries or entries[0] is None:
        raise Unusable("has no neighbour")
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"neighbour {i + 1}: expected an object, found {_kind(entry)}")
    distances = [_distance(entry, i + 1) for i, entry in enumerate(entries)]
    if min(distances) < distances[0]:
        raise ValueError(
            f"neighbour {distances.index(min(distances)) + 1} is at {min(distances)}, nearer than "
            f"the first at {distances[0]}; neighbours must be sorted, nearest first"
        )
    first = entries[0]
    category = _text(first, "query_category")
    return Query(
        name,
        category if group is None else group,
        _text(first, "model_id"),
        _text(first, "category_id"),
        distances[0],
        distances[1] if len(distances) > 1 else None,
    )


def _distance(entry: dict[str, Any], place: int) -> float:
    given = entry.get("distance")
    absent = Unusable if place == 1 else ValueError
    if given is None:
        raise absent("has no distance" if place == 1 else f"neighbour {place} has no distance")
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise ValueError(f"neighbour {place}: distance is {_kind(given)}, expected a number")
    try:
        value = float(given)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"neighbour {place}: distance is {str(given)[:40]!r}, expected a number"
        ) from error
    if math.isnan(value):
        raise absent("has the distance NaN" if place == 1 else f"neighbour {place} has NaN")
    if value < 0:
        raise ValueError(f"neighbour {place}: distance is {value}, expected >= 0")
    return value


def _text(entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{key} is {_kind(value)}, expected text")
    return str(value)


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return names[type(value)]


def read_run(path: Path) -> dict[str, Any]:
    """Read a run record (formats/run.schema.json). Raises ValueError naming file and key."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a run record (an object), found {_kind(record)}")
    objects = ("settings", "counts", "inputs", "versions")
    for key, kind in {"command": str, "argv": list, **dict.fromkeys(objects, dict)}.items():
        if not isinstance(record.get(key), kind):
            raise ValueError(f"{path}: {key}: expected {kind.__name__}, found {record.get(key)!r}")
    texts = {f"versions.{k}": v for k, v in record["versions"].items()}
    texts |= {f"argv[{i}]": v for i, v in enumerate(record["argv"])}
    wrong = [key for key, value in texts.items() if not isinstance(value, str)]
    wrong += [
        f"inputs.{name}"
        for name, digest in record["inputs"].items()
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest)
    ]
    seconds = record.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        wrong.append("seconds")
    wrong += ["versions.python"] if "python" not in record["versions"] else []
    wrong += ["command"] if not record["command"] else []
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)}: not as formats/run.schema.json says")
    return record


def run_beside(path: Path) -> dict[str, Any] | None:
    """Run record of a result file, None when there is none."""
    beside = run_path(path)
    return read_run(beside) if beside.exists() else None


def read_categories(paths: Sequence[Path]) -> dict[str, str]:
    """id -> category from shape lists, `{"shapes": [{"id": str, "category": str, ...}, ...]}`.

    Raises:
        OSError, ValueError: unreadable, another layout, or two categories for one id.
    """
    found: dict[str, str] = {}
    for path in paths:
        content = read_json(path)
        rows = content.get("shapes") if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise ValueError(f"{path}: expected an object with a list under 'shapes'")
        for i, row in enumerate(rows):
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                raise ValueError(f"{path}: shapes[{i}]: expected an object with an 'id'")
            name, category = row["id"], _text(row, "category")
            if category and found.setdefault(name, category) != category:
                raise ValueError(
                    f"{path}: {name!r} is in category {category!r}, before in {found[name]!r}"
                )
    return found


def read_embeddings(path: Path) -> tuple[Array, list[str]]:
    """Feature rows (n, d) float64 and categories (n, "" when unknown) of an embedding NPZ.

    Raises:
        OSError, ValueError: unreadable, no feature array, wrong shape, or not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in (*_FEATURES, "categories") if key in archive}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"{path}: not a readable NPZ file: {error}") from error
    wrong = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}: not an array; write the file again")
    key = next((key for key in _FEATURES if key in arrays), None)
    if key is None:
        raise ValueError(f"{path}: no feature array; expected one of {', '.join(_FEATURES)}")
    rows = arrays[key]
    if rows.ndim != 2 or not rows.size or rows.dtype.kind != "f":
        raise ValueError(f"{path}: {key}: expected (n, d) float, found {rows.dtype} {rows.shape}")
    if not np.isfinite(rows).all():
        bad = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise ValueError(f"{path}: {key}: row {bad} is not finite; compute it again")
    labels = arrays.get("categories", np.full(len(rows), ""))
    if labels.shape != (len(rows),) or labels.dtype.kind != "U":
        raise ValueError(f"{path}: categories: expected ({len(rows)},) text, found {labels.shape}")
    return rows.astype(np.float64), [str(label) for label in labels]
