"""Exponential moving average of the denoiser's weights.

decay_n = min(decay, (1 + n) / (10 + n)) after n updates, as in the `LitEma` of latent-diffusion
(MIT); names of the buffers as in the checkpoints of arXiv:2512.23628. There the update is lost when
weights and average differ in type, and micro-batches count; here the average is float32 and one
update belongs to one optimiser step, which the caller sees to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

DOT = "_____"  # buffers may not have a dot in their name


class LitEma(nn.Module):
    """Float32 average of the parameters of a model that have a gradient."""

    decay: Tensor
    num_updates: Tensor

    def __init__(self, model: nn.Module, decay: float = 0.9999) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"ema_decay {decay}; expected 0 to 1")
        self.register_buffer("decay", torch.tensor(decay, dtype=torch.float32))
        self.register_buffer("num_updates", torch.tensor(0))
        for name, parameter in _averaged(model):
            self.register_buffer(name, parameter.detach().float().clone())

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """One optimiser step of `model` has been made."""
        self.num_updates += 1
        n = int(self.num_updates)
        weight = 1 - min(float(self.decay), (1 + n) / (10 + n))
        for name, parameter in _averaged(model):
            self.get_buffer(name).lerp_(parameter.detach().float(), weight)

    @torch.no_grad()
    def restart(self, model: nn.Module) -> None:
        """Average from here on."""
        self.num_updates.zero_()
        for name, parameter in _averaged(model):
            self.get_buffer(name).copy_(parameter)

    @contextlib.contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """Inside, `model` has the averaged weights; afterwards its own again, bit for bit."""
        kept = {name: p.detach().clone() for name, p in _averaged(model)}
        try:
            with torch.no_grad():
                for name, parameter in _averaged(model):
                    parameter.copy_(self.get_buffer(name))
            yield
        finally:
            with torch.no_grad():
                for name, parameter in _averaged(model):
                    parameter.copy_(kept[name])


def averaged_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint whose averages, if it has any, stand in the place of the denoiser's weights."""
    start, made = "model_ema.", dict(state)
    for key in [k for k in state if k.startswith(start)]:
        value, name = made.pop(key), key.removeprefix(start)
        if name not in ("decay", "num_updates"):
            made[f"model.{name.replace(DOT, '.')}"] = value
    return made


def _averaged(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """(buffer name, parameter) of what is averaged."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name.replace(".", DOT), parameter
