"""Frechet distance: closed forms, invariances, errors."""

from __future__ import annotations

import numpy as np
import pytest

from fpd_eval.frechet import frechet, standardiser, whitener

RNG = np.random.default_rng(0)
WIDE = RNG.normal(size=(12, 30))  # fewer rows than dimensions
TALL = RNG.normal(size=(90, 30)) * np.linspace(0.2, 3, 30)


def test_a_shift_and_a_scale_have_a_closed_form() -> None:
    """Y = s X + t: |mean(Y) - mean(X)|^2 + (s - 1)^2 tr C."""
    for rows in (WIDE, TALL):
        moved = 1.5 * rows + 0.25
        want = np.sum((moved.mean(0) - rows.mean(0)) ** 2) + 0.25 * rows.var(axis=0).sum()
        assert frechet(rows, moved).distance == pytest.approx(want, rel=1e-12)


def test_independent_dimensions_have_a_closed_form() -> None:
    """Orthogonal centred columns: sum of squared differences of the standard deviations."""
    columns = np.linalg.qr(np.column_stack([np.ones(40), RNG.normal(size=(40, 3))]))[0][:, 1:]
    one, two = columns * [1.0, 2.0, 3.0], columns * [4.0, 0.5, 3.0]
    want = (9 + 2.25 + 0) / 40
    assert frechet(one, two).distance == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("other", [WIDE, TALL])
def test_symmetric_and_blind_to_order_rotation_and_shift(other: np.ndarray) -> None:
    want = frechet(TALL[::2], other).distance
    turn = np.linalg.qr(RNG.normal(size=(30, 30)))[0]
    assert frechet(other, TALL[::2]).distance == pytest.approx(want, rel=1e-11)
    assert frechet(TALL[::2][::-1], other[::-1]).distance == pytest.approx(want, rel=1e-11)
    moved = [rows @ turn + 1e3 for rows in (TALL[::2], other)]
    assert frechet(*moved).distance == pytest.approx(want, rel=1e-8)


def test_a_set_against_itself_is_zero_and_the_clip_makes_it_negative() -> None:
    assert 0 <= frechet(WIDE, WIDE).distance < 1e-10
    assert frechet(WIDE, WIDE, 1e-12).distance == pytest.approx(-2e-6 * (30 - 11), rel=1e-2)


def test_whitening_and_standardising_their_own_rows() -> None:
    white, plain = whitener(TALL)(TALL), standardiser(TALL)(TALL)
    assert np.allclose(white.T @ white / len(TALL), np.eye(30), atol=1e-10)
    assert np.allclose(plain.std(axis=0), 1)
    assert np.allclose([white.mean(axis=0), plain.mean(axis=0)], 0)


def test_what_cannot_be_computed_is_said() -> None:
    with pytest.raises(ValueError, match=r"found \(12, 30\) and \(90, 1\)"):
        frechet(WIDE, TALL[:, :1])
    with pytest.raises(ValueError, match="found"):
        frechet(WIDE, WIDE[:0])
    for bad in (np.nan, np.inf, 1e200):
        with pytest.raises(ValueError, match="not finite, or too large"):
            frechet(WIDE * bad, WIDE)
    with pytest.raises(ValueError, match="12 rows fill 11 of 30 dimensions"):
        whitener(WIDE)
    with pytest.raises(ValueError, match="90 rows fill 29 of 30 dimensions"):
        whitener(np.column_stack([TALL[:, :29], TALL[:, 0] + TALL[:, 1]]))
    with pytest.raises(ValueError, match="dimension 2 is constant"):
        standardiser(np.where(np.arange(30) == 2, 0.1, TALL))
    with pytest.raises(ValueError, match="rows of 1 numbers, statistics of 30"):
        standardiser(TALL)(TALL[:, :1])
