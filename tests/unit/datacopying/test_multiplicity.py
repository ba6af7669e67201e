from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

from datacopying.multiplicity import benjamini_hochberg


def test_values_are_those_of_scipy() -> None:
    p = np.random.default_rng(0).uniform(size=50).round(1)
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


def test_nothing_in_nothing_out() -> None:
    assert benjamini_hochberg(np.array([])).size == 0
