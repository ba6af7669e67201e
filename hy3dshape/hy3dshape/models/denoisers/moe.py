"""Mixture-of-experts feed-forward with a shared expert, and its balance loss.

Switch Transformers, Fedus et al., JMLR 2022, arXiv:2101.03961, equations 4 to 6 (balance loss), and
DeepSeekMoE, Dai et al., arXiv:2401.06066 (shared expert); keys and constants of the denoisers of
arXiv:2512.23628. There the balance loss enters the backward pass behind the trainer's back, so that
neither gradient accumulation nor loss scaling reaches it, and routed experts have no gradient in
eval mode. Here it is a number in `auxiliary` for the trainer to add, and both modes have gradients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
