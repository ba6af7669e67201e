"""Samples of a trained model, batch by batch, to files that can be gone on with."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checkpoints import Denoiser, load_autoencoder, load_denoiser
from .devices import pick_device
from .files import (
    Journal,
    failures_path,
    read_json,
    require_same,
    run_path,
    sha256,
    write_failures,
    write_run,
)
from .meshing import write_mesh
from .models.autoencoder import VoxelAutoencoder

Draw = Callable[[Sequence[int], Tensor | None], Tensor]  # seeds, classes -> latents


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
        ValueError: samples made with other settings, or not made here, are there.
    """
    path, meshes = args.save_dir / f"{name}.npy", args.save_dir / name
    soft = args.probabilities and args.meshes == "none"
    settings = {**settings, "class": name, "samples": args.num_samples, "batch": args.batch_size,
                "probabilities": args.probabilities, "threshold": None if soft else args.threshold,
                "meshes": args.meshes}  # fmt: skip
    unfinished = args.save_dir / f".{name}.journal"
    if path.exists() and not unfinished.exists() and not args.overwrite:
        return _as_made(path, settings)
    partial = _Partial(args, name, autoencoder.resolution)
    journal = Journal(unfinished, settings, args.overwrite)
    if args.overwrite:  # else what is made anew could be taken for what was there
        run_path(path).unlink(missing_ok=True)
        _sweep(meshes, rf"{re.escape(name)}_\d{{4,}}\.(ply|glb|obj)")
    if not journal.done or not partial.path.exists():
        journal.done.clear()
        partial.begin()
    for rows in _missing(args.num_samples, args.batch_size, journal):
        seeds = [args.seed * (1 << 32) + int(row) for row in rows]
        label = denoiser.label(name) if denoiser.classes else None
        labels = (
            None if label is None else torch.full((len(rows),), label, device=_device(denoiser))
        )
        probabilities = decode(autoencoder, denoiser, draw(seeds, labels))
        partial.put(int(rows[0]), probabilities)
        journal.add(str(rows[0]), _write_meshes(args, name, rows, probabilities))
    failures = [row for rows in journal.done.values() for row in rows]
    _sweep(meshes, rf"\.{re.escape(name)}_\d{{4,}}\.\w+\.(ply|glb|obj)")  # halves that a kill left
    write_failures(path, failures)
    write_run(path, settings, {"samples": args.num_samples, "failed": len(failures)},
              [args.ldm_ckpt_path, args.ae_ckpt_path], ("numpy", "torch", "diffusers"))  # fmt: skip
    partial.path.replace(path)
    journal.finish()
    return failures


def _as_made(path: Path, settings: dict[str, Any]) -> list[dict[str, str]]:
    """Failures of samples that are there. ValueError: of other settings, or not made here."""
    if not run_path(path).exists():
        raise ValueError(
            f"{path}: is there without a {run_path(path).name}, so it is not from here; use"
            " another --save_dir, or --overwrite"
        )
    require_same(str(path), read_json(run_path(path))["settings"], settings)
    return read_json(failures_path(path)) if failures_path(path).exists() else []


class _Partial:
    """The grids that are done: an `.npy` that is not yet as long as its header says.

    It is written as a file and not mapped, since a full disk ends a process that writes to a map.
    """

    def __init__(self, args: argparse.Namespace, name: str, resolution: int) -> None:
        self.path = args.save_dir / f".{name}.partial.npy"
        self.kind = np.dtype("<f4" if args.probabilities else "|u1")
        self.threshold = None if args.probabilities else args.threshold
        head = io.BytesIO()
        about = {"descr": self.kind.str, "fortran_order": False,
                 "shape": (args.num_samples, *[resolution] * 3)}  # fmt: skip
        np.lib.format.write_array_header_1_0(head, about)
        self.head, self.each = head.getvalue(), self.kind.itemsize * resolution**3

    def begin(self) -> None:
        self._write("wb", 0, self.head)

    def put(self, row: int, probabilities: np.ndarray) -> None:
        """Write grids from `row` on."""
        if self.threshold is not None:
            probabilities = probabilities > self.threshold
        content = probabilities.astype(self.kind).tobytes()
        self._write("r+b", len(self.head) + row * self.each, content)

    def _write(self, mode: str, place: int, content: bytes) -> None:
        try:
            with self.path.open(mode) as file:
                file.seek(place)
                file.write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _sweep(folder: Path, pattern: str) -> None:
    """Remove the files of a folder whose names are `pattern`."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(pattern, file.name):
            file.unlink()


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
    failed: list[dict[str, str]] = []
    if args.meshes == "none":
        return failed
    for row, probability in zip(rows, probabilities, strict=True):
        path = args.save_dir / name / f"{name}_{row:04d}.{args.meshes}"
        try:
            write_mesh(path, probability, args.threshold)
        except ValueError as error:
            failed.append({"id": path.stem, "stage": "mesh", "error": str(error)})
            path.unlink(missing_ok=True)
    return failed


def _device(denoiser: Denoiser) -> torch.device:
    return denoiser.latent_mean.device


def origin(args: argparse.Namespace) -> dict[str, Any]:
    """Of settings: the weights that are used."""
    return {"denoiser": sha256(args.ldm_ckpt_path), "autoencoder": sha256(args.ae_ckpt_path),
            "seed": args.seed}  # fmt: skip
