"""Flags: the stated false-positive rate is the true one; planted copies are recovered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom, binomtest

from datacopying.excess import clopper_pearson, flag_rule, p_at_least
from datacopying.simulation import nearest_distances


def test_the_threshold_is_an_order_statistic() -> None:
    rule = flag_rule(np.arange(500, 0, -1.0), 0.01)
    assert (rule.k, rule.threshold, rule.resolved) == (5, 5.0, True)
    assert rule.rate == 5 / 501


@pytest.mark.parametrize(
    ("n", "quantile", "k", "resolved"),
    [(99, 0.01, 1, True), (98, 0.01, 1, False), (1, 0.5, 1, True), (99, 0.29, 29, True)],
)
def test_k_is_the_largest_that_keeps_the_rate(
    n: int, quantile: float, k: int, resolved: bool
) -> None:
    rule = flag_rule(np.arange(float(n)), quantile)
    assert (rule.k, rule.resolved) == (k, resolved)


@pytest.mark.parametrize(("n", "quantile"), [(99, 0.01), (200, 0.05), (30, 0.01)])
def test_alike_sets_are_flagged_at_the_stated_rate(n: int, quantile: float) -> None:
    rng = np.random.default_rng(3)
    shares, rounded = [], []
    for _ in range(4000):
        gen, test = rng.exponential(size=50), rng.exponential(size=n)
        shares.append((gen < flag_rule(test, quantile).threshold).mean())
        gen, test = np.round(gen, 1), np.round(test, 1)
        rounded.append((gen < flag_rule(test, quantile).threshold).mean())
    rate = flag_rule(test, quantile).rate
    assert abs(np.mean(shares) - rate) < 4 * np.std(shares) / 4000**0.5
    assert np.mean(rounded) < rate


def test_flagged_is_a_small_conformal_p_value() -> None:
    rng = np.random.default_rng(4)
    gen, test = rng.integers(0, 300, 400), rng.integers(0, 300, 250)
    rule = flag_rule(test, 0.03)
    p = (1 + (test[None] <= gen[:, None]).sum(1)) / (len(test) + 1)
    np.testing.assert_array_equal(gen < rule.threshold, p <= rule.rate)


@pytest.mark.parametrize(("count", "m", "n", "q"), [(1, 50, 60, 0.01), (12, 500, 500, 0.01)])
def test_the_count_of_flags_is_beta_binomial(count: int, m: int, n: int, q: float) -> None:
    rule = flag_rule(np.arange(float(n)), q)
    want = betabinom.sf(count - 1, m, rule.k, n - rule.k + 1)
    assert p_at_least(count, m, rule) == pytest.approx(want, rel=1e-9)


def test_the_count_p_value_holds_its_level() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        gen, test = rng.normal(size=300), rng.normal(size=200)
        rule = flag_rule(np.exp(test), 0.02)
        hits += p_at_least(int((np.exp(gen) < rule.threshold).sum()), 300, rule) < 0.05
    assert 0.02 < hits / 2000 <= 0.06


@pytest.mark.parametrize(("count", "total"), [(0, 20), (3, 500), (12, 500), (20, 20)])
def test_the_interval_is_the_exact_one(count: int, total: int) -> None:
    want = binomtest(count, total).proportion_ci(0.95, "exact")
    assert clopper_pearson(count, total, 0.95) == pytest.approx((want.low, want.high))


@pytest.mark.parametrize("copies", [0, 5, 25, 50, 100])
def test_the_excess_share_recovers_planted_copies_within_two_points(copies: int) -> None:
    for seed in range(3):
        gen, test = nearest_distances(copies, np.random.default_rng([7, seed]))
        rule = flag_rule(test, 0.01)
        assert (gen[:copies] < rule.threshold).all()
        assert abs((gen < rule.threshold).mean() - rule.rate - copies / 500) < 0.02


@pytest.mark.parametrize("quantile", [0, 1, -0.1, float("nan")])
def test_a_quantile_outside_0_1_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        flag_rule(np.ones(3), quantile)
