"""Grids as an autoencoder gives them back: how much of them is kept, and their meshes.

For each file the mean and median IoU, precision and recall of its shapes at probability 0.5. With
--output DIR also DIR/{category}/{id}.ply of every shape, by the surface that samples get, so that
samples are audited against shapes that went the same way; --plain meshes the grids themselves.

Example: python reconstruct.py --input data/solid/*_voxels_test.npz --output runs/given_back
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voxel_ldm import cli
from voxel_ldm.sampling_flags import SMALL


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "device")
    add = parser.add_argument
    add("--input", type=Path, nargs="+", required=True, help="grids of load_data.py")
    add("--ae_ckpt_path", type=Path, default=SMALL / "autoencoder.safetensors",
        help="the autoencoder (default: the small one that ships)")  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="for the meshes (default: none are made)")
    add("--meshes", choices=("ply", "glb", "obj"), default="ply", help="default ply")
    add("--plain", action="store_true", help="mesh the grids as they are")
    args = parser.parse_args(argv)
    if args.plain and args.output is None:
        parser.error("--plain without --output does nothing")
    cli.set_up_logging(args)
    from voxel_ldm.rebuilding import rebuild

    failures = rebuild(args)
    return cli.SOME_FAILED if failures else cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
