"""Samples of a trained model, batch by batch, to files that can be gone on with."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checkpoints import Denoiser, load_autoencoder, load_denoiser
from .files import (
    Journal,
    read_json,
    replacing,
    require_same,
    run_path,
    sha256,
    write_failures,
    write_run,
)
from .meshing import mesh_of
from .models.autoencoder import VoxelAutoencoder

Draw = Callable[[Sequence[int], Tensor | None], Tensor]  # seeds, classes -> latents


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda or cuda:N. ValueError: it is not there."""
    there = torch.cuda.is_available()
    if name.startswith("cuda") and not there:
        raise ValueError(f"--device {name}: no CUDA device is there; use --device cpu")
    return torch.device(("cuda" if there else "cpu") if name == "auto" else name)


def load_models(args: argparse.Namespace) -> tuple[VoxelAutoencoder, Denoiser]:
    """Both models of the flags, in eval mode, on the device."""
    device = pick_device(args.device)
    autoencoder = load_autoencoder(args.ae_ckpt_path).to(device)
    denoiser = load_denoiser(args.ldm_ckpt_path, args.ae_ckpt_path).to(device)
    return autoencoder, denoiser


@torch.no_grad()
def decode(autoencoder: VoxelAutoencoder, denoiser: Denoiser, latents: Tensor) -> np.ndarray:
    """Normalised latents (b, c, s, s, s) -> probabilities (b, R, R, R) float32."""
    plain = latents * denoiser.latent_std + denoiser.latent_mean
    return autoencoder.decode(plain).sigmoid().cpu().numpy()


def write_samples(
    args: argparse.Namespace,
    autoencoder: VoxelAutoencoder,
    denoiser: Denoiser,
    name: str,
    draw: Draw,
    settings: dict[str, Any],
) -> list[dict[str, str]]:
    """`NAME.npy` of (n, R, R, R) and the meshes of one class; the failures among the meshes.

    Batches that are done are not drawn again; what is complete is left as it is.

    Args:
        args: num_samples, batch_size, seed, save_dir, threshold, probabilities, meshes, overwrite.
        name: of the class; "samples" for an unconditional model.
        draw: latents of seeds.
        settings: what decides the result.

    Raises:
        ValueError: samples made with other settings are there.
    """
    path = args.save_dir / f"{name}.npy"
    kind = np.float32 if args.probabilities else np.uint8
    shape = (args.num_samples, *[autoencoder.resolution] * 3)
    settings = {**settings, "class": name, "samples": args.num_samples, "batch": args.batch_size,
                "threshold": None if args.probabilities else args.threshold,
                "meshes": args.meshes}  # fmt: skip
    if path.exists() and run_path(path).exists() and not args.overwrite:
        require_same(str(path), read_json(run_path(path))["settings"], settings)
        return []
    partial = args.save_dir / f".{name}.partial.npy"
    journal = Journal(args.save_dir / f".{name}.journal", settings, args.overwrite)
    if not journal.done or not partial.exists():
        journal.done.clear()
        np.lib.format.open_memmap(partial, "w+", kind, shape).flush()
    failures = []
    for rows in _missing(args.num_samples, args.batch_size, journal):
        seeds = [args.seed * (1 << 32) + int(row) for row in rows]
        label = denoiser.label(name) if denoiser.classes else None
        labels = (
            None if label is None else torch.full((len(rows),), label, device=_device(denoiser))
        )
        probabilities = decode(autoencoder, denoiser, draw(seeds, labels))
        there = np.lib.format.open_memmap(partial, "r+")
        there[rows] = probabilities if args.probabilities else probabilities > args.threshold
        there.flush()
        found = _write_meshes(args, name, rows, probabilities)
        failures += found
        journal.add(str(rows[0]), found)
    failures = [row for rows in journal.done.values() for row in rows]
    partial.replace(path)
    write_run(path, settings, {"samples": args.num_samples, "failed": len(failures)},
              [args.ldm_ckpt_path, args.ae_ckpt_path], ("numpy", "torch", "diffusers"))  # fmt: skip
    write_failures(path, failures)
    journal.finish()
    return failures


def _missing(count: int, size: int, journal: Journal) -> Iterator[np.ndarray]:
    """Rows of the batches that the journal lacks; a last one is as large as it has to be."""
    from tqdm import tqdm

    for start in tqdm(range(0, count, size), unit="batch", disable=None):
        if str(start) not in journal.done:
            yield np.arange(start, min(start + size, count))


def _write_meshes(
    args: argparse.Namespace, name: str, rows: np.ndarray, probabilities: np.ndarray
) -> list[dict[str, str]]:
    """`NAME/NAME_0000.ply`; those without a surface are returned as failures."""
    import trimesh

    failed: list[dict[str, str]] = []
    if args.meshes == "none":
        return failed
    for row, probability in zip(rows, probabilities, strict=True):
        path = args.save_dir / name / f"{name}_{row:04d}.{args.meshes}"
        try:
            vertices, faces = mesh_of(probability, args.threshold)
        except ValueError as error:
            failed.append({"id": path.stem, "stage": "mesh", "error": str(error)})
            path.unlink(missing_ok=True)
            continue
        with replacing(path) as temporary:
            trimesh.Trimesh(vertices, faces, process=False).export(temporary, file_type=args.meshes)
    return failed


def _device(denoiser: Denoiser) -> torch.device:
    return denoiser.latent_mean.device


def origin(args: argparse.Namespace) -> dict[str, Any]:
    """Of settings: the weights that are used."""
    return {"denoiser": sha256(args.ldm_ckpt_path), "autoencoder": sha256(args.ae_ckpt_path),
            "seed": args.seed}  # fmt: skip
