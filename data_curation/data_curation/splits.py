"""Train, validation and test sets that keep near-duplicates together.

Rule. Every group of near-duplicates has the key min(h(seed, id)) over its shapes, h a SHA-256, and
belongs to the category most of its shapes have. In a category with N shapes, groups are put in the
order of their keys; a group that has k shapes before it and g itself stands at (k + u g) / N, where
u = h(seed, category). The splits share [0, 1) in the given ratios; a group goes where it stands.

Of single shapes, a split thus gets the floor or the ceiling of ratio x N in every category, and its
exact share on average even over categories with one shape. A shape that joins a category shifts
the others by at most 1 / N, so at most one of them crosses each border between two splits; other
categories do not change.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SPLITS = ("train", "val", "test")


def share_of(seed: int, name: str) -> float:
    """Uniform in [0, 1) by a hash of the seed and a name."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2.0**48


def groups_of(ids: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Connected components of the graph of `pairs` on `ids`, each sorted, singles included."""
    parent = {name: name for name in ids}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in pairs:
        parent[root(one)] = root(other)
    members = defaultdict(list)
    for name in sorted(parent):
        members[root(name)].append(name)
    return sorted(members.values())


def assign(
    groups: Sequence[Sequence[str]],
    categories: Mapping[str, str],
    ratios: Sequence[float],
    seed: int,
) -> dict[str, str]:
    """Split of every id by the rule above.

    Args:
        groups:     a partition of the ids.
        categories: category by id.
        ratios:     positive or zero shares of train, val and test; only their proportion counts.
    """
    if len(ratios) != len(SPLITS) or not np.all(np.isfinite(ratios)) or min(ratios) < 0:
        raise ValueError(f"ratios {list(ratios)}: expected three numbers of 0 or more")
    if sum(ratios) <= 0:
        raise ValueError("ratios: at least one must be above 0")
    borders = np.cumsum(ratios) / sum(ratios)
    stacks = defaultdict(list)
    for group in groups:
        count = Counter(categories[name] for name in group)
        main = min(count, key=lambda name: (-count[name], name))
        stacks[main].append((min(share_of(seed, name) for name in group), group))
    split = {}
    for category, stack in stacks.items():
        total, before = sum(len(group) for _, group in stack), 0
        offset = share_of(seed, f"\0category\0{category}")
        for _, group in sorted(stack):
            place = (before + offset * len(group)) / total
            side = SPLITS[int(np.searchsorted(borders[:-1], place, side="right"))]
            split.update(dict.fromkeys(group, side))
            before += len(group)
    return split


def close_pairs(
    retrieval: Mapping[str, Sequence[tuple[str, float]]], threshold: float
) -> list[tuple[str, str]]:
    """Pairs of different shapes with a distance below `threshold`."""
    return [
        (query, other)
        for query, neighbours in retrieval.items()
        for other, distance in neighbours
        if distance < threshold and other != query
    ]


def neighbours_of(table: Any, place: str) -> dict[str, list[tuple[str, float]]]:
    """(id, distance) lists by query of a parsed retrieval result, plain or grouped.

    Raises:
        ValueError: names the query whose entry is not of the form of formats/retrieval.schema.json.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    if not isinstance(table, dict):
        raise ValueError(f"{place}: expected an object {{query_id: [neighbour, ...]}}")
    for name, value in table.items():
        if isinstance(value, dict) and "model_id" not in value:
            inner = neighbours_of(value, f"{place}: {name!r}")
        else:
            rows = value if isinstance(value, list) else [value]
            inner = {name: [_neighbour(row, f"{place}: query {name!r}") for row in rows]}
        twice = sorted(inner.keys() & found.keys())
        if twice:
            raise ValueError(f"{place}: query {twice[0]!r} is in two groups")
        found |= inner
    return found


def _neighbour(row: Any, place: str) -> tuple[str, float]:
    found = row if isinstance(row, dict) else {}
    name, distance = found.get("model_id"), found.get("distance")
    number = isinstance(distance, int | float) and not isinstance(distance, bool)
    if not isinstance(name, str) or not number or not float(distance or 0.0) >= 0.0:
        raise ValueError(
            f"{place}: expected model_id and a distance of 0 or more, found {row!r:.80}"
        )
    return name, float(distance or 0.0)
