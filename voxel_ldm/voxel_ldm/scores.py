"""Scores of a generated set of shapes against a reference set.

JSD, MMD and COV as in Achlioptas et al., ICML 2018, arXiv:1707.02392; 1-NNA as proposed by
Lopez-Paz and Oquab, ICLR 2017, and used by Yang et al. (PointFlow), ICCV 2019; precision and recall
after Kynkaanniemi et al., NeurIPS 2019. Of the distances only their order counts in the last three,
so that Chamfer distances of squares serve as well as metrics.

Letters: n generated, m reference shapes; distance matrices have generated shapes along rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
EPSILON = 1e-10


def js_divergence(gen: NDArray[Any], ref: NDArray[Any], epsilon: float = EPSILON) -> float:
    """Jensen-Shannon divergence of two occupancies, natural logarithm, in [0, ln 2].

    With p, q = the counts over their totals and m = (p + q) / 2, half of KL(p, m) + KL(q, m), where
    KL(a, b) = sum (a + e) ln((a + e) / (b + e)). The e lowers the value by some 1e-4 relative.

    Args:
        gen, ref: counts of shapes (or points) a cell, any equal shape.
        epsilon:  e above; 1e-10 as in the reference program, 0 for the divergence itself.

    Raises:
        ValueError: other shapes, a negative count, or an empty set.
    """
    p, q = _share(gen), _share(ref)
    if p.shape != q.shape:
        raise ValueError(f"occupancies of {p.size} and {q.size} cells: expected as many")
    mean = (p + q) / 2
    return (_relative_entropy(p, mean, epsilon) + _relative_entropy(q, mean, epsilon)) / 2


def js_divergence_base2(gen: NDArray[Any], ref: NDArray[Any]) -> float:
    """The same as Achlioptas et al. have it: base 2 (so in [0, 1]) and without epsilon.

    Not theirs are the cells: they count points in a 28^3 grid over the unit ball.
    """
    return js_divergence(gen, ref, 0.0) / float(np.log(2))


def _share(counts: NDArray[Any]) -> Matrix:
    total = counts.sum(dtype=np.float64)
    if not total > 0 or counts.min() < 0:
        raise ValueError(f"an occupancy of {total} in all: expected counts, some above 0")
    made: Matrix = np.ravel(counts) / total
    return made


def _relative_entropy(a: Matrix, b: Matrix, epsilon: float) -> float:
    a, b = a + epsilon, b + epsilon
    some = a > 0
    return float((a[some] * np.log(a[some] / b[some])).sum())


def minimum_matching_distance(cd: Matrix) -> float:
    """Mean over the references of the distance to the nearest generated shape; cd (n, m)."""
    return float(_checked(cd).min(axis=0).mean())


def coverage(cd: Matrix) -> tuple[float, NDArray[np.int64]]:
    """Share of the references that are the nearest of some generated shape, and which they are.

    An exact tie goes to the reference of the lowest index. The reference program rounds the share
    to single precision; this one does not.

    Args:
        cd: (n, m) distances.
    """
    matched = np.unique(_checked(cd).argmin(axis=1))
    return len(matched) / cd.shape[1], matched


def one_nna(gg: Matrix, gr: Matrix, rr: Matrix) -> float:
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier on both sets joined.

    0.5: the sets cannot be told apart; 1: they can; below 0.5: shapes lie closer to the other set
    than to their own, as copies do. Where several shapes are exactly nearest, the share of them
    that are of its own set counts. With sets of unequal size 0.5 is not what equal sets reach.

    Args:
        gg, gr, rr: (n, n), (n, m), (m, m) distances; the diagonals of gg and rr do not count.

    Raises:
        ValueError: shapes that do not fit, or a set of fewer than 2.
    """
    n, m = _sizes(gg, gr, rr, 2)
    joined = np.block([[_without_self(gg), gr], [gr.T, _without_self(rr)]])
    nearest = joined == joined.min(axis=1, keepdims=True)
    own = np.arange(n + m) < n
    right = (nearest & (own[:, None] == own[None, :])).sum(axis=1) / nearest.sum(axis=1)
    return float(right.mean())


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1] and their harmonic mean (0 where both are 0)."""

    precision: float
    recall: float
    f_score: float


def precision_recall(gg: Matrix, gr: Matrix, rr: Matrix, k: int = 3) -> PrecisionRecall:
    """How much of each set lies in the other, by balls out to every shape's k-th neighbour.

    Precision: the share of generated shapes in the ball of some reference, whose radius is the
    distance to its k-th nearest other reference. Recall: the other way round.

    Args:
        gg, gr, rr: (n, n), (n, m), (m, m) distances; the diagonals of gg and rr do not count.

    Raises:
        ValueError: shapes that do not fit, or a set without k other shapes.
    """
    if k < 1:
        raise ValueError(f"k = {k}: expected 1 or more")
    _sizes(gg, gr, rr, k + 1)
    ref_radius = np.partition(_without_self(rr), k - 1, axis=1)[:, k - 1]
    gen_radius = np.partition(_without_self(gg), k - 1, axis=1)[:, k - 1]
    precision = float((gr <= ref_radius[None, :]).any(axis=1).mean())
    recall = float((gr <= gen_radius[:, None]).any(axis=0).mean())
    both = precision + recall
    return PrecisionRecall(precision, recall, 2 * precision * recall / both if both else 0.0)


def _without_self(distances: Matrix) -> Matrix:
    made = distances.copy()
    np.fill_diagonal(made, np.inf)
    return made


def _checked(cd: Matrix) -> Matrix:
    if cd.ndim != 2 or 0 in cd.shape or np.isnan(cd).any():
        raise ValueError(f"distances {cd.shape}: expected (n, m), n and m at least 1, without NaN")
    return cd


def _sizes(gg: Matrix, gr: Matrix, rr: Matrix, least: int) -> tuple[int, int]:
    n, m = _checked(gr).shape
    if _checked(gg).shape != (n, n) or _checked(rr).shape != (m, m):
        raise ValueError(f"distances {gg.shape}, {gr.shape}, {rr.shape}: expected nn, nm, mm")
    if min(n, m) < least:
        raise ValueError(f"{n} generated and {m} reference shapes: expected {least} of each")
    return n, m
