"""The vector-set autoencoder: a point cloud to a set of latent vectors to a signed distance field.

Layers, keys and formulas of VecSetX (`point_vec1024x32_dim1024_depth24_sdf_nb` and relatives);
3DShape2VecSet, Zhang et al., SIGGRAPH 2023, arXiv:2301.11445. Attention runs in the precision of
its inputs, where the reference always rounds to bfloat16.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .bottleneck import BOTTLENECKS, Bottleneck
from .sampling import farthest_points, take


class PointEmbed(nn.Module):
    """Coordinates to features: (..., 3) -> (..., d), always through float32 sines.

    `frequencies`: octaves an axis, 8 in all public weights.
    """

    basis: Tensor

    def __init__(self, dim: int, frequencies: int = 8) -> None:
        super().__init__()
        steps = math.pi * 2.0 ** torch.arange(frequencies)
        self.register_buffer("basis", torch.block_diag(steps, steps, steps))  # (3, 24)
        self.mlp = nn.Linear(6 * frequencies + 3, dim)

    def forward(self, points: Tensor) -> Tensor:
        return self.mlp(self.raw(points).to(self.mlp.weight.dtype))

    def raw(self, points: Tensor) -> Tensor:
        """(..., 51): sines, cosines, coordinates."""
        points = points.float()
        with torch.autocast(points.device.type, enabled=False):
            angles = points @ self.basis.float()
            return torch.cat([angles.sin(), angles.cos(), points], dim=-1)


class Attention(nn.Module):
    """Attention of `x` to `context`, without mask; heads are contiguous slices."""

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        if dim % head_dim:
            raise ValueError(f"width {dim} is not a multiple of the head size {head_dim}")
        self.heads = dim // head_dim
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.attend(x, *self.keys_values(x if context is None else context))

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Each (b, h, m, d/h), from (b, m, d)."""
        k, v = self.to_kv(context).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def attend(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = F.scaled_dot_product_attention(self._split(self.to_q(x)), k, v)  # (b, h, n, d/h)
        return self.to_out(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Gated linear unit: the first half of the hidden layer times GELU of the second."""

    def __init__(self, dim: int, mult: int = 4) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, 2 * mult * dim), _Gate(), nn.Linear(mult * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, gate = x.chunk(2, dim=-1)
        return a * F.gelu(gate)


Inner = TypeVar("Inner", Attention, FeedForward)


class PreNorm(nn.Module, Generic[Inner]):
    """Layer norm before `fn`; a context is passed on as it is."""

    fn: Inner

    def __init__(self, dim: int, fn: Inner, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.fn = fn

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        return self.fn(self.norm(x), *context)


class Block(nn.ModuleList):
    """Attention (0) and feed-forward (1), each with a residual."""

    def __init__(self, dim: int, head_dim: int, eps: float) -> None:
        parts = (PreNorm(dim, Attention(dim, head_dim), eps), PreNorm(dim, FeedForward(dim), eps))
        super().__init__(parts)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        x = x + self[0](x, *context)
        return x + self[1](x)


class VecSetAutoEncoder(nn.Module):
    """Encoder, bottleneck and decoder; keys are those of VecSetX checkpoints.

    Args:
        depth: self-attention blocks of the decoder.
        dim:   width, a multiple of `head_dim`.
        num_latents: vectors a shape; with point queries any number can be asked for later.
        latent_dim: channels of a vector.
        query_type: `point` (farthest points of the cloud) or `learnable`.
        bottleneck: `normalized`, `kl` or `identity`.
        norm_eps, bottleneck_eps: 1e-5 and 1e-6 in VecSetX, 1e-3 and 1e-3 in arXiv:2512.23628.
        head_dim: 64 in all public weights.
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        num_latents: int,
        latent_dim: int,
        query_type: str = "point",
        bottleneck: str = "normalized",
        norm_eps: float = 1e-5,
        bottleneck_eps: float = 1e-6,
        head_dim: int = 64,
    ) -> None:
        super().__init__()
        if query_type not in ("point", "learnable"):
            raise ValueError(f"query_type {query_type!r}: expected 'point' or 'learnable'")
        if bottleneck not in BOTTLENECKS:
            raise ValueError(f"bottleneck {bottleneck!r}: expected one of {sorted(BOTTLENECKS)}")
        self.num_latents = num_latents
        self.point_embed = PointEmbed(dim)
        if query_type == "learnable":
            self.latents = nn.Embedding(num_latents, dim)
        self.cross_attend_blocks = Block(dim, head_dim, norm_eps)
        self.bottleneck: Bottleneck = BOTTLENECKS[bottleneck](dim, latent_dim, bottleneck_eps)
        self.layers = nn.ModuleList(Block(dim, head_dim, norm_eps) for _ in range(depth))
        self.decoder_cross_attn = PreNorm(dim, Attention(dim, head_dim), norm_eps)
        head = nn.Linear(dim, 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.to_outputs = nn.Sequential(nn.LayerNorm(dim, eps=norm_eps), head)

    def encode(self, surface: Tensor, num_latents: int | None = None) -> tuple[Tensor, Tensor]:
        """Latents (b, m, c) of clouds (b, n, 3), and the loss of the bottleneck (0 if none).

        Raises:
            ValueError: another number of latents than was learned, or more than points.
        """
        count = self.num_latents if num_latents is None else num_latents
        if not hasattr(self, "latents"):
            x = self.point_embed(take(surface, farthest_points(surface, count)))
        elif count == self.num_latents:
            x = self.latents.weight.expand(len(surface), -1, -1)
        else:
            raise ValueError(f"{count} latents: learned queries are exactly {self.num_latents}")
        return self.bottleneck.pre(self.cross_attend_blocks(x, self.point_embed(surface)))

    def decode(self, latents: Tensor) -> Field:
        """The field of latents (b, m, c); the decoder stack runs here, once."""
        x = self.bottleneck.post(latents)
        if hasattr(self, "latents"):
            x = x + self.latents.weight
        for block in self.layers:
            x = block(x)
        return Field(self, *self.decoder_cross_attn.fn.keys_values(x))


class Field:
    """Signed distance of a batch of shapes, negative inside: (b, q, 3) -> (b, q).

    Holds the decoder's keys and values, (b, h, m, d/h) each.
    """

    def __init__(self, model: VecSetAutoEncoder, k: Tensor, v: Tensor) -> None:
        self.model, self.k, self.v = model, k, v

    def __call__(self, points: Tensor) -> Tensor:
        cross = self.model.decoder_cross_attn
        x = cross.norm(self.model.point_embed(points))
        if torch.is_grad_enabled() and points.requires_grad:
            with sdpa_kernel(SDPBackend.MATH):  # the one with a second derivative
                x = cross.fn.attend(x, self.k, self.v)
        else:
            x = cross.fn.attend(x, self.k, self.v)
        return self.model.to_outputs(x).squeeze(-1)

    def item(self, index: int) -> Field:
        """The field of one shape of the batch."""
        return Field(self.model, self.k[index : index + 1], self.v[index : index + 1])
