"""Uni3D: embedding of a coloured point cloud by a vision transformer, in plain torch.

Zhou et al., Uni3D: Exploring Unified 3D Representation at Scale, ICLR 2024, arXiv:2310.06773, and
its program (MIT); trunks are those of EVA-02 and EVA in timm. Modules are named as in the
checkpoints. 1x1 convolutions are linear layers here; what plays no role in an embedding is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .grouping import farthest_points, neighbours, take


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; `block` is the style of its transformer blocks: packed, split or gelu."""

    block: str
    width: int
    depth: int
    heads: int
    mlp_hidden: int
    num_group: int = 512
    group_size: int = 64
    encoder_dim: int = 512
    embed_dim: int = 1024
    layer_norm_eps: float = 1e-6


VARIANTS = {
    "tiny": Shape("packed", 192, 12, 3, 512),
    "small": Shape("packed", 384, 12, 6, 1024),
    "base": Shape("split", 768, 12, 12, 2048),
    "large": Shape("split", 1024, 24, 16, 2730),
    "giant": Shape("gelu", 1408, 40, 16, 6144),
}


class PointNetwork(nn.Module):
    """Mini-PointNet of a group: (K, M, 6) points and colours to (K, encoder_dim)."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.first_conv = _two_layers(6, 128, 256)
        self.second_conv = _two_layers(512, 512, out)

    def forward(self, groups: Tensor) -> Tensor:
        k, m, _ = groups.shape
        own = self.first_conv(groups.flatten(0, 1)).view(k, m, -1)  # (K, M, 256)
        whole = own.amax(1, keepdim=True)  # (K, 1, 256)
        # the first layer of [whole, own], its half on `whole` once per group
        first = cast(nn.Linear, self.second_conv[0])
        of_whole, of_own = first.weight.chunk(2, dim=1)
        joint = F.linear(whole, of_whole, first.bias) + F.linear(own, of_own)  # (K, M, 512)
        out = self.second_conv[1:](joint.flatten(0, 1))
        return out.view(k, m, -1).amax(1)


def _two_layers(inside: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out)
    )


class PackedAttention(nn.Module):
    """Self-attention with one matrix for queries, keys and values; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1)
        return self.proj(_attend(q, k, v, self.heads))


class SplitAttention(nn.Module):
    """Self-attention with three matrices; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(_attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads))


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """(B, T, W) each to (B, T, W); heads are contiguous in the channels."""
    parts = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))  # (B, nh, T, hs)
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


class PackedMlp(nn.Module):
    """Gated by SiLU; gate and value are the halves of one layer."""

    def __init__(self, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(F.silu(gate) * value)


class SplitMlp(nn.Module):
    """Gated by SiLU, two layers, normalised in between."""

    def __init__(self, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.fc1_g, self.fc1_x = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))


class GeluMlp(nn.Module):
    """Two layers and the exact GELU."""

    def __init__(self, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


PARTS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "packed": (PackedAttention, PackedMlp),
    "split": (SplitAttention, SplitMlp),
    "gelu": (PackedAttention, GeluMlp),
}


class Block(nn.Module):
    """Pre-norm transformer block on (B, T, W)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        attention, mlp = PARTS[shape.block]
        self.norm1 = nn.LayerNorm(shape.width, shape.layer_norm_eps)
        self.attn = attention(shape.width, shape.heads)
        self.norm2 = nn.LayerNorm(shape.width, shape.layer_norm_eps)
        self.mlp = mlp(shape.width, shape.mlp_hidden, shape.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Trunk(nn.Module):
    """Transformer blocks and the last norm, which sees the first token alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.fc_norm = nn.LayerNorm(shape.width, shape.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(x[:, 0])


class Uni3D(nn.Module):
    """Coloured clouds to embeddings (B, embed_dim), not yet of unit length."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.encoder = PointNetwork(shape.encoder_dim)
        self.encoder2trans = nn.Linear(shape.encoder_dim, width)
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width))
        self.cls_token, self.cls_pos = (nn.Parameter(torch.zeros(1, 1, width)) for _ in range(2))
        self.visual = Trunk(shape)
        self.trans2embed = nn.Linear(width, shape.embed_dim)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """`points` (B, N, 3) of mean 0 and radius 1, `colors` (B, N, 3) in [0, 1]."""
        centres = take(points, farthest_points(points, self.shape.num_group))  # (B, G, 3)
        return self.embed_groups(centres, self.group(points, colors, centres))

    def group(self, points: Tensor, colors: Tensor, centres: Tensor) -> Tensor:
        """(B, G, M, 6): offsets from the centre and colours of its M nearest points."""
        index = neighbours(points, centres, self.shape.group_size)  # (B, G, M)
        offsets = take(points, index) - centres[:, :, None]
        return torch.cat([offsets, take(colors, index)], dim=-1)

    def embed_groups(self, centres: Tensor, groups: Tensor) -> Tensor:
        """(B, embed_dim) of centres (B, G, 3) and groups (B, G, M, 6); the trunk in its type."""
        x = self.tokens(centres, groups).to(self.visual.fc_norm.weight.dtype)
        return self.trans2embed(self.visual(x).float())

    def tokens(self, centres: Tensor, groups: Tensor) -> Tensor:
        """(B, G + 1, W): the class token, then the groups, with their positions."""
        b, g = groups.shape[:2]
        features = self.encoder(groups.flatten(0, 1)).view(b, g, -1)
        tokens = self.encoder2trans(features) + self.pos_embed(centres)
        return torch.cat([(self.cls_token + self.cls_pos).expand(b, -1, -1), tokens], dim=1)
