"""Mark the voxels that the surface of every mesh of a set passes through, for `--metric iou`.

  voxelize.py --input DIR --output X_voxels.npz --resolution 32

The shape fills the grid: the middle of its bounding box is the middle, the longest side the width.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval import cli
from retrieval.meshes import Item, list_meshes, load_arrays


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = cli.parser(__doc__, "workers", "shard", "limit", "overwrite")
    parser.add_argument("--input", type=Path, required=True, help="folder, list or shapes.json")
    parser.add_argument("--output", type=Path, required=True, help="NPZ table of kind voxels")
    parser.add_argument("--resolution", type=int, default=32, help="voxels a side (default 32)")
    parser.add_argument("--fill", action="store_true", help="mark what the surface shuts in, too")
    args = parser.parse_args(argv)
    if not 2 <= args.resolution <= 512:
        parser.error("--resolution must be 2 to 512")
    cli.set_up_logging(args)
    from retrieval.batch import build_table

    settings = {"resolution": args.resolution, "fill": args.fill}
    built = build_table(
        list_meshes(args.input, args.shard, args.limit),
        functools.partial(occupancy, **settings),
        "voxels",
        {**settings, "normalize": "unit-cube"},
        args.output,
        shard=args.shard,
        workers=args.workers,
        overwrite=args.overwrite,
        quiet=args.quiet,
    )
    print(built)
    return built.code


def occupancy(item: Item, resolution: int, fill: bool) -> dict[str, Any]:
    """The row of one mesh: ceil(resolution^3 / 8) uint8 of packed bits."""
    import numpy as np

    from retrieval.normalize import normalize
    from retrieval.sampling import voxelize

    vertices, faces = load_arrays(item.path)
    frame = normalize(vertices, faces, "unit-cube")
    return {"voxels": np.packbits(voxelize(frame, faces, resolution, fill))}


if __name__ == "__main__":
    raise SystemExit(main())
