"""Nearest neighbours of every query by any metric: groups, self-exclusion, chunks, resumption."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .files import Journal
from .metrics import Metric, Options
from .records import Neighbours, neighbour
from .tables import Table, require_comparable

Rows = NDArray[np.int64]


class Answer(NamedTuple):
    """Neighbours of each query in query order, and the queries (id, stage, error) without any."""

    result: dict[str, Neighbours]
    failures: list[dict[str, str]]


def search(
    query: Table,
    database: Table,
    metric: Metric,
    k: int,
    options: Options,
    journal: Journal,
    *,
    exclude_self: bool = False,
    by_category: bool = False,
) -> Answer:
    """The k nearest database shapes of every query, nearest first, ties by database order.

    Args:
        query, database: tables of the metric's kind, made with equal settings.
        k:               neighbours wanted; fewer where the database has fewer.
        journal:         finished chunks are taken from and added to it.
        exclude_self:    a query does not return the database shape of the same id.
        by_category:     a query returns shapes of its own category only.

    Raises:
        ValueError: the tables do not fit each other or the metric, or no query has an answer.
    """
    for table in (query, database):
        if table.kind != metric.kind:
            raise ValueError(
                f"{table.name}: kind {table.kind!r}; --metric {metric.name} needs {metric.kind!r}"
            )
    require_comparable(query, database)
    skip = _own_rows(query, database) if exclude_self else np.full(len(query), -1, np.int64)
    if exclude_self and (skip < 0).all():
        raise ValueError(
            f"{query.name}: --exclude-self: no id of it is in {database.name}; "
            "it is for a set against itself"
        )
    found: list[Neighbours] = [()] * len(query)
    for name, own, other in _groups(query, database, by_category):
        _search_group(query, database, own, other, name, metric, k, skip, options, journal, found)
    failures = [
        {"id": query.ids[i], "stage": "retrieve", "error": _reason(query, i, by_category)}
        for i in range(len(query))
        if not found[i]
    ]
    if len(failures) == len(query):
        raise ValueError(f"{query.name}: no query has a neighbour: {failures[0]['error']}")
    result = {name: rows for name, rows in zip(query.ids, found, strict=True) if rows}
    return Answer(result, failures)


def _own_rows(query: Table, database: Table) -> Rows:
    place = {name: i for i, name in enumerate(database.ids)}
    return np.array([place.get(name, -1) for name in query.ids], np.int64)


def _reason(query: Table, i: int, by_category: bool) -> str:
    if not by_category:
        return "the database holds no other shape"
    if not query.categories[i]:
        return "the query has no category"
    return f"the database holds no other shape of category {query.categories[i]!r}"


def _groups(query: Table, database: Table, by_category: bool) -> Iterator[tuple[str, Rows, Rows]]:
    """Name, query rows and database rows of each group that is searched on its own."""
    if not by_category:
        yield "", np.arange(len(query)), np.arange(len(database))
        return
    own, other = np.array(query.categories), np.array(database.categories)
    for name in dict.fromkeys(query.categories):
        rows = np.flatnonzero(other == name)
        if name and len(rows):
            yield name, np.flatnonzero(own == name), rows


def _search_group(
    query: Table,
    database: Table,
    own: Rows,
    other: Rows,
    name: str,
    metric: Metric,
    k: int,
    skip: Rows,
    options: Options,
    journal: Journal,
    found: list[Neighbours],
) -> None:
    """Fill `found` for the query rows `own`, among the database rows `other`, chunk by chunk."""
    part = database if len(other) == len(database) else database.rows(other)
    local = np.full(len(database) + 1, -1, np.int64)  # last place: no row to skip
    local[other] = np.arange(len(other))
    for start in range(0, len(own), metric.chunk):
        chunk, key = own[start : start + metric.chunk], f"{name}:{start}"
        if key in journal.done:
            options.progress(len(chunk))
        else:
            whole = len(chunk) == len(query)
            asked = query if whole else query.rows(chunk)
            most = min(k, len(part))
            index, distance = metric.nearest(asked, part, most, local[skip[chunk]], options)
            journal.add(key, [index.tolist(), distance.tolist()])
        for i, rows, values in zip(chunk, *journal.done[key], strict=True):
            found[i] = _neighbours(part, rows, values)


def _neighbours(database: Table, rows: list[int], values: list[Any]) -> Neighbours:
    return [
        neighbour(database.ids[row], database.categories[row], value)
        for row, value in zip(rows, values, strict=True)
        if row >= 0
    ]
