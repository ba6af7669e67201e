"""The bootstrap of both sides: right values, coverage, determinism, speed of growth."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from scipy.special import ndtr

from datacopying.bootstrap import bootstrap, percentile_interval
from datacopying.zu import compare


def test_a_draw_is_u_of_redrawn_sets() -> None:
    rng = np.random.default_rng(0)
    gen, test = rng.integers(0, 50, 30).astype(float), rng.integers(5, 55, 40).astype(float)
    got = bootstrap(gen, test, 8, 30, seed=9)
    for b in range(30):
        draw = np.random.default_rng([9, b])
        g = np.sort(gen)[draw.integers(0, 30, 30)]
        t = np.sort(test)[draw.integers(0, 40, 40)]
        assert got.u[b] == compare(g, t).u
        assert got.share[b] == (g < np.sort(t)[7]).mean()


def test_order_and_number_of_draws_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    gen, test = rng.normal(5, 1, 50), rng.normal(5, 1, 70)
    first = bootstrap(gen, test, 2, 20, seed=1)
    second = bootstrap(rng.permutation(gen), rng.permutation(test), 2, 40, seed=1)
    np.testing.assert_array_equal(first.u, second.u[:20])
    np.testing.assert_array_equal(first.share, second.share[:20])
    assert (first.u != bootstrap(gen, test, 2, 20, seed=2).u).any()


def test_the_interval_covers_the_true_auc() -> None:
    true = float(ndtr(-0.5 / 2**0.5))
    hits = 0
    for run in range(100):
        rng = np.random.default_rng([2, run])
        gen, test = np.exp(rng.normal(-0.5, 1, 120)), np.exp(rng.normal(0, 1, 100))
        draws = bootstrap(gen, test, 1, 400, seed=run)
        low, high = percentile_interval(draws.u / 12_000, 0.95) or (1, 0)
        hits += low <= true <= high
    assert 90 <= hits <= 98


def test_ten_thousand_a_side_is_quick_and_small() -> None:
    rng = np.random.default_rng(3)
    gen, test = rng.exponential(size=10_000), rng.exponential(size=10_000)
    tracemalloc.start()
    bootstrap(gen, test, 100, 3, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    start = time.process_time()
    bootstrap(gen, test, 100, 50, seed=0)
    assert (time.process_time() - start) * 40 < 60  # 2,000 draws
    assert peak < 10e6


def test_no_draws_no_interval() -> None:
    draws = bootstrap(np.ones(3), np.ones(3), 1, 0, seed=0)
    assert percentile_interval(draws.u, 0.95) is None


def test_the_interval_is_central() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
