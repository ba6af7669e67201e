"""What the two trainers train: the autoencoder on grids, the denoiser on its latents."""

from __future__ import annotations

import argparse
import copy
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoints import Denoiser, load_autoencoder, save_autoencoder, save_denoiser
from .data import Set, categories_of, check_alike, read_set
from .devices import pick_device
from .diffusion import Objective, Schedule
from .files import sha256, write_run
from .models.autoencoder import VoxelAutoencoder, reconstruction
from .settings import read_config
from .training import Figures, Options, Run

log = logging.getLogger(__name__)
PARAMETERS = {f.name for f in fields(Options)}
AUTOENCODER = {"epochs": 600, "batch_size": 64, "lr": 1e-3, "pos_weight": 1.0, "mirror": False,
               "half": False}  # fmt: skip
DENOISER = {"epochs": 1000, "batch_size": 16, "lr": 2e-4, "warmup_steps": 200, "gradient_clip": 1.0,
            "ema_decay": 0.999, "cfg_dropout": 0.1, "mirror": False,
            "half": False}  # fmt: skip
WEIGHTS = "autoencoder.safetensors"
CHUNK = 32  # grids encoded or validated at once
VALIDATED = 512  # rows of validation at most, over all of them
POSITIVE = ("epochs", "batch_size", "lr", "pos_weight", "save_every", "log_every")
NOT_NEGATIVE = ("warmup_steps", "gradient_clip", "ema_decay")
ONE_OF = {"decay": ("constant", "cosine"), "precision": ("no", "bf16", "fp16")}


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
    if args.start_from is not None:
        _start_from(args.start_from, model)
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
        return {k: v / len(_validated(val)) for k, v in sums.items()}

    output = args.ckpt_path
    settings = {
        "model": given,
        "training": _deciding(recipe),
        "categories": categories,
        "data": train.digest(),
        "seed": args.seed,
    }
    if args.start_from is not None:
        settings["start"] = sha256(args.start_from)

    def export(used: nn.Module) -> None:
        assert isinstance(used, VoxelAutoencoder)
        save_autoencoder(output / WEIGHTS, used, given, recipe["half"])

    run = Run(model, step, len(train), _options(recipe, args, output, len(train)), settings,
              None if val is None else validate,
              export)  # fmt: skip
    return _finish(run)


def train_denoiser(args: argparse.Namespace) -> dict[str, float]:
    """The same for `denoiser.safetensors`, on the latents of a trained autoencoder."""
    config = read_config(args.config)
    train, val, categories = _sets(args)
    recipe = _recipe(DENOISER, config["training"], args)
    schedule = config["schedule"] | {
        key: value for key, value in vars(args).items() if key in Schedule.__dataclass_fields__
    }
    autoencoder = load_autoencoder(args.ae_ckpt_path)
    autoencoder = autoencoder.to(pick_device(args.device))
    turns = (False, True) if recipe["mirror"] else (False,)
    latents, labels = _encode(autoencoder, train, np.arange(len(train)), turns)
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
        place, generator, loss = _device(module), torch.Generator().manual_seed(0), 0.0
        for some, names in zip(held[0].split(CHUNK), held[1].split(CHUNK), strict=True):
            classes = names.to(place) if args.use_cfg else None
            loss += float(module(some.to(place), classes, generator)["loss"]) * len(some)
        return {"loss": loss / len(held[0])}

    held = None
    if val is not None:
        found, names = _encode(autoencoder, val, _validated(val))
        held = (found - model.latent_mean) / model.latent_std, names
    objective = Objective(model.network, model.schedule, recipe["cfg_dropout"])
    output = args.output

    shipped = copy.deepcopy(model)  # what is exported must not change what is trained

    def export(used: nn.Module) -> None:
        assert isinstance(used, Objective)
        shipped.network.load_state_dict(used.network.state_dict())
        save_denoiser(output / "denoiser.safetensors", shipped, recipe["half"])

    settings = {**model.config, "training": _deciding(recipe), "data": train.digest(),
                "seed": args.seed}  # fmt: skip
    options = _options(recipe, args, output, len(latents))
    run = Run(objective, step, len(latents), options, settings, held and validate, export)
    return _finish(run)


def _start_from(path: Path, model: VoxelAutoencoder) -> None:
    """Take over the weights of a file. ValueError: of an autoencoder of other sizes."""
    state, own = load_autoencoder(path).state_dict(), model.state_dict()
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in own.items()}:
        raise ValueError(f"{path}: --start_from: its sizes are others than those of this run")
    model.load_state_dict(state)


def _sets(args: argparse.Namespace) -> tuple[Set, Set | None, list[str]]:
    """Training grids, those of validation if there are any for all categories, the categories."""
    categories = args.categories or categories_of(args.dataset_path, "train")
    train = read_set(args.dataset_path, categories, "train")
    try:
        val = read_set(args.dataset_path, categories, "val")
    except FileNotFoundError as error:
        log.warning("no validation: %s: %s", error.filename, error.strerror)
        return train, None, categories
    check_alike(args.dataset_path, [*train.parts, *val.parts])
    return train, val, categories


def _recipe(
    base: Mapping[str, Any], section: Mapping[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Flag before YAML before default. ValueError: a value out of its range."""
    unknown = sorted(set(section) - {*base, *PARAMETERS})
    if unknown:
        raise ValueError(f"{args.config}: training: {', '.join(unknown)}: not for this trainer")
    flags = {*base, "precision", "log_every"}
    given = {k: v for k, v in vars(args).items() if k in flags}
    made = {**base, **section, **given}
    for name in made.keys() & {*POSITIVE, *NOT_NEGATIVE}:
        least = "above 0" if name in POSITIVE else "0 or more"
        if not (made[name] > 0 or (name in NOT_NEGATIVE and made[name] == 0)):
            raise ValueError(f"{name} {made[name]}: expected {least}")
    if made.get("ema_decay", 0) >= 1:
        raise ValueError(f"ema_decay {made['ema_decay']}: expected below 1")
    for name, known in ONE_OF.items():
        if made.get(name, known[0]) not in known:
            raise ValueError(f"{name} {made[name]!r}: expected one of {', '.join(known)}")
    return made


def _deciding(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe changes a weight."""
    return {k: v for k, v in recipe.items() if k not in ("save_every", "log_every", "half")}


def _options(recipe: Mapping[str, Any], args: argparse.Namespace, output: Path, n: int) -> Options:
    import os

    world = int(os.environ.get("WORLD_SIZE", "1"))
    each = math.ceil(math.ceil(n / min(recipe["batch_size"], n)) / world)  # steps of an epoch
    known = {k: v for k, v in recipe.items() if k in PARAMETERS}
    output.mkdir(parents=True, exist_ok=True)
    return Options(output=output, steps=max(1, round(recipe["epochs"] * each)), device=args.device,
                   seed=args.seed, **known)  # fmt: skip


def _finish(run: Run) -> dict[str, float]:
    """Train and write the record; the last figures, {} in all but the first process."""
    last = run.run()
    if run.engine.is_main_process:
        counts = {"steps": run.done, "parameters": sum(p.numel() for p in run.plain.parameters())}
        packages = ("numpy", "torch", "accelerate", "diffusers")
        write_run(run.options.output, run.settings, counts, packages=packages, figures=last)
    run.engine.wait_for_everyone()
    if run.engine.num_processes > 1:
        # gloo's thread needs the interpreter to drop the last exchange; a group that is destroyed
        # before waits for it forever (torch 2.13)
        time.sleep(1)
    run.engine.end_training()
    return last if run.engine.is_main_process else {}


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _chunks(data: Set) -> Iterator[Tensor]:
    """Grids of the validated rows, `CHUNK` at a time."""
    rows = _validated(data)
    for start in range(0, len(rows), CHUNK):
        yield data.grids(rows[start : start + CHUNK])


def _validated(data: Set) -> np.ndarray:
    """`VALIDATED` rows at even distances, so that every category is among them."""
    return np.linspace(0, len(data) - 1, min(len(data), VALIDATED)).round().astype(np.int64)


@torch.no_grad()
def _encode(
    autoencoder: VoxelAutoencoder, data: Set, rows: np.ndarray, turns: Sequence[bool] = (False,)
) -> tuple[Tensor, Tensor]:
    """Latents of the rows and their labels, for each of the turns (True: mirrored); on the CPU."""
    from tqdm import tqdm

    device, found = _device(autoencoder), []
    with tqdm(total=len(turns) * len(rows), unit="grid", desc="encoding", disable=None) as bar:
        for turn in turns:
            for start in range(0, len(rows), CHUNK):
                grids = data.grids(rows[start : start + CHUNK]).to(device)
                found.append(autoencoder.encode(grids.flip(1) if turn else grids).cpu())
                bar.update(len(grids))
    return torch.cat(found), torch.from_numpy(np.tile(data.labels[rows], len(turns)))
