"""Flags at a stated false-positive rate, and the share of flags beyond it.

The threshold is an order statistic: the k-th smallest of n held-out distances, with the largest k
such that k / (n + 1) <= quantile (and k >= 1). A generated shape is flagged when it lies strictly
below. If it is exchangeable with the held-out shapes, the chance of that is exactly k / (n + 1)
without ties and at most that with ties (LFD distances are integers; a tie is never flagged). So
flagged means conformal p-value (1 + #{held-out <= d}) / (n + 1) <= k / (n + 1).

The flags share one threshold and are not independent: the number of flags among m is
beta-binomial(m, k, n - k + 1) whatever the distribution of the distances (Wilks 1941).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, betaln, gammaln

from .zu import Array, checked


@dataclass(frozen=True)
class Rule:
    """When a generated shape is flagged.

    Args:
        k:         order of the threshold among the held-out distances, from 1.
        n:         held-out shapes.
        threshold: k-th smallest held-out distance; flagged means strictly below it.
        resolved:  False when n is too small for the quantile, so that k = 1 flags more than it.
    """

    k: int
    n: int
    threshold: float
    resolved: bool

    @property
    def rate(self) -> float:
        """False-positive rate k / (n + 1); an upper bound when distances tie."""
        return self.k / (self.n + 1)


def flag_rule(test: Array, quantile: float) -> Rule:
    """Rule for `quantile` in (0, 1) from (n,) held-out distances. ValueError as in `checked`."""
    test = checked(test, "test")
    if not 0 < quantile < 1:
        raise ValueError(f"quantile {quantile}: expected more than 0 and less than 1")
    n = len(test)
    wanted = math.floor(quantile * (n + 1) * (1 + 1e-12))
    k = min(max(wanted, 1), n)
    return Rule(k, n, float(np.partition(test, k - 1)[k - 1]), wanted >= 1)


def clopper_pearson(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Exact binomial interval of count / total (Clopper, Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high


def p_at_least(count: int, m: int, rule: Rule) -> float:
    """Chance of `count` or more flags among m shapes exchangeable with the held-out ones.

    An upper bound when distances tie.
    """
    if count == 0:
        return 1.0
    x = np.arange(count, m + 1, dtype=np.float64)
    choose = gammaln(m + 1) - gammaln(x + 1) - gammaln(m - x + 1)
    k, rest = rule.k, rule.n - rule.k + 1
    log_pmf = choose + betaln(x + k, m - x + rest) - betaln(k, rest)
    return float(min(1.0, np.exp(log_pmf).sum()))
