"""Encoded and decoded again: agreement of the field with SDF samples of the shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .data.raw import Floats, read_raw
from .models.autoencoders.autoencoder import CustomShapeVAE
from .models.autoencoders.losses import occupancy_iou

CHUNK = 50_000
Row = dict[str, Any]


def measure_all(
    model: CustomShapeVAE,
    samples: Mapping[str, Path],
    num_latents: int | None = None,
    surface_size: int | None = None,
    refine: int = 0,
) -> list[Row]:
    """One row a shape, with a progress bar; see `measure`."""
    from tqdm import tqdm

    size = surface_size or model.surface_size
    rows = []
    for uid, path in tqdm(samples.items(), unit="shape", disable=None):
        arrays = read_raw(path)
        if len(arrays["surface_points"]) < size:
            raise ValueError(f"{path}: surface_points: fewer than {size}")
        rows.append({"id": uid, **measure(model, arrays, num_latents, size, refine)})
    return rows


@torch.no_grad()
def measure(
    model: CustomShapeVAE,
    arrays: Mapping[str, Floats],
    num_latents: int | None,
    size: int,
    refine: int = 0,
) -> dict[str, float]:
    """IoU of the insides at the volume points, mean absolute errors of the distance.

    Args:
        arrays: of `read_raw`; the first `size` surface points are encoded.
        refine: steps that the latents are refined.

    Returns:
        `iou` in [0, 1], 1 if no point is inside either; `near_error` at the near points and
        `surface_error`, the distance that the field gives the surface, in radii of the shape.
    """
    device = next(model.parameters()).device
    surface = torch.from_numpy(arrays["surface_points"])
    field = model.decode(model.encode(surface[None, :size].to(device), num_latents, refine))

    def at(points: torch.Tensor) -> torch.Tensor:
        return torch.cat([field(p[None].to(device))[0].cpu() for p in points.split(CHUNK)])

    volume, near = (at(torch.from_numpy(arrays[f"{k}_points"])) for k in ("vol", "near"))
    inside = torch.from_numpy(arrays["vol_sdf"])
    return {
        "iou": occupancy_iou(volume[None], inside[None]).item(),
        "near_error": (near - torch.from_numpy(arrays["near_sdf"])).abs().mean().item(),
        "surface_error": at(surface).abs().mean().item(),
    }


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each number, quantiles of the IoU, and how many shapes."""
    iou = np.array([row["iou"] for row in rows])
    found = {"iou_mean": iou.mean(), "iou_median": np.median(iou), "iou_p10": np.quantile(iou, 0.1)}
    for name in ("near_error", "surface_error"):
        found[name] = np.mean([row[name] for row in rows])
    return {k: float(v) for k, v in found.items()} | {"n": len(rows)}
