"""Learning-rate factor against the reference numbers (README.md here)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hy3dshape.utils.trainings.lr_scheduler import LambdaWarmUpCosineFactorScheduler


def test_lr_schedule(golden: Path) -> None:
    case = json.loads((golden / "hy3dshape" / "lr_schedule.json").read_text())
    names = ("warm_up_steps", "max_decay_steps", "f_start", "f_min", "f_max")
    factor = LambdaWarmUpCosineFactorScheduler(**{name: case[name] for name in names})
    assert [factor(n) for n in case["n"]] == pytest.approx(case["factor"], rel=1e-12)
