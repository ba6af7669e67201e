"""Cost of the autoencoder in closed form; a multiply-add counts 2, norms and softmax count 0.

Farthest point sampling is not counted. The spatial gradient of the eikonal term is one more
evaluation of the queries and its own gradient two more, so that queries count six evaluations in
training with it and three without; attention weights are then kept, which a fused kernel never
writes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .local import LocalAutoEncoder
from .vecset import VecSetAutoEncoder


@dataclass(frozen=True)
class Work:
    """The autoencoder on one cloud of `points` with `queries` of its field.

    Letters below: d width, m latents, h heads.
    """

    model: VecSetAutoEncoder
    points: int
    queries: int

    @property
    def width(self) -> int:
        return self.model.point_embed.mlp.out_features

    @property
    def features(self) -> int:
        """Numbers of an embedded point before the linear layer: sines, cosines, coordinates."""
        return self.model.point_embed.mlp.in_features

    @property
    def embedding(self) -> int:
        """FLOPs of embedding a point: into its frequencies, then to the width."""
        return 6 * (self.features - 3) // 2 + 2 * self.features * self.width

    def latents(self) -> int:
        """FLOPs of encoder and decoder stack."""
        d, m, depth = self.width, self.model.num_latents, len(self.model.layers)
        embedded = self.points + (0 if hasattr(self.model, "latents") else m)
        encoder = embedded * self.embedding + 4 * d * d * self.points
        encoder += m * (28 * d * d + 4 * self.points * d)
        linear = [x for x in self.model.bottleneck.modules() if isinstance(x, nn.Linear)]
        bottleneck = sum(2 * m * x.in_features * x.out_features for x in linear)
        return encoder + bottleneck + depth * m * (32 * d * d + 4 * m * d) + 4 * m * d * d

    def field(self) -> int:
        """FLOPs of the queries."""
        d, m = self.width, self.model.num_latents
        return self.queries * (self.embedding + 4 * d * d + 4 * m * d + 2 * d)

    def forward(self) -> int:
        """FLOPs of encoding, decoding and querying once."""
        return self.latents() + self.field()

    def training(self, eikonal: bool) -> int:
        """FLOPs of the loss and its gradient."""
        return 3 * self.latents() + (6 if eikonal else 3) * self.field()

    def saved_numbers(self, eikonal: bool) -> int:
        """Numbers that autograd keeps, counted by layer, to about a tenth."""
        d, m, depth = self.width, self.model.num_latents, len(self.model.layers)
        heads, kept = self.model.decoder_cross_attn.fn.heads, 2 * self.features - 3
        latents = self.points * (3 * d + kept) + m * d * (23 + 25 * depth + 3)
        each = 6 * d + kept + (9 * d + heads * m if eikonal else 0)
        return latents + self.queries * each


def measured(model: LocalAutoEncoder, points: int, queries: int) -> tuple[int, int]:
    """FLOPs of encoding, decoding and querying a cloud once, and numbers kept: run and counted."""
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        return kept.setdefault(value.untyped_storage().data_ptr(), value)

    model = model.to_empty(device="cpu")
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
    ):
        found = model.decode(model.encode(torch.rand(1, points, 3))[0])(torch.rand(1, queries, 3))
    del found
    sizes = (v.untyped_storage().nbytes() // 4 for at, v in kept.items() if at not in own)
    return counter.get_total_flops(), sum(sizes)
