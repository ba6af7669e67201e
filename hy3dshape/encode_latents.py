"""Latents of shapes, `{id}.pt` or `{id}_aug{n}.pt`, from SDF samples or meshes.

Example: python encode_latents.py --input runs/sdf --output runs/latents --aug-yaw 8
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hy3dshape import cli

SMALL = Path(__file__).parent / "weights" / "small" / "autoencoder.yaml"


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "seed", "limit", "shard", "overwrite", "device")
    parser.add_argument("--input", type=Path, required=True,
                        help="folder of SDF samples or of meshes, or a shapes.json")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="folder of the .pt files")
    parser.add_argument("-c", "--config", type=Path, default=SMALL,
                        help="YAML with the autoencoder (default: the small model's)")  # fmt: skip
    parser.add_argument("--ckpt", type=Path, default=None,
                        help="its weights (default: what the config names,"
                             " or autoencoder.safetensors beside it)")  # fmt: skip
    parser.add_argument("--num-latents", type=int, default=None,
                        help="vectors a shape (default: the config's)")  # fmt: skip
    parser.add_argument("--surface-size", type=int, default=None,
                        help="points a shape (default: the config's)")  # fmt: skip
    turns = parser.add_mutually_exclusive_group()
    turns.add_argument("--aug-yaw", type=int, default=0, metavar="N",
                       help="N copies, 360/N degrees about the up axis apart")  # fmt: skip
    turns.add_argument("--aug-rotate", type=int, default=0, metavar="N",
                       help="N copies, all but the first turned at random")  # fmt: skip
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis (default y)")
    parser.add_argument("--batch-size", type=int, default=8, help="clouds a step (default 8)")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from hy3dshape.encoding import Turns, encode_folder

    kind = "yaw" if args.aug_yaw else "free" if args.aug_rotate else "none"
    return encode_folder(
        args.input, args.output, args.config, args.ckpt,
        Turns(kind, args.aug_yaw or args.aug_rotate or 1, args.up, args.seed),
        num_latents=args.num_latents, surface_size=args.surface_size, batch_size=args.batch_size,
        device=args.device, limit=args.limit, shard=args.shard, overwrite=args.overwrite,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
