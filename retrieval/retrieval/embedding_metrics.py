"""Cosine and Euclidean distance between feature rows, exact also for nearly equal rows.

A matrix product finds the candidates; its rounding (cancellation in |a|^2 - 2ab + |b|^2) is
bounded, and the candidates within that bound are measured again by their difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metrics import Found, Options, smallest
from .tables import Table

BLOCK = 1 << 26  # bytes of one block of distances


def l2(query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options) -> Found:
    """Euclidean distance."""
    ours, theirs = (np.asarray(t.arrays["embeddings"], np.float64) for t in (query, database))
    index, squared = _nearest(ours, theirs, k, skip, options)
    return index, np.sqrt(squared)


def cosine(
    query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options
) -> Found:
    """1 - cosine of the angle, in [0, 2], computed as |u - v|^2 / 2 of the unit rows.

    Raises:
        ValueError: a row of length 0 has no direction; table and id are named.
    """
    index, squared = _nearest(_unit(query), _unit(database), k, skip, options)
    return index, squared / 2


def _unit(table: Table) -> NDArray[np.float64]:
    rows = np.asarray(table.arrays["embeddings"], np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not length.all():
        bad = table.ids[int(np.flatnonzero(length[:, 0] == 0)[0])]
        raise ValueError(f"{table.name}: embeddings: row of {bad!r} is 0 and has no direction")
    return np.asarray(rows / length)


def _nearest(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    k: int,
    skip: NDArray[np.int64],
    options: Options,
) -> Found:
    """Index and squared Euclidean distance (nq, k) of the nearest rows of `theirs` (nd, d)."""
    with np.errstate(over="ignore"):
        square = (theirs**2).sum(axis=1)  # (nd,)
        finite = np.isfinite(square).all() and np.isfinite(ours**2).all()
    if not finite:
        raise ValueError("embeddings: values too large to be squared; scale them down")
    index = np.empty((len(ours), k), np.int64)
    value = np.empty((len(ours), k))
    step = max(1, BLOCK // (8 * len(theirs)))
    for start in range(0, len(ours), step):
        part = ours[start : start + step]
        own = (part**2).sum(axis=1)
        rough = own[:, None] + square - 2 * part @ theirs.T  # (step, nd)
        error = 4 * np.finfo(float).eps * (theirs.shape[1] + 4) * (own + square.max())
        for i, row in enumerate(rough, start):
            near = _candidates(row, k + 1, float(error[i - start]))
            exact = ((theirs[near] - ours[i]) ** 2).sum(axis=1)
            local = np.flatnonzero(near == skip[i])
            place, value[i : i + 1] = smallest(exact[None], k, local if len(local) else NONE)
            index[i] = np.where(place[0] >= 0, near[place[0]], -1)
        options.progress(len(part))
    return index, value


NONE = np.array([-1])


def _candidates(rough: NDArray[np.float64], k: int, error: float) -> NDArray[np.int64]:
    """Rows, ascending, that may be among the k smallest when each value is off by up to `error`."""
    if k >= len(rough):
        return np.arange(len(rough))
    limit = np.partition(rough, k - 1)[k - 1] + 2 * error
    return np.flatnonzero(rough <= limit)
