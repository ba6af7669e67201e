"""Distances between shapes that another program measured, whatever the metric.

Either an NPZ with `ids` (n,) and `distances` (n, n), or a retrieval result in which every query
lists every other shape (retrieve.py with --topk as large as the database).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import files
from .records import load_arrays

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Distances (n, n) of `ids`, >= 0; NaN where a pair was not measured."""

    path: Path
    ids: Sequence[str]
    values: Matrix

    def places(self, ids: Sequence[str], owner: Path) -> NDArray[np.int64]:
        """Rows of `ids`. ValueError names the first that is not there."""
        known = {name: place for place, name in enumerate(self.ids)}
        absent = next((name for name in ids if name not in known), None)
        if absent is not None:
            raise ValueError(f"{self.path}: no distances of {absent!r}, a shape of {owner}")
        return np.array([known[name] for name in ids], np.int64)

    def between(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Matrix:
        """(len(rows), len(columns)). ValueError names a pair that was not measured."""
        found = self.values[np.ix_(rows, columns)]
        hole = np.argwhere(np.isnan(found) & (rows[:, None] != columns))
        if len(hole):
            one, two = self.ids[rows[hole[0][0]]], self.ids[columns[hole[0][1]]]
            raise ValueError(f"{self.path}: no distance of {one!r} to {two!r} (larger --topk?)")
        return found


def read_pairs(path: Path) -> Pairs:
    """Read an NPZ matrix or a retrieval result.

    Raises:
        OSError, ValueError: unreadable, another layout, or a negative or infinite distance.
    """
    pairs = _from_npz(path) if path.suffix == ".npz" else _from_retrieval(path)
    if len(set(pairs.ids)) < len(pairs.ids):
        raise ValueError(f"{path}: ids: an id stands twice")
    wrong = np.argwhere((pairs.values < 0) | np.isinf(pairs.values))
    if len(wrong):
        one, two = (pairs.ids[place] for place in wrong[0])
        raise ValueError(f"{path}: distance of {one!r} to {two!r}: expected 0 or more, finite")
    return pairs


def _from_npz(path: Path) -> Pairs:
    arrays = load_arrays(path, ("ids", "distances"))
    for key in ("ids", "distances"):
        if key not in arrays:
            raise ValueError(f"{path}: {key}: missing; expected ids (n,) and distances (n, n)")
    ids, values = arrays["ids"], arrays["distances"]
    if ids.ndim != 1 or values.shape != (len(ids), len(ids)) or values.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected ids (n,), distances (n, n): {ids.shape} {values.shape}")
    return Pairs(path, [str(name) for name in ids], values.astype(np.float64))


def _from_retrieval(path: Path) -> Pairs:
    content = files.read_json(path)
    lists = isinstance(content, dict) and all(isinstance(v, list) for v in content.values())
    if not lists or not content:
        raise ValueError(f"{path}: expected a retrieval result, {{query: [neighbour, ...]}}")
    others = {_entry(path, query, e)[0] for query, found in content.items() for e in found}
    ids = [*content, *sorted(others - set(content))]
    place = {name: i for i, name in enumerate(ids)}
    values = np.full((len(ids), len(ids)), np.nan)
    for query, found in content.items():
        for entry in found:
            name, distance = _entry(path, query, entry)
            values[place[query], place[name]] = distance
    values = np.where(np.isnan(values), values.T, values)
    return Pairs(path, ids, values)


def _entry(path: Path, query: str, entry: Any) -> tuple[str, float]:
    if isinstance(entry, dict):
        name, distance = entry.get("model_id"), entry.get("distance")
        number = distance if isinstance(distance, int | float) else None
        if isinstance(name, str) and number is not None and not isinstance(number, bool):
            return name, float(number)
    raise ValueError(
        f"{path}: query {query!r}: expected model_id and distance, found {entry!r:.60}"
    )
