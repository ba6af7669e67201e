"""Sets of grids through an autoencoder and back: figures and meshes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from .checkpoints import load_autoencoder
from .devices import pick_device
from .files import write_failures, write_run
from .grids import Grids, read_grids
from .meshing import write_mesh
from .models.autoencoder import VoxelAutoencoder, reconstruction

CHUNK = 16  # grids at once
LEVEL = 0.5  # of the surface
FIGURES = ("iou", "precision", "recall")


def rebuild(args: argparse.Namespace) -> list[dict[str, str]]:
    """Print the figures of each file and write meshes; the failures among these.

    Args:
        args: input, ae_ckpt_path, output or None, meshes, plain, device, quiet.

    Raises:
        OSError, ValueError: a file cannot be read or is none of grids, the autoencoder takes
            another resolution, or two shapes would share the file of a mesh.
    """
    model = None
    if not args.plain:
        model = load_autoencoder(args.ae_ckpt_path).to(pick_device(args.device))
    failures: list[dict[str, str]] = []
    made: set[Path] = set()
    for path in args.input:
        grids, rows = read_grids(path), list[list[float]]()
        for i, (probability, figures) in enumerate(_given_back(model, grids, args.quiet)):
            rows.append(figures)
            if args.output is not None:
                failures += _mesh(args, grids, i, probability, made)
        told = f"{path}: {len(grids)} shapes"
        print(told + (_text(np.array(rows)) if model is not None else ""))
    if args.output is not None:
        write_failures(args.output, failures)
        settings = {"plain": args.plain, "meshes": args.meshes, "level": LEVEL}
        inputs = [*args.input] if args.plain else [*args.input, args.ae_ckpt_path]
        counts = {"meshes": len(made) - len(failures), "failed": len(failures)}
        write_run(args.output, settings, counts, inputs, ("numpy", "torch", "scikit-image"))
    return failures


@torch.no_grad()
def _given_back(
    model: VoxelAutoencoder | None, grids: Grids, quiet: bool
) -> Iterator[tuple[np.ndarray, list[float]]]:
    """Probabilities (R, R, R) and `FIGURES` of each grid; without a model itself and nothing."""
    from tqdm import tqdm

    for i in tqdm(range(0, len(grids), CHUNK), unit="batch", disable=quiet or None):
        batch = torch.from_numpy(grids.unpack(slice(i, i + CHUNK)))
        if model is None:
            yield from ((grid, []) for grid in batch.numpy())
            continue
        batch = batch.to(next(model.parameters()).device)
        logits = model(batch)
        for one, truth in zip(logits.split(1), batch.split(1), strict=True):
            figures = reconstruction(one, truth)
            yield one[0].sigmoid().cpu().numpy(), [float(figures[name]) for name in FIGURES]


def _mesh(
    args: argparse.Namespace, grids: Grids, i: int, probability: np.ndarray, made: set[Path]
) -> list[dict[str, str]]:
    """Write the mesh of shape i; one failure if it has no surface."""
    name = grids.ids[i]
    path = args.output / (grids.categories[i] or "all") / f"{name}.{args.meshes}"
    if path in made:
        raise ValueError(f"{path}: two shapes of the input would be written there; rename one")
    made.add(path)
    try:
        write_mesh(path, probability, LEVEL)
    except ValueError as error:
        path.unlink(missing_ok=True)
        return [{"id": name, "stage": "mesh", "error": str(error)}]
    return []


def _text(rows: np.ndarray) -> str:
    """Means of (n, 3) figures and the median of the first."""
    means = ", ".join(f"{k} {v:.4f}" for k, v in zip(FIGURES, rows.mean(0), strict=True))
    return f", {means}, median iou {np.median(rows[:, 0]):.4f}"
