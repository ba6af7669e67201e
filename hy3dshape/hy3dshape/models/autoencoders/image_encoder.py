"""The image autoencoder of the image modality: FLUX's, run by diffusers' AutoencoderKL.

Images of 256 x 256 pixels become latents (16, 32, 32), row by row 1024 tokens of 16 numbers.
Latent = (z - shift_factor) * scaling_factor with the two numbers of the weights' own config
(arXiv 2512.23628; Black Forest Labs' FLUX.1 autoencoder).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..pretrained import load_pretrained

ADVICE = "download FLUX's `vae` folder and write its place in pretrained_path"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class FluxVAE(nn.Module):
    """Images in [0, 1] to scaled latents and back.

    Args:
        pretrained_path: folder of an AutoencoderKL, or of a pipeline with a `vae` in it; or the hub
                      name of an AutoencoderKL.
        dtype:        precision of the weights: bf16, fp16 or fp32.
        freeze:       no gradients, evaluation mode always.
        enforce_fp32: compute in float32 whatever `dtype` and autocast say.

    Raises:
        ValueError: no or incomplete weights at `pretrained_path`, or another dtype.
    """

    def __init__(
        self,
        pretrained_path: str,
        dtype: str = "bf16",
        freeze: bool = True,
        enforce_fp32: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise ValueError(f"dtype '{dtype}'; expected one of {', '.join(DTYPES)}")
        self.frozen = freeze
        self.vae = _load(pretrained_path).to(torch.float32 if enforce_fp32 else DTYPES[dtype])
        self.shift = float(self.vae.config.shift_factor or 0.0)
        self.scale = float(self.vae.config.scaling_factor)
        if freeze:
            self.requires_grad_(False)
            self.train(False)

    def train(self, mode: bool = True) -> FluxVAE:
        return super().train(mode and not self.frozen)

    def encode(
        self, images: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """(b, c, h/8, w/8) float32 latents of (b, 3, h, w) images in [0, 1].

        Args:
            sample: draw from the posterior instead of taking its mode.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images are {tuple(images.shape)}; expected (b, 3, h, w)")
        with self._precision():
            posterior = self.vae.encode(self._input(images * 2 - 1)).latent_dist
        z = posterior.sample(generator) if sample else posterior.mode()
        return (z.float() - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """(b, 3, h, w) float32 images in [0, 1] of latents (b, c, h/8, w/8) or tokens (b, n, c)."""
        if latents.ndim == 3:
            latents = to_grid(latents)
        with self._precision():
            images = self.vae.decode(self._input(latents.float() / self.scale + self.shift)).sample
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def _input(self, value: Tensor) -> Tensor:
        return value.to(next(self.vae.parameters()))

    def _precision(self) -> Any:
        """Autocast off: the weights' precision is the one that was asked for."""
        return torch.autocast(next(self.vae.parameters()).device.type, enabled=False)


def to_tokens(latents: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, h·w, c), row by row."""
    return latents.flatten(2).transpose(1, 2)


def to_grid(tokens: Tensor) -> Tensor:
    """(b, n, c) -> (b, c, √n, √n), the inverse of `to_tokens`.

    Raises:
        ValueError: n is no square.
    """
    side = round(tokens.shape[1] ** 0.5)
    if side * side != tokens.shape[1]:
        raise ValueError(f"{tokens.shape[1]} tokens do not fill a square image")
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def _load(path: str) -> Any:
    """diffusers' AutoencoderKL of a folder or hub name, its own or that of a pipeline."""
    from diffusers import AutoencoderKL

    inner = "vae" if (Path(path) / "vae" / "config.json").is_file() else ""
    return load_pretrained(AutoencoderKL, path, ADVICE, subfolder=inner)
