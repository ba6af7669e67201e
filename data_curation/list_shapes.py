"""List meshes as shapes.json: folders (flat, ShapeNet, Objaverse layout) and other shapes.json.

Several inputs, or the parts of a sharded make_shapes.py, are joined into one list; paths become
relative to the new file. ShapeNet: the category is the synset, `categories.en` its English name.
Objaverse: ids are the file names, categories come from --annotations. An id found twice is an
error.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_curation import cli, files, listing, meshes, shapes_index

MAX_ANNOTATIONS = 1 << 30  # bytes after unpacking; LVIS has about 2 MB


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "limit")
    parser.add_argument(
        "--input",
        type=Path,
        nargs="+",
        required=True,
        help="folders of meshes or shapes.json files",
    )
    parser.add_argument("--output", type=Path, required=True, help="shapes.json to write")
    parser.add_argument(
        "--layout", choices=listing.LAYOUTS, default="auto", help="of folders (default auto)"
    )
    parser.add_argument("--annotations", type=Path, help="LVIS {category: [uid, ...]} .json(.gz)")
    parser.add_argument(
        "--category-words",
        nargs="+",
        metavar="CATEGORY=WORD,...",
        help="only shapes whose English name is headed by one of the words, under that category",
    )
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    words = listing.words_of(args.category_words or [])
    labels = _labels(args.annotations) if args.annotations else {}
    sources = [pair for path in args.input for pair in _read(path, args, labels)]
    folder = args.output.parent.resolve()
    joined = shapes_index.join(sources, folder)
    if words:
        joined = listing.by_words(joined, words)
    joined = sorted(joined, key=lambda row: str(row["id"]))[: args.limit]
    missing = [row for row in joined if not (folder / row["path"]).resolve().is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(joined)} mesh files are missing, first {missing[0]['path']} "
            f"of id {missing[0]['id']!r}"
        )
    shapes_index.write_index(args.output, joined)
    settings = {"layout": args.layout, "limit": args.limit, "category_words": args.category_words}
    indices = [path for path, _ in sources if path.is_file()]
    files.write_run(args.output, settings, {"shapes": len(joined)}, indices)
    count = Counter(row.get("category", "") for row in joined)
    unnamed = count.pop("", 0)
    print(f"{args.output}: {len(joined)} shapes of {len(count)} categories", end="")
    print(f", {unnamed} without a category")
    return cli.OK


def _read(
    source: Path, args: argparse.Namespace, labels: dict[str, str]
) -> list[tuple[Path, list[shapes_index.Record]]]:
    """Pairs of an index and its records; a folder without one is listed as `folder/*`."""
    indices = [source] if source.suffix == ".json" else shapes_index.indices_of(source, args.output)
    if indices and args.layout == "auto":
        return [(index, shapes_index.read_index(index)) for index in indices]
    items = meshes.list_meshes(source)
    kind = listing.detect(items, bool(labels)) if args.layout == "auto" else args.layout
    return [(source / "*", listing.records_of(items, kind, labels, source))]


def _labels(path: Path) -> dict[str, str]:
    if path.suffix != ".gz":
        return listing.labels_of(files.read_json(path), str(path))
    try:
        with gzip.open(path) as handle:
            data = handle.read(MAX_ANNOTATIONS + 1)
        table: Any = json.loads(data) if len(data) <= MAX_ANNOTATIONS else None
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: not gzipped JSON ({error})") from error
    return listing.labels_of(table, str(path))


if __name__ == "__main__":
    raise SystemExit(main())
