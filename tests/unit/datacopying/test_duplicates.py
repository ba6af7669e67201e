"""Flagged copies of training shapes with and without near-duplicates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from datacopying.duplicates import by_duplication, sentence

OWN = {f"t{i}": 1.0 if i < 6 else 5.0 for i in range(30)}


def test_p_of_single_copies_is_hypergeometric() -> None:
    charged = {"t0": 1, "t1": 1, "t2": 1, "t9": 1, "t20": 1}
    found = by_duplication(charged, OWN, 2.0, seed=0)
    assert found["with_near_duplicate"] == {"shapes": 6, "flagged": 3}
    assert found["without"] == {"shapes": 24, "flagged": 2}
    assert found["p"] == pytest.approx(hypergeom.sf(2, 30, 6, 5), abs=0.01)
    assert found == by_duplication(charged, OWN, 2.0, seed=0)
    assert "6 training shapes with a near-duplicate: 3 flagged copies, 0.50 each" in sentence(found)


def test_p_is_uniform_when_labels_mean_nothing() -> None:
    rng = np.random.default_rng(0)
    p = []
    for i in range(100):
        counts = {name: int(rng.poisson(1)) for name in OWN}
        p.append(by_duplication(counts, OWN, 2.0, seed=i)["p"])
    assert 0.4 < np.mean(p) < 0.65 and sum(value < 0.05 for value in p) <= 11


@pytest.mark.parametrize(("charged", "threshold"), [({}, 2.0), ({"t0": 2}, 9.0), ({"t0": 2}, 0.5)])
def test_no_test_without_two_groups_or_copies(charged: dict[str, int], threshold: float) -> None:
    found = by_duplication(charged, OWN, threshold, seed=0)
    assert found["p"] is None and sentence(found).endswith("no test")


def test_another_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'x' .1 in all. has no neighbour among the training"):
        by_duplication({"x": 1}, OWN, 2.0, seed=0)
