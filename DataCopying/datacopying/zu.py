"""Z_U: the z-scored Mann-Whitney U of generated against held-out nearest-training distances.

Meehan, Chaudhuri, Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models",
AISTATS 2020, arXiv:2004.05675. Ties count one half; the 1/2 of the continuity correction is always
added and the variance of Z_U is not corrected for ties, as in the published code. The tie-corrected
variance and the p-value follow Hollander, Wolfe, "Nonparametric Statistical Methods", 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
EXACT_UP_TO = 8  # shapes on the smaller side, no ties: exact p-value


@dataclass(frozen=True)
class Zu:
    """Comparison of m generated with n held-out distances.

    Args:
        m, n:            sizes.
        u:               pairs with generated > held-out, ties one half.
        auc:             u / (m n): 0.5 alike, 0 every generated shape is closer.
        z_u:             (u - (m n / 2 - 1/2)) / sqrt(m n (m + n + 1) / 12).
        z_no_continuity: the same without the 1/2.
        z_tie_corrected: `z_u` with the tie-corrected variance; None when all values are equal.
        p_less:          one-sided p-value of "generated distances are smaller"; None likewise.
        p_method:        `exact` or `asymptotic`.
        tie_share:       share of the m n pairs that tie.
    """

    m: int
    n: int
    u: float
    auc: float
    z_u: float
    z_no_continuity: float
    z_tie_corrected: float | None
    p_less: float | None
    p_method: str
    tie_share: float


def zu_from_distances(gen: Array, test: Array) -> float:
    """Z-scored Mann-Whitney U of generated against test distances to the training set.

    Args:
        gen:  (m,) distance of each generated shape to its nearest training shape, >= 0.
        test: (n,) the same for held-out shapes; same metric and units as `gen`.

    Returns:
        Z_U, unitless. 0: same distribution; << 0: `gen` is closer (copying); >> 0: farther.

    Raises:
        ValueError: an input is empty, not 1-D, or holds a NaN or a negative distance.

    Source: Meehan, Chaudhuri, Dasgupta, AISTATS 2020, arXiv:2004.05675.
    """
    return compare(gen, test).z_u


def compare(gen: Array, test: Array) -> Zu:
    """All values of `Zu`; arguments and errors as in `zu_from_distances`. Infinity ranks last."""
    gen, test = checked(gen, "generated"), checked(test, "test")
    m, n = len(gen), len(test)
    ordered = np.sort(test)
    below = np.searchsorted(ordered, gen, "left")
    up_to = np.searchsorted(ordered, gen, "right")
    u = int(below.sum() + up_to.sum()) / 2
    corrected = _tie_corrected_deviation(gen, test)
    z_tie = (u - (m * n / 2 - 0.5)) / corrected if corrected else None
    method = "exact" if min(m, n) <= EXACT_UP_TO and _no_ties(gen, test) else "asymptotic"
    return Zu(
        m=m,
        n=n,
        u=u,
        auc=u / (m * n),
        z_u=float(z_from_u(u, m, n)),
        z_no_continuity=(u - m * n / 2) / deviation(m, n),
        z_tie_corrected=z_tie,
        p_less=_p_exact(gen, test) if method == "exact" else _p_asymptotic(z_tie),
        p_method=method,
        tie_share=int((up_to - below).sum()) / (m * n),
    )


def checked(distances: Array, side: str) -> Array:
    """`distances` as a non-empty 1-D float array without NaN and negatives, else ValueError."""
    made = np.asarray(distances, np.float64)
    if made.ndim != 1 or not made.size:
        raise ValueError(f"{side} distances: expected (n,) with n >= 1, found {made.shape}")
    bad = np.flatnonzero(~(made >= 0))
    if bad.size:
        raise ValueError(f"{side} distances: number {bad[0]} is {made[bad[0]]}, expected >= 0")
    return made


def deviation(m: int, n: int) -> float:
    """Standard deviation of U without ties when both sets are alike."""
    return math.sqrt(m * n * (m + n + 1) / 12)


def z_from_u(u: float | Array, m: int, n: int) -> float | Array:
    return (u - (m * n / 2 - 0.5)) / deviation(m, n)


def _tie_corrected_deviation(gen: Array, test: Array) -> float:
    m, n, total = len(gen), len(test), len(gen) + len(test)
    counts = np.unique(np.concatenate([gen, test]), return_counts=True)[1]
    ties = sum(t**3 - t for t in map(int, counts[counts > 1]))
    return math.sqrt(m * n / 12 * (total + 1 - ties / (total * (total - 1))))


def _no_ties(gen: Array, test: Array) -> bool:
    return len(np.unique(np.concatenate([gen, test]))) == len(gen) + len(test)


def _p_exact(gen: Array, test: Array) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(gen, test, alternative="less", method="exact").pvalue)


def _p_asymptotic(z_tie_corrected: float | None) -> float | None:
    return None if z_tie_corrected is None else float(ndtr(z_tie_corrected))
