"""Light field distance: exact nearest neighbours on the CPU (Chen et al. 2003).

LFD(A, B) is the least, over 10 x 10 rig pairs and 60 permutations of the ten views, of the weighted
L1 distance of the 47 bytes of the ten image pairs. Four targets are compared at a time: the
100 x 100 image weights by sums of absolute differences, then the alignments with 80 rig pairs side
by side. Alignments are summed in 16 bits with saturation; a result that saturates is computed again
in full, so every value is exact.

Pruning: the ten views of a rig are summed per feature. The L1 distance of these sums, least over
the rig pairs, never exceeds the LFD whatever the permutation. Targets are visited by rising bound
until the bound exceeds the k-th best distance; targets at the same distance are still visited, so
that ties fall as in brute force.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lfd_simd import CHUNKS, FEATURES, ROW, SIMD, TARGETS, WEIGHT1, aligned, bounds, visit
from .metrics import Found, Options
from .permutations import view_permutations
from .tables import Table

BLOCK = 16  # queries that share one pass over the bounds
_GROUPS = 25  # of four images, five groups for each pair of views
_ROW_OFFSETS = (view_permutations() * 10 + np.arange(10)) * ROW  # (60, 10) bytes, row 10 a + b
_WEIGHTS = np.array([1] * 36 + [2] * 11, np.uint16)


def images(table: Table) -> NDArray[np.uint8]:
    """(n, 10, 10, 47) bytes [shape, rig, view]: 35 ART and the eccentricity count once, 10 FD and
    the circularity twice.
    """
    parts = [table.arrays[key] for key in ("art", "ecc", "fd", "cir")]
    return np.concatenate([p if p.ndim == 4 else p[..., None] for p in parts], axis=-1)


def _chunked(pictures: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, 10, 10, 47) to (n, 100, 7): image 10 rig + view in chunks of 8 bytes, zero-padded."""
    n = len(pictures)
    padded = np.zeros((n, 100, 8 * CHUNKS), np.uint8)
    flat = pictures.reshape(n, 100, FEATURES)
    padded[..., :36] = flat[..., :36]
    padded[..., 8 * WEIGHT1 : 8 * WEIGHT1 + 11] = flat[..., 36:]
    return padded.view(np.uint64)


def rig_sums(pictures: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(n, 10, 47) weighted feature sums over the ten views of each rig, 0..5100."""
    sums: NDArray[np.uint16] = pictures.sum(axis=2, dtype=np.uint16) * _WEIGHTS
    return sums


@dataclass(frozen=True)
class Database:
    """Targets laid out for the kernels.

    Args:
        rows:   (n, 25, 7, 4) uint64: groups of four images, chunk by chunk.
        sums:   (ceil(n / 16), 10, 47, 16) uint16 rig sums, sixteen targets side by side.
        totals: (ceil(n / 16), 10, 16) uint16 sums of those over the features, modulo 65536.
    """

    rows: NDArray[np.uint64]
    sums: NDArray[np.uint16]
    totals: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.rows)


def prepare(table: Table) -> Database:
    """Lay out a table of n targets; 6.9 KB each."""
    n = len(table)
    blocks = -(-n // TARGETS)
    rows = aligned((n, _GROUPS, CHUNKS, 4), np.uint64)
    sums = np.zeros((blocks, TARGETS, 10, FEATURES), np.uint16)
    flat_sums = sums.reshape(blocks * TARGETS, 10, FEATURES)
    for start in range(0, n, 1024):
        part = slice(start, min(start + 1024, n))
        pictures = images(table.rows(part))
        chunks = _chunked(pictures.swapaxes(1, 2)).reshape(-1, _GROUPS, 4, CHUNKS)
        rows[part] = chunks.transpose(0, 1, 3, 2)
        flat_sums[part] = rig_sums(pictures)
    turned = aligned((blocks, 10, FEATURES, TARGETS), np.uint16)
    turned[...] = sums.transpose(0, 2, 3, 1)
    return Database(rows, turned, turned.sum(axis=2, dtype=np.uint16))


def lower_bounds(sums: NDArray[np.uint16], database: Database) -> NDArray[np.uint16]:
    """(b, n) lower bounds of the LFD of b queries, given their (b, 10, 47) rig sums."""
    spread = aligned((*sums.shape, TARGETS), np.uint16)
    spread[...] = sums[..., None]
    out = np.empty((len(sums), 16 * len(database.sums)), np.uint16)
    bounds(spread, spread.sum(axis=2, dtype=np.uint16), database.sums, database.totals, out)
    return out[:, : len(database)]


def _block(
    pictures: NDArray[np.uint8],
    database: Database,
    k: int,
    skip: NDArray[np.int64],
    pruning: bool,
    simd: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Index, distance (b, k) and the number of aligned pairs for a block of queries."""
    n, b = len(database), len(pictures)
    rows = database.rows.view(np.uint8).reshape(n, _GROUPS, CHUNKS, 4, 8)
    queries = _chunked(pictures).view(np.uint8)
    bound = lower_bounds(rig_sums(pictures), database) if pruning else np.zeros((b, n), np.uint16)
    index, distance = np.full((b, k), -1, np.int64), np.zeros((b, k), np.int64)
    count = 0
    for i in range(b):
        order = np.argsort(bound[i], kind="stable")
        count += visit(
            queries[i],
            rows,
            order,
            bound[i],
            int(skip[i]),
            _ROW_OFFSETS,
            simd,
            index[i],
            distance[i],
        )
    return index, distance, count


def _wants_gpu(device: str) -> bool:
    """Whether torch is worth importing: asked for, or `auto` on a machine with NVIDIA's driver."""
    return device != "cpu" and (device != "auto" or Path("/dev/nvidiactl").exists())


def nearest(
    query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options
) -> Found:
    """The k nearest by LFD; see metrics.Metric.nearest. Distances are int64."""
    if _wants_gpu(options.device):
        from .lfd_torch import gpu, nearest_on

        device = gpu(options.device)
        if device is not None:
            return nearest_on(device, query, database, k, skip, options)
    return nearest_on_cpu(query, database, k, skip, options, SIMD)


def nearest_on_cpu(
    query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options, simd: bool
) -> Found:
    """`nearest` with or without AVX2; both give the same."""
    prepared = prepare(database)
    nq, wanted = len(query), min(k, len(database))
    index, distance = np.full((nq, k), -1, np.int64), np.zeros((nq, k), np.int64)

    def work(part: slice) -> int:
        pictures = images(query.rows(part))
        index[part, :wanted], distance[part, :wanted], pairs = _block(
            pictures, prepared, wanted, skip[part], options.pruning, simd
        )
        return pairs

    parts = [slice(i, min(i + BLOCK, nq)) for i in range(0, nq, BLOCK)]
    count = 0
    for part, pairs in zip(parts, _apply(work, parts, options.workers), strict=True):
        count += pairs
        options.progress(part.stop - part.start)
    options.statistics["pairs"] = options.statistics.get("pairs", 0) + nq * len(database)
    options.statistics["aligned_pairs"] = options.statistics.get("aligned_pairs", 0) + count
    return index, distance


def _apply(work: Any, parts: list[slice], workers: int) -> Iterator[int]:
    if workers <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, parts)
