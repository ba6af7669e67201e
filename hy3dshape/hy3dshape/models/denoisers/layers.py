"""Parts of the denoiser: attention, pooling, experts, time embedding, tables of positions.

Keys and formulas of the denoisers of arXiv:2512.23628 (whose diffusion part descends from
Hunyuan3D-2.1). Letters: b batch, n tokens, t context tokens, d width, h heads.

The experts' feed-forward with a shared expert and its balance loss:
Switch Transformers, Fedus et al., JMLR 2022, arXiv:2101.03961, equations 4 to 6 (balance loss), and
DeepSeekMoE, Dai et al., arXiv:2401.06066 (shared expert); keys and constants of the denoisers of
arXiv:2512.23628. There the balance loss enters the backward pass behind the trainer's back, so that
neither gradient accumulation nor loss scaling reaches it, and routed experts have no gradient in
eval mode. Here it is a number in `auxiliary` for the trainer to add, and both modes have gradients.
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


class GeluProjection(nn.Module):
    """Linear, then exact GELU; the name `proj` is that of the public checkpoints."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class Expert(nn.Module):
    """Two linear layers around a GELU: (..., d) -> (..., d)."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GeluProjection(dim, inner), nn.Identity(), nn.Linear(inner, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class MoEFeedForward(nn.Module):
    """The shared expert plus the `top_k` best of `num_experts`, each times its score.

    Scores are a softmax over all experts and are not renormalised over the chosen ones.
    """

    def __init__(
        self, dim: int, num_experts: int, top_k: int, inner: int, alpha: float = 0.01
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(f"moe_top_k must be 1 to num_experts = {num_experts}, found {top_k}")
        self.top_k = top_k
        self.alpha = alpha
        self.auxiliary: Tensor | None = None
        """Balance loss of the last forward pass in training mode; scalar with a graph."""
        self.experts = nn.ModuleList(Expert(dim, inner) for _ in range(num_experts))
        self.gate = nn.Linear(dim, num_experts, bias=False)
        self.shared_experts = Expert(dim, inner)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        tokens = x.flatten(0, -2)  # (n, d)
        scores = self.scores(tokens)
        weights, chosen = scores.topk(self.top_k, dim=-1)  # (n, k) each
        self.auxiliary = balance_loss(scores, chosen, self.alpha) if self.training else None
        routed = self.route(tokens, weights, chosen)
        return self.shared_experts(x) + routed.unflatten(0, x.shape[:-1])

    def scores(self, tokens: Tensor) -> Tensor:
        """(n, d) -> (n, experts), each row a distribution; float32 also under autocast."""
        with torch.autocast(tokens.device.type, enabled=False):
            return F.linear(tokens.float(), self.gate.weight.float()).softmax(dim=-1)

    @torch.compiler.disable
    def route(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Sum over the chosen experts of weight times output: (n, d).

        Slots are sorted by expert, so each expert runs once, on its own tokens. One that got none
        runs on zero rows: its gradient is then zero, not absent, as data-parallel training needs.
        The counts are data, so a compiled model leaves its graph here.
        """
        order = chosen.flatten().argsort(stable=True)  # (n * k)
        counts = chosen.flatten().bincount(minlength=len(self.experts)).tolist()
        parts = tokens[order // self.top_k].split(counts)
        outputs = torch.cat([e(part) for e, part in zip(self.experts, parts, strict=True)])
        slots = outputs[order.argsort()].unflatten(0, chosen.shape)  # (n, k, d)
        return (slots * weights.to(slots.dtype)[..., None]).sum(dim=1)


def balance_loss(scores: Tensor, chosen: Tensor, alpha: float) -> Tensor:
    """alpha * sum_e P_e f_e, least (alpha) where all experts are used alike.

    Args:
        scores: (n, experts) routing probabilities; P_e is the mean over tokens.
        chosen: (n, k) experts of each token; f_e = experts * share of the n * k slots that got e.
    """
    experts = scores.shape[-1]
    used = F.one_hot(chosen.flatten(), experts).to(scores.dtype).mean(dim=0)
    return alpha * (scores.mean(dim=0) * used * experts).sum()


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
