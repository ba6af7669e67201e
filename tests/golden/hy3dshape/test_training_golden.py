"""Learning-rate factor against the reference numbers (README.md here)."""

from __future__ import annotations

import pytest
from golden.hy3dshape.cases import Case, cases

from hy3dshape.utils.trainings.lr_scheduler import LambdaWarmUpCosineFactorScheduler


@cases("lr_schedule*")
def test_lr_schedule(case: Case) -> None:
    told = case.info
    names = ("warm_up_steps", "max_decay_steps", "f_start", "f_min", "f_max")
    factor = LambdaWarmUpCosineFactorScheduler(**{name: told[name] for name in names})
    assert [factor(n) for n in told["n"]] == pytest.approx(told["factor"], rel=1e-12)
