"""Training of the autoencoder as the training loop sees it; recipe of VecSetX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ... import config
from ...weights import load_strict
from .local import LocalAutoEncoder
from .losses import LossWeights, occupancy_iou, sdf_losses


class AutoencoderTask(nn.Module):
    """An autoencoder with its loss, optimizer and learning rate.

    Args:
        first_stage_config: node of a `CustomShapeVAE`.
        optimizer_cfg: `optimizer` and `scheduler` nodes, as for the diffusion model.
        num_vol_samples: how many of a batch's `points` are volume points; the rest are near ones.
        volume_weight, near_weight, surface_weight, eikonal_weight, occupancy_weight: of the losses.
        latent_counts: vectors a shape, in training one of these a batch; none: the autoencoder's.
        latent_noise: for each of `latent_counts`, the noise added to latents before they are
            decoded, in training: of a deviation drawn for each shape, this times |normal|. So the
            decoder gets used to latents that are not quite right, as generated ones are (Zheng et
            al. 2025, arXiv:2510.11690). None: no noise.
        freeze_encoder: train the decoder alone, so that latents stay what they are (of a
            `LocalAutoEncoder`).
        torch_compile: compile the autoencoder; not with an eikonal term, whose second derivative a
            compiled field does not have.

    Raises:
        ValueError: both `torch_compile` and an eikonal term, an encoder that cannot be frozen, or
            noise for another number of `latent_counts`.
    """

    def __init__(
        self,
        first_stage_config: Mapping[str, Any],
        optimizer_cfg: Mapping[str, Any],
        num_vol_samples: int = 1024,
        volume_weight: float = 1.0,
        near_weight: float = 10.0,
        surface_weight: float = 1.0,
        eikonal_weight: float = 1e-3,
        occupancy_weight: float = 0.0,
        latent_counts: Sequence[int] = (),
        latent_noise: Sequence[float] = (),
        freeze_encoder: bool = False,
        torch_compile: bool = False,
    ) -> None:
        super().__init__()
        if torch_compile and eikonal_weight > 0:
            raise ValueError("torch_compile: needs eikonal_weight 0")
        self.first_stage_model = config.build(first_stage_config, "model.params.first_stage_config")
        if freeze_encoder:
            autoencoder = self.first_stage_model.autoencoder
            if not isinstance(autoencoder, LocalAutoEncoder):
                raise ValueError("freeze_encoder: needs an autoencoder of architecture 'local'")
            for part in autoencoder.encoder():
                part.requires_grad_(False)
        self._counts, self._noise = tuple(latent_counts), tuple(latent_noise)
        if self._noise and len(self._noise) != len(self._counts):
            raise ValueError(
                f"latent_noise: {len(self._noise)} numbers for {len(self._counts)} latent_counts"
            )
        self._optimizer_cfg, self._vol = optimizer_cfg, num_vol_samples
        self._losses = torch.compile(sdf_losses) if torch_compile else sdf_losses
        self._weights = LossWeights(
            volume_weight, near_weight, surface_weight, eikonal_weight, occupancy_weight
        )

    def forward(
        self, batch: dict[str, Any], generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and logs of a batch: surface (b, s, 3), points (b, v + w, 3), labels (b, v + w)."""
        points, labels, v = batch["points"], batch["labels"], self._vol
        parts = {
            "surface": batch["surface"],
            "vol": points[:, :v], "near": points[:, v:],
            "vol_sdf": labels[:, :v], "near_sdf": labels[:, v:],
        }  # fmt: skip
        count, noise, where = None, None, generator.device if generator else points.device
        if self.training and self._counts:
            drawn = int(torch.randint(len(self._counts), (), generator=generator, device=where))
            count = self._counts[drawn]
            if self._noise and self._noise[drawn]:
                shape = (len(points), count, self.first_stage_model.latent_shape[1])
                spread = torch.randn(shape[0], 1, 1, generator=generator, device=where).abs()
                noise = torch.randn(shape, generator=generator, device=where) * spread
                noise = noise * self._noise[drawn]
        with torch.enable_grad():  # for the spatial gradient, in validation too
            found = self._losses(
                self.first_stage_model.autoencoder, parts, self._weights, count, noise
            )
        logs = {k: v for k, v in found.items() if k.startswith("loss_")}
        pred = found["pred"].detach()
        logs["iou_vol"] = occupancy_iou(pred[:, :v], labels[:, :v]).mean()
        logs["iou_near"] = occupancy_iou(pred[:, v : points.shape[1]], labels[:, v:]).mean()
        return found["loss"], logs

    def begin(self, batches: Sequence[dict[str, Any]], mean: Callable[[Tensor], Tensor]) -> None:
        """Nothing to set."""

    def compile_for(self, device: torch.device) -> None:
        """Nothing: `torch_compile` holds everywhere."""

    def leaves_out(self) -> bool:
        return False

    def describe(self) -> dict[str, Any]:
        return {}

    def ema_scope(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def optimizer(self, lr: float) -> torch.optim.Optimizer:
        node = self._optimizer_cfg["optimizer"]
        where = "model.params.optimizer_cfg.optimizer"
        trained = [p for p in self.parameters() if p.requires_grad]
        made: torch.optim.Optimizer = config.build(node, where, params=trained, lr=lr)
        return made

    def lr_factor(self, steps: int) -> Callable[[int], float]:
        node = self._optimizer_cfg.get("scheduler")
        if node is None:
            return lambda step: 1.0
        where = "model.params.optimizer_cfg.scheduler"
        made: Callable[[int], float] = config.build(node, where, max_decay_steps=steps)
        return made

    def after_step(self) -> None:
        """Nothing to do."""

    def slim_state(self) -> dict[str, Tensor]:
        """Weights under the keys of VecSetX."""
        state: dict[str, Tensor] = self.first_stage_model.autoencoder.state_dict()
        return state

    def load_slim(self, state: Mapping[str, Tensor], where: str) -> None:
        load_strict(self.first_stage_model.autoencoder, state, where)
