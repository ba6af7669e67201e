"""What the two trainers train: the autoencoder on grids, the denoiser on its latents."""

from __future__ import annotations

import argparse
import copy
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoints import Denoiser, load_autoencoder, save_autoencoder, save_denoiser
from .data import Set, categories_of, read_set
from .diffusion import Objective, Schedule
from .files import sha256, write_run
from .models.autoencoder import VoxelAutoencoder, reconstruction
from .settings import read_config
from .training import Figures, Options, Run

log = logging.getLogger(__name__)
PARAMETERS = {f.name for f in fields(Options)}
AUTOENCODER = {"epochs": 600, "batch_size": 64, "lr": 1e-3, "pos_weight": 1.0, "mirror": False}
DENOISER = {"epochs": 1000, "batch_size": 16, "lr": 2e-4, "warmup_steps": 200, "gradient_clip": 1.0,
            "ema_decay": 0.999, "cfg_dropout": 0.1, "mirror": False}  # fmt: skip
WEIGHTS = "autoencoder.safetensors"
CHUNK = 32  # grids encoded or validated at once
VALIDATED = 512  # rows of validation at most


def train_autoencoder(args: argparse.Namespace) -> dict[str, float]:
    """Train as the flags say and write `autoencoder.safetensors`; the last figures."""
    config = read_config(args.config)
    train, val, categories = _sets(args)
    given = {"resolution": train.resolution, **config["autoencoder"]}
    if given["resolution"] != train.resolution:
        raise ValueError(f"{args.config}: autoencoder: resolution {given['resolution']}, but the"
                         f" grids of {args.dataset_path} have {train.resolution}")  # fmt: skip
    torch.manual_seed(args.seed)
    model = VoxelAutoencoder(**given)
    recipe = _recipe(AUTOENCODER, config["training"], args)

    def step(module: nn.Module, rows: np.ndarray, generator: torch.Generator) -> Figures:
        grids = train.grids(rows)
        if recipe["mirror"]:
            turned = torch.rand(len(grids), generator=generator) < 0.5
            grids[turned] = grids[turned].flip(1)
        grids = grids.to(_device(module))
        return reconstruction(module(grids), grids, recipe["pos_weight"])

    @torch.no_grad()
    def validate(module: nn.Module) -> dict[str, float]:
        assert val is not None
        sums: dict[str, float] = {}
        for grids in _chunks(val):
            grids = grids.to(_device(module))
            for name, value in reconstruction(module(grids), grids, recipe["pos_weight"]).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(grids)
        return {k: v / min(len(val), VALIDATED) for k, v in sums.items()}

    output = args.ckpt_path
    settings = {
        "model": given,
        "training": _deciding(recipe),
        "categories": categories,
        "grids": len(train),
    }

    def export(used: nn.Module) -> None:
        assert isinstance(used, VoxelAutoencoder)
        save_autoencoder(output / WEIGHTS, used, given)

    run = Run(model, step, len(train), _options(recipe, args, output, len(train)), settings,
              None if val is None else validate,
              export)  # fmt: skip
    return _finish(run, settings)


def train_denoiser(args: argparse.Namespace) -> dict[str, float]:
    """The same for `denoiser.safetensors`, on the latents of a trained autoencoder."""
    config = read_config(args.config)
    train, val, categories = _sets(args)
    recipe = _recipe(DENOISER, config["training"], args)
    schedule = config["schedule"] | {
        key: value for key, value in vars(args).items() if key in Schedule.__dataclass_fields__
    }
    autoencoder = load_autoencoder(args.ae_ckpt_path)
    device = torch.device("cuda" if args.device == "auto" and torch.cuda.is_available()
                          else "cpu" if args.device == "auto" else args.device)  # fmt: skip
    latents, labels = _encode(autoencoder.to(device), train, recipe["mirror"])
    network = {"channels": autoencoder.latent_shape[0], **config["network"]}
    torch.manual_seed(args.seed)
    model = Denoiser(
        network, schedule, categories if args.use_cfg else [], sha256(args.ae_ckpt_path)
    )
    axes = (0, 2, 3, 4)
    model.latent_mean.copy_(latents.mean(axes, keepdim=True)[0])
    model.latent_std.copy_(latents.std(axes, keepdim=True)[0].clamp(min=1e-6))
    latents = (latents - model.latent_mean) / model.latent_std

    def step(module: nn.Module, rows: np.ndarray, generator: torch.Generator) -> Figures:
        place, classes = _device(module), labels[rows] if args.use_cfg else None
        classes = None if classes is None else classes.to(place)
        return module(latents[rows].to(place), classes, generator)

    @torch.no_grad()
    def validate(module: nn.Module) -> dict[str, float]:
        assert held is not None
        classes = held[1].to(_device(module)) if args.use_cfg else None
        return module(held[0].to(_device(module)), classes, torch.Generator().manual_seed(0))

    held = None
    if val is not None:
        found, names = _encode(autoencoder, val, False)
        held = (found - model.latent_mean) / model.latent_std, names
    objective = Objective(model.network, model.schedule, recipe["cfg_dropout"])
    output = args.output

    shipped = copy.deepcopy(model)  # what is exported must not change what is trained

    def export(used: nn.Module) -> None:
        assert isinstance(used, Objective)
        shipped.network.load_state_dict(used.network.state_dict())
        save_denoiser(output / "denoiser.safetensors", shipped)

    settings = {**model.config, "training": _deciding(recipe), "latents": len(latents)}
    options = _options(recipe, args, output, len(latents))
    run = Run(objective, step, len(latents), options, settings, held and validate, export)
    return _finish(run, settings)


def _sets(args: argparse.Namespace) -> tuple[Set, Set | None, list[str]]:
    """Training grids, those of validation if there are any for all categories, the categories."""
    categories = args.categories or categories_of(args.dataset_path, "train")
    train = read_set(args.dataset_path, categories, "train")
    try:
        val = read_set(args.dataset_path, categories, "val")
    except FileNotFoundError as error:
        log.warning("no validation: %s: %s", error.filename, error.strerror)
        return train, None, categories
    if val.resolution != train.resolution:
        raise ValueError(f"{args.dataset_path}: training grids of {train.resolution} cells,"
                         f" validation grids of {val.resolution}")  # fmt: skip
    return train, val, categories


def _recipe(
    base: Mapping[str, Any], section: Mapping[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Flag before YAML before default."""
    unknown = sorted(set(section) - {*base, *PARAMETERS})
    if unknown:
        raise ValueError(f"{args.config}: training: {', '.join(unknown)}: not for this trainer")
    flags = {*base, "precision", "log_every"}
    given = {k: v for k, v in vars(args).items() if k in flags}
    return {**base, **section, **given}


def _deciding(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe changes a weight."""
    return {k: v for k, v in recipe.items() if k not in ("save_every", "log_every")}


def _options(recipe: Mapping[str, Any], args: argparse.Namespace, output: Path, n: int) -> Options:
    import os

    world = int(os.environ.get("WORLD_SIZE", "1"))
    each = math.ceil(math.ceil(n / min(recipe["batch_size"], n)) / world)  # steps of an epoch
    known = {k: v for k, v in recipe.items() if k in PARAMETERS}
    output.mkdir(parents=True, exist_ok=True)
    return Options(output=output, steps=max(1, round(recipe["epochs"] * each)), device=args.device,
                   seed=args.seed, **known)  # fmt: skip


def _finish(run: Run, settings: Mapping[str, Any]) -> dict[str, float]:
    last = run.run()
    if run.engine.is_main_process:
        counts = {"steps": run.done, "parameters": sum(p.numel() for p in run.plain.parameters())}
        write_run(run.options.output, settings, counts, packages=("numpy", "torch"), figures=last)
    run.engine.end_training()
    return last


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _chunks(data: Set) -> Iterator[Tensor]:
    """Grids of the first `VALIDATED` rows, `CHUNK` at a time."""
    for start in range(0, min(len(data), VALIDATED), CHUNK):
        yield data.grids(np.arange(start, min(start + CHUNK, len(data), VALIDATED)))


@torch.no_grad()
def _encode(autoencoder: VoxelAutoencoder, data: Set, mirror: bool) -> tuple[Tensor, Tensor]:
    """Latents of all grids, then of all mirrored ones, and their labels; on the CPU."""
    from tqdm import tqdm

    device, rows = _device(autoencoder), np.arange(len(data))
    found = []
    turns = (False, True) if mirror else (False,)
    with tqdm(total=len(turns) * len(data), unit="grid", desc="encoding", disable=None) as bar:
        for turn in turns:
            for start in range(0, len(data), CHUNK):
                grids = data.grids(rows[start : start + CHUNK]).to(device)
                found.append(autoencoder.encode(grids.flip(1) if turn else grids).cpu())
                bar.update(len(grids))
    return torch.cat(found), torch.from_numpy(np.tile(data.labels, len(turns)))
