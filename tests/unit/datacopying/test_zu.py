"""The Mann-Whitney comparison: definition, size, calibration."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from datacopying.zu import compare, deviation, zu_from_distances

SETS = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda v: np.array(v, float))


@given(gen=SETS, test=SETS)
def test_u_is_the_count_over_all_pairs(gen: np.ndarray, test: np.ndarray) -> None:
    got = compare(gen, test)
    pairs = np.subtract.outer(gen, test)
    assert got.u == (pairs > 0).sum() + (pairs == 0).sum() / 2
    assert got.tie_share == pytest.approx((pairs == 0).mean())
    assert got.auc + compare(test, gen).auc == pytest.approx(1)


@given(gen=SETS, test=SETS)
def test_p_is_that_of_scipy(gen: np.ndarray, test: np.ndarray) -> None:
    got = compare(gen, test)
    if got.p_less is None:
        assert len({*gen, *test}) == 1
        return
    want = mannwhitneyu(gen, test, alternative="less", method=got.p_method).pvalue
    assert got.p_less == pytest.approx(want, rel=1e-9)


def test_two_against_three_alike_gives_the_continuity_offset() -> None:
    assert zu_from_distances(np.full(2, 4.0), np.full(3, 4.0)) == pytest.approx(0.5 / 3**0.5)


def test_large_sets_neither_overflow_nor_need_all_pairs() -> None:
    m, n = 70_000, 62_000
    gen, test = np.arange(m, dtype=float), np.arange(n) + 0.5
    tracemalloc.start()
    got = compare(gen, test)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    u = n * (n + 1) // 2 + (m - n - 1) * n
    assert u > 2**31
    assert got.u == u
    assert got.z_u == pytest.approx((u - m * n / 2 + 0.5) / (m * n * (m + n + 1) / 12) ** 0.5)
    assert peak < 20e6


@pytest.mark.parametrize(("m", "n"), [(200, 200), (30, 90)])
def test_alike_sets_give_standard_normal_values(m: int, n: int) -> None:
    rng = np.random.default_rng(0)
    values = [zu_from_distances(*np.split(rng.exponential(size=m + n), [m])) for _ in range(2000)]
    assert abs(np.mean(values) - 0.5 / deviation(m, n)) < 0.1
    assert abs(np.std(values) - 1) < 0.05


def test_values_grow_with_the_size_while_auc_stays() -> None:
    rng = np.random.default_rng(1)
    small, large = (
        compare(rng.normal(2.8, 1, n) ** 2, rng.normal(3, 1, n) ** 2) for n in (200, 20_000)
    )
    assert abs(small.auc - large.auc) < 0.05
    assert large.z_u < 5 * small.z_u < 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [([], r"found \(0,\)"), ([[1.0]], r"\(1, 1\)"), ([1, np.nan], "number 1"), ([-1.0], "-1.0")],
)
def test_unusable_distances_are_refused(bad: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=f"test distances.*{said}"):
        zu_from_distances(np.ones(3), np.array(bad))
