"""Paths, losses, samplers and schedules against the reference cases."""

from __future__ import annotations

import pytest
import torch
from golden.hy3dshape.cases import Case, cases

from hy3dshape.models.diffusion.transport import (
    PATHS,
    Sampler,
    create_transport,
    logit_normal_times,
)
from hy3dshape.schedulers import EulerSchedule


@cases("transport*")
def test_transport(case: Case) -> None:
    noise, data, t = (case.inputs[k] for k in ("x0_noise", "x1_data", "t"))

    def model(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x @ case.inputs["W"] + t[:, None, None]

    transport = create_transport()
    xt, ut = transport.interpolate(noise, data, t)
    case.check("xt", xt)
    case.check("ut", ut)
    case.check("loss", transport.loss(model(xt, t), noise, data, t))
    states = Sampler(transport).sample_ode(model, noise, "euler", num_steps=10)
    case.check("ode_euler10", states)


@cases("transport*")
@pytest.mark.parametrize("path", ["GVP", "VP"])
def test_path(case: Case, path: str) -> None:
    found = PATHS[path](case.inputs["t_grid"])
    for name, value in found._asdict().items():
        case.check(f"{path}_{name}", value)


@cases("transport*")
def test_logit_normal_times(case: Case) -> None:
    found = logit_normal_times(case.inputs["normals"], **case.info["config"]["logit_normal"])
    case.check("logit_normal_t", found)


@cases("scheduler*")
def test_schedule(case: Case) -> None:
    schedule = EulerSchedule(**case.info["config"])
    for name in case.outputs:
        kind, _, which = name.partition("_")
        if which.isdigit():
            sigmas = schedule.sigmas(int(which))
            case.check(name, sigmas if kind == "sigmas" else schedule.timesteps(sigmas))
    custom = torch.linspace(0, 1, 10, dtype=torch.float64).tolist()
    case.check("sigmas_custom_linspace10", schedule.sigmas(custom=custom))
    case.check("sigmas_shift3_10", EulerSchedule(shift=3.0).sigmas(10))
