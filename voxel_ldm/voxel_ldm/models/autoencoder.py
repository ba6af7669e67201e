"""Convolutional autoencoder of occupancy grids.

Layers of the KAIST CS492(D) project "3D Volume Generation" (`VAE3D128_diff_8` and its two
variants; despite that name there is no KL term and no sampling). Done otherwise: a grid of another
resolution is an error instead of being cut into slabs, no axis is squeezed away, and logits are
returned, so that the cross-entropy is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _normed(conv: nn.Module, channels: int) -> list[nn.Module]:
    return [conv, nn.BatchNorm3d(channels), nn.LeakyReLU(0.2)]


class SpaceToDepth(nn.Module):
    """(b, c, r, r, r) to (b, c k^3, r/k, r/k, r/k): k^3 cells become channels."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        b, c, r = x.shape[:3]
        k, s = self.block, r // self.block
        split = x.reshape(b, c, s, k, s, k, s, k).permute(0, 1, 3, 5, 7, 2, 4, 6)
        return split.reshape(b, c * k**3, s, s, s)


class DepthToSpace(SpaceToDepth):
    """The way back."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, s = x.shape[:3]
        k = self.block
        split = x.reshape(b, c // k**3, k, k, k, s, s, s).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return split.reshape(b, c // k**3, s * k, s * k, s * k)


class VoxelAutoencoder(nn.Module):
    """(b, 1, R, R, R) occupancy to (b, c, r, r, r) latents and back to logits.

    Args:
        channels: width of each stage; each but a stage after a stem halves the side.
        latent_channels: c.
        resolution: R, in cells, a multiple of `factor` = R / r.
        stem: 1, the reference's first layer, or k: k^3 cells are the channels of one, which takes
            the layers of full resolution away (most of the time on a CPU) and stands for the first
            stage's halving.
        halve_last: whether the last stage halves the side too.

    Raises:
        ValueError: the resolution cannot be halved that often.
    """

    def __init__(
        self,
        channels: Sequence[int] = (12, 24, 48),
        latent_channels: int = 16,
        resolution: int = 64,
        stem: int = 1,
        halve_last: bool = True,
    ) -> None:
        super().__init__()
        halvings = len(channels) - (stem > 1) - (not halve_last)
        self.factor = stem * 2**halvings
        if not channels or resolution % self.factor:
            raise ValueError(
                f"resolution {resolution}: {len(channels)} stages and stem {stem} need a multiple"
                f" of {self.factor}"
            )
        self.resolution = resolution
        self.latent_shape = (latent_channels, *[resolution // self.factor] * 3)
        first, last = channels[0], channels[-1]
        down: list[nn.Module] = []
        up = _normed(nn.ConvTranspose3d(latent_channels, last, 3, 1, 1), last)
        if stem > 1:
            down += [SpaceToDepth(stem), *_normed(nn.Conv3d(stem**3, first, 3, 1, 1), first)]
        else:
            down += _normed(nn.Conv3d(1, first, 4, 2, 1), first)
        halves = [True] * (len(channels) - 2) + [halve_last]
        for narrow, wide, half in zip(channels, channels[1:], halves, strict=False):
            down += _normed(nn.Conv3d(narrow, wide, 3, 1, 1), wide)
            if half:
                down += _normed(nn.Conv3d(wide, wide, 4, 2, 1), wide)
        for wide, narrow, half in zip(
            channels[:0:-1], channels[-2::-1], halves[::-1], strict=False
        ):
            if half:
                up += _normed(nn.ConvTranspose3d(wide, wide, 4, 2, 1), wide)
            up += _normed(nn.ConvTranspose3d(wide, narrow, 3, 1, 1), narrow)
        if stem > 1:
            up += [nn.ConvTranspose3d(first, stem**3, 3, 1, 1), DepthToSpace(stem)]
        else:
            up.append(nn.ConvTranspose3d(first, 1, 4, 2, 1))
        self.encoder = nn.Sequential(*down, nn.Conv3d(last, latent_channels, 3, 1, 1))
        self.decoder = nn.Sequential(*up)

    def encode(self, grids: Tensor) -> Tensor:
        """(b, R, R, R), 0 or 1, of any dtype -> (b, c, r, r, r) float. ValueError: another R."""
        expected = (self.resolution,) * 3
        if grids.ndim != 4 or tuple(grids.shape[1:]) != expected:
            raise ValueError(f"grids of shape {tuple(grids.shape)}, expected (b, R, R, R) of R ="
                             f" {self.resolution}, the autoencoder's resolution")  # fmt: skip
        weight = next(self.parameters())
        return self.encoder(grids.to(weight.dtype)[:, None])

    def decode(self, latents: Tensor) -> Tensor:
        """(b, c, r, r, r) -> logits of occupancy (b, R, R, R); their sigmoid is the probability."""
        if tuple(latents.shape[1:]) != self.latent_shape:
            raise ValueError(f"latents of shape {tuple(latents.shape[1:])}, expected"
                             f" {self.latent_shape}")  # fmt: skip
        return self.decoder(latents)[:, 0]

    def forward(self, grids: Tensor) -> Tensor:
        return self.decode(self.encode(grids))


def reconstruction(logits: Tensor, grids: Tensor, pos_weight: float = 1.0) -> dict[str, Tensor]:
    """Loss and figures of a batch of reconstructions.

    Args:
        logits, grids: (b, R, R, R); grids hold 0 and 1.
        pos_weight: weight of occupied cells in the cross-entropy (1: the reference's plain mean).

    Returns:
        `loss`, mean binary cross-entropy; `iou`, `precision`, `recall` at probability 0.5, each the
        mean over the shapes of the batch (a shape without predicted cells has precision 0).
    """
    truth = grids.to(logits.dtype)
    weight = torch.tensor(pos_weight, device=logits.device, dtype=logits.dtype)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight)
    found, asked = logits.detach().flatten(1) > 0, truth.flatten(1) > 0.5
    both = (found & asked).sum(1).float()
    return {
        "loss": loss,
        "iou": (both / (found | asked).sum(1).clamp(min=1)).mean(),
        "precision": (both / found.sum(1).clamp(min=1)).mean(),
        "recall": (both / asked.sum(1).clamp(min=1)).mean(),
    }
