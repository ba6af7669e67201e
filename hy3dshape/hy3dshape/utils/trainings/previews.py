"""What callbacks share: conditions to sample under, samples, pictures of meshes."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.autoencoders.isosurface import Mesh

if TYPE_CHECKING:
    from ...training import Trainer

VIEW = np.array([0.55, 0.4, 0.73])  # from where a preview looks; y is up
SIDE = 384  # pixels


def first_items(run: Trainer, count: int) -> tuple[str, dict[str, Any]]:
    """Up to `count` items of validation, else of training: the split's name and their batch."""
    for split, batches in (("val", run.data.val_batches()), ("train", run.data.train_batches())):
        for batch in islice(batches, 1):
            return split, {k: v[:count] for k, v in batch.items()}
    raise ValueError("there is no data to take conditions from")


def folder_of(run: Trainer, name: str, split: str) -> Path:
    """Where visuals of this step go; names are those of the paper's tool."""
    micro = run.step * run.options.update_every * run.world
    epoch, batch = divmod(micro, run.data.batches_an_epoch())
    place = f"gs-{run.step:010d}_e-{epoch:06d}_b-{batch:06d}"
    return run.out / "log" / name / split / place


def label(condition: Any) -> str:
    """A condition as part of a file name: words of a text, id of a class, else `sample`."""
    if isinstance(condition, Tensor):
        condition = condition.item()
    if not isinstance(condition, str | int):
        return "sample"
    return re.sub(r"[^a-z0-9]+", "-", str(condition).lower()).strip("-")[:40] or "sample"


@torch.no_grad()
def latents_of(run: Trainer, batch: dict[str, Any], **options: Any) -> Tensor:
    """(b, n, c): sampled under the batch's conditions, or encoded where an autoencoder trains."""
    task: Any = run.task
    if not hasattr(task, "pipeline"):
        surface = batch["surface"].to(run.accelerator.device)
        return task.first_stage_model.encode(surface)
    if task.cond_stage_model is None or task.cond_stage_model.kind == "uncond":
        options["indices"] = options.get("indices", range(len(batch["conditioning"])))
        return task.sample_latents(None, **options)
    return task.sample_latents(batch["conditioning"], **options)


def meshes_of(
    run: Trainer,
    latents: Tensor,
    bounds: float,
    octree_depth: int,
    num_chunks: int,
    mc_level: float,
) -> list[Mesh | ValueError]:
    """Each mesh, or why there is none: fields of young models often have no inside."""
    task: Any = run.task
    found: list[Mesh | ValueError] = []
    for one in latents.split(1):
        try:
            found += task.first_stage_model.latents2mesh(
                one, bounds, 2**octree_depth, num_chunks, "band", mc_level
            )
        except ValueError as error:
            found.append(error)
    return found


def picture(mesh: Mesh, side: int = SIDE) -> NDArray[np.uint8]:
    """(side, side, 3): a shaded picture of a mesh in the unit cube, far faces painted first."""
    from PIL import Image, ImageDraw

    vertices, faces = mesh
    away = VIEW / np.linalg.norm(VIEW)
    right = np.cross([0.0, 1.0, 0.0], away)
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(away, right), away])  # x right, y up, z to the eye
    corners = (vertices @ frame.T)[faces]  # (f, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    light = normals @ np.array([0.3, 0.5, 0.81]) / lengths
    grey = (70 + 170 * np.clip(light, 0, 1)).astype(int)
    pixels = np.stack([0.5 + corners[..., 0] / 3, 0.5 - corners[..., 1] / 3], axis=-1) * side
    canvas = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(canvas)
    seen = np.flatnonzero(normals[:, 2] > 0)
    for i in seen[np.argsort(corners[seen, :, 2].mean(axis=1), kind="stable")]:
        draw.polygon([*map(tuple, pixels[i])], fill=(grey[i], grey[i], min(255, grey[i] + 12)))
    return np.asarray(canvas)
