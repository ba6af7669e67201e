"""Frechet distance between the Gaussians of two sets of feature rows, in float64.

    FD = |mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1^{1/2} C2 C1^{1/2})^{1/2}

with biased covariances (divided by n). With roots A^T A = C1, B^T B = C2 the last trace is the
nuclear norm (sum of singular values) of A B^T. Roots are the centred rows Xc / sqrt(n) or, of more
rows than dimensions, R of their QR decomposition: the rows are never squared into covariances,
nothing needs a clip, and few rows cost little. With A = U S V^T the same norm is that of B V S,
where the clipping of the reference program can be applied.

Sources: Dowson, Landau, J. Multivariate Analysis 1982 (the distance); `compute_fpd.py` of the
reference program (biased covariance, clipped form).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Frechet:
    """The distance and its parts, in squared units of the features."""

    distance: float
    mean_term: float
    trace_ref: float
    trace_gen: float
    cross_term: float


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance (ddof 0) of a set of rows.

    Args:
        mean: (d,).
        root: (min(n, d), d) with root^T root the covariance.
        n:    how many rows it was measured on.
    """

    mean: Rows
    root: Rows
    n: int

    def mapped(self, change: Normaliser) -> Gaussian:
        """Of the rows after `change`."""
        matrix = change.matrix
        root = self.root * matrix if matrix.ndim == 1 else self.root @ matrix
        return Gaussian(change(self.mean[None])[0], root, self.n)


def gaussian(rows: Rows) -> Gaussian:
    """Of (n, d) rows, in float64.

    Raises:
        ValueError: not a non-empty matrix, or not finite, or too large to square.
    """
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"expected (n, d) rows, n and d at least 1, found {rows.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rows[0] + (rows - rows[0]).mean(axis=0)  # exact where a dimension is constant
        centred = (rows - mean) / np.sqrt(len(rows))
        if not np.isfinite((np.sum(mean**2), np.sum(centred**2))).all():
            raise ValueError("features are not finite, or too large to square in float64")
    tall = len(rows) > rows.shape[1]
    root = np.asarray(np.linalg.qr(centred, mode="r")) if tall else centred
    return Gaussian(mean, root, len(rows))


def frechet(ref: Rows | Gaussian, gen: Rows | Gaussian, eps: float = 0.0) -> Frechet:
    """Frechet distance of two sets.

    Args:
        ref: (n, d) feature rows, n >= 1, or their Gaussian.
        gen: (m, d) feature rows, m >= 1, or their Gaussian.
        eps: 0: the exact distance, 0 or more (a negative rounding error becomes 0). Above 0:
             eigenvalues are clipped from below at `eps` in both matrix square roots, as the
             reference program does (1e-12); the result is too small by about 2 sqrt(eps) for each
             dimension that the rows do not fill (unit scale), and may be negative.

    Raises:
        ValueError: not two non-empty matrices of one width, or not finite, or too large to square.
    """
    a, b = (side if isinstance(side, Gaussian) else gaussian(side) for side in (ref, gen))
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"expected rows of one width, found {(a.n, len(a.mean))} and {(b.n, len(b.mean))}"
        )
    with np.errstate(over="ignore"):
        apart = float(np.sum((a.mean - b.mean) ** 2))
    traces = float(np.sum(a.root**2)), float(np.sum(b.root**2))
    if not np.isfinite(apart):
        raise ValueError("features are not finite, or too large to square in float64")
    cross = _cross(a.root, b.root, eps)
    distance = apart + sum(traces) - 2 * cross
    return Frechet(distance if eps else max(distance, 0.0), apart, *traces, cross)


def _cross(a: Rows, b: Rows, eps: float) -> float:
    """Nuclear norm of A B^T; with `eps`, clipped in the root of C1 and in that of the product."""
    if not eps:
        return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    _, values, axes = np.linalg.svd(a, full_matrices=True)  # (min(n, d),), (d, d)
    root = _clipped(values, len(axes), eps)
    inner = np.linalg.svd((b @ axes.T) * root, compute_uv=False)
    return float(_clipped(inner, len(axes), eps).sum())


def _clipped(values: Rows, d: int, eps: float) -> Rows:
    """(d,) singular values, missing ones 0, none below the root of `eps`."""
    return np.maximum(np.pad(values, (0, d - len(values))), np.sqrt(eps))


@dataclass(frozen=True)
class Normaliser:
    """Maps rows to (rows - mean) @ matrix, or (rows - mean) * matrix for a (d,) `matrix`."""

    mean: Rows
    matrix: Rows

    def __call__(self, rows: Rows) -> Rows:
        """(n, d) rows to (n, d) normalised rows. Raises ValueError when the widths differ."""
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"rows of {rows.shape[1]} numbers, statistics of {len(self.mean)}")
        centred = rows - self.mean
        return centred * self.matrix if self.matrix.ndim == 1 else centred @ self.matrix


def standardiser(train: Rows | Gaussian) -> Normaliser:
    """Zero mean and unit variance (ddof 0) of each dimension of `train`, (n, d).

    Raises:
        ValueError: a dimension of `train` is constant.
    """
    measured = train if isinstance(train, Gaussian) else gaussian(train)
    deviation = np.sqrt((measured.root**2).sum(axis=0))
    constant = np.flatnonzero(deviation == 0)
    if constant.size:
        raise ValueError(f"dimension {constant[0]} is constant, nothing to scale it by")
    return Normaliser(measured.mean, 1 / deviation)


def whitener(train: Rows | Gaussian, ridge: float = 0.0) -> Normaliser:
    """Zero mean and unit covariance (ddof 0) of `train`, (n, d).

    Args:
        ridge: added to the variance along every axis; above 0, fewer rows than dimensions serve.

    Raises:
        ValueError: the rows do not fill all d dimensions (n <= d, or some depend on others) and
                    there is no ridge.
    """
    measured = train if isinstance(train, Gaussian) else gaussian(train)
    n, d = measured.n, len(measured.mean)
    _, values, vectors = np.linalg.svd(measured.root, full_matrices=ridge > 0)
    rank = int((values > values[0] * max(n, d) * np.finfo(np.float64).eps).sum())
    if rank < d and not ridge:
        raise ValueError(f"{n} rows fill {rank} of {d} dimensions, whitening needs all or a ridge")
    values = np.sqrt(np.pad(values, (0, d - len(values))) ** 2 + ridge) if ridge else values
    return Normaliser(measured.mean, vectors.T / values)
