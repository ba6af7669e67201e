"""Class lists: names and ids, in one form for every consumer, and the words a name stands for.

A list is JSON, `{name: id}` with ids 0 to n - 1 or `[name, ...]`, or text with a name a line. Names
may be those of LVIS: underscores for blanks, a bracketed qualifier that only tells two meanings
apart ("car_(automobile)"), and variants after a blank ("monitor_(computer_equipment)
computer_monitor").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .files import read_json, write_json
from .words import singular, words_of


def ids_of(names: Iterable[str]) -> dict[str, int]:
    """Ranks in the order of code points, capitals first, as the paper's mapping.json has them."""
    return {name: rank for rank, name in enumerate(sorted(set(names)))}


def read_classes(path: Path) -> dict[str, int]:
    """Ids by name, in the order of the ids.

    Raises:
        ValueError: another form, no names, one that stands twice, ids other than 0 to n - 1. So a
            list of 16 names that carries the ids of the list of 100 is refused.
    """
    if path.suffix == ".txt":
        text = path.read_text(encoding="utf-8-sig")
        found: object = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        found = read_json(path)
    if isinstance(found, list) and all(isinstance(name, str) and name for name in found):
        if len(set(found)) < len(found):
            twice = next(name for name in found if found.count(name) > 1)
            raise ValueError(f"{path}: the class {twice!r} stands twice")
        found = {name: rank for rank, name in enumerate(found)}
    ids = list(found.values()) if isinstance(found, dict) else []
    if not ids or not all(type(number) is int for number in ids):
        raise ValueError(f"{path}: expected {{name: id}} or a list of names, at least one")
    if sorted(ids) != list(range(len(ids))):
        raise ValueError(
            f"{path}: {len(ids)} classes need the ids 0 to {len(ids) - 1}, each once; found "
            f"{min(ids)} to {max(ids)}. Ids of a longer list do not fit a part of it"
        )
    assert isinstance(found, dict)
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def write_classes(path: Path, ids: Mapping[str, int]) -> None:
    write_json(path, dict(ids))


def check_known(place: str, labels: Iterable[str], ids: Mapping[str, int], source: Path) -> None:
    """Raise ValueError naming the first label that is not in the class list."""
    unknown = sorted(set(labels) - ids.keys())
    if unknown:
        raise ValueError(
            f"{place}: {len(unknown)} classes are not in {source}, the first is {unknown[0]!r}"
        )


def readable(name: str) -> str:
    """ "car (automobile)" for "car_(automobile)": the first variant, as a person writes it."""
    return _variants(name)[0].replace("_", " ")


def phrases_of(name: str) -> list[tuple[str, ...]]:
    """Word tuples that a class name stands for, last word singular, qualifiers left out."""
    bare = [re.sub(r"[_ ]*\([^)]*\)", "", variant) for variant in _variants(name)]
    return [in_singular(words_of(variant)) for variant in bare]


def in_singular(words: Sequence[str]) -> tuple[str, ...]:
    return (*words[:-1], singular(words[-1])) if words else ()


def _variants(name: str) -> list[str]:
    lvis = "_" in name or "(" in name
    return re.sub(r"\s+\(", "_(", name).split() if lvis else [name]


def read_synonyms(path: Path) -> dict[tuple[str, ...], str]:
    """Class by words of another name, from lines `other word: class`; # starts a comment.

    Raises:
        ValueError: a line of another form, or a word with two classes.
    """
    found: dict[tuple[str, ...], str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        word, colon, name = (part.strip() for part in text.partition(":"))
        key = in_singular(words_of(word))
        if not colon or not key or not name or found.get(key, name) != name:
            raise ValueError(
                f"{path}: line {number}: expected one `other word: class`, found {text!r}"
            )
        found[key] = name
    return found
