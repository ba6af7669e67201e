"""FLD gap: does a density built on the generated rows favour training over held-out rows?

Jiralerspong et al., NeurIPS 2023, arXiv:2302.04440: a Gaussian around every generated row, its
width fitted to the training rows, is a density; a generated copy gets a narrow one. Differences to
the paper: the widths come from expectation maximisation, which needs no step size, and are bounded
below, so that an exact copy does not make the likelihood infinite.
"""

from __future__ import annotations

import numpy as np

from .frechet import Rows
from .samples import Sample, euclidean

STEPS = 25
NARROWEST = 0.01  # of the median squared distance between training neighbours


def fld_gap(train: Sample, test: Sample, generated: Sample) -> dict[str, float]:
    """FLD of the training rows minus FLD of the held-out rows.

    FLD is -100 times the mean log-likelihood a dimension. Below 0: training rows are likelier, the
    generated rows lean to them. Dimensions are brought to the variances of the training rows;
    constant ones are left out.

    Returns:
        fld_gap, fld_train, fld_test.
    """
    deviation = train.features.std(axis=0)
    kept = np.ptp(train.features, axis=0) > 0
    if not kept.any():
        raise ValueError("all training rows are equal")
    a, b, centres = (side.features[:, kept] / deviation[kept] for side in (train, test, generated))
    d = int(kept.sum())
    to_train = euclidean(a, centres) ** 2  # (n, m)
    variance = fit(to_train, d, _narrowest(a, d))
    scores = [-100 / d * log_likelihood(squared, variance, d).mean() for squared in
              (to_train, euclidean(b, centres) ** 2)]  # fmt: skip
    return {
        "fld_gap": float(scores[0] - scores[1]),
        "fld_train": float(scores[0]),
        "fld_test": float(scores[1]),
    }


def _narrowest(rows: Rows, d: int) -> float:
    own = euclidean(rows, rows)
    np.fill_diagonal(own, np.inf)
    typical = float(np.median(own.min(axis=1))) ** 2
    if not 0 < typical < np.inf:
        raise ValueError("more than half of the training rows stand twice")
    return NARROWEST * typical / d


def fit(squared: Rows, d: int, narrowest: float) -> Rows:
    """(m,) variances that maximise the likelihood of n rows, by expectation maximisation.

    Args:
        squared: (n, m) squared distances of the rows to the m centres.
    """
    variance = np.full(squared.shape[1], max(float(squared.min(axis=1).mean()) / d, narrowest))
    for _ in range(STEPS):
        logs = _joint(squared, variance, d)
        logs -= logs.max(axis=1, keepdims=True)
        share = np.exp(logs, out=logs)
        share /= share.sum(axis=1, keepdims=True)
        weight = share.sum(axis=0)
        used = weight > 1e-12  # a centre far from every row keeps its width
        spread = (share * squared).sum(axis=0)[used] / (d * weight[used])
        variance[used] = np.maximum(spread, narrowest)
    return variance


def log_likelihood(squared: Rows, variance: Rows, d: int) -> Rows:
    """(n,) log density of the mixture of m equally likely Gaussians at each row."""
    logs = _joint(squared, variance, d)
    most = logs.max(axis=1)
    return np.asarray(most + np.log(np.exp(logs - most[:, None]).sum(axis=1)))


def _joint(squared: Rows, variance: Rows, d: int) -> Rows:
    level = -0.5 * d * np.log(2 * np.pi * variance) - np.log(len(variance))
    return np.asarray(level - squared / (2 * variance))
