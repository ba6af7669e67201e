"""Flags that the sampler and score distillation share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SMALL = Path(__file__).parents[1] / "weights" / "small"


def add_models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--ldm_ckpt_path", type=Path, default=SMALL / "denoiser.safetensors",
        help="the denoiser (default: the small one that ships)")  # fmt: skip
    add("--ae_ckpt_path", type=Path, default=SMALL / "autoencoder.safetensors",
        help="its autoencoder (default: the small one)")  # fmt: skip
    add("--class-name", "--class_name", nargs="+", dest="names", help="of the model (default all)")
    add("--gpu", type=int, help="the same as --device cuda:N")


def add_output(parser: argparse.ArgumentParser, folder: str) -> None:
    add = parser.add_argument
    add("--save_dir", type=Path, default=Path(folder), help=f"default {folder}")
    add("--num_samples", type=int, default=16, help="of each class (default 16)")
    add("--threshold", type=float, default=0.5, help="a cell above is occupied (default 0.5)")
    add("--probabilities", action="store_true", help="write float32 probabilities instead of 0, 1")
    add("--meshes", choices=("ply", "glb", "obj", "none"), default="ply", help="default ply")


def guidance(args: argparse.Namespace, default: float) -> float:
    """The scale of `--guidance_scale` or of the reference's `--cfg_scale`. ValueError: both."""
    from voxel_ldm.diffusion import from_w

    if args.guidance_scale is not None and args.cfg_scale is not None:
        raise ValueError("--guidance_scale and --cfg_scale are two names of one thing; give one")
    if args.cfg_scale is not None:
        return from_w(args.cfg_scale)
    return default if args.guidance_scale is None else args.guidance_scale


def settle(args: argparse.Namespace) -> tuple[Any, Any]:
    """Check the flags; the models, with `args.names` the classes to make.

    Raises:
        ValueError: a number out of its range, an unknown class, weights that do not fit.
    """
    from voxel_ldm.drawing import load_models

    for name, least in (("num_samples", 1), ("batch_size", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} {getattr(args, name)}: expected {least} or more")
    if args.seed >= 1 << 31:
        raise ValueError(f"--seed {args.seed}: expected below {1 << 31}")
    if not 0 < args.threshold < 1:
        raise ValueError(f"--threshold {args.threshold}: expected above 0 and below 1")
    if args.gpu is not None:
        args.device = f"cuda:{args.gpu}"
    autoencoder, denoiser = load_models(args)
    if args.names and not denoiser.classes:
        raise ValueError(f"{args.ldm_ckpt_path}: --class-name, but it was trained without classes")
    args.names = args.names or denoiser.classes or ["samples"]
    for name in args.names:
        if denoiser.classes:
            denoiser.label(name)
        if Path(name).name != name:  # it becomes the name of a file
            raise ValueError(f"{args.ldm_ckpt_path}: class {name!r}: expected no folder in it")
    return autoencoder, denoiser
