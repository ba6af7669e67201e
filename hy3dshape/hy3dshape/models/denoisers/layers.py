"""Parts of the denoiser: attention, attention pooling, time embedding, tables of positions.

Keys and formulas of the denoisers of arXiv:2512.23628 (whose diffusion part descends from
Hunyuan3D-2.1). Letters: b batch, n tokens, t context tokens, d width, h heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NormFactory = Callable[[int], nn.Module]
POOL_HEADS = 8
POOL_WIDTH = 1024


def layer_norm(width: int) -> nn.Module:
    return nn.LayerNorm(width, eps=1e-6)


def rms_norm(width: int) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-6)


def norm_factory(kind: str) -> NormFactory:
    """`layer`, or RMS for every other name, as in the reference."""
    return layer_norm if kind == "layer" else rms_norm


class Attention(nn.Module):
    """Attention of x to a context, or to itself; no mask, no rotary positions.

    Args:
        context_dim: width of the context; None for self-attention.
        qk_norm: makes the norm over each head of queries and keys; None for none.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        context_dim: int | None = None,
        qkv_bias: bool = True,
        qk_norm: NormFactory | None = None,
    ) -> None:
        super().__init__()
        head = dim // heads
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=qkv_bias)
        self.to_k = nn.Linear(context_dim or dim, dim, bias=qkv_bias)
        self.to_v = nn.Linear(context_dim or dim, dim, bias=qkv_bias)
        self.q_norm = qk_norm(head) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(head) if qk_norm else nn.Identity()
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x (b, n, d), context (b, t, k) or None for x itself -> (b, n, d)."""
        context = x if context is None else context
        v = self.split(self.to_v(context))
        q = self.q_norm(self.split(self.to_q(x))).to(v.dtype)
        k = self.k_norm(self.split(self.to_k(context))).to(v.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, h, n, d / h)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AttentionPooling(nn.Module):
    """A context to one vector: its mean token asks all tokens, positions learned, 8 heads."""

    def __init__(self, tokens: int, dim: int, out: int = POOL_WIDTH) -> None:
        super().__init__()
        if dim % POOL_HEADS:
            raise ValueError(f"attention pooling needs a context_dim in eights, found {dim}")
        self.positional_embedding = nn.Parameter(torch.randn(tokens + 1, dim) / math.sqrt(dim))
        self.k_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.c_proj = nn.Linear(dim, out)

    def forward(self, context: Tensor) -> Tensor:
        """(b, text_len, k) -> (b, 1024)."""
        expected = len(self.positional_embedding) - 1
        if context.shape[1] != expected:
            raise ValueError(f"context of {context.shape[1]} tokens, not text_len = {expected}")
        x = torch.cat([context.mean(dim=1, keepdim=True), context], dim=1)
        x = x + self.positional_embedding.to(x.dtype)
        projected = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (p.unflatten(-1, (POOL_HEADS, -1)).transpose(1, 2) for p in projected)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).flatten(1))


class TimestepEmbedder(nn.Module):
    """Time (and, for `concat`, the context) to one token, through an MLP of width 4 d."""

    def __init__(self, dim: int, context_dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        if context_dim is not None:
            self.cond_proj = nn.Linear(context_dim, dim, bias=False)

    def forward(self, t: Tensor, context: Tensor | None = None) -> Tensor:
        """t (b,) in [0, 1], context (b, t, k) or None -> (b, 1, d).

        A context of several tokens enters as the mean of its projections.
        """
        s = sinusoid(t, self.dim).to(next(self.mlp.parameters()).dtype)[:, None]
        if context is not None:
            s = s + self.cond_proj(context).mean(dim=1, keepdim=True)
        return self.mlp(s)


def sinusoid(t: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """[sin(t w), cos(t w)], w_j = max_period^(-2 j / dim): (...) -> (..., dim), float32."""
    steps = torch.arange(dim // 2, device=t.device, dtype=torch.float32) / (dim // 2)
    angles = t.float()[..., None] * torch.exp(-math.log(max_period) * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def positions_1d(tokens: int, dim: int) -> Tensor:
    """(tokens, dim): the sinusoid of the index."""
    return sinusoid(torch.arange(tokens), dim)


def positions_2d(grid: int, dim: int) -> Tensor:
    """(grid * grid, dim), row-major: sinusoid of the column, then of the row, half of dim each."""
    index = torch.arange(grid)
    column, row = index.repeat(grid), index.repeat_interleave(grid)
    return torch.cat([sinusoid(column, dim // 2), sinusoid(row, dim // 2)], dim=-1)
