"""Table for training: model_uid, lvis_category, a caption and, with --views, view_path.

Captions are those of the shapes.json, or of a table that another step wrote:
  python make_table.py --input split/train.json --output train.csv --caption mixed
  python make_table.py --input split/train.json --captions captions.phrase.csv --output train.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_curation import cli

LEVELS = ("name", "phrase", "sentence")


def caption_of(row: Mapping[str, Any], level: str, seed: int, where: str) -> str:
    """The caption of a shape; `name` is "a chair", `mixed` draws a level from (seed, id).

    Raises:
        ValueError: the shape has no caption of that level.
    """
    import numpy as np

    if level == "mixed":
        rng = np.random.default_rng([seed, *row["id"].encode()])
        level = LEVELS[rng.integers(len(LEVELS))]
    if level == "name":
        name = str(row.get("names", {}).get("en", "")).strip()
        caption = f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}" if name else None
    else:
        caption = row.get("captions", {}).get(level)
    if not caption:
        raise ValueError(f"{where}: '{row['id']}' has no {level} caption")
    return str(caption)


def _given(path: Path) -> dict[str, str]:
    """Captions by uid of a table; a uid with two captions is an error."""
    from data_curation.csv_tables import read_table

    table = read_table(path)
    if not table.rows:
        raise ValueError(f"{path}: no rows")
    uid, caption = table.column("uid"), table.column("caption")
    found: dict[str, str] = {}
    for row in table.rows:
        name, text = row[uid].strip(), row[caption].strip()
        if found.setdefault(name, text) != text:
            raise ValueError(f"{path}: two captions for {name!r}")
    return found


def _captions(args: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Caption by uid of every shape, or with --skip-missing of those that have one."""
    if args.captions is None:
        return {r["id"]: caption_of(r, args.caption, args.seed, str(args.input)) for r in rows}
    given = _given(args.captions)
    missing = [row["id"] for row in rows if not given.get(row["id"])]
    if missing and not args.skip_missing:
        raise ValueError(
            f"{args.captions}: {len(missing)} of {len(rows)} shapes have no caption, first "
            f"{missing[0]!r}; leave them out with --skip-missing"
        )
    return {row["id"]: given[row["id"]] for row in rows if given.get(row["id"])}


def _view(args: argparse.Namespace, name: str) -> dict[str, str]:
    """`view_path` of a shape relative to the table; {} without --views."""
    from data_curation.files import read_json
    from data_curation.shapes_index import relative

    if args.views is None:
        return {}
    about = args.views / name / "views.json"
    if not about.is_file():
        raise ValueError(f"{about}: not there; make it with render_views.py")
    sprite = about.parent / read_json(about)["sprite"]
    return {"view_path": relative(sprite, args.output.parent)}


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "seed")
    add = parser.add_argument
    add("--input", type=Path, required=True, help="a shapes.json")
    add("--output", type=Path, required=True, help="the .csv to write")
    add("--caption", choices=(*LEVELS, "mixed"), default="phrase",
        help="which one of shapes.json; mixed: one at random (default phrase)")  # fmt: skip
    add("--captions", type=Path, metavar="CSV", help="captions of this table instead")
    add("--skip-missing", action="store_true", help="leave out shapes it has no caption for")
    add("--caption-column", choices=("caption", "cap3d_caption"), default="caption",
        help="its name in the table written (default caption)")  # fmt: skip
    add("--views", type=Path, metavar="DIR", help="of render_views.py; adds view_path")
    add("--classes", type=Path, help="class list that the categories must be of")
    add("--allow-constant", action="store_true", help="one caption may be that of most shapes")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from data_curation import classes, csv_tables
    from data_curation.shapes_index import read_index

    rows = read_index(args.input)
    captions = _captions(args, rows)
    kept = [row for row in rows if row["id"] in captions]
    if args.classes is not None:
        ids = classes.read_classes(args.classes)
        named = [row.get("category", "") for row in kept]
        classes.check_known(str(args.input), named, ids, args.classes)
    if not args.allow_constant:
        csv_tables.check_captions(str(args.input), [captions[row["id"]] for row in kept])
    table = [
        {"model_uid": row["id"], "lvis_category": row.get("category", ""),
         args.caption_column: captions[row["id"]], **_view(args, row["id"])}
        for row in kept
    ]  # fmt: skip
    columns = ["model_uid", "lvis_category", args.caption_column]
    columns += ["view_path"] if args.views is not None else []
    csv_tables.write_table(args.output, columns, table)
    left = f" ({len(rows) - len(kept)} without one left out)" if len(kept) < len(rows) else ""
    print(f"{args.output}: {len(kept)} captions{left}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
