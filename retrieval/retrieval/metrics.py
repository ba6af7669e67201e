"""The metrics of retrieve.py: one signature for all, found by name, imported when used.

A metric function has the signature of `Metric.nearest`. It lives in a module of this package and is
entered in `METRICS`. Smaller is always closer (similarities enter as 1 - similarity), and among
equal distances the lower database row comes first.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .tables import Table

Found = tuple[NDArray[np.int64], NDArray[Any]]


def _silent(done: int) -> None:
    del done


@dataclass(frozen=True)
class Options:
    """What a metric may need beside the tables.

    Args:
        device:     auto, cpu, cuda or cuda:1; auto takes a GPU if the metric can use it.
        workers:    threads or processes; 0 and 1 use the calling one.
        pruning:    leave out pairs that a lower bound rules out (never changes a result).
        threshold:  distance within which a point counts as matched (fscore), in the units of the
                    normalised clouds.
        progress:   called with the number of queries finished since the last call.
        statistics: a metric may add counts for the run record here.
    """

    device: str = "auto"
    workers: int = 0
    pruning: bool = True
    threshold: float = 0.01
    progress: Callable[[int], object] = _silent
    statistics: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One way to compare shapes.

    Args:
        name:     what --metric calls it.
        kind:     kind of the tables it compares.
        target:   `module:function` inside this package.
        chunk:    queries handed over per call; after each call a killed run can go on.
        decides:  names of the Options that change its distances, recorded with the settings.
        packages: distributions whose versions are recorded.
        gpu:      whether it can use a CUDA device; others refuse one.
    """

    name: str
    kind: str
    target: str
    chunk: int = 256
    decides: tuple[str, ...] = ()
    packages: tuple[str, ...] = ("numpy",)
    gpu: bool = False

    def nearest(
        self,
        query: Table,
        database: Table,
        k: int,
        skip: NDArray[np.int64],
        options: Options,
    ) -> Found:
        """The k nearest database rows of every query.

        Args:
            query, database: tables of `kind` with equal settings, nq and nd rows.
            k:               neighbours wanted, >= 1; may exceed nd.
            skip:            (nq,) database row that query i must not return, -1 for none.
            options:         see Options.

        Returns:
            index (nq, k) int64 and distance (nq, k) integer or float, nearest first, equal
            distances by lower row. Where fewer than k rows exist, index is -1 and distance 0.
        """
        module, function = self.target.split(":")
        found = getattr(importlib.import_module(f".{module}", __package__), function)
        return cast(Found, found(query, database, k, skip, options))


_LFD = Metric(
    "lfd", "lfd", "lfd_distance:nearest", 4096, packages=("numpy", "numba", "llvmlite"), gpu=True
)
_SCIPY = ("numpy", "scipy")
_OTHERS = (
    Metric("cd", "points", "point_metrics:cd", 1024, packages=_SCIPY),
    Metric("cd-l1", "points", "point_metrics:cd_l1", 1024, packages=_SCIPY),
    Metric("fscore", "points", "point_metrics:fscore", 1024, ("threshold",), _SCIPY),
    Metric("emd", "points", "point_metrics:emd", 1024, packages=_SCIPY),
    Metric("iou", "voxels", "voxel_metrics:iou", 1024),
    Metric("l2", "embedding", "embedding_metrics:l2", 1024),
    Metric("cosine", "embedding", "embedding_metrics:cosine", 1024),
)

METRICS = {metric.name: metric for metric in (_LFD, *_OTHERS)}


def smallest(distance: NDArray[Any], k: int, skip: NDArray[np.int64]) -> Found:
    """Index and distance (nq, k) of the k smallest of each row of `distance` (nq, nd).

    Ties by lower index; `skip` and the filling as in `Metric.nearest`.
    """
    nq, nd = distance.shape
    index = np.full((nq, k), -1, np.int64)
    value = np.zeros((nq, k), distance.dtype)
    for i in range(nq):
        order = np.argsort(distance[i], kind="stable")[: min(k + 1, nd)]
        order = order[order != skip[i]][:k]
        index[i, : len(order)] = order
        value[i, : len(order)] = distance[i, order]
    return index, value
