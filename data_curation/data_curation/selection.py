"""Which shapes of a set are used, under which class, and in which order they make subsets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from .csv_tables import read_table
from .splits import share_of
from .words import plain

Records = dict[str, dict[str, Any]]


def relabelled(records: Records, path: Path) -> Records:
    """The records that a table of labels names, its label as their category.

    Raises:
        ValueError: a uid that is not in the set, two labels for one, none for all.
    """
    table = read_table(path)
    if not table.rows:
        raise ValueError(f"{path}: no rows")
    uid, label = table.column("uid"), table.column("label")
    labels: dict[str, str] = {}
    for row in table.rows:
        name, word = row[uid].strip(), row[label].strip()
        if labels.setdefault(name, word) != word:
            raise ValueError(f"{path}: {name!r} is {labels[name]!r} and {word!r}")
    unknown = sorted(labels.keys() - records.keys())
    if unknown:
        raise ValueError(f"{path}: {len(unknown)} uids are not in the set, first {unknown[0]!r}")
    return {n: {**row, "category": labels[n]} for n, row in records.items() if labels.get(n)}


def of_largest(records: Records, count: int) -> Records:
    """The records of the `count` categories with most shapes; of equal ones the first by name.

    Raises:
        ValueError: fewer categories than that.
    """
    sizes = Counter(str(row.get("category", "")) for row in records.values())
    del sizes[""]
    if len(sizes) < count:
        raise ValueError(f"--top {count}: there are only {len(sizes)} categories")
    order = sorted(sizes, key=lambda name: (-sizes[name], name))[:count]
    return {n: row for n, row in records.items() if row.get("category", "") in set(order)}


def same_author_and_name(records: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of ids whose creator and English name are equal, case and marks aside."""
    owners = defaultdict(list)
    for name, row in sorted(records.items()):
        key = tuple(
            plain(str(text)).lower()
            for text in (row.get("creator", ""), row.get("names", {}).get("en", ""))
        )
        if all(key):
            owners[key].append(name)
    return [pair for names in owners.values() for pair in pairwise(names)]


def permutation(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that a hash of (seed, name) gives: subsets are its prefixes.

    Another name that joins stands somewhere and changes the order of no others.
    """
    return sorted(names, key=lambda name: (share_of(seed, f"\0subset\0{name}"), name))


def sizes_of(text: str, available: int) -> list[int]:
    """Numbers of a list as "100,400". Raises ValueError: no numbers, 0, more than there are."""
    words = [word.strip() for word in text.split(",")]
    sizes = [int(word) if word.isdecimal() else 0 for word in words]
    if min(sizes) < 1 or max(sizes) > available:
        raise ValueError(f"--sizes {text}: expected numbers of 1 to {available} training shapes")
    return sorted(set(sizes))
