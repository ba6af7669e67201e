"""Sampling: conditions to latents by guided Euler steps, latents to meshes or images.

Classifier-free guidance, Ho and Salimans, arXiv:2207.12598: v = v_null + w (v_cond - v_null), in
one batch [conditional, null]. w = 1 is the plain conditional model and w = 0 the unconditional one,
each at one evaluation a step (the repository of arXiv:2512.23628 takes every w <= 1 for 1).
Guidance intervals: Kynkaanniemi et al., arXiv:2404.07724. Nothing is moved or cast here: modules
run where and as they are, and are left in the mode they had.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .models.diffusion.transport import Transport
from .schedulers import EulerSchedule

Output = Literal["latent", "mesh", "image"]
Contexts = Mapping[str, Tensor]
Callback = Callable[[int, float, Tensor, Tensor], None]


class CustomFlowMatchingPipeline:
    """Samples of a denoiser.

    Args:
        vae: turns latents into meshes or images; None when only latents are wanted.
        model: denoiser (x, t, contexts) -> prediction, with `max_seq_len` and `in_channels`.
        scheduler: times of the steps; None for the released schedule.
        conditioner: conditions to contexts, `unconditional(batch)` to null contexts; None for a
            model without condition.
        transport: turns predictions into velocities; None if they are velocities.
        z_scale_factor: what training multiplied latents by.
        pipeline_output: what a call gives unless it says `output_type`.
    """

    def __init__(
        self,
        vae: nn.Module | None,
        model: nn.Module,
        scheduler: EulerSchedule | None = None,
        conditioner: nn.Module | None = None,
        transport: Transport | None = None,
        z_scale_factor: float = 1.0,
        pipeline_output: Output = "mesh",
    ) -> None:
        if pipeline_output not in ("latent", "mesh", "image"):
            raise ValueError(f"pipeline_output {pipeline_output!r}; expected latent, mesh or image")
        self.vae: Any = vae
        self.model: Any = model
        self.scheduler = scheduler or EulerSchedule()
        self.conditioner: Any = conditioner
        self.transport = transport
        self.z_scale_factor = z_scale_factor
        self.pipeline_output = pipeline_output

    @torch.no_grad()
    def __call__(
        self,
        conditions: Sequence[Any] | Tensor | None = None,
        *,
        indices: Sequence[int] | None = None,
        seed: int = 0,
        num_inference_steps: int = 50,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 5.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        noise: Tensor | None = None,
        callback: Callback | None = None,
        output_type: Output | None = None,
        bounds: float | Sequence[float] = 1.01,
        octree_resolution: int | None = None,
        octree_depth: int = 8,
        mc_level: float = 0.0,
        num_chunks: int = 50_000,
        decode: Literal["band", "dense"] = "band",
    ) -> Any:
        """One sample for each condition.

        Args:
            conditions: what the conditioner takes, b of them; None for the null condition.
            indices: (b,) numbers of the items in the whole run, default 0 to b - 1. Item i draws
                its noise from (seed, i) alone, whatever else is in its batch.
            num_inference_steps: evaluations; `sigmas` gives their times instead.
            guidance_interval: times t at which guidance is on; elsewhere w = 1.
            noise: (b, n, c) to use instead of drawn noise.
            callback: called after each step with its number, t, the velocity and the new x.
            output_type: `latent` (b, n, c) Tensor, unscaled; `mesh` list of (vertices, faces);
                `image` (b, 3, h, w) in [0, 1].
            bounds, octree_resolution (default 2 ** octree_depth), mc_level, num_chunks, decode:
                of the grid; see `CustomShapeVAE.latents2mesh`.

        Raises:
            ValueError: nothing says how many samples, or an argument is out of range.
        """
        output = output_type or self.pipeline_output
        if output != "latent" and self.vae is None:
            raise ValueError(f"output_type '{output}' needs an autoencoder; there is none")
        if not math.isfinite(guidance_scale) or guidance_scale < 0:
            raise ValueError(f"guidance_scale {guidance_scale}; expected a number >= 0")
        times = self._times(num_inference_steps, sigmas)
        if noise is None:
            shape = (self.model.max_seq_len, self.model.in_channels)
            noise = item_noise(seed, _numbers(conditions, indices), shape)
        with evaluating(self.vae, self.model, self.conditioner):
            contexts = self._contexts(conditions, len(noise))
            weights = [
                guidance_scale if guidance_interval[0] <= t <= guidance_interval[1] else 1.0
                for t in times.tolist()
            ]
            x = self._integrate(noise, times, weights, contexts, callback)
            latents = x / self.z_scale_factor
            if output == "latent":
                return latents
            if output == "image":
                return self.vae.decode(latents)
            return self.vae.latents2mesh(
                latents,
                bounds=half_side(bounds),
                resolution=octree_resolution or 2**octree_depth,
                level=mc_level,
                num_chunks=num_chunks,
                decode=decode,
            )

    def _integrate(
        self,
        noise: Tensor,
        times: Tensor,
        weights: Sequence[float],
        contexts: tuple[Contexts, Contexts],
        callback: Callback | None,
    ) -> Tensor:
        """Euler steps in float32 from noise (b, n, c) at times[0] to the end."""
        like = next(self.model.parameters())
        x = noise.to(like.device, torch.float32)
        for i, (t, following) in enumerate(itertools.pairwise(times)):
            if following == t and callback is None:
                continue  # the released schedule's last evaluation moves nothing
            batch = x.new_full((len(x),), float(t))
            v = self.guided(x.to(like.dtype), batch, *contexts, weights[i]).float()
            if self.transport is not None:
                v = self.transport.velocity(v, x, batch)
            x = x + float(following - t) * v
            if callback is not None:
                callback(i, float(t), v, x)
        return x

    def guided(
        self, x: Tensor, t: Tensor, conditional: Contexts, null: Contexts, weight: float
    ) -> Tensor:
        """The model's prediction under guidance of a weight: (b, n, c)."""
        if weight == 1 or not conditional or conditional is null:
            return self.model(x, t, conditional)
        if weight == 0:
            return self.model(x, t, null)
        both = {k: torch.cat([conditional[k], null[k]]) for k in conditional}
        v_cond, v_null = self.model(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return v_null + weight * (v_cond - v_null)

    def _contexts(
        self, conditions: Sequence[Any] | Tensor | None, batch: int
    ) -> tuple[Contexts, Contexts]:
        """Conditional and null contexts in the model's type; both empty without a conditioner."""
        if self.conditioner is None:
            if conditions is not None:
                raise ValueError("conditions for a model without a conditioner")
            return {}, {}
        dtype = next(self.model.parameters()).dtype
        null = {k: v.to(dtype) for k, v in self.conditioner.unconditional(batch).items()}
        if conditions is None:
            return null, null
        if len(conditions) != batch:
            raise ValueError(f"{len(conditions)} conditions for {batch} samples")
        return {k: v.to(dtype) for k, v in self.conditioner(conditions).items()}, null

    def _times(self, steps: int, sigmas: Sequence[float] | None) -> Tensor:
        """(evaluations + 1,) times, off the ends where predictions cannot become velocities."""
        times = self.scheduler.sigmas(steps, sigmas)
        if self.transport is None or self.transport.prediction == "velocity":
            return times
        return times.clamp(*self.transport.interval(self.transport.sample_eps))


def item_noise(seed: int, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """(b, *shape) standard normal, float32 on the CPU; item i depends on (seed, i) alone."""
    drawn = []
    for i in indices:
        state = np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)
        drawn.append(torch.randn(shape, generator=torch.Generator().manual_seed(int(state[0]))))
    return torch.stack(drawn)


def half_side(bounds: float | Sequence[float]) -> float:
    """Half the side of the cube: of a number, or of six as configs give them, lower corner first.

    Raises:
        ValueError: not positive, or not a cube around the origin.
    """
    given = [float(bounds)] if isinstance(bounds, int | float) else [float(b) for b in bounds]
    half = given[-1] if given else 0.0
    if half <= 0 or given not in ([half], [-half] * 3 + [half] * 3):
        raise ValueError(f"bounds {bounds}; expected a half side, or [-b, -b, -b, b, b, b]")
    return half


@contextlib.contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[None]:
    """Eval mode for the modules inside, each submodule's own mode again afterwards."""
    modes = [(m, m.training) for module in modules if module is not None for m in module.modules()]
    try:
        for module in modules:
            if module is not None:
                module.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _numbers(conditions: Sequence[Any] | Tensor | None, indices: Sequence[int] | None) -> list[int]:
    """Numbers of the items, from either."""
    if indices is None and conditions is None:
        raise ValueError("say how many samples: give conditions, indices or noise")
    if indices is None:
        assert conditions is not None
        return list(range(len(conditions)))
    if not len(indices):
        raise ValueError("no samples asked for: indices is empty")
    return [int(i) for i in indices]
