"""The sentence for every case."""

from __future__ import annotations

import numpy as np
import pytest

from datacopying.excess import clopper_pearson, flag_rule, p_at_least
from datacopying.verdict import finding, sentence, warnings
from datacopying.zu import compare


def said(flagged: int, gen: np.ndarray, test: np.ndarray, quantile: float = 0.01) -> str:
    rule = flag_rule(test, quantile)
    interval = clopper_pearson(flagged, len(gen), 0.95)
    p = p_at_least(flagged, len(gen), rule)
    return sentence(compare(gen, test), rule, quantile, flagged, interval, 0.95, p)


EVEN = np.arange(1.0, 501)


def test_more_flags_than_chance_lead_the_sentence() -> None:
    text = said(25, EVEN, EVEN)
    assert text == (
        "25 of 500 generated shapes (5.0 %, 95 % interval 3.3-7.3 %) are closer to a training "
        "shape than 99 % of held-out shapes are; by chance we expect 5, so chance does not explain "
        "them (p < 0.0001). Overall Z_U = +0.0 (500 generated, 500 held-out): the set as a whole "
        "does not lean to the training data."
    )


def test_as_many_as_chance_and_none() -> None:
    assert "6 of 500" in said(6, EVEN, EVEN)
    assert "so chance alone explains them (p = 0.38" in said(6, EVEN, EVEN)
    assert said(1, EVEN, EVEN).startswith("1 of 500 generated shapes (0.2 %, ")
    assert " is closer to a training shape" in said(1, EVEN, EVEN)
    text = said(0, EVEN, EVEN)
    assert text.startswith("None of 500 generated shapes (0.0 %, 95 % interval 0.0-0.7 %) is ")
    assert "by chance we expect 5. Overall" in text


@pytest.mark.parametrize(
    ("shift", "said_of_the_set"),
    [
        (-50, "leans to the training data (p < 0.0001)."),
        (0, "does not lean to the training data."),
        (50, "lies farther away than held-out shapes do, which can hide copies"),
    ],
)
def test_the_set_as_a_whole(shift: float, said_of_the_set: str) -> None:
    assert said_of_the_set in said(5, EVEN + 100 + shift, EVEN + 100)


def test_all_distances_equal() -> None:
    assert "all distances are equal" in said(0, np.ones(9), np.ones(9))


def test_too_few_held_out_shapes_for_the_quantile() -> None:
    test = np.arange(1.0, 61)
    assert "closer to a training shape than every one of the 60 held-out shapes is; by chance we " \
        "expect 0.8" in said(7, np.arange(50.0), test)  # fmt: skip
    (line,) = warnings(compare(EVEN, test), flag_rule(test, 0.01), 0.01, 0, 0)
    assert "cannot resolve the 1 % quantile (it takes 99)" in line
    assert "1/61 = 1.6 %" in line


def test_small_sets_ties_and_twins_are_pointed_out() -> None:
    test = np.concatenate([np.zeros(3), np.arange(3.0, 300)])
    zu = compare(EVEN[:30], test)
    lines = warnings(zu, flag_rule(test, 0.01), 0.01, 3, 2)
    assert lines[0].startswith("only 30 generated shapes")
    assert "3 of 300 held-out shapes are at distance 0" in lines[1]
    assert "nothing can be flagged" in lines[2]
    (line,) = warnings(compare(EVEN, EVEN), flag_rule(EVEN, 0.01), 0.01, 0, 2)
    assert line == "ties: generated shapes exactly at the threshold, not flagged: 2"


def test_findings() -> None:
    assert finding(0, 1.0) == "none"
    assert finding(4, 0.2) == "chance"
    assert finding(4, 0.01) == "copies"
