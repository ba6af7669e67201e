"""The denoiser: a plain transformer over the latent vectors, time as a token, U-shaped skips.

Arguments, keys and formulas of the denoisers of "Memorization in 3D Shape Generation",
arXiv:2512.23628. Differences to its repository: an odd depth works (the block in the middle has no
skip), the balance loss is returned instead of injected, and a context that the model cannot take is
an error. Letters: b batch, n tokens, t context tokens, d hidden_size, k context_dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import (
    POOL_WIDTH,
    Attention,
    AttentionPooling,
    MoEFeedForward,
    NormFactory,
    TimestepEmbedder,
    layer_norm,
    norm_factory,
    positions_1d,
    positions_2d,
)


class FeedForward(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, inner)
        self.fc2 = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm block: self-attention, (cross-)attention, feed-forward, each with a residual.

    Args:
        context_dim: width of the context; None makes the second attention a self-attention.
        norm: makes the norms over d.
        feed_forward: a module d -> d.
        skip: an earlier block's output is joined to the input.
        modulated: the time token is added to the input.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        context_dim: int | None,
        qkv_bias: bool,
        qk_norm: NormFactory | None,
        norm: NormFactory,
        feed_forward: nn.Module,
        skip: bool,
        modulated: bool,
    ) -> None:
        super().__init__()
        self.crosses = context_dim is not None
        self.skips = skip
        self.norm1 = norm(dim)
        self.attn1 = Attention(dim, heads, None, qkv_bias, qk_norm)
        self.norm2 = norm(dim)
        self.attn2 = Attention(dim, heads, context_dim, qkv_bias, qk_norm)
        self.norm3 = norm(dim)
        self.ff = feed_forward
        if skip:
            self.skip_norm = norm(dim)
            self.skip_linear = nn.Linear(2 * dim, dim)
        self.default_modulation = (
            nn.Sequential(nn.SiLU(), nn.Linear(dim, dim)) if modulated else None
        )

    def forward(
        self, x: Tensor, time: Tensor, context: Tensor | None, skip: Tensor | None
    ) -> Tensor:
        """x (b, n + 1, d), time (b, 1, d), context (b, t, k), skip like x -> like x.

        A cross-attention without context has no tokens to look at and adds nothing.
        """
        if skip is not None:
            x = self.skip_norm(self.skip_linear(torch.cat([skip, x], dim=-1)))
        if self.default_modulation is not None:
            x = x + self.default_modulation(time)
        x = x + self.attn1(self.norm1(x))
        if not self.crosses:
            x = x + self.attn2(self.norm2(x))
        elif context is not None:
            x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class FinalLayer(nn.Module):
    """Norm, the time token dropped, linear: (b, n + 1, d) -> (b, n, in)."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.norm_final = layer_norm(dim)
        self.linear = nn.Linear(dim, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm_final(x)[:, 1:])


class DiTPlain(nn.Module):
    """Velocity of a set of latent vectors at a time, given a context.

    Args:
        in_channels: numbers per latent vector.
        context_dim: width of the context; None for a model without condition.
        integration_mode: the context enters by cross-attention, or (`concat`) with the time.
        timested_modulate: every block also gets the time token added to its input.
        mlp_ratio: without effect, as in the reference (always 4).
        norm_type, qk_norm_type: `layer`; any other name of the first, `rms` for the second: RMS.
        text_len: tokens of the context; only attention pooling depends on it.
        pos_emb_type: `1d` needs n <= max_seq_len, `2d` is for grid_size^2 tokens, row-major.
        num_moe_layers: the last so many blocks have experts; all, if there are fewer.
        max_seq_len: tokens that the sampler draws noise for.
        profile_blocks: without effect; torch.profiler needs no marks in the model.

    Raises:
        ValueError: heads do not divide hidden_size into sizes of 8, 16 ... 128; an unknown mode;
            a mode that needs context_dim without one.
    """

    pos_embed: Tensor | None

    def __init__(
        self,
        in_channels: int = 32,
        hidden_size: int = 512,
        depth: int = 12,
        num_heads: int = 8,
        context_dim: int | None = None,
        integration_mode: Literal["cross_attn", "concat"] = "cross_attn",
        timested_modulate: bool = False,
        mlp_ratio: float = 4.0,
        norm_type: str = "layer",
        qk_norm: bool = False,
        qk_norm_type: str = "rms",
        text_len: int = 77,
        use_pos_emb: bool = True,
        pos_emb_type: Literal["1d", "2d"] = "1d",
        use_attention_pooling: bool = False,
        qkv_bias: bool = True,
        num_moe_layers: int = 6,
        num_experts: int = 8,
        moe_top_k: int = 2,
        max_seq_len: int = 4096,
        grid_size: int = 32,
        profile_blocks: bool = False,
    ) -> None:
        super().__init__()
        _check_sizes(hidden_size, num_heads, depth)
        _check_modes(integration_mode, pos_emb_type, context_dim, use_attention_pooling)
        self.max_seq_len = max_seq_len
        self.in_channels = in_channels
        self.hidden_size = hidden_size
        self.depth = depth
        self.context_dim = context_dim
        self.concat = integration_mode == "concat"
        self.x_embedder = nn.Linear(in_channels, hidden_size)
        self.t_embedder = TimestepEmbedder(hidden_size, context_dim if self.concat else None)
        table: Tensor | None = None
        if use_pos_emb and pos_emb_type == "1d":
            table = positions_1d(max_seq_len, hidden_size)
        elif use_pos_emb:
            table = positions_2d(grid_size, hidden_size)
        self.register_buffer("pos_embed", table, persistent=False)
        self.pooler: AttentionPooling | None = None
        if use_attention_pooling:
            assert context_dim is not None
            self.pooler = AttentionPooling(text_len, context_dim)
            self.extra_embedder = nn.Sequential(
                nn.Linear(POOL_WIDTH, 4 * hidden_size),
                nn.SiLU(),
                nn.Linear(4 * hidden_size, hidden_size),
            )
        self.blocks = nn.ModuleList(
            Block(
                hidden_size,
                num_heads,
                None if self.concat else context_dim,
                qkv_bias,
                norm_factory("rms" if qk_norm_type == "rms" else "layer") if qk_norm else None,
                norm_factory(norm_type),
                MoEFeedForward(hidden_size, num_experts, moe_top_k, 4 * hidden_size)
                if i >= depth - num_moe_layers
                else FeedForward(hidden_size, 4 * hidden_size),
                skip=i >= depth - depth // 2,
                modulated=timested_modulate,
            )
            for i in range(depth)
        )
        self.final_layer = FinalLayer(hidden_size, in_channels)
        self._initialise()

    def forward(self, x: Tensor, t: Tensor, contexts: Mapping[str, Tensor] | None = None) -> Tensor:
        """x (b, n, in), t (b,) in [0, 1], contexts {"main": (b, t, k)} -> velocity (b, n, in).

        Without `main` the evaluation is unconditional.

        Raises:
            ValueError: a shape does not fit, or a context for a model without context_dim.
        """
        context = self._context(x, t, contexts)
        x = self.x_embedder(x)
        if self.pos_embed is not None:
            x = x + self._positions(x.shape[1]).to(x.dtype)
        time = self.t_embedder(t, context if self.concat else None)  # (b, 1, d)
        if self.pooler is not None and context is not None:
            time = time + self.extra_embedder(self.pooler(context))[:, None]
        x = torch.cat([time.to(x.dtype), x], dim=1)  # (b, n + 1, d)
        skips: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            skip = skips.pop() if i >= self.depth - self.depth // 2 else None
            x = block(x, time, context, skip)
            if i < self.depth // 2:
                skips.append(x)
        return self.final_layer(x)

    def auxiliary_loss(self) -> Tensor:
        """Sum of the balance losses of the last forward pass; 0 in eval mode or without experts.

        Add it to the loss of the same pass, before the division by accumulation steps.
        """
        terms = [m.auxiliary for m in self.modules() if isinstance(m, MoEFeedForward)]
        found = [term for term in terms if term is not None]
        return torch.stack(found).sum() if found else self.x_embedder.weight.new_zeros(())

    def _context(
        self, x: Tensor, t: Tensor, contexts: Mapping[str, Tensor] | None
    ) -> Tensor | None:
        """The checked context."""
        if x.ndim != 3 or x.shape[-1] != self.in_channels:
            raise ValueError(f"latents {tuple(x.shape)}, not (b, n, {self.in_channels})")
        if t.shape != x.shape[:1]:
            raise ValueError(f"times {tuple(t.shape)}, not ({len(x)},)")
        context = (contexts or {}).get("main")
        if context is None:
            return None
        if self.context_dim is None:
            raise ValueError("a context for a denoiser without context_dim")
        if context.ndim != 3 or context.shape[::2] != (len(x), self.context_dim):
            raise ValueError(
                f"context {tuple(context.shape)}, not ({len(x)}, t, {self.context_dim})"
            )
        return context

    def _positions(self, tokens: int) -> Tensor:
        assert self.pos_embed is not None
        if tokens > len(self.pos_embed):
            raise ValueError(f"{tokens} tokens, positions for {len(self.pos_embed)}")
        return self.pos_embed[:tokens]

    def _initialise(self) -> None:
        """Xavier for linear layers but the gates (Kaiming); velocity 0 at the start."""
        gates = {m.gate for m in self.modules() if isinstance(m, MoEFeedForward)}
        for module in self.modules():
            if isinstance(module, nn.Linear) and module not in gates:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.final_layer.linear.weight)


def _check_sizes(hidden_size: int, num_heads: int, depth: int) -> None:
    head, rest = divmod(hidden_size, num_heads)
    if rest or head % 8 or not 8 <= head <= 128:
        raise ValueError(
            f"hidden_size {hidden_size} / num_heads {num_heads}: the head size must be a multiple "
            "of 8, at most 128"
        )
    if depth < 1:
        raise ValueError(f"depth {depth}; expected 1 or more")


def _check_modes(mode: str, positions: str, context_dim: int | None, pooling: bool) -> None:
    if mode not in ("cross_attn", "concat"):
        raise ValueError(f"integration_mode {mode!r}; expected cross_attn or concat")
    if positions not in ("1d", "2d"):
        raise ValueError(f"pos_emb_type {positions!r}; expected 1d or 2d")
    if pooling and context_dim is None:
        raise ValueError("use_attention_pooling needs a context_dim")
