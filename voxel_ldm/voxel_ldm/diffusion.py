"""Noise schedules, training objective, guided sampling and score distillation on latents.

Schedules and steps are those of Hugging Face diffusers. Guidance has one convention everywhere:
out = null + scale (class - null), so 0 is the null class, 1 the class alone; the KAIST project's
sampler counts from there, its `w` is `scale` - 1 (`from_w`).

Sources: Ho, Jain, Abbeel, arXiv 2006.11239; Salimans, Ho, arXiv 2202.00512 (v-prediction); Ho,
Salimans, arXiv 2207.12598 (guidance); Poole et al., arXiv 2209.14988 (score distillation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SCHEDULES = {"linear": "linear", "quad": "scaled_linear", "cosine": "squaredcos_cap_v2"}
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}
SAMPLERS = ("ddpm", "ddim", "dpm")


def from_w(w: float) -> float:
    """The guidance scale of the reference sampler's (1 + w) class - w null."""
    return 1.0 + w


@dataclass(frozen=True)
class Schedule:
    """Of the noise; with the objective all a sampler has to know.

    Args:
        steps: T, of training.
        beta_1, beta_T: noise added in the first and last step; a cosine schedule has its own.
        kind: linear, quad (betas whose roots are evenly spaced) or cosine.
        prediction: what the network predicts: epsilon or v.

    Raises:
        ValueError: an unknown kind or prediction, betas out of order.
    """

    steps: int = 1000
    beta_1: float = 1e-4
    beta_T: float = 0.02
    kind: str = "linear"
    prediction: str = "epsilon"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, SCHEDULES),
            ("prediction", self.prediction, PREDICTIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r}: expected one of {', '.join(known)}")
        if self.steps < 1 or not 0 < self.beta_1 <= self.beta_T < 1:
            raise ValueError(
                f"{self.steps} steps, betas {self.beta_1} to {self.beta_T}: expected at least one"
                " step and 0 < beta_1 <= beta_T < 1"
            )

    def scheduler(self, sampler: str = "ddpm") -> Any:
        """The scheduler of diffusers: ddpm (ancestral, posterior variance), ddim or dpm.

        Raises:
            ValueError: an unknown name.
        """
        import diffusers

        common = {
            "num_train_timesteps": self.steps,
            "beta_start": self.beta_1,
            "beta_end": self.beta_T,
            "beta_schedule": SCHEDULES[self.kind],
            "prediction_type": PREDICTIONS[self.prediction],
        }
        if sampler == "ddpm":
            return diffusers.DDPMScheduler(**common, variance_type="fixed_small", clip_sample=False)
        if sampler == "ddim":
            return diffusers.DDIMScheduler(**common, clip_sample=False, set_alpha_to_one=True,
                                           timestep_spacing="trailing")  # fmt: skip
        if sampler == "dpm":
            return diffusers.DPMSolverMultistepScheduler(**common, timestep_spacing="trailing")
        raise ValueError(f"sampler {sampler!r}: expected one of {', '.join(SAMPLERS)}")


def item_noise(seeds: Iterable[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """(b, *shape) normal noise, that of each item from its own seed, the same on every device."""
    rows = [torch.randn(*shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(rows).to(device)


class Objective(nn.Module):
    """Mean squared error of a network's prediction of noise or velocity.

    Args:
        network: of (noisy latents, steps, labels or None).
        schedule: of the noise.
        cfg_dropout: probability that an item's label becomes the null class, each item for itself
            (the reference drops int(p b) of b items, none in small batches).
    """

    def __init__(self, network: nn.Module, schedule: Schedule, cfg_dropout: float = 0.1) -> None:
        super().__init__()
        if not 0 <= cfg_dropout <= 1:
            raise ValueError(f"cfg_dropout {cfg_dropout}: expected a probability")
        self.network, self.schedule, self.cfg_dropout = network, schedule, cfg_dropout
        self._noises = schedule.scheduler()

    def forward(
        self, latents: Tensor, labels: Tensor | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """{"loss": ...} for normalised latents (b, c, s, s, s) and classes (b,), left as they are.

        `generator` lives on the CPU; times, noise and dropped labels come from it.
        """
        b, device = len(latents), latents.device
        times = torch.randint(self.schedule.steps, (b,), generator=generator).to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        dropped = torch.rand(b, generator=generator).to(device) < self.cfg_dropout
        if labels is not None:
            labels = torch.where(dropped & self.training, torch.zeros_like(labels), labels)
        noisy = self._noises.add_noise(latents, noise, times)
        wanted = noise
        if self.schedule.prediction == "v":
            wanted = self._noises.get_velocity(latents, noise, times)
        found = self.network(noisy, times, labels)
        return {"loss": nn.functional.mse_loss(found.float(), wanted.float())}


def guided(network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None, scale: float) -> Tensor:
    """The network's prediction at step t (b,) under guidance; see the module for `scale`."""
    if labels is None or scale == 1:
        return network(x, t, labels)
    null = torch.zeros_like(labels)
    if scale == 0:
        return network(x, t, null)
    without, with_class = network(
        torch.cat([x, x]), torch.cat([t, t]), torch.cat([null, labels])
    ).chunk(2)
    return without + scale * (with_class - without)


@torch.no_grad()
def sample(
    network: nn.Module,
    schedule: Schedule,
    labels: Tensor | None,
    seeds: Sequence[int],
    shape: Sequence[int],
    *,
    sampler: str = "ddpm",
    steps: int = 1000,
    scale: float = 1.0,
    each_step: Callable[[], object] = lambda: None,
) -> Tensor:
    """Latents (b, *shape) for classes (b,), one for each seed.

    Args:
        network: in eval mode, on the device that is used.
        seeds: item i draws its noise from seeds[i] alone, whatever the batch.
        sampler, steps: ddpm, ddim or dpm; how many evaluations, at most `schedule.steps`.
        scale: of guidance.
        each_step: called after each step.

    Raises:
        ValueError: more steps than were trained, or none.
    """
    if not 1 <= steps <= schedule.steps:
        raise ValueError(f"{steps} steps: expected 1 to {schedule.steps}, as trained")
    device = next(network.parameters()).device
    noises = schedule.scheduler(sampler)
    noises.set_timesteps(steps, device=device)
    x = item_noise(seeds, shape, device) * noises.init_noise_sigma
    draws = [torch.Generator().manual_seed(s + (1 << 40)) for s in seeds]
    noisy = {"generator": draws} if sampler == "ddpm" else {}
    for t in noises.timesteps:
        out = guided(network, x, t.expand(len(x)), labels, scale)
        x = noises.step(out, t, x, **noisy).prev_sample
        each_step()
    return x


def distil(
    network: nn.Module,
    schedule: Schedule,
    labels: Tensor | None,
    seeds: Sequence[int],
    shape: Sequence[int],
    *,
    steps: int = 500,
    scale: float = 7.5,
    lr: float = 0.1,
    keep: Sequence[int] = (),
    each_step: Callable[[], object] = lambda: None,
) -> dict[int, Tensor]:
    """Score distillation: latents moved to where the network finds nothing to take away.

    Each step noises the latents to a random level sqrt(abar_t) z + sqrt(1 - abar_t) eps (the
    reference takes alpha_t, which leaves almost no noise), and the gradient is
    sqrt(abar_t) (eps_hat - eps). AdamW with 100 steps of warm-up, then a cosine over 1.5 `steps`.

    Returns:
        Latents (b, *shape) after each of the steps `keep`, and after the last.

    Raises:
        ValueError: no steps.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps: expected at least 1")
    device = next(network.parameters()).device
    abar = schedule.scheduler().alphas_cumprod.to(device)
    z = item_noise(seeds, shape, device).requires_grad_()
    draws = [torch.Generator().manual_seed(s + (1 << 40)) for s in seeds]
    optimizer = torch.optim.AdamW([z], lr=lr, weight_decay=0.0)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=100)
    late = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, int(1.5 * steps)))
    rates = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, late], [100])
    last, found = schedule.steps - 1, dict[int, Tensor]()
    for step in range(1, steps + 1):
        low, high = min(1, last), max(2, last)  # neither the first nor the last level
        t = torch.cat([torch.randint(low, high, (1,), generator=g) for g in draws]).to(device)
        eps = torch.stack([torch.randn(*shape, generator=g) for g in draws]).to(device)
        level = abar[t][:, None, None, None, None]
        with torch.no_grad():
            noisy = level.sqrt() * z + (1 - level).sqrt() * eps
            out = guided(network, noisy, t, labels, scale)
            if schedule.prediction == "v":  # eps = sqrt(abar) v + sqrt(1 - abar) x_t
                out = level.sqrt() * out + (1 - level).sqrt() * noisy
            z.grad = level.sqrt() * (out - eps)
        optimizer.step()
        rates.step()
        if step in keep or step == steps:
            found[step] = z.detach().clone()
        each_step()
    return found
