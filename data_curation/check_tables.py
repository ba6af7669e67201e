"""Check the tables of a study before anything is trained: what would pass without a word.

Stops on a uid in two splits or twice in one, a constant or empty caption, a class that is not in
the list or only in val and test, a picture that is not there.
Example: python check_tables.py --train train.csv --val val.csv --test test.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_curation import cli

if TYPE_CHECKING:
    from data_curation.csv_tables import Table

SPLITS = ("train", "val", "test")


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    for name in SPLITS:
        parser.add_argument(f"--{name}", type=Path, metavar="CSV", required=name == "train")
    parser.add_argument("--classes", type=Path, help="class list; default: classes of train")
    parser.add_argument("--allow-constant", action="store_true", help="accept one caption for most")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from data_curation.csv_tables import read_table

    paths = {name: getattr(args, name) for name in SPLITS}
    tables = {name: read_table(path) for name, path in paths.items() if path is not None}
    owner: dict[str, str] = {}
    for name, table in tables.items():
        _check_uids(name, table, owner)
        _check_contents(table, args.allow_constant)
    classes = _check_classes(tables, args)
    sizes = ", ".join(f"{len(table.rows)} {name}" for name, table in tables.items())
    print(f"{sizes}: disjoint, {classes} classes")
    return cli.OK


def _check_uids(name: str, table: Table, owner: dict[str, str]) -> None:
    """`owner` holds the split of every uid so far."""
    if not table.rows:
        raise ValueError(f"{table.path}: no rows")
    for row in table.rows:
        uid = row[table.column("uid")].strip()
        if not uid:
            raise ValueError(f"{table.path}: a row has no uid")
        if uid in owner:
            twice = "twice" if owner[uid] == name else f"in {owner[uid]} too"
            raise ValueError(f"{table.path}: {uid!r} is {twice}; a shape belongs to one split")
        owner[uid] = name


def _check_contents(table: Table, constant: bool) -> None:
    from data_curation.csv_tables import check_captions

    captions = [row[table.column("caption")].strip() for row in table.rows]
    check_captions(str(table.path), captions, 1.0 if constant else 0.5)
    if "view_path" in table.columns:
        gone = [r for r in table.rows if not (table.path.parent / r["view_path"]).is_file()]
        if gone:
            raise ValueError(
                f"{table.path}: {len(gone)} of {len(table.rows)} pictures are not there, first "
                f"{gone[0]['view_path']!r}"
            )


def _check_classes(tables: dict[str, Table], args: argparse.Namespace) -> int:
    """Every class is in the list, or in train."""
    from data_curation import classes

    labels = {
        name: {row[table.column("label")].strip() for row in table.rows}
        for name, table in tables.items()
    }
    source = args.classes or args.train
    ids = classes.read_classes(args.classes) if args.classes else classes.ids_of(labels["train"])
    for name, found in labels.items():
        classes.check_known(str(tables[name].path), found, ids, source)
    return len(ids)


if __name__ == "__main__":
    raise SystemExit(main())
