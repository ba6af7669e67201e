"""The training objective of the signed distance autoencoder.

Source: VecSetX training script (weights 1, 10, 1, 0.001). The eikonal term is differentiated
exactly through the attention; the reference's flash kernel has no second derivative. The occupancy
term is not in the recipe: the cross-entropy of sigmoid(-distance / SOFTNESS), least at the true
distance, counts most where the sign is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .local import LocalAutoEncoder
from .vecset import VecSetAutoEncoder

SOFTNESS = 0.005  # distance over which the occupancy goes from inside to outside


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of `sdf_losses`."""

    volume: float = 1.0
    near: float = 10.0
    surface: float = 1.0
    eikonal: float = 1e-3
    occupancy: float = 0.0


def sdf_losses(
    model: VecSetAutoEncoder | LocalAutoEncoder,
    batch: Mapping[str, Tensor],
    weights: LossWeights,
    num_latents: int | None = None,
    noise: Tensor | None = None,
) -> dict[str, Tensor]:
    """Losses and the prediction on one batch.

    Args:
        model: in training or evaluation mode.
        batch: `surface` (b, n, 3); `vol` (b, v, 3), `vol_sdf` (b, v); `near` (b, w, 3),
            `near_sdf` (b, w); distances negative inside.
        weights: of the terms; with `surface` 0 the field is not evaluated there, with `eikonal` 0
            its gradient is not computed.
        num_latents: vectors a shape, None: the model's.
        noise: (b, m, c) added to the latents before they are decoded.

    Returns:
        Scalars `loss`, `loss_vol`, `loss_near`, `loss_bottleneck` and, unless their weights are 0,
        `loss_surface`, `loss_eikonal` and `loss_occupancy`; and `pred` (b, v + w + n), the field
        at [vol | near | surface].
    """
    surface = batch["surface"][:, : None if weights.surface > 0 else 0]
    queries = torch.cat([batch["vol"], batch["near"], surface], dim=1)
    queries.requires_grad_(weights.eikonal > 0)
    latents, bottleneck = model.encode(batch["surface"], num_latents)
    pred = model.decode(latents if noise is None else latents + noise)(queries)
    v, w = batch["vol"].shape[1], batch["near"].shape[1]
    losses = {
        "loss_vol": (pred[:, :v] - batch["vol_sdf"]).abs().mean(),
        "loss_near": (pred[:, v : v + w] - batch["near_sdf"]).abs().mean(),
        "loss_bottleneck": bottleneck.mean(),
    }
    total = (
        weights.volume * losses["loss_vol"]
        + weights.near * losses["loss_near"]
        + losses["loss_bottleneck"]
    )
    if weights.surface > 0:
        losses["loss_surface"] = pred[:, v + w :].abs().mean()
        total = total + weights.surface * losses["loss_surface"]
    if weights.occupancy > 0:
        soft = torch.cat([batch["vol_sdf"], batch["near_sdf"]], dim=1).div(-SOFTNESS).sigmoid()
        logits = pred[:, : v + w] / -SOFTNESS
        losses["loss_occupancy"] = F.binary_cross_entropy_with_logits(logits, soft)
        total = total + weights.occupancy * losses["loss_occupancy"]
    if weights.eikonal > 0:
        (gradient,) = torch.autograd.grad(pred.sum(), queries, create_graph=True)
        losses["loss_eikonal"] = (gradient.norm(dim=-1) - 1).square().mean()
        total = total + weights.eikonal * losses["loss_eikonal"]
    return losses | {"loss": total, "pred": pred}


def occupancy_iou(pred: Tensor, sdf: Tensor) -> Tensor:
    """Intersection over union of the insides (< 0), (b, n) each -> (b,); 1 if both are empty."""
    a, b = pred < 0, sdf < 0
    union = (a | b).sum(dim=-1)
    return torch.where(union > 0, (a & b).sum(dim=-1) / union.clamp(min=1), 1.0)
