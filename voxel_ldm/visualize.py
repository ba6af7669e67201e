"""Pictures of voxel grids and meshes on one sheet.

  visualize.py --input chair_voxels_test.npz --output chairs.png --limit 24
  visualize.py --input samples.npy --mode thresholds --output sweep.png --limit 6
  visualize.py --input samples.npy --mode slices --output slices.png --limit 6
  visualize.py --input meshes/ shape.glb --output meshes.png

render: cells as cubes, meshes as they are. slices: horizontal cuts from the bottom to the top; grey
is a probability. thresholds: a grid of probabilities cut at several values; how many cells are left
is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxel_ldm import cli

if TYPE_CHECKING:
    from voxel_ldm.pictures import Picture

Tile = tuple[str, "Picture"]
GRIDS = (".npz", ".npy")
SLICES = 8


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "limit")
    add = parser.add_argument
    add("--input", type=Path, nargs="+", required=True, metavar="PATH",
        help=".npz or .npy of grids; mesh file; folder, list or shapes.json of meshes")  # fmt: skip
    add("--output", type=Path, required=True, help="the .png to write")
    add("--mode", choices=("render", "slices", "thresholds"), default="render",
        help="what to draw (default render)")  # fmt: skip
    add("--threshold", type=float,
        help="with render: probabilities above this are cells")  # fmt: skip
    add("--thresholds", type=float, nargs="+", default=[0.05, 0.15, 0.3, 0.5, 0.7, 0.9],
        help="with thresholds (default 0.05 0.15 0.3 0.5 0.7 0.9)")  # fmt: skip
    add("--columns", type=int, default=8, help="of render (default 8)")
    add("--size", type=int, default=160, help="pixels of a picture (default 160)")
    add("--view", type=float, nargs=2, default=(35.0, 25.0), metavar=("AZIMUTH", "ELEVATION"),
        help="degrees about y from z to x, and above the horizon (default 35 25)")  # fmt: skip
    return parser


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.output.suffix.lower() != ".png":
        parser.error("--output must end in .png")
    if min(args.columns, args.size) < 1 or not -90 <= args.view[1] <= 90:
        parser.error("--columns and --size must be 1 or more, the elevation -90 to 90")
    limits = [*args.thresholds, *([] if args.threshold is None else [args.threshold])]
    if not all(0 <= limit < 1 for limit in limits):
        parser.error("thresholds must be 0 or more and less than 1")
    cli.set_up_logging(args)
    from tqdm import tqdm

    from voxel_ldm.files import replacing
    from voxel_ldm.pictures import sheet

    failed: list[str] = []
    modes = {"render": _rendered, "slices": _sliced, "thresholds": _swept}
    tiles: list[Tile] = []
    with tqdm(unit="picture", disable=True if args.quiet else None) as bar:
        for tile in modes[args.mode](args, failed):
            tiles.append(tile)
            bar.update()
    for line in failed:
        print(line, file=sys.stderr)
    if not tiles:
        raise ValueError(f"{args.output}: nothing to draw, {len(failed)} shapes failed")
    columns = {"slices": 1, "thresholds": len(args.thresholds)}.get(args.mode, args.columns)
    with replacing(args.output) as temporary:
        sheet(tiles, columns).save(temporary, format="PNG")
    print(f"{args.output}: {len(tiles)} pictures")
    return cli.SOME_FAILED if failed else cli.OK


def _rendered(args: argparse.Namespace, failed: list[str]) -> Iterator[Tile]:
    from voxel_ldm.pictures import View, cubes, shaded

    for path in args.input:
        if path.suffix in GRIDS:
            for name, values in _grids(path, args.limit):
                grid = values > _threshold(args, name, path, values)
                caption = name if grid.any() else f"{name}: empty"
                yield caption, shaded(*cubes(grid), args.size, View(*args.view))
        else:
            for name, (vertices, faces) in _meshes(path, args.limit, failed):
                yield name, shaded(vertices, faces, args.size, View(*args.view))


def _sliced(args: argparse.Namespace, _: list[str]) -> Iterator[Tile]:
    from voxel_ldm.pictures import slices

    for path in args.input:
        for name, values in _grids(path, args.limit):
            yield name, slices(values, args.size, SLICES)


def _swept(args: argparse.Namespace, _: list[str]) -> Iterator[Tile]:
    import numpy as np

    from voxel_ldm.pictures import View, cubes, shaded

    counts = []
    for path in args.input:
        for name, values in _grids(path, args.limit):
            counts.append([int((values > limit).sum()) for limit in args.thresholds])
            for limit, count in zip(args.thresholds, counts[-1], strict=True):
                picture = shaded(*cubes(values > limit), args.size, View(*args.view))
                yield f"{name} > {limit:g}: {count:,}", picture
    for limit, mean in zip(args.thresholds, np.mean(counts, axis=0), strict=True):
        print(f"> {limit:<5g} {mean:12,.1f} cells on average (n = {len(counts)})")


def _grids(path: Path, limit: int | None) -> Iterator[tuple[str, Any]]:
    from voxel_ldm.grids import each_grid

    if path.suffix not in GRIDS:
        raise ValueError(f"{path}: expected grids (.npz or .npy)")
    yield from each_grid(path, limit)


def _threshold(args: argparse.Namespace, name: str, path: Path, values: Any) -> float:
    if args.threshold is None and ((values > 0) & (values < 1)).any():
        raise ValueError(f"{path}: {name}: probabilities; give --threshold, or --mode thresholds")
    return float(args.threshold or 0)


def _meshes(path: Path, limit: int | None, failed: list[str]) -> Iterator[tuple[str, Any]]:
    """(id, (vertices, faces)), upright; those that cannot be read become lines of `failed`."""
    from voxel_ldm.meshes import SUFFIXES
    from voxel_ldm.sources import SURFACE, Shape, list_shapes, read_surface

    alone = path.is_file() and path.suffix.lower() in SUFFIXES
    shapes = [Shape(path.stem, "", "", path)] if alone else list_shapes(path, SURFACE)
    for shape in shapes[:limit]:
        try:
            yield shape.id, read_surface(shape)
        except (OSError, ValueError) as error:
            failed.append(f"{shape.id}: {error}")


if __name__ == "__main__":
    raise SystemExit(main())
