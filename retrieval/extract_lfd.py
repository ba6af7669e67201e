"""Light field descriptors of a set of meshes, as an NPZ table (formats/npz.md).

Example: python extract_lfd.py --input shapes.json --output train_lfd.npz --workers 2
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval import cli
from retrieval.meshes import Item

log = logging.getLogger("extract_lfd")
SETTINGS = {"descriptor": "light field", "version": "1.8"}


def describe_item(item: Item) -> dict[str, Any]:
    """Descriptor arrays of one mesh file; a mesh of which nothing can be drawn is all zero."""
    from retrieval.lfd import describe
    from retrieval.meshes import load_arrays

    try:
        return describe(*load_arrays(item.path))
    except ValueError as error:
        message = str(error)
        raise ValueError(
            message if str(item.path) in message else f"{item.path}: {message}"
        ) from error


def _warn_blank(output: Path) -> None:
    from retrieval.tables import read_part

    table = read_part(output)
    for name, cir in zip(table.ids, table.arrays["cir"], strict=True):
        if not cir.any():
            log.warning("%s: nothing of it can be drawn; its descriptor is all zero", name)


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "workers", "limit", "shard", "overwrite")
    parser.add_argument(
        "--input", type=Path, required=True, help="folder, shapes.json or text list of meshes"
    )
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from retrieval.batch import build_table
    from retrieval.meshes import list_meshes

    built = build_table(
        list_meshes(args.input, args.shard, args.limit),
        describe_item,
        "lfd",
        SETTINGS,
        args.output,
        shard=args.shard,
        workers=args.workers,
        overwrite=args.overwrite,
        quiet=args.quiet,
        packages=("numpy", "numba", "trimesh"),
    )
    print(built)
    if built.rows:
        _warn_blank(built.output)
    return built.code


if __name__ == "__main__":
    raise SystemExit(main())
