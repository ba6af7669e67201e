#!/usr/bin/env python3
"""One HTML file that shows a result of datacopying_test.py: verdict, numbers, plots, pictures.

Needs no network and no script to be read. Pictures are those of render_views.py. Which shapes need
pictures is printed by --list-ids, one id a line, for its --ids. Exit 3: a picture is missing; its
place says so.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from datacopying import cli, files

TILE = 200  # pixels per side of a view: twice what a phone, 1.5 times what a laptop shows
COPIED = 12  # training shapes shown


def parser() -> argparse.ArgumentParser:
    made = cli.parser(__doc__)
    add = made.add_argument
    add("result", type=Path, help="result of datacopying_test.py (JSON)")
    add("--output", type=Path, metavar="HTML", help="the report")
    for side, what in (("generated", "generated"), ("train", "training"), ("test", "held-out")):
        more = "; optional, adds the closest held-out shapes" if side == "test" else ""
        add(f"--{side}-views", type=Path, metavar="DIR", help=f"renders of {what} shapes{more}")
    add("--pairs", type=_count, default=24, help="most suspicious pairs to show (default 24)")
    add("--typical", type=_count, default=8, help="pairs around the median (default 8)")
    add("--held-out", type=_count, default=6, help="closest held-out shapes (default 6)")
    add("--views", type=_count, default=4, help="views of each shape (default 4)")
    add("--quality", type=Path, metavar="FILE", help="result of npz_eval.py, shown beside")
    add("--title", help="heading (default: name of the result's folder)")
    sides = ("generated", "train", "test")
    add("--list-ids", choices=sides, help="print the ids that need pictures, and stop")
    return made


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 0")
    return int(text)


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    made = parser()
    args = made.parse_args(argv)
    if not args.list_ids and not (args.output and args.generated_views and args.train_views):
        made.error("needs --output, --generated-views and --train-views (or --list-ids)")
    if not args.views:
        made.error("--views 0: expected at least one")
    cli.set_up_logging(args)
    from datacopying.report_input import closest_held_out, read_result
    from datacopying.selection import select

    result = read_result(args.result)
    with_test = args.test_views or args.list_ids
    held_out = closest_held_out(args.result, result, args.held_out) if with_test else []
    chosen = select(result, args.pairs, args.typical, COPIED, held_out)
    if args.list_ids:
        print("\n".join(chosen.ids(args.list_ids)))
        return cli.OK
    missing = write(args, result, chosen)
    for side, names in missing.items():
        for name, reason in names.items():
            print(f"no render of {side} shape {name}: {reason}", file=sys.stderr)
    count = sum(map(len, missing.values()))
    print(f"{args.output}" + (f"  ({count} pictures are missing)" if count else ""))
    return cli.SOME_FAILED if count else cli.OK


def write(args: argparse.Namespace, result: dict[str, Any], chosen: Any) -> dict[str, Any]:
    """Write the report; returns {side: {id: why there is no picture}}."""
    from datacopying.galleries import Sources
    from datacopying.page import page
    from datacopying.pictures import Views
    from datacopying.quality import read_quality
    from datacopying.records import run_beside

    folders = {side: getattr(args, f"{side}_views") for side in ("generated", "train", "test")}
    views = {side: Views(path, args.views, TILE) for side, path in folders.items() if path}
    report = {
        "result": args.result.name,
        "result, SHA-256": files.sha256(args.result),
        "python": platform.python_version(),
    } | {name: metadata.version(name) for name in ("numpy", "matplotlib", "pillow")}
    measured = read_quality(args.quality) if args.quality else None
    report |= {"quality, SHA-256": files.sha256(args.quality)} if args.quality else {}
    records = {"run": run_beside(args.result), "report": report}
    title = args.title or args.result.resolve().parent.name
    sources = Sources(views["generated"], views["train"], views.get("test"))
    files.write_text(args.output, page(title, result, chosen, sources, records, measured))
    return {side: found.missing for side, found in views.items()}


if __name__ == "__main__":
    raise SystemExit(main())
