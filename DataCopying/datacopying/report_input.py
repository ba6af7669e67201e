"""Reads the result of datacopying_test.py for the report (formats/zu_result.schema.json)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .files import read_json, sha256
from .records import Query, read_retrieval

Result = dict[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


_KINDS: dict[str, Callable[[Any], bool]] = {
    "a number": _is_number,
    "a number from 0": lambda v: _is_number(v) and v >= 0,
    "a number from 0 to 1": lambda v: _is_number(v) and 0 <= v <= 1,
    "a whole number from 0": lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
    "a whole number from 1": lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 1,
    "two numbers": _is_interval,
    "text": lambda v: isinstance(v, str) and v != "",
    "true or false": lambda v: isinstance(v, bool),
    "copies, chance or none": lambda v: v in ("copies", "chance", "none"),
    "an object": lambda v: isinstance(v, dict),
    "a list": lambda v: isinstance(v, list),
    "a list with an entry": lambda v: isinstance(v, list) and len(v) > 0,
}
_COUNT, _SIZE = "a whole number from 0", "a whole number from 1"
_SHARE, _DISTANCE = "a number from 0 to 1", "a number from 0 or null"

_SECTIONS: dict[str, dict[str, str]] = {
    "verdict": {
        "finding": "copies, chance or none",
        "sentence": "text",
        "warnings": "a list",
    },
    "zu": {
        "z_u": "a number",
        "z_u_interval": "two numbers or null",
        "n_gen": _SIZE,
        "n_test": _SIZE,
        "auc": _SHARE,
        "auc_interval": "two numbers or null",
        "p_less": f"{_SHARE} or null",
        "p_method": "text",
        "tie_share": _SHARE,
        "median_gen": _DISTANCE,
        "median_test": _DISTANCE,
    },
    "excess": {
        "threshold": _DISTANCE,
        "quantile": _SHARE,
        "false_positive_rate": _SHARE,
        "flagged": _COUNT,
        "share": _SHARE,
        "share_interval": "two numbers or null",
        "expected": "a number from 0",
        "excess_share": "a number",
        "excess_interval": "two numbers or null",
        "p_more": _SHARE,
        "resolved": "true or false",
        "zero_gen": _COUNT,
        "zero_test": _COUNT,
    },
    "distances": {"gen": "a list with an entry", "test": "a list with an entry"},
    "categories": {"by": "text or null", "reason": "text", "minimum": _SIZE, "rows": "a list"},
    "settings": {"quantile": _SHARE, "bootstrap": _COUNT, "confidence": _SHARE, "seed": _COUNT},
    "provenance": {
        "metric": "text or null",
        "gen": "an object or null",
        "test": "an object or null",
        "differences": "a list",
    },
    "inputs": {"gen": "an object", "test": "an object"},
    "notes": {},
}
_ROWS: dict[str, dict[str, str]] = {
    "samples": {
        "id": "text",
        "category": "text or null",
        "nearest_id": "text or null",
        "nearest_category": "text or null",
        "distance": _DISTANCE,
        "percentile": _SHARE,
        "ratio_to_second": f"{_SHARE} or null",
        "flagged": "true or false",
    },
    "training_shapes": {
        "id": "text",
        "category": "text or null",
        "generated": _SIZE,
        "flagged": _COUNT,
        "held_out": _COUNT,
    },
    "categories.rows": {
        "category": "text",
        "n_gen": _COUNT,
        "n_test": _COUNT,
        "flagged": _COUNT,
        "z_u": "a number or null",
        "auc": f"{_SHARE} or null",
        "p_less": f"{_SHARE} or null",
        "q": f"{_SHARE} or null",
        "reason": "text or null",
    },
    "c_t.cells": {
        "cell": "text",
        "n_train": _COUNT,
        "n_test": _COUNT,
        "n_gen": _COUNT,
        "z_u": "a number",
        "used": "true or false",
    },
}
_C_T = {"c_t": "a number or null", "tau": "a number from 0", "cells_from": "text"}
_CHARGED = {"shapes": _COUNT, "flagged": _COUNT}
_INPUT = {"path": "text", "sha256": "text", "queries": _SIZE, "used": _SIZE, "dropped": "a list"}


def read_result(path: Path) -> Result:
    """Read and check what the report shows; other keys are let through.

    Raises:
        OSError, ValueError: unreadable, or naming the key that is missing or of another kind.
    """
    result = read_json(path)
    if not isinstance(result, dict):
        raise ValueError(f"{path}: expected the result of datacopying_test.py (an object)")
    for name, keys in _SECTIONS.items():
        _check(path, name, result.get(name), keys)
    for side in ("gen", "test"):
        _check(path, f"inputs.{side}", result["inputs"][side], _INPUT)
        for place, distance in enumerate(result["distances"][side]):
            _demand(path, f"distances.{side}[{place}]", distance, _DISTANCE)
    if result.get("c_t") is not None:
        _check(path, "c_t", result["c_t"], _C_T)
    if (found := result.get("duplicates")) is not None:
        _check(path, "duplicates", found, {"p": f"{_SHARE} or null"})
        for group in ("with_near_duplicate", "without"):
            _check(path, f"duplicates.{group}", found.get(group), _CHARGED)
    for name, keys in _ROWS.items():
        for place, row in enumerate(_rows(path, result, name)):
            _check(path, f"{name}[{place}]", row, keys)
    if not result["samples"]:
        raise ValueError(f"{path}: samples: empty; expected a row for each generated shape")
    return result


def _rows(path: Path, result: Result, name: str) -> list[Any]:
    section, _, key = name.partition(".")
    if section == "c_t" and result.get("c_t") is None:
        return []
    rows: Any = result[section].get(key) if key else result.get(section)
    _demand(path, name, rows, "a list")
    return list(rows)


def _check(path: Path, name: str, found: Any, keys: dict[str, str]) -> None:
    _demand(path, name, found, "an object")
    for key, kind in keys.items():
        if key not in found:
            raise ValueError(f"{path}: {name}.{key}: missing; rerun datacopying_test.py")
        _demand(path, f"{name}.{key}", found[key], kind)


def _demand(path: Path, name: str, value: Any, kind: str) -> None:
    plain = kind.removesuffix(" or null")
    if not (value is None and plain != kind) and not _KINDS[plain](value):
        raise ValueError(f"{path}: {name}: expected {kind}, found {value!r:.60}")


def closest_held_out(path: Path, result: Result, count: int) -> list[Query]:
    """The held-out shapes nearest to the training set, from the file the result was made from.

    That file is looked for where the result says, then beside the result.

    Raises:
        OSError, ValueError: it is not found, or has changed since.
    """
    said = Path(result["inputs"]["test"]["path"])
    place = next((p for p in (said, path.parent / said.name) if p.is_file()), None)
    if place is None:
        raise ValueError(f"{path}: inputs.test.path: {said} is not found, nor beside the result")
    if sha256(place) != result["inputs"]["test"]["sha256"]:
        raise ValueError(f"{place}: changed since {path} was made; rerun datacopying_test.py")
    queries = read_retrieval(place, missing="drop").queries
    return sorted(queries, key=lambda query: query.distance)[:count]
