"""3D UNet with time and class embeddings, for noise on latents of (c, s, s, s).

Layers of the KAIST CS492(D) project "3D Volume Generation" (`UNet3D`): at its full size
201,323,344 weights. Two of its habits are kept, since they are what the figures were made with:
attention is not divided by the root of the width, and norm and activation stand after its sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32  # of group normalisation
FREQUENCIES = 256  # of a time


def timestep_embedding(times: Tensor, width: int = FREQUENCIES) -> Tensor:
    """(b,) steps -> (b, width): cosines, then sines, of periods 2 pi to 20,000 pi."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=times.device) / half)
    angles = times[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _small(conv: nn.Conv3d) -> nn.Conv3d:
    """Xavier with gain 1e-5 and no bias: the layer starts as nearly nothing."""
    nn.init.xavier_uniform_(conv.weight, gain=1e-5)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class Attention3D(nn.Module):
    """One head over all cells; softmax of q.k as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Conv3d(channels, channels, 1) for _ in range(3))
        self.out = nn.Conv3d(channels, channels, 1)
        self.norm = nn.GroupNorm(GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))  # (b, n, c)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return F.silu(self.norm(x + self.out(mixed.transpose(1, 2).reshape(x.shape))))


class ResidualBlock(nn.Module):
    """Two convolutions, the embedding added between them; then attention or nothing."""

    def __init__(self, wide: int, out: int, embedded: int, dropout: float, attend: bool) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, wide)
        self.conv1 = nn.Conv3d(wide, out, 3, padding=1)
        self.embed = nn.Linear(embedded, out)
        self.norm2 = nn.GroupNorm(GROUPS, out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _small(nn.Conv3d(out, out, 3, padding=1))
        self.shortcut = nn.Identity() if wide == out else nn.Conv3d(wide, out, 1)
        self.attention = Attention3D(out) if attend else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.embed(F.silu(embedding))[:, :, None, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.attention(self.shortcut(x) + h)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class UNet3D(nn.Module):
    """Predicts what the objective asks of noisy latents.

    Args:
        channels: c, of the latents.
        num_classes: classes 1..n; 0 is the null class of classifier-free guidance.
            0: unconditional, no table.
        width: channels of the first level, a multiple of 32.
        multipliers: of the width, a level each; the side is halved between levels.
        blocks: residual blocks a level on the way down (one more on the way up).
        attention: levels whose blocks attend.
        dropout: inside residual blocks.
    """

    def __init__(
        self,
        channels: int = 16,
        num_classes: int = 3,
        width: int = 192,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 3,
        attention: Sequence[int] = (1,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % GROUPS:
            raise ValueError(f"width {width}: expected a multiple of {GROUPS}")
        self.num_classes = num_classes
        self.halvings = len(multipliers) - 1
        embedded = 4 * width
        self.time = nn.Sequential(
            nn.Linear(FREQUENCIES, embedded), nn.SiLU(), nn.Linear(embedded, embedded)
        )
        self.classes = nn.Embedding(num_classes + 1, embedded) if num_classes else None
        self.head = nn.Conv3d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, now = [width], width
        for level, factor in enumerate(multipliers):
            for _ in range(blocks):
                block = ResidualBlock(now, factor * width, embedded, dropout, level in attention)
                self.down.append(block)
                now = factor * width
                skips.append(now)
            if level < self.halvings:
                self.down.append(nn.Conv3d(now, now, 3, stride=2, padding=1))
                skips.append(now)
        self.middle = nn.ModuleList(
            ResidualBlock(now, now, embedded, dropout, attend) for attend in (True, False)
        )
        for level, factor in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                wide, out = now + skips.pop(), factor * width
                self.up.append(ResidualBlock(wide, out, embedded, dropout, level in attention))
                now = out
            if level:
                self.up.append(Upsample(now))
        self.tail = nn.Sequential(
            nn.GroupNorm(GROUPS, now), nn.SiLU(), _small(nn.Conv3d(now, channels, 3, padding=1))
        )

    def forward(self, x: Tensor, times: Tensor, labels: Tensor | None = None) -> Tensor:
        """(b, c, s, s, s), steps (b,), classes (b,) with 0 for none -> (b, c, s, s, s).

        Raises:
            ValueError: labels without a class table or the other way round (the reference calls
                its conditional network without a label, a condition it never trained), or a side
                that cannot be halved.
        """
        if (labels is None) != (self.classes is None):
            raise ValueError(f"a network of {self.num_classes} classes needs"
                             f" {'no labels' if self.classes is None else 'labels'}")  # fmt: skip
        if x.shape[-1] % 2**self.halvings:
            raise ValueError(f"latents of side {x.shape[-1]} cannot be halved"
                             f" {self.halvings} times")  # fmt: skip
        embedding = self.time(timestep_embedding(times).to(x.dtype))
        if self.classes is not None:
            embedding = embedding + self.classes(labels)
        x = self.head(x)
        skips = [x]
        for layer in self.down:
            x = layer(x, embedding) if isinstance(layer, ResidualBlock) else layer(x)
            skips.append(x)
        for block in self.middle:
            x = block(x, embedding)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                x = layer(torch.cat([x, skips.pop()], dim=1), embedding)
            else:
                x = layer(x)
        return self.tail(x)
