"""Voxel grids of ShapeNet's point clouds, of meshes, or of any point clouds: one file a category.

  load_data.py                                            data/hdf5_data, or its zip, as downloaded
  load_data.py --input DIR/train.json DIR/test.json --mode solid --output data/solid
  load_data.py --input clouds.npy --split test --output data/clouds

Writes {category}_voxels_{split}.npz, or with --format npy the float32 array of the KAIST CS492(D)
project. Meshes of a shapes.json are turned upright as it says. --limit N takes N shapes for each
file. Run it again to go on after a kill or to add shapes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxel_ldm import cli

if TYPE_CHECKING:
    from voxel_ldm.sources import Shape

Groups = dict[tuple[str, str], list["Shape"]]  # by the name of their file and their mode

FOLDER = Path("data/hdf5_data")
USUAL_PLACES = (FOLDER, FOLDER.with_suffix(".zip"), Path("/") / FOLDER, Path("/data/hdf5_data.zip"))


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "workers", "limit", "overwrite")
    add = parser.add_argument
    add("--input", type=Path, nargs="+", metavar="PATH",
        help="folder or zip of ShapeNet's HDF5 files; folder, list or shapes.json of meshes; "
        ".npy, .npz, .ply, .xyz of points (default data/hdf5_data)")  # fmt: skip
    add("--output", type=Path, default=FOLDER, metavar="DIR", help=f"folder (default {FOLDER})")
    add("--mode", choices=("points", "surface", "solid"),
        help="cells that hold a point, that the surface touches, or also those it shuts in "
        "(default: surface of meshes, else points)")  # fmt: skip
    add("--resolution", type=int, default=64, help="cells a side, 2 to 256 (default 64)")
    add("--stretch", action="store_true",
        help="every axis fills the grid; cell = floor(p (resolution - 1))")  # fmt: skip
    add("--split", help="keep this one of ShapeNet's; name of the split otherwise (default: the "
        "file's name if it is train, val or test, else train)")  # fmt: skip
    add("--categories", nargs="+",
        help="only these (default: airplane chair table of ShapeNet, all of others)")  # fmt: skip
    add("--format", choices=("npz", "npy"), default="npz",
        help="packed bits, or float32 (n, r, r, r) with ids in a .json (default npz)")  # fmt: skip
    return parser


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if not 2 <= args.resolution <= 256:
        parser.error("--resolution must be 2 to 256")
    cli.set_up_logging(args)
    from voxel_ldm.building import build, work_of

    rows = failed = 0
    for (name, mode), shapes in _groups(args).items():
        settings = _settings(args, mode)
        built = build(
            shapes,
            args.output / f"{name}.{args.format}",
            settings,
            work_of(settings, mode, args.stretch),
            workers=args.workers,
            overwrite=args.overwrite,
            quiet=args.quiet,
        )
        print(built)
        rows, failed = rows + built.rows, failed + built.failed
    if failed:
        print(f"{failed} shapes failed; see *.failures.json", file=sys.stderr)
        return cli.SOME_FAILED if rows else cli.FAILED
    return cli.OK


def _settings(args: argparse.Namespace, mode: str) -> dict[str, Any]:
    """What decides the grids; written into every file."""
    return {
        "resolution": args.resolution,
        "axes": "xyz",
        "mode": mode,
        "normalize": "each axis" if args.stretch else "longest side",
        "cell": "floor(p (r - 1))" if args.stretch else "floor(p r)",
    }


def _groups(args: argparse.Namespace) -> Groups:
    """The shapes of each file to write, checked before any work is done."""
    from voxel_ldm.shapenet import USUAL, is_release
    from voxel_ldm.sources import default_mode, list_shapes

    groups: Groups = {}
    categories: dict[str, set[str]] = {}
    for source in args.input or [_usual_place()]:
        mode = args.mode or default_mode(source)
        wanted = args.categories or (USUAL if is_release(source) else None)
        for shape in list_shapes(source, mode, args.split):
            if wanted is None or shape.category in wanted:
                name = f"{_file_name(shape.category)}_voxels_{_file_name(shape.split)}"
                groups.setdefault((name, mode), []).append(shape)
                categories.setdefault(name, set()).add(shape.category)
    _check(args, groups, categories)
    return {key: groups[key][: args.limit] for key in sorted(groups)}


def _check(args: argparse.Namespace, groups: Groups, categories: dict[str, set[str]]) -> None:
    if not groups:
        only = f" of {' '.join(args.categories)}" if args.categories else ""
        raise ValueError(f"no shapes{only} in the input")
    for name, count in Counter(name for name, _ in groups).items():
        if count > 1 or len(categories[name]) > 1:
            raise ValueError(
                f"{name}: clouds and meshes, or the categories {sorted(categories[name])}, would "
                "share this file; give --mode, --split, or --categories"
            )
    for (name, _), shapes in groups.items():
        twice = [id for id, n in Counter(shape.id for shape in shapes).items() if n > 1]
        if twice:
            raise ValueError(f"{name}: id {twice[0]!r} stands twice in the input; rename one")


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text).strip(".") or "all"


def _usual_place() -> Path:
    from voxel_ldm.shapenet import is_release

    for path in USUAL_PLACES:
        if path.exists() and is_release(path):
            return path
    raise ValueError(
        f"no data: {', '.join(map(str, USUAL_PLACES))} are not there; give --input with the folder "
        "or zip of ShapeNet's part-segmentation HDF5 release, meshes, or point clouds"
    )


if __name__ == "__main__":
    raise SystemExit(main())
