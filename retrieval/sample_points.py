"""Sample points on the surface of every mesh of a set, uniformly over its area.

  sample_points.py --input DIR --output X_points.npz --points 2048 --normalize unit-sphere

The points of a shape depend on the mesh, the seed and the count alone. Run it again to go on after
a kill or to add shapes; run it without --shard to join the parts of a sharded run.
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
    parser = cli.parser(__doc__, "seed", "workers", "shard", "limit", "overwrite")
    parser.add_argument("--input", type=Path, required=True, help="folder, list or shapes.json")
    parser.add_argument("--output", type=Path, required=True, help="NPZ table of kind points")
    parser.add_argument("--points", type=int, default=2048, help="points a shape (default 2048)")
    parser.add_argument(
        "--normalize",
        choices=("unit-sphere", "unit-cube", "none"),
        default="unit-sphere",
        help="frame: box middle at 0, farthest vertex at 1 or longest side 1 (default unit-sphere)",
    )
    args = parser.parse_args(argv)
    if args.points < 1 or args.seed < 0:
        parser.error("--points must be 1 or more, --seed 0 or more")
    cli.set_up_logging(args)
    from retrieval.batch import build_table

    settings = {"points": args.points, "normalize": args.normalize, "seed": args.seed}
    built = build_table(
        list_meshes(args.input, args.shard, args.limit),
        functools.partial(sample, **settings),
        "points",
        settings,
        args.output,
        shard=args.shard,
        workers=args.workers,
        overwrite=args.overwrite,
        quiet=args.quiet,
    )
    print(built)
    return built.code


def sample(item: Item, points: int, normalize: str, seed: int) -> dict[str, Any]:
    """The row of one mesh: (points, 3) float32."""
    from retrieval.normalize import normalize as to_frame
    from retrieval.sampling import generator_of, sample_surface

    vertices, faces = load_arrays(item.path)
    rng = generator_of(vertices, faces, seed)
    return {"points": sample_surface(to_frame(vertices, faces, normalize), faces, points, rng)}


if __name__ == "__main__":
    raise SystemExit(main())
