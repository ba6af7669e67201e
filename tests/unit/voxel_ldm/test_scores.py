"""Scores on cases with known answers, and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, jensenshannon

from voxel_ldm.scores import (
    coverage,
    js_divergence,
    js_divergence_base2,
    minimum_matching_distance,
    one_nna,
    precision_recall,
)

Matrix = NDArray[np.float64]


def blocks(gen: Matrix, ref: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """gg, gr, rr of points on a line or (n, d)."""
    g, r = (np.asarray(p, float).reshape(len(p), -1) for p in (gen, ref))
    return cdist(g, g), cdist(g, r), cdist(r, r)


def line(*values: float) -> Matrix:
    return np.array(values, float)


def test_divergence_is_scipys_squared() -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.poisson(0.7, (6, 6, 6)) for _ in range(2))
    exact = jensenshannon(p.ravel(), q.ravel()) ** 2
    assert js_divergence(p, q, 0) == pytest.approx(exact, rel=1e-12)
    assert js_divergence(p, q) == pytest.approx(exact, rel=1e-5)
    assert js_divergence(p, q) < exact
    base2 = jensenshannon(p.ravel(), q.ravel(), base=2) ** 2
    assert js_divergence_base2(p, q) == pytest.approx(base2, rel=1e-12)


def test_divergence_of_equal_and_of_disjoint_sets() -> None:
    p, q = np.array([3, 1, 0, 0]), np.array([0, 0, 1, 1])
    assert js_divergence(p, 2 * p) == 0
    assert js_divergence(p, q) == pytest.approx(math.log(2), rel=1e-8)
    assert js_divergence_base2(p, q) == pytest.approx(1, rel=1e-15)


def test_divergence_refuses() -> None:
    some = np.array([1, 0])
    for other in (np.array([0, 0]), np.array([2, -1])):
        with pytest.raises(ValueError, match="expected counts"):
            js_divergence(some, other)
    with pytest.raises(ValueError, match="2 and 3 cells"):
        js_divergence(some, np.ones(3))


def test_matching_and_coverage() -> None:
    cd = np.array([[0.0, 0.0, 4.0], [1.0, 0.5, 3.0], [2.0, 0.1, 9.0]])
    assert minimum_matching_distance(cd) == pytest.approx((0 + 0 + 3) / 3)
    share, matched = coverage(cd)  # the tie of row 0 goes to reference 0
    assert share == 2 / 3 and matched.tolist() == [0, 1]


def test_one_nna_of_apart_equal_and_copied_sets() -> None:
    apart = blocks(line(0, 1, 2), line(10, 11))
    assert one_nna(*apart) == 1
    same = blocks(line(0, 1, 5), line(0, 1, 5))
    assert one_nna(*same) == 0
    # the nearest of 4 is 0.1, of the other set; those of 0, 0.1 and 10 are of their own
    assert one_nna(*blocks(line(0, 0.1), line(4, 10))) == 3 / 4


def test_one_nna_shares_exact_ties() -> None:
    """1 has two generated and one reference at distance 1; the others have one nearest each."""
    gen, ref = line(0, 1, 2), line(2, 30, 31)
    # 0: 1 own; 1: {0, 2 own, 2 other} = 2/3; 2: other; 2': other set; 30, 31: own
    assert one_nna(*blocks(gen, ref)) == pytest.approx((1 + 2 / 3 + 0 + 0 + 1 + 1) / 6)


def test_one_nna_and_precision_against_loops() -> None:
    rng = np.random.default_rng(1)
    gen, ref = rng.normal(0, 1, (17, 3)), rng.normal(0.4, 1.2, (23, 3))
    points, label = np.concatenate([gen, ref]), [0] * 17 + [1] * 23
    right = 0
    for i, p in enumerate(points):
        others = [j for j in range(40) if j != i]
        nearest = min(others, key=lambda j: float(((points[j] - p) ** 2).sum()))
        right += label[nearest] == label[i]
    cd = blocks(gen, ref)
    assert one_nna(*cd) == pytest.approx(right / 40)

    def inside(points: Matrix, centres: Matrix, k: int) -> float:
        radius = [sorted(np.linalg.norm(centres - c, axis=1))[k] for c in centres]
        hits = [any(np.linalg.norm(p - c) <= t for c, t in zip(centres, radius, strict=True))
                for p in points]  # fmt: skip
        return float(np.mean(hits))

    for k in (1, 3, 16):
        got = precision_recall(*cd, k=k)
        precision, recall = inside(gen, ref, k), inside(ref, gen, k)
        assert got[:2] == pytest.approx((precision, recall))
        assert got.f_score == pytest.approx(2 * precision * recall / (precision + recall))
    squared = [block**2 for block in cd]
    assert precision_recall(*squared) == precision_recall(*cd)
    assert one_nna(*squared) == one_nna(*cd)


def test_precision_and_recall_of_a_collapsed_and_of_a_foreign_set() -> None:
    ref = np.arange(10.0)
    collapsed = precision_recall(*blocks(4 + np.arange(10) / 100, ref), k=1)
    assert collapsed.precision == 1 and collapsed.recall == 0.1
    assert precision_recall(*blocks(ref + 1000, ref), k=1) == (0, 0, 0)


def test_sets_that_are_too_small_or_do_not_fit() -> None:
    gg, gr, rr = blocks(line(0, 1, 2), line(0, 1))
    with pytest.raises(ValueError, match="3 generated and 2 reference shapes: expected 3 of each"):
        precision_recall(gg, gr, rr, k=2)
    with pytest.raises(ValueError, match="k = 0"):
        precision_recall(gg, gr, rr, k=0)
    with pytest.raises(ValueError, match="expected 2 of each"):
        one_nna(*blocks(line(0), line(1, 2)))
    with pytest.raises(ValueError, match="expected nn, nm, mm"):
        one_nna(rr, gr, gg)
    for score in (coverage, minimum_matching_distance):
        with pytest.raises(ValueError, match="without NaN"):
            score(np.array([[np.nan, 1]]))
