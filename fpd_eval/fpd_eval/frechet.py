"""Frechet distance between the Gaussians of two sets of feature rows, in float64.

    FD = |mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1^{1/2} C2 C1^{1/2})^{1/2}

with biased covariances (divided by n). With the centred rows A = Xc / sqrt(n), B = Yc / sqrt(m) the
last trace is the nuclear norm (sum of singular values) of A B^T. With A = Qa Ra and B = Qb Rb this
is the nuclear norm of Ra Rb^T: the rows are never squared into covariances, nothing needs a clip,
and few rows cost little. With Ra = U S V^T the same norm is that of Rb V S, where the clipping of
the reference program can be applied.

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


def frechet(ref: Rows, gen: Rows, eps: float = 0.0) -> Frechet:
    """Frechet distance of two sets.

    Args:
        ref: (n, d) feature rows, n >= 1.
        gen: (m, d) feature rows, m >= 1.
        eps: 0: the exact distance, 0 or more (a negative rounding error becomes 0). Above 0:
             eigenvalues are clipped from below at `eps` in both matrix square roots, as the
             reference program does (1e-12); the result is too small by about 2 sqrt(eps) for each
             dimension that the rows do not fill (unit scale), and may be negative.

    Raises:
        ValueError: not two non-empty matrices of one width, or not finite, or too large to square.
    """
    ref, gen = np.asarray(ref, np.float64), np.asarray(gen, np.float64)
    if ref.ndim != 2 or ref.shape[1:] != gen.shape[1:] or not (ref.size and gen.size):
        raise ValueError(f"expected (n, d) and (m, d) rows, found {ref.shape} and {gen.shape}")
    a, b = _centred(ref), _centred(gen)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = float(np.sum((ref.mean(axis=0) - gen.mean(axis=0)) ** 2))
        traces = float(np.sum(a**2)), float(np.sum(b**2))
    if not np.isfinite((apart, *traces)).all():
        raise ValueError("features are not finite, or too large to square in float64")
    cross = _cross(a, b, eps)
    distance = apart + sum(traces) - 2 * cross
    return Frechet(distance if eps else max(distance, 0.0), apart, *traces, cross)


def _centred(rows: Rows) -> Rows:
    with np.errstate(over="ignore", invalid="ignore"):
        centred: Rows = (rows - rows.mean(axis=0)) / np.sqrt(len(rows))
    return centred


def _cross(a: Rows, b: Rows, eps: float) -> float:
    """Nuclear norm of A B^T; with `eps`, clipped in the root of C1 and in that of the product."""
    ra, rb = _triangle(a), _triangle(b)  # (min(n, d), d), (min(m, d), d)
    if not eps:
        return float(np.linalg.svd(ra @ rb.T, compute_uv=False).sum())
    _, values, axes = np.linalg.svd(ra, full_matrices=True)  # (min(n, d),), (d, d)
    root = _clipped(values, len(axes), eps)
    inner = np.linalg.svd((rb @ axes.T) * root, compute_uv=False)
    return float(_clipped(inner, len(axes), eps).sum())


def _triangle(rows: Rows) -> Rows:
    """R of the QR decomposition; the rows themselves where they are not more than d."""
    return rows if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(rows, mode="r"))


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


def standardiser(train: Rows) -> Normaliser:
    """Zero mean and unit variance (ddof 0) of each dimension of `train`, (n, d).

    Raises:
        ValueError: a dimension of `train` is constant.
    """
    constant = np.flatnonzero(np.ptp(train, axis=0) == 0)
    if constant.size:
        raise ValueError(f"dimension {constant[0]} is constant, nothing to scale it by")
    return Normaliser(train.mean(axis=0), 1 / train.std(axis=0))


def whitener(train: Rows) -> Normaliser:
    """Zero mean and unit covariance (ddof 0) of `train`, (n, d).

    Raises:
        ValueError: the rows do not fill all d dimensions (n <= d, or some depend on others).
    """
    n, d = train.shape
    _, values, vectors = np.linalg.svd(_centred(train), full_matrices=False)
    rank = int((values > values[0] * max(n, d) * np.finfo(np.float64).eps).sum())
    if rank < d:
        raise ValueError(f"{n} rows fill {rank} of {d} dimensions, whitening needs all")
    return Normaliser(train.mean(axis=0), vectors.T / values)
