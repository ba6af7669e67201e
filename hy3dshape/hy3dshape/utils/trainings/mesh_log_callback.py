"""Meshes of the model in training, as files to look at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ...mesh_files import image_bytes, mesh_bytes, write_bytes
from ...pipelines import half_side
from .previews import first_items, folder_of, label, latents_of, meshes_of, picture

if TYPE_CHECKING:
    from ...training import Trainer

log = logging.getLogger(__name__)


class ConditionalMeshLogger:
    """Every so many steps, shapes under the first conditions of validation, each as GLB and PNG.

    They go to `log/visuals/{split}/gs-{step}_e-{epoch}_b-{batch}/{i}_{condition}.glb`. In the
    training of an autoencoder they are its reconstructions.

    Args:
        step_frequency: steps between; the last step counts too.
        num_samples: shapes, at most a batch.
        bounds, octree_depth, num_chunks, mc_level: see `CustomFlowMatchingPipeline`.
        guidance_scale, num_inference_steps, seed: of the sampling.
    """

    def __init__(
        self,
        step_frequency: int,
        num_samples: int = 4,
        bounds: float | Sequence[float] = 1.01,
        octree_depth: int = 8,
        num_chunks: int = 50_000,
        mc_level: float = 0.0,
        guidance_scale: float = 5.0,
        num_inference_steps: int = 50,
        seed: int = 0,
    ) -> None:
        if step_frequency < 1 or num_samples < 1:
            raise ValueError("mesh_logger: step_frequency and num_samples are 1 or more")
        self.every, self.count = step_frequency, num_samples
        self._grid = (half_side(bounds), octree_depth, num_chunks, mc_level)
        self._sampling = {"guidance_scale": guidance_scale, "seed": seed}
        self._sampling |= {"num_inference_steps": num_inference_steps}

    def __call__(self, run: Trainer, step: int) -> None:
        if step % self.every and step != run.options.steps:
            return
        split, batch = first_items(run, self.count)
        latents = latents_of(run, batch, **self._sampling)
        names = batch.get("conditioning", ["sample"] * len(latents))
        folder = folder_of(run, "visuals", split)
        for i, found in enumerate(meshes_of(run, latents, *self._grid)):
            if isinstance(found, ValueError):
                log.warning("step %d: sample %d has no mesh: %s", step, i, found)
                continue
            stem = folder / f"{i:02d}_{label(names[i])}"
            write_bytes(stem.with_name(f"{stem.name}.glb"), mesh_bytes(found, "glb"))
            pixels = torch.from_numpy(picture(found).copy()).permute(2, 0, 1) / 255
            write_bytes(stem.with_name(f"{stem.name}.png"), image_bytes(pixels))
