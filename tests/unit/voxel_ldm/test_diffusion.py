"""Schedules against their formulas, guidance, sampling by seeds, score distillation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from voxel_ldm.diffusion import (
    Objective,
    Schedule,
    distil,
    from_w,
    guided,
    item_noise,
    sample,
)

SHAPE = (2, 2, 2, 2)


class Net(nn.Module):
    """A network that any test can foresee: a x + b label."""

    def __init__(self, a: float = 0.5, b: float = 1.0) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), b
        self.labels: list[Tensor | None] = []

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        self.labels.append(labels)
        out = self.a * x
        return out if labels is None else out + self.b * labels.view(-1, 1, 1, 1, 1)


def test_linear_schedule() -> None:
    abar = Schedule().scheduler().alphas_cumprod
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert torch.allclose(abar.double(), (1 - beta).cumprod(0), rtol=1e-4)
    assert abar[-1].item() == pytest.approx(4.04e-5, rel=5e-3)


def test_quad_schedule() -> None:
    abar = Schedule(kind="quad").scheduler().alphas_cumprod
    beta = torch.linspace(1e-4**0.5, 0.02**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(abar.double(), (1 - beta).cumprod(0), rtol=1e-4)


def test_cosine_schedule() -> None:
    """Nichol, Dhariwal (2021), equation 17, betas at most 0.999."""
    abar = Schedule(kind="cosine").scheduler().alphas_cumprod
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    f = ((t + 0.008) / 1.008 * torch.pi / 2).cos() ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    assert torch.allclose(abar.double(), (1 - beta).cumprod(0), rtol=2e-4, atol=1e-9)
    assert abar[499].item() == pytest.approx((f[500] / f[0]).item(), rel=1e-4)


@pytest.mark.parametrize("t", [999, 500, 1, 0])
def test_ancestral_step(t: int) -> None:
    """Ho et al. (2020), equations 6 and 7; no noise at the end."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    abar = (1 - beta).cumprod(0)
    before = abar[t - 1] if t else torch.tensor(1.0, dtype=torch.float64)
    x, eps = torch.randn(1, *SHAPE), torch.randn(1, *SHAPE)
    noises = Schedule().scheduler()
    noises.set_timesteps(1000)
    found = noises.step(eps, t, x, generator=torch.Generator().manual_seed(5)).prev_sample
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)) if t else 0.0
    x0 = (x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()
    mean = before.sqrt() * beta[t] / (1 - abar[t]) * x0
    mean = mean + (1 - beta[t]).sqrt() * (1 - before) / (1 - abar[t]) * x
    wanted = mean + (beta[t] * (1 - before) / (1 - abar[t])).sqrt() * noise
    assert torch.allclose(found.double(), wanted.double(), atol=2e-4 * float(x0.abs().max()))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kind": "cubic"}, "kind 'cubic': expected one of linear, quad, cosine"),
        ({"prediction": "x0"}, "prediction 'x0': expected one of epsilon, v"),
        ({"beta_1": 0.1}, "betas 0.1 to 0.02"),
        ({"steps": 0}, "0 steps"),
    ],
)
def test_bad_schedules(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**bad)


def test_one_convention_of_guidance() -> None:
    net, x, t, labels = Net(), torch.randn(2, *SHAPE), torch.tensor([5, 5]), torch.tensor([1, 2])
    plain, null = net(x, t, labels), net(x, t, torch.zeros(2, dtype=torch.long))
    assert torch.equal(guided(net, x, t, labels, 1.0), plain)
    assert torch.equal(guided(net, x, t, labels, 0.0), null)
    assert torch.allclose(guided(net, x, t, labels, 3.0), null + 3 * (plain - null))
    w = 2.0  # the reference sampler's
    assert torch.allclose(guided(net, x, t, labels, from_w(w)), (1 + w) * plain - w * null)


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_labels_are_dropped_item_by_item(batch: int) -> None:
    """The reference drops none of a batch below 10, and writes into the caller's labels."""
    net = Net()
    objective = Objective(net, Schedule(steps=10), 0.1).train()
    labels, generator = torch.ones(batch, dtype=torch.long), torch.Generator().manual_seed(0)
    for _ in range(3200 // batch):
        objective(torch.zeros(batch, *SHAPE), labels, generator)
    assert (labels == 1).all()
    share = 1 - torch.cat([s for s in net.labels if s is not None]).float().mean()
    assert 0.08 < share < 0.12


def test_no_label_is_dropped_in_evaluation() -> None:
    net = Net()
    objective = Objective(net, Schedule(steps=10), 1.0).eval()
    objective(torch.zeros(4, *SHAPE), torch.ones(4, dtype=torch.long), torch.Generator())
    assert net.labels[0] is not None
    assert (net.labels[0] == 1).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_objective_is_of_noise_or_velocity(prediction: str) -> None:
    schedule = Schedule(prediction=prediction)
    latents = torch.randn(3, *SHAPE)
    found = Objective(Net(0.0), schedule)(latents, None, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    t = torch.randint(1000, (3,), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    abar = schedule.scheduler().alphas_cumprod[t].view(3, 1, 1, 1, 1)
    velocity = abar.sqrt() * noise - (1 - abar).sqrt() * latents
    wanted = noise if prediction == "epsilon" else velocity
    assert found["loss"].item() == pytest.approx(wanted.square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm"])
def test_a_sample_is_its_seeds_alone(sampler: str) -> None:
    def of(seeds: list[int]) -> Tensor:
        labels = torch.ones(len(seeds), dtype=torch.long)
        return sample(Net(), Schedule(steps=20), labels, seeds, SHAPE, sampler=sampler, steps=5,
                      scale=2.0)  # fmt: skip

    together = of([3, 4, 5])
    assert torch.allclose(together[1:2], of([4]), atol=1e-5)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm"])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_a_perfect_network_gives_the_data_back(sampler: str, prediction: str) -> None:
    """Data that is one point: its noise is known exactly, and so where sampling must end."""
    schedule, target = Schedule(prediction=prediction), 0.7
    abar = schedule.scheduler().alphas_cumprod

    class Perfect(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            a = abar[t].view(-1, 1, 1, 1, 1)
            eps = (x - a.sqrt() * target) / (1 - a).sqrt()
            return eps if prediction == "epsilon" else a.sqrt() * eps - (1 - a).sqrt() * target

    steps = 1000 if sampler == "ddpm" else 20
    found = sample(Perfect(), schedule, None, [0, 1], SHAPE, sampler=sampler, steps=steps)
    assert torch.allclose(found, torch.full_like(found, target), atol=2e-2)


def test_more_steps_than_trained_are_refused() -> None:
    with pytest.raises(ValueError, match="30 steps: expected 1 to 20, as trained"):
        sample(Net(), Schedule(steps=20), None, [0], SHAPE, steps=30)


def test_noise_of_an_item_is_its_own() -> None:
    a = item_noise([1, 2], (8,), torch.device("cpu"))
    b = item_noise([2, 1], (8,), torch.device("cpu"))
    assert torch.equal(a, b.flip(0))


def test_distillation_noises_to_the_level_of_its_step() -> None:
    """The reference's alpha_t leaves noise of 0.1 where the schedule has 0.96."""
    levels: dict[int, float] = {}

    class Listening(Net):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            levels[int(t[0])] = float(x.std())
            return torch.zeros_like(x)

    distil(Listening(), Schedule(), None, [0], (2, 16, 16, 16), steps=40, lr=1e-9)
    schedule = Schedule().scheduler().alphas_cumprod
    assert len(levels) > 30
    assert all(1 <= t <= 998 for t in levels)
    # latents and noise are both standard normal, so is their mixture at every level
    assert all(abs(v - 1) < 0.05 for v in levels.values())
    assert schedule[500] < 0.08


def test_distillation_of_a_perfect_network_reaches_the_data() -> None:
    target = 0.7

    class Perfect(Net):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            a = Schedule().scheduler().alphas_cumprod[t].view(-1, 1, 1, 1, 1)
            return (x - a.sqrt() * target) / (1 - a).sqrt()

    found = distil(Perfect(), Schedule(), None, [0, 1], SHAPE, steps=500, keep=[100])
    assert set(found) == {100, 500}
    assert (found[500] - target).abs().mean() < 0.05 < (found[100] - target).abs().mean()


def test_distillation_uses_the_class_that_is_asked_for() -> None:
    net = Net()
    distil(net, Schedule(steps=20), torch.tensor([2]), [0], SHAPE, steps=1, scale=3.0)
    assert net.labels[0] is not None
    assert net.labels[0].tolist() == [0, 2]
