"""A vector-set autoencoder whose latents stand at points of the surface, for small models.

A latent is a position, then features. The encoder sees the surface points next to the position,
relative to it; the field at a point is read off the nearest latents, each of which is worth a few
planes that move with it. In between every latent attends to all others, as in `vecset`. What is
near decides, from the first step on, where a `VecSetAutoEncoder` has to learn who is near.

Sources: latents with positions, 3DILG, Zhang et al., NeurIPS 2022, arXiv:2205.13914; patches,
PointNet++, Qi et al., NeurIPS 2017, arXiv:1706.02413; the rest as in `vecset`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sampling import farthest_points, take
from .vecset import Block, FeedForward, PointEmbed, PreNorm

POSITION_SCALE = 8.0  # positions in latents: noise of 1 moves them by an eighth of the radius
PATCH = 64  # a latent is made of this part of the surface points
NEAREST = 4  # latents that make the field at a point
RADIUS = 0.2  # in which patches and planes have numbers around 1
HIDDEN = 64
RATE = 0.02  # of `LocalAutoEncoder.refine`
HEADS = 4  # weights of a latent, each for a share of HIDDEN


class LocalAutoEncoder(nn.Module):
    """Encoder, normalised bottleneck and decoder.

    Args:
        depth: self-attention blocks of the decoder.
        dim:   width, a multiple of `head_dim`.
        num_latents: vectors a shape; any number can be asked for later.
        latent_dim: channels of a vector: 3 of the position, the others of mean 0 and variance 1.
        norm_eps, bottleneck_eps: of the norms.
        head_dim: width of an attention head.
        planes: planes of a latent.
        curved: whether the planes may bend, as quadrics; all are even at first.
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        num_latents: int,
        latent_dim: int,
        norm_eps: float = 1e-5,
        bottleneck_eps: float = 1e-6,
        head_dim: int = 64,
        planes: int = 32,
        curved: bool = False,
    ) -> None:
        super().__init__()
        if latent_dim < 5:
            raise ValueError(f"latent_dim {latent_dim}: expected 3 of the position and 2 or more")
        self.num_latents, self.bottleneck_eps = num_latents, bottleneck_eps
        self.point_embed = PointEmbed(dim, 5)
        self.offset_embed = PointEmbed(2 * HIDDEN, 3)
        self.patch = nn.Linear(HIDDEN, 2 * HIDDEN)
        self.pool = nn.Linear(4 * HIDDEN, dim)
        self.encoder_ff = PreNorm(dim, FeedForward(dim), norm_eps)
        self.to_latents = nn.Linear(dim, latent_dim - 3)
        self.from_latents = nn.Linear(latent_dim - 3, dim)
        self.layers = nn.ModuleList(Block(dim, head_dim, norm_eps) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.to_planes = nn.Linear(dim, 4 * (planes + HEADS))
        self.to_curves = nn.Linear(dim, 6 * (planes + HEADS)) if curved else None
        self.sharpness = nn.Parameter(torch.tensor(8 / RADIUS**2).log())
        self.each = nn.Linear(planes, HIDDEN)
        self.together = nn.Linear(HIDDEN, HIDDEN)
        self.to_outputs = nn.Linear(HIDDEN, 1)
        for linear in filter(None, (self.to_outputs, self.to_curves)):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def encode(self, surface: Tensor, num_latents: int | None = None) -> tuple[Tensor, Tensor]:
        """Latents (b, m, c) of clouds (b, n, 3), and a loss of 0 (b).

        Raises:
            ValueError: fewer points than PATCH or than latents.
        """
        size = surface.shape[1] // PATCH
        if size < 1:
            raise ValueError(f"{surface.shape[1]} surface points: expected {PATCH} or more")
        count = self.num_latents if num_latents is None else num_latents
        at = take(surface, farthest_points(surface, count))
        rows = torch.cdist(at, surface).topk(size, largest=False, sorted=False).indices
        near = take(surface, rows.flatten(1)).unflatten(1, rows.shape[1:])  # (b, m, size, 3)
        a, gate = self.offset_embed((near - at[:, :, None]) / RADIUS).chunk(2, dim=-1)
        each = self.patch(a * F.gelu(gate))
        pooled = torch.cat([each.amax(dim=2), each.mean(dim=2)], dim=-1)
        x = self.point_embed(at) + self.pool(pooled)
        z = self.to_latents(x + self.encoder_ff(x))
        z = F.layer_norm(z, z.shape[-1:], eps=self.bottleneck_eps)
        return torch.cat([at * POSITION_SCALE, z], dim=-1), z.new_zeros(len(z))

    def refine(self, latents: Tensor, surface: Tensor, steps: int) -> Tensor:
        """Latents whose field is nearer to 0 at the cloud: so many steps of Adam on their features.

        Positions stay, features stay normalised. A shape does not depend on others of its batch.
        Source: latents fitted to the shape, DeepSDF, Park et al., CVPR 2019, arXiv:1901.05103.
        """
        at, features = latents[..., :3], latents[..., 3:].detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([features], RATE)

        def current() -> Tensor:
            z = F.layer_norm(features, features.shape[-1:], eps=self.bottleneck_eps)
            return torch.cat([at, z], dim=-1)

        with torch.enable_grad():
            for step in range(steps):
                optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
                distance = self.decode(current())(surface[:, step % 2 :: 2]).abs()
                (features.grad,) = torch.autograd.grad(distance.mean(dim=1).sum(), [features])
                optimizer.step()
        return current().detach()

    def encoder(self) -> tuple[nn.Module, ...]:
        """The parts that latents depend on."""
        return (
            self.point_embed, self.offset_embed, self.patch, self.pool, self.encoder_ff,
            self.to_latents,
        )  # fmt: skip

    def decode(self, latents: Tensor) -> LocalField:
        """The field of latents (b, m, c); the decoder stack runs here, once."""
        at = latents[..., :3] / POSITION_SCALE
        x = self.from_latents(latents[..., 3:]) + self.point_embed(at)
        for block in self.layers:
            x = block(x)
        x = self.norm(x)
        planes = self.to_planes(x)
        if self.to_curves is not None:
            planes = torch.cat([planes, self.to_curves(x)], dim=-1)
        return LocalField(self, at, planes)


class LocalField:
    """Signed distance of a batch of shapes, negative inside: (b, q, 3) -> (b, q).

    Holds the positions (b, m, 3) of the latents and their planes (b, m, 4 p) or quadrics
    (b, m, 10 p), the first HEADS of which weigh a latent against its neighbours.
    """

    def __init__(self, model: LocalAutoEncoder, at: Tensor, planes: Tensor) -> None:
        self.model, self.at, self.planes = model, at, planes

    def __call__(self, points: Tensor) -> Tensor:
        m = self.at.shape[1]
        with torch.no_grad():
            rows = torch.cdist(points, self.at).topk(min(NEAREST, m), largest=False).indices
            rows = rows + m * torch.arange(len(rows), device=rows.device)[:, None, None]
        offset = points[:, :, None] - F.embedding(rows, self.at.flatten(0, 1))  # (b, q, k, 3)
        at = offset / RADIUS
        if self.model.to_curves is not None:
            at = torch.cat([at, at.square(), at * at.roll(1, dims=-1)], dim=-1)
        found = F.embedding(rows, self.planes.flatten(0, 1))
        constant, *slopes = found.chunk(1 + at.shape[-1], dim=-1)
        for coordinate, slope in zip(at.split(1, dim=-1), slopes, strict=True):
            constant = constant + coordinate * slope  # (b, q, k, p)
        weight, value = constant[..., :HEADS], constant[..., HEADS:]
        nearness = self.model.sharpness.exp() * offset.square().sum(dim=-1, keepdim=True)
        weight = (weight - nearness).softmax(dim=2)[..., None]
        each = self.model.each(value).relu().unflatten(-1, (HEADS, -1))
        x = (weight * each).sum(dim=2).flatten(2)
        return self.model.to_outputs(x + self.model.together(x).relu()).squeeze(-1)

    def item(self, index: int) -> LocalField:
        """The field of one shape of the batch."""
        at, planes = (x[index : index + 1] for x in (self.at, self.planes))
        return LocalField(self.model, at, planes)
