"""Class ids by category name, and class words given by name or id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..files import read_json


def ids_of(categories: Iterable[str]) -> dict[str, int]:
    """Rank of each category in sorted order, as the released class models were trained."""
    return {name: rank for rank, name in enumerate(sorted(set(categories)))}


def read_class_ids(path: Path) -> dict[str, int]:
    """Read classes.json or mapping.json: {name: id} or [name, ...].

    Raises:
        ValueError: another form, or an id negative or used twice.
    """
    found = read_json(path)
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        found = {name: rank for rank, name in enumerate(found)}
    ids = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ValueError(f"{path}: expected {{category: id}} with ids from 0, or a list of names")
    if len(set(ids)) < len(ids):
        raise ValueError(f"{path}: two categories share an id")
    return found


def class_number(word: str, class_ids: Mapping[str, int]) -> int:
    """Id of a class given by name or by id. Raises ValueError with the nearest name."""
    if word in class_ids:
        return class_ids[word]
    if word.isdecimal() and int(word) in class_ids.values():
        return int(word)
    near = difflib.get_close_matches(word, class_ids, n=1)
    hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(class_ids)}"
    raise ValueError(f"unknown class {word!r}{hint}")
