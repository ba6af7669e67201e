"""The metrics against independent implementations, and what each can and cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from prdc import compute_prdc
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from fpd_eval.frechet import frechet
from fpd_eval.kernels import kid, vendi
from fpd_eval.likelihood import NARROWEST, fit, fld_gap, log_likelihood
from fpd_eval.metrics import METRICS, Options
from fpd_eval.neighbours import authpct, coverage_mmd, one_nna, prdc
from fpd_eval.samples import Sample, Sets, euclidean

RNG = np.random.default_rng(0)
TRAIN, TEST, HONEST = (RNG.normal(size=(n, 8)) for n in (400, 200, 200))
COPIES = TRAIN[:200] + RNG.normal(scale=0.01, size=(200, 8))
WIDE = RNG.normal(size=(200, 8)) * 1.3


def test_frechet_equals_scipys_matrix_root() -> None:
    a, b = np.cov(TRAIN.T, ddof=0), np.cov(WIDE.T, ddof=0)
    cross = np.trace(np.real(sqrtm(a @ b)))
    want = np.sum((TRAIN.mean(0) - WIDE.mean(0)) ** 2) + np.trace(a + b) - 2 * cross
    assert frechet(TRAIN, WIDE).distance == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("gen", [HONEST, COPIES, WIDE], ids=["honest", "copies", "wide"])
def test_prdc_equals_the_package_of_its_authors(
    gen: np.ndarray, k: int, capsys: pytest.CaptureFixture[str]
) -> None:
    want = compute_prdc(TRAIN, gen, k)
    assert prdc(Sample(TRAIN), Sample(gen), k) == pytest.approx(want, rel=1e-12)


def test_statistics_of_neighbours_equal_the_plain_formulas() -> None:
    gg, gt, tt = cdist(WIDE, WIDE), cdist(WIDE, TEST), cdist(TEST, TEST)
    assert coverage_mmd(Sample(TEST), Sample(WIDE)) == pytest.approx(
        {"cov": len(set(gt.argmin(1))) / 200, "mmd": gt.min(0).mean()}, rel=1e-12
    )
    for own in (gg, tt):
        np.fill_diagonal(own, np.inf)
    right = (gg.min(1) < gt.min(1)).sum() + (tt.min(1) < gt.min(0)).sum()
    assert one_nna(Sample(TEST), Sample(WIDE)) == right / 400
    own, to_train = cdist(TRAIN, TRAIN), cdist(WIDE, TRAIN)
    np.fill_diagonal(own, np.inf)
    want = 100 * (to_train.min(1) > own.min(1)[to_train.argmin(1)]).mean()
    assert authpct(Sample(TRAIN), Sample(WIDE)) == want


def test_ties_of_the_classifier_count_by_share() -> None:
    """Three equal shapes, two of one set: a third neighbour is as near as the other."""
    same, far = np.zeros((2, 1)), np.array([[0.0], [9.0]])
    # of `same`: one own and one other at 0; of `far`: its 0 has two others, its 9 none of its own
    assert one_nna(Sample(same), Sample(far)) == pytest.approx((0.5 + 0.5 + 0 + 1 / 3) / 4)


def test_near_copies_keep_their_distance_far_from_the_origin() -> None:
    base = RNG.normal(size=(50, 16)) + 1e4
    moved = base + 1e-7
    got = np.diag(euclidean(base, moved))
    assert got == pytest.approx(np.linalg.norm(base - moved, axis=1), rel=1e-9)
    assert (np.diag(euclidean(base, base)) == 0).all()


def test_kid_is_unbiased() -> None:
    """Mean over 200 pairs of sets of one distribution within three standard errors of 0."""
    rng = np.random.default_rng(1)
    drawn = [kid(*(Sample(rng.normal(size=(30, 4))) for _ in range(2))) for _ in range(200)]
    assert abs(np.mean(drawn)) < 3 * np.std(drawn) / np.sqrt(200)
    assert kid(Sample(TRAIN), Sample(WIDE)) > kid(Sample(TRAIN), Sample(HONEST)) + 0.1


def test_vendi_counts_different_directions() -> None:
    axes = np.repeat(np.eye(6), [1, 1, 1, 1, 1, 1], axis=0)
    assert vendi(Sample(axes)) == pytest.approx(6)
    assert vendi(Sample(np.repeat(axes[:2], 5, axis=0) * 3)) == pytest.approx(2)
    with pytest.raises(ValueError, match="row 1 is 0"):
        vendi(Sample(np.array([[1.0, 0], [0, 0]])))


def test_density_of_the_gaussians_is_one() -> None:
    """In one dimension the mixture integrates to 1; widths stop at the narrowest."""
    centres, rows = RNG.normal(size=(20, 1)), RNG.normal(size=(60, 1))
    rows[:20] = centres  # exact copies
    variance = fit(euclidean(rows, centres) ** 2, 1, 1e-4)
    assert variance.min() >= 1e-4
    grid = np.linspace(-12, 12, 200_001)[:, None]
    density = np.exp(log_likelihood(euclidean(grid, centres) ** 2, variance, 1))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=1e-6)


def test_each_step_of_the_fit_raises_the_likelihood() -> None:
    squared = euclidean(TRAIN[:100], COPIES[:50]) ** 2
    start = np.full(50, squared.min(axis=1).mean() / 8)
    fitted = fit(squared, 8, NARROWEST)
    before, after = (log_likelihood(squared, v, 8).mean() for v in (start, fitted))
    assert after > before + 0.1


def test_copies_show_in_authpct_and_fld_gap_and_not_in_the_others() -> None:
    train, test = Sample(TRAIN), Sample(TEST)
    honest, copies = Sample(HONEST), Sample(COPIES)
    assert authpct(train, copies) == 0 and authpct(train, honest) > 50
    gap = {name: fld_gap(train, test, s)["fld_gap"] for name, s in
           {"copies": copies, "honest": honest}.items()}  # fmt: skip
    assert gap["copies"] < -20 < -10 < gap["honest"]
    assert 0.4 < one_nna(test, copies) < 0.6
    assert kid(train, copies) < kid(train, honest) + 0.01
    assert frechet(TRAIN, COPIES).distance < frechet(TRAIN, HONEST).distance + 0.02


@pytest.mark.parametrize("name", METRICS)
def test_blocks_and_the_order_of_the_rows_do_not_matter(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(turn: int) -> dict[str, float]:
        rows = (np.roll(r, turn, axis=0) for r in (TRAIN, TEST, WIDE))
        return METRICS[name].compute(Sets(*map(Sample, rows)), Options())

    want = computed(0)
    monkeypatch.setattr("fpd_eval.samples.BLOCK", 8 * 400 * 7)
    monkeypatch.setattr("fpd_eval.kernels.STEP", 7)
    assert computed(0) == pytest.approx(want, rel=1e-9)
    if name != "fd_infinity":  # draws rows by place
        assert computed(3) == pytest.approx(want, rel=1e-9)


def test_too_small_and_degenerate_sets_are_said() -> None:
    one, two = Sample(TRAIN[:1]), Sample(TRAIN[:2])
    same = Sample(np.ones((30, 8)))
    for compute, said in (
        (lambda: one_nna(one, two), "2 shapes of each"),
        (lambda: kid(two, one), "2 rows of each"),
        (lambda: prdc(Sample(TRAIN), two, 5), "2 shapes: expected more than k = 5"),
        (lambda: fld_gap(same, two, two), "all training rows are equal"),
        (lambda: fld_gap(Sample(np.repeat(TRAIN[:9], 3, 0)), two, two), "stand twice"),
    ):
        with pytest.raises(ValueError, match=said):
            compute()
    assert authpct(same, same) == 0.0
