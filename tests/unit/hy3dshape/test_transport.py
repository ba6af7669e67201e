"""Flow matching against closed forms: for normal data, velocity, score and end state are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hy3dshape.models.diffusion.transport import PATHS, Sampler, Transport, create_transport
from hy3dshape.schedulers import EulerSchedule

MEAN, STD = 2.0, 0.5  # of the data, every number alike


def network(transport: Transport) -> Callable[[Tensor, Tensor], Tensor]:
    """The best prediction for data N(MEAN, STD^2): x_t and x0, x1 are jointly normal."""

    def predict(x: Tensor, t: Tensor) -> Tensor:
        c = transport.coefficients(t, x)
        variance = (c.alpha * STD) ** 2 + c.sigma**2
        centred = (x - c.alpha * MEAN) / variance
        noise, data = c.sigma * centred, MEAN + c.alpha * STD**2 * centred
        kinds = {"velocity": c.dalpha * data + c.dsigma * noise, "noise": noise, "score": -centred}
        return kinds[transport.prediction]

    return predict


KINDS = [(path, kind) for path in PATHS for kind in ("velocity", "noise", "score")]


@pytest.mark.parametrize(("path", "kind"), KINDS)
def test_predictions_say_the_same(path: Any, kind: Any) -> None:
    transport, other = create_transport(path, kind), create_transport(path)
    x, t = torch.randn(3, 4, 2), torch.tensor([0.1, 0.5, 0.9])
    prediction, velocity = network(transport)(x, t), network(other)(x, t)
    assert torch.allclose(transport.velocity(prediction, x, t), velocity, rtol=1e-3, atol=1e-3)
    score = other.score(velocity, x, t)
    assert torch.allclose(transport.score(prediction, x, t), score, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("path", PATHS)
def test_rates_are_derivatives(path: str) -> None:
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64, requires_grad=True)
    c = PATHS[path](t)
    for value, rate in ((c.alpha, c.dalpha), (c.sigma, c.dsigma)):
        (found,) = torch.autograd.grad(value.sum(), t, retain_graph=True)
        assert torch.allclose(found, rate)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "dopri5"])
@pytest.mark.parametrize(("path", "kind"), [("Linear", "velocity"), ("VP", "noise")])
def test_ode_maps_noise_to_data_along_quantiles(path: Any, kind: Any, method: Any) -> None:
    transport = create_transport(path, kind)
    x = torch.linspace(-2, 2, 5)[:, None]
    states = Sampler(transport).sample_ode(network(transport), x, method, num_steps=60)
    assert states.shape == (60, 5, 1)
    assert torch.allclose(states[-1], MEAN + STD * x, atol=0.05 if method == "euler" else 0.01)
    back = Sampler(transport).sample_ode(
        network(transport), states[-1], method, num_steps=100, reverse=True
    )
    assert torch.allclose(back[-1], x, atol=0.1 if method == "euler" else 0.02)


@pytest.mark.parametrize("method", ["midpoint", "heun"])
def test_second_order(method: Any) -> None:
    """Twice the steps, about a quarter of the error."""
    transport, x = create_transport("GVP"), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    runs = [
        Sampler(transport).sample_ode(network(transport), x, method, num_steps=n + 1)[-1]
        for n in (10, 20)
    ]
    errors = [(run - MEAN - STD * x).abs().max().item() for run in runs]
    assert errors[1] < 0.35 * errors[0]


@pytest.mark.parametrize("last_step", ["Mean", "Tweedie", "Euler", None])
@pytest.mark.parametrize("method", ["Euler", "Heun"])
@pytest.mark.parametrize("form", ["constant", "SBDM", "sigma", "linear"])
def test_sde_keeps_the_distribution(form: Any, method: Any, last_step: Any) -> None:
    transport = create_transport()
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, generator=draw)
    found = Sampler(transport).sample_sde(
        network(transport), x, method, form,
        last_step=last_step, last_step_size=0.01, num_steps=60, generator=draw,
    )  # fmt: skip
    assert found.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert found.std().item() == pytest.approx(STD, abs=0.05)


def test_same_generator_same_sde_and_times() -> None:
    transport, x = create_transport(train_sample_type="logit_normal"), torch.randn(2, 3)
    ends, times = [], []
    for _ in range(2):
        draw = torch.Generator().manual_seed(5)
        sampler = Sampler(transport)
        ends.append(sampler.sample_sde(network(transport), x, num_steps=5, generator=draw))
        times.append(transport.sample_times(4, torch.device("cpu"), draw))
    assert torch.equal(*ends)
    assert torch.equal(*times)


@pytest.mark.parametrize(("path", "kind"), KINDS)
@pytest.mark.parametrize("weight", [None, "velocity", "likelihood"])
def test_training_is_finite_over_the_whole_interval(path: Any, kind: Any, weight: Any) -> None:
    transport = create_transport(path, kind, weight)
    draw = torch.Generator().manual_seed(0)
    t = transport.sample_times(1000, torch.device("cpu"), draw)
    assert 0 <= t.min() < 0.01 < 0.99 < t.max() < 1
    noise, data = torch.randn(1000, 4), torch.randn(1000, 4)
    xt, _ = transport.interpolate(noise, data, t)
    assert transport.loss(xt, noise, data, t).isfinite().all()


def test_perfect_prediction_has_no_loss() -> None:
    noise, data, t = torch.randn(3, 4, 2), torch.randn(3, 4, 2), torch.rand(3)
    for path, kind in KINDS:
        transport = create_transport(path, kind)
        sigma = transport.coefficients(t, data).sigma
        exact = {
            "velocity": transport.interpolate(noise, data, t)[1],
            "noise": noise,
            "score": -noise / sigma,
        }
        assert transport.loss(exact[kind], noise, data, t).max().item() < 1e-8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path_type": "linear"}, "path_type 'linear'"),
        ({"prediction": "data"}, "prediction 'data'"),
        ({"loss_weight": "snr"}, "loss_weight 'snr'"),
        ({"train_sample_type": "beta"}, "train_sample_type 'beta'"),
    ],
)
def test_unknown_names(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_transport(**arguments)


def test_matched_noise_is_the_noise_in_the_nearest_order() -> None:
    noise, data = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    assert create_transport().match(noise, data) is noise
    found = create_transport(matched_channels=2).match(noise, data)
    orders = torch.tensor(list(itertools.permutations(range(5))))
    for i in range(3):
        costs = (noise[i, orders, :2] - data[i, :, :2]).square().sum(dim=(1, 2))
        assert torch.equal(found[i], noise[i, orders[costs.argmin()]])


def test_unknown_methods() -> None:
    sampler, x = Sampler(create_transport()), torch.zeros(1, 1)
    wrong: Any = "rk4"
    with pytest.raises(ValueError, match="sampling_method 'rk4'"):
        sampler.sample_ode(lambda x, t: x, x, wrong)
    with pytest.raises(ValueError, match="sampling_method 'rk4'"):
        sampler.sample_sde(lambda x, t: x, x, wrong)
    with pytest.raises(ValueError, match="num_steps 1"):
        sampler.sample_ode(lambda x, t: x, x, num_steps=1)


def test_schedules() -> None:
    exact = EulerSchedule("exact").sigmas(4)
    assert exact.tolist() == [0, 0.25, 0.5, 0.75, 1]
    shifted = EulerSchedule("exact", shift=3).sigmas(2).tolist()
    assert shifted == pytest.approx([0, 1.5 / 2, 1])
    assert EulerSchedule().sigmas(custom=[0.0, 0.5]).tolist() == [0, 0.5, 1]
    wrong: Any = "karras"
    for bad in ([], [0.5, 0.1], [-0.1], [1.5], [float("nan")]):
        with pytest.raises(ValueError, match="rise within"):
            EulerSchedule().sigmas(custom=bad)
    with pytest.raises(ValueError, match="schedule 'karras'"):
        EulerSchedule(wrong)
    with pytest.raises(ValueError, match="0 steps"):
        EulerSchedule().sigmas(0)
    with pytest.raises(ValueError, match="shift > 0"):
        EulerSchedule(shift=0)
