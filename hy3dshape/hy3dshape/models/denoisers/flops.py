"""Cost of the denoiser in closed form: FLOPs of one evaluation, parameters at work per token.

A multiply-add counts 2, as in `torch.utils.flop_counter`; norms, activations and softmax count 0.
Build the model on `torch.device("meta")` to ask about one that does not fit here.
"""

from __future__ import annotations

from .dit import Block, DiTPlain
from .layers import POOL_WIDTH, MoEFeedForward


def evaluation_flops(model: DiTPlain, tokens: int, context_tokens: int = 0) -> int:
    """FLOPs of one evaluation of one sample (guidance needs two evaluations a step).

    Args:
        tokens:         n latent vectors.
        context_tokens: t tokens of the context; 0 for an evaluation without context.
    """
    d, t = model.hidden_size, context_tokens
    k = model.context_dim or 0
    ends = 4 * tokens * model.in_channels * d + 16 * d * d
    if model.concat:
        ends += 2 * t * k * d
    if model.pooler is not None and t:
        ends += 2 * k * k * (2 * t + 3) + 4 * (t + 1) * k + 2 * k * POOL_WIDTH
        ends += 8 * d * (POOL_WIDTH + d)
    blocks = (b for b in model.blocks if isinstance(b, Block))
    return ends + sum(_block(b, tokens + 1, d, t, k) for b in blocks)


def _block(block: Block, n: int, d: int, t: int, k: int) -> int:
    """n tokens of width d, time included; t context tokens of width k."""
    attention = 8 * n * d * d + 4 * n * n * d
    total = attention
    if not block.crosses:
        total += attention
    elif t:
        total += 4 * n * d * d + 4 * t * k * d + 4 * n * t * d
    experts = 1
    if isinstance(block.ff, MoEFeedForward):
        experts += block.ff.top_k
        total += 2 * n * d * len(block.ff.experts)
    total += 16 * n * d * d * experts
    if block.skips:
        total += 4 * n * d * d
    return total + (2 * d * d if block.default_modulation is not None else 0)


def saved_numbers(model: DiTPlain, tokens: int, context_tokens: int = 0) -> int:
    """Numbers that autograd keeps of one sample in training, counted by layer, to about a sixth."""
    n, d, t = tokens + 1, model.hidden_size, context_tokens
    total = 2 * n * d + 16 * d
    for block in (b for b in model.blocks if isinstance(b, Block)):
        kept = 10 + (6 if block.crosses and t else 0 if block.crosses else 10)
        kept += 10 * (1 + block.ff.top_k if isinstance(block.ff, MoEFeedForward) else 1)
        kept += 3 if block.skips else 0
        total += kept * n * d + (3 * t * d if block.crosses else 0)
    return total


def active_parameters(model: DiTPlain) -> int:
    """Parameters that work on one token: all but the experts that it is not routed to."""
    total = sum(p.numel() for p in model.parameters())
    for moe in (m for m in model.modules() if isinstance(m, MoEFeedForward)):
        idle = len(moe.experts) - moe.top_k
        total -= idle * sum(p.numel() for p in moe.experts[0].parameters())
    return total
