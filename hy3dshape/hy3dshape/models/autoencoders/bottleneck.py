"""Between encoder and decoder: widths (b, m, d) to latents (b, m, c) and back.

`pre` returns the latents and a loss of shape (b,); `post` goes back to the width.
Source: VecSetX; the Gaussian one 3DShape2VecSet, arXiv:2301.11445.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormalizedBottleneck(nn.Module):
    """Every latent vector has mean 0 and variance 1; there is no sampling and no loss."""

    def __init__(self, dim: int, latent_dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(latent_dim))
        self.beta = nn.Parameter(torch.zeros(latent_dim))
        self.pre_bottleneck_proj = nn.Linear(dim, latent_dim)
        self.post_bottleneck_proj = nn.Linear(latent_dim, dim)

    def pre(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.pre_bottleneck_proj(x)
        return F.layer_norm(z, z.shape[-1:], eps=self.eps), z.new_zeros(len(z))

    def post(self, z: Tensor) -> Tensor:
        return self.post_bottleneck_proj(z * self.gamma + self.beta)


class GaussianBottleneck(nn.Module):
    """Diagonal Gaussian: sampled in training, its mean otherwise; loss `KL_WEIGHT` x KL."""

    KL_WEIGHT = 1e-3

    def __init__(self, dim: int, latent_dim: int, eps: float = 0.0) -> None:
        super().__init__()
        self.mean_fc = nn.Linear(dim, latent_dim)
        self.logvar_fc = nn.Linear(dim, latent_dim)
        self.proj = nn.Linear(latent_dim, dim)

    def pre(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean_fc(x)
        log_variance = self.logvar_fc(x).clamp(-30, 20)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(dim=(1, 2))
        if self.training:
            mean = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return mean, self.KL_WEIGHT * kl

    def post(self, z: Tensor) -> Tensor:
        return self.proj(z)


class IdentityBottleneck(nn.Module):
    """Latents as wide as the model."""

    def __init__(self, dim: int, latent_dim: int, eps: float = 0.0) -> None:
        super().__init__()
        if latent_dim != dim:
            raise ValueError(f"identity bottleneck: latent_dim {latent_dim} is not the width {dim}")

    def pre(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def post(self, z: Tensor) -> Tensor:
        return z


Bottleneck = NormalizedBottleneck | GaussianBottleneck | IdentityBottleneck
BOTTLENECKS: dict[str, type[Bottleneck]] = {
    "normalized": NormalizedBottleneck,
    "kl": GaussianBottleneck,
    "identity": IdentityBottleneck,
}
