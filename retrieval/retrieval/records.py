"""Write retrieval results (formats/retrieval.schema.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import write_text

Neighbours = Sequence[Mapping[str, Any]]


def neighbour(name: str, category: str, distance: float) -> dict[str, Any]:
    """One entry of a result; an integer distance stays an integer."""
    return {"model_id": name, "category_id": category, "distance": distance}


def write_retrieval(path: Path, result: Mapping[str, Neighbours]) -> None:
    """Write {query id: neighbours, nearest first}, one query a line, in the order given.

    Raises:
        ValueError: a query without neighbours, or a distance that is not finite.
        OSError:    the file cannot be written.
    """
    lines = []
    for name, neighbours in result.items():
        if not neighbours:
            raise ValueError(f"{path}: query {name!r} has no neighbour")
        rows = json.dumps(list(neighbours), ensure_ascii=False, allow_nan=False)
        lines.append(f"{json.dumps(name, ensure_ascii=False)}: {rows}")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
