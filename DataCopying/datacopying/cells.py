"""C_T: Z_U inside the cells of a partition of feature space, averaged over the cells that count.

Meehan, Chaudhuri, Dasgupta, AISTATS 2020, section 4. Distances are Euclidean, to training rows of
the same cell only. Cells by k-means on the training rows, after PCA to 64 dimensions when wider,
follow the image suites (dgm-eval, fld); here both are seeded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .zu import Array, zu_from_distances

Labels = NDArray[np.str_] | NDArray[np.int64]
WIDEST = 64  # dimensions kept by PCA
RESTARTS = 10


@dataclass(frozen=True)
class Cell:
    """A cell: label, rows of each set, Z_U (0 without a generated row), whether it counts."""

    cell: str
    n_train: int
    n_test: int
    n_gen: int
    z_u: float
    used: bool


@dataclass(frozen=True)
class Ct:
    """C_T (None when no cell counts), the threshold tau, Z_U over the whole space, the cells."""

    c_t: float | None
    tau: float
    z_u_global: float
    cells: list[Cell]


def c_t(sets: tuple[Array, Array, Array], labels: tuple[Labels, Labels, Labels], tau: float) -> Ct:
    """Weighted mean of the Z_U of the cells whose share of generated rows exceeds `tau`.

    Args:
        sets:   train (t, d), test (n, d), gen (m, d) feature rows.
        labels: cell of each row of each set, (t,), (n,), (m,).
        tau:    a cell counts when its share of the m generated rows is strictly greater.

    Raises:
        ValueError: a cell has no training row or no test row (the cell is named).
    """
    train, test, gen = sets
    names = np.unique(np.concatenate(labels))
    cells = [_cell(name, sets, labels, tau) for name in names]
    weights = np.array([cell.n_test * cell.used for cell in cells], np.float64)
    scores = np.array([cell.z_u for cell in cells])
    value = float(weights @ scores / weights.sum()) if weights.any() else None
    return Ct(value, tau, zu_from_distances(*_distances(train, test, gen)), cells)


def _cell(
    name: np.str_ | np.int64,
    sets: tuple[Array, Array, Array],
    labels: tuple[Labels, Labels, Labels],
    tau: float,
) -> Cell:
    train, test, gen = (rows[label == name] for rows, label in zip(sets, labels, strict=True))
    for side, rows in (("training", train), ("test", test)):
        if not len(rows):
            raise ValueError(f"cell {name}: no {side} shape in it; use fewer or larger cells")
    z_u = zu_from_distances(*_distances(train, test, gen)) if len(gen) else 0.0
    used = len(gen) / len(sets[2]) > tau
    return Cell(str(name), len(train), len(test), len(gen), z_u, used)


def _distances(train: Array, test: Array, gen: Array) -> tuple[Array, Array]:
    """Nearest-training distances of gen (m,) and test (n,)."""
    tree = cKDTree(train)
    return tree.query(gen)[0], tree.query(test)[0]


def reduced(sets: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """PCA of the training rows to 64 dimensions, applied to all; unchanged when not wider."""
    train = sets[0]
    if train.shape[1] <= WIDEST:
        return sets
    centre = train.mean(axis=0)
    axes = np.linalg.svd(train - centre, full_matrices=False)[2][:WIDEST].T  # (d, 64)
    train, test, gen = ((rows - centre) @ axes for rows in sets)
    return train, test, gen


def kmeans_labels(
    sets: tuple[Array, Array, Array], k: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cell 0..k-1 of every row: nearest of k centres, the best of ten seeded k-means runs.

    Raises:
        ValueError: fewer than k different training rows, or no run without an empty cell.
    """
    from scipy.cluster.vq import ClusterError, kmeans2

    train = sets[0]
    if not 1 <= k <= len(train):
        raise ValueError(f"{k} cells: expected 1 to {len(train)}, the number of training shapes")
    distinct = len(np.unique(train, axis=0))
    if k > distinct:
        raise ValueError(f"{k} cells: the training rows hold {distinct} different points only")
    best: tuple[float, Array] | None = None
    for i in range(RESTARTS):
        rng = np.random.default_rng([seed, i])
        try:
            centres = kmeans2(train, k, iter=100, minit="++", missing="raise", rng=rng)[0]
        except ClusterError:
            continue
        spread = float((cKDTree(centres).query(train)[0] ** 2).sum())
        if best is None or spread < best[0]:
            best = spread, centres
    if best is None:
        raise ValueError(f"{k} cells: k-means leaves a cell empty each time; use fewer cells")
    tree = cKDTree(best[1])
    train_cells, test_cells, gen_cells = (tree.query(rows)[1] for rows in sets)
    return train_cells, test_cells, gen_cells
