"""The latent scale of a model whose checkpoint has none: 1 / spread of some latents.

The order is the paper's tool's: flag, checkpoint, calibration, autoencoder, model.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .data.latents import load_tensor
from .data.tables import Table
from .encoding import list_clouds, read_cloud
from .models.diffusion.flow_matching_sit import Diffuser

SURFACE_COLUMNS = ("surface", "surface_path", "path", "data_path")


def latent_scale(
    model: Diffuser, in_checkpoint: bool, args: argparse.Namespace, table: Table | None
) -> tuple[float, str]:
    """The factor that latents were trained with, and where it is from.

    Args:
        in_checkpoint: the model has it from its checkpoint.
        args: --z_scale_factor, --auto_z_from_std and the --calib flags.
        table: of --csv, whose surfaces can be measured.

    Raises:
        ValueError: it is nowhere although training measured it, or nothing to measure it on.
    """
    if args.z_scale_factor is not None:
        return args.z_scale_factor, "flag"
    if in_checkpoint:
        return float(model.z_scale_factor), "checkpoint"
    if args.auto_z_from_std:
        return measured_scale(model, args, table), "calibration"
    if (own := getattr(model.first_stage_model, "z_scale_factor", None)) is not None:
        return float(own), "autoencoder"
    if "z_scale_factor" in model.state_dict():  # scale_by_std: training measured it
        raise ValueError(
            f"{args.ckpt}: no z_scale_factor, which scale_by_std says it should have;"
            " give --z_scale_factor, or --auto_z_from_std with --calib_latents"
        )
    return float(model.z_scale_factor), "configuration"


def measured_scale(model: Diffuser, args: argparse.Namespace, table: Table | None) -> float:
    """1 / standard deviation of all numbers of the first `calib_take` calibration latents."""
    latents = _latents(model, args, table)
    scale = 1 / torch.stack(latents).std()
    if not scale.isfinite():
        raise ValueError("the calibration latents have no finite spread")
    return float(scale)


def _latents(model: Diffuser, args: argparse.Namespace, table: Table | None) -> list[Tensor]:
    take = args.calib_take
    if args.calib_latents is not None:
        path: Path = args.calib_latents
        found = sorted(path.rglob("*.pt")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{path}: no .pt file to calibrate on")
        return [load_tensor(p) for p in found[:take]]
    if args.calib_surface_dir is not None:
        clouds = list(list_clouds(args.calib_surface_dir).items())
    else:
        clouds = _listed(table)
    vae: Any = model.first_stage_model
    device = next(vae.parameters()).device
    encoded = []
    for uid, path in clouds[:take]:
        cloud = torch.from_numpy(read_cloud(uid, path, vae.surface_size))
        encoded.append(vae.encode(cloud[None].to(device))[0].float().cpu())
    return encoded


def _listed(table: Table | None) -> list[tuple[str, Path]]:
    """Surfaces that a table names."""
    columns = table.columns if table is not None else ()
    column = next((c for c in SURFACE_COLUMNS if c in columns), None)
    rows = [] if table is None or column is None else [r for r in table.rows if r[column]]
    if table is None or column is None or not rows:
        raise ValueError(
            "--auto_z_from_std: nothing to measure; give --calib_latents, --calib_surface_dir or a"
            f" --csv with a column {', '.join(SURFACE_COLUMNS)}"
        )
    named = [(row.get("model_uid") or row[column], row[column]) for row in rows]
    return [(uid, table.path.parent / path) for uid, path in named]
