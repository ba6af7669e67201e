"""Flags of inference.py: those of the paper's tool (arXiv 2512.23628), and more."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from .coercion import coerce, unknown

DIRECT = ("class_id", "text", "image_path")
SMALL_FILES = {"class_id": ("class.yaml", "class.safetensors")}  # by condition
SMALL_DEFAULT = ("config.yaml", "model.safetensors")
YAML_NAMES = {
    "num_inference_steps": "steps", "octree_resolution": "resolution", "mc_level": "level",
}  # fmt: skip


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `cli.parser` does not."""
    _add_model_flags(parser.add_argument_group("model"))
    _add_condition_flags(parser)
    _add_sampling_flags(parser.add_argument_group("sampling"))
    _add_scale_flags(parser.add_argument_group("scale of latents"))
    _add_output_flags(parser.add_argument_group("output"))


def _add_model_flags(group: Any) -> None:
    add = group.add_argument
    add("-c", "--config", type=Path, help="YAML of the model (default: the small model's)")
    add("--ckpt", type=Path,
        help="weights: file, folder (last *.ckpt by name) or index of shards")  # fmt: skip
    add("--autoencoder", type=Path,
        help="weights of the autoencoder (default: the config's or the checkpoint's)")  # fmt: skip
    add("--dtype", choices=("bf16", "fp16", "fp32"),
        help="of the denoiser (default bf16 on CUDA, fp32 on the CPU)")  # fmt: skip
    add("--no_ema", action="store_true", help="not the averaged weights, if there are any")
    add("--torch_compile", action="store_true", help="compile the denoiser")
    add("--cond_from_ckpt_mode", choices=("auto", "always", "never"), default="auto",
        help="conditioner from the checkpoint; auto: class tables only (default auto)")  # fmt: skip
    add("--allow_missing_conditioner", action="store_true",
        help="keep the configuration's conditioner where the checkpoint has none")  # fmt: skip


def _add_condition_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to sample")
    count = group.add_mutually_exclusive_group()
    count.add_argument("--csv", type=Path, help="table: one sample a row")
    count.add_argument("--num_samples", type=int,
                       help="samples of one condition (default 1 where one is given)")  # fmt: skip
    one = group.add_mutually_exclusive_group()
    one.add_argument("--class_id", "--class-name", metavar="CLASS", help="class number or name")
    one.add_argument("--text", help="caption")
    one.add_argument("--image_path", type=Path, help="image, or vertical strip of views")
    add = group.add_argument
    add("--lvis_mapping_json", type=Path,
        help="numbers of classes by name (default: class_map of the config,"
             " or classes.json beside it)")  # fmt: skip
    add("--caption-column", help="of the table (default: the only known one)")
    add("--empty-caption", default="", metavar="TEXT",
        help="caption of rows without one (default: they are an error)")  # fmt: skip
    add("--image_views", type=int, default=12, help="views in the strip (default 12)")
    add("--image_pick", choices=("random", "center", "first", "index"), default="random",
        help="the view taken (default random)")  # fmt: skip
    add("--image_index", type=int, default=0, help="for index, clamped (default 0)")


def _add_sampling_flags(group: Any) -> None:
    add = group.add_argument
    add("--batch_size", type=int, default=4, help="samples a step of the denoiser (default 4)")
    add("--guidance_scale", type=float, help="0 none of the condition, 1 plain (default 5)")
    add("--guidance-interval", type=float, nargs=2, metavar=("FROM", "TO"),
        help="times with guidance, 0 is noise (default 0 1)")  # fmt: skip
    add("--steps", type=int, help="evaluations of the denoiser (default 50)")
    add("--schedule", choices=("released", "exact"),
        help="the paper's times, or 0 to 1 with no step lost (default released)")  # fmt: skip
    add("--resolution", type=int, help="cells an axis of the grid (default 256)")
    add("--decode", choices=("band", "dense"), help="only near the surface, or all (default band)")
    add("--level", type=float, help="distance at which the surface lies (default 0)")
    add("--min_piece", type=float, metavar="SHARE",
        help="pieces of a smaller share of the faces go; 1: all but the largest"
             " (default 0.005)")  # fmt: skip


def _add_scale_flags(group: Any) -> None:
    add = group.add_argument
    add("--z_scale_factor", type=float, help="(default: the checkpoint's)")
    add("--auto_z_from_std", action="store_true",
        help="1 / spread of calibration latents where the checkpoint has none")  # fmt: skip
    add("--calib_latents", type=Path, help="latent file or folder of them")
    add("--calib_surface_dir", type=Path, help="folder of clouds (.npz) or meshes to encode")
    add("--calib_take", type=int, default=8, help="how many of them (default 8)")


def _add_output_flags(group: Any) -> None:
    add = group.add_argument
    add("--out_dir", type=Path, default=Path("samples"), help="(default samples)")
    add("--output_type", choices=("trimesh", "pt"), default="trimesh",
        help="trimesh: meshes (image models: PNG); pt: latents (default trimesh)")  # fmt: skip
    add("--format", choices=("glb", "obj", "ply"), help="of meshes (default glb)")
    add("--manifest", type=Path, help="CSV to append a line a sample to")


def complete(parser: argparse.ArgumentParser, args: argparse.Namespace, small: Path) -> None:
    """Fill in what depends on other flags, and refuse what does not go together.

    Args:
        small: folder of the model that ships.

    Raises:
        ValueError: a number is out of range, or the small model is not there.
    """
    if (args.config is None) != (args.ckpt is None):
        parser.error("--config and --ckpt go together; neither: the small model")
    condition = [name for name in DIRECT if getattr(args, name) is not None]
    if args.csv is not None and condition:
        parser.error(f"--csv has the conditions; --{condition[0]} goes with --num_samples")
    if args.csv is None and args.num_samples is None:
        if not condition:
            parser.error("give --csv or --num_samples, or a condition such as --text")
        args.num_samples = 1
    for name, least in {"num_samples": 1, "batch_size": 1, "seed": 0, "image_views": 1,
                        "calib_take": 1, "limit": 1}.items():  # fmt: skip
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} {value}: expected {least} or more")
    if args.z_scale_factor is not None and not 0 < args.z_scale_factor < math.inf:
        raise ValueError(f"--z_scale_factor {args.z_scale_factor}: expected more than 0")
    if args.config is None:
        names = SMALL_FILES.get(condition[0] if condition else "", SMALL_DEFAULT)
        args.config, args.ckpt = (small / name for name in names)
        for path in (args.config, args.ckpt):
            if not path.is_file():
                raise ValueError(f"{path}: the small model is not there; give --config and --ckpt")


@dataclass(frozen=True)
class Numbers:
    """How latents are integrated and decoded; `sampling_common` of a configuration, under flags."""

    steps: int = 50
    schedule: Literal["released", "exact"] = "released"
    guidance_scale: float = 5.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    resolution: int = 256
    bounds: float = 1.01
    level: float = 0.0
    min_piece: float = 0.005
    num_chunks: int = 50_000
    decode: Literal["band", "dense"] = "band"

    def __post_init__(self) -> None:
        low, high = self.guidance_interval
        holds = {
            "steps": (self.steps >= 1, "1 or more"),
            "guidance_scale": (0 <= self.guidance_scale < math.inf, "0 or more"),
            "guidance_interval": (0 <= low <= high <= 1, "two rising numbers in [0, 1]"),
            "resolution": (4 <= self.resolution <= 1024, "4 to 1024"),
            "bounds": (0 < self.bounds < math.inf, "more than 0"),
            "min_piece": (0 <= self.min_piece <= 1, "0 to 1"),
            "num_chunks": (self.num_chunks >= 1, "1 or more"),
        }
        for name, (fine, expected) in holds.items():
            if not fine:
                raise ValueError(f"{name} {getattr(self, name)}: expected {expected}")

    @classmethod
    def resolve(cls, node: Mapping[str, Any] | None, flags: Mapping[str, Any]) -> Numbers:
        """Flag over YAML over default; a flag that is None was not given."""
        from .pipelines import half_side

        known = {field.name: field.type for field in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in (node or {}).items():
            name = YAML_NAMES.get(key, key)
            if key == "octree_depth":
                given.setdefault("resolution", 2 ** coerce(value, int, "sampling_common." + key))
            elif key == "bounds":
                given[name] = half_side(value)
            elif name not in known:
                raise unknown(key, [*known, *YAML_NAMES, "octree_depth"], "sampling_common")
            else:
                given[name] = value
        given |= {k: v for k, v in flags.items() if k in known and v is not None}
        kinds = _annotations(cls)
        return cls(**{k: coerce(v, kinds[k], f"sampling_common.{k}") for k, v in given.items()})


def _annotations(cls: type) -> dict[str, Any]:
    from typing import get_type_hints

    return get_type_hints(cls)
