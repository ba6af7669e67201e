"""Embeddings of shapes as an NPZ table (formats/npz.md): rows of length 1, for npz_eval.py.

  embed.py --input shapes.json --output emb.npz --weights uni3d_base.pt
  embed.py --input shapes.json --output emb.npz --encoder pointnet

Encoders, and what they take beside --input and --output:
  uni3d     point cloud to 1,024 numbers; --weights of its authors, needed; all flags below
  pointnet  the small encoder of this repository, 128 numbers; --points --seed --weights
  d2a3      shape distributions, 128 numbers, nothing learned; --points --seed
  views     mean CLIP or DINOv2 feature over the pictures of render_views.py, whose folder
            --input is; --weights, needed: a folder of transformers

Run it again to go on after a kill or to add shapes; run it without --shard to join the parts of a
sharded run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fpd_eval import cli

VARIANTS = ("tiny", "small", "base", "large", "giant")


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "device", "workers", "shard", "limit", "overwrite")
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder, list or shapes.json; or rendered views")
    add("--output", type=Path, required=True, help="NPZ table of kind embedding")
    kinds = ("uni3d", "pointnet", "d2a3", "views")
    add("--encoder", choices=kinds, default="uni3d", help="default uni3d")
    add("--weights", type=Path, help="checkpoint; views: folder")
    add("--variant", choices=VARIANTS, help="what the checkpoint must be (default: what it is)")
    add("--points", type=_positive, metavar="N",
        help="points a shape (default uni3d 10000, pointnet 2048, d2a3 98304)")  # fmt: skip
    said = "grey of points without colour, 0 to 1 (default 0, the paper's; 0.4 in Uni3D's training)"
    add("--color-fill", type=_share, metavar="X", help=said)
    add("--use-colors", action="store_true", default=None, help="colours of the mesh file")
    said = "what of the cloud goes to 0: its mean or its box (default mean)"
    add("--center", choices=("mean", "bbox"), help=said)
    add("--dtype", choices=("float32", "float16", "bfloat16"),
        help="of the transformer alone; half precision is compared with float32 on the first batch "
        "(default float32)")  # fmt: skip
    add("--batch-size", type=_positive, default=8, help="shapes at once (default 8)")
    add("--seed", type=int, help="of the sampling (default 0)")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 to 1")
    return value


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    options = _options(parser, args)
    cli.set_up_logging(args)
    from fpd_eval.batch import build_table
    from fpd_eval.encoders import ENCODERS

    kind = ENCODERS[args.encoder]
    items = _items(args, kind.views)
    encoder = kind.make(options, args.device, args.input)
    built = build_table(
        items, encoder.work, "embedding", encoder.settings, args.output,
        shard=args.shard, workers=args.workers, overwrite=args.overwrite, quiet=args.quiet,
        inputs=encoder.inputs, packages=encoder.packages,
        then=encoder.then, batch_size=args.batch_size,
    )  # fmt: skip
    print(built)
    if built.rows:
        _check_varied(built.output)
    return built.code


def _options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any]:
    """The flags of the chosen encoder with its defaults; one it does not take is wrong usage."""
    from fpd_eval.encoders import ENCODERS

    flags = ENCODERS[args.encoder].flags
    everything = {key for kind in ENCODERS.values() for key in kind.flags}
    for key in sorted(everything - set(flags)):
        if getattr(args, key) is not None:
            parser.error(f"--encoder {args.encoder} does not take --{key.replace('_', '-')}")
    if args.seed is not None and args.seed < 0:
        parser.error("--seed must be 0 or more")
    given = {key: getattr(args, key) for key in flags}
    return {key: flags[key] if value is None else value for key, value in given.items()}


def _items(args: argparse.Namespace, views: bool) -> list[Any]:
    from fpd_eval.meshes import list_meshes

    if not views:
        return list_meshes(args.input, args.shard, args.limit)
    from fpd_eval.embedders.views import list_views

    return list_views(args.input, args.shard, args.limit)


def _check_varied(output: Path) -> None:
    """Raise ValueError when different files all have the same embedding."""
    import numpy as np

    from fpd_eval.tables import read_part

    table = read_part(output)
    rows = table.arrays["embeddings"]
    if len(set(table.sha256)) > 1 and float(np.ptp(rows, axis=0).max()) < 1e-6:
        raise ValueError(
            f"{output}: embeddings: all {len(rows)} rows are equal though the shapes differ; "
            "the encoder sees nothing in them, do not use this table"
        )


if __name__ == "__main__":
    raise SystemExit(main())
