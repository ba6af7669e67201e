"""Measurements of one mesh file as a row of JSON, for processes and resumed runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from .measure import Facts, measure
from .meshes import load_arrays
from .slices import Floats


class Work(NamedTuple):
    """A mesh and the (3, 3) rotation that makes it upright."""

    uid: str
    path: Path
    turn: Floats


def facts_of(work: Work) -> dict[str, Any]:
    vertices, faces = load_arrays(work.path)
    return asdict(measure(vertices @ work.turn.T, faces))


def facts_from(row: dict[str, Any]) -> Facts:
    """Back from JSON, where tuples are lists."""
    plates = tuple((float(a), float(b)) for a, b in row["plates"])
    lists = {k: tuple(row[k]) for k in ("extents", "mirrors", "openings")}
    return Facts(**{**row, **lists, "plates": plates})
