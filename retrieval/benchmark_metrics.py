"""Which metric finds a copy? Disguise some shapes of a set and look them up in the whole set.

  benchmark_metrics.py --input shapes.json --output DIR --count 100 --metrics lfd,cd,iou

Runs disguise_shapes.py, the extraction scripts and retrieve.py, which skip what stands in DIR
already. Prints recall@1 (95 % interval, Wilson) / recall@5 in percent as a Markdown table;
DIR/benchmark.json holds all. A source that ties with the nearest shape counts as found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval import cli
from retrieval.files import read_json, write_json, write_run

STAGES = Path(__file__).resolve().parents[1]
DISGUISES = "noise,remesh,decimate,rotate_small,rotate_large,stretch,remove_part"
TOPK = 10  # neighbours asked for: five, and room for ties


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit code is 3 when some shapes could not be used."""
    args = _parser().parse_args(argv)
    cli.set_up_logging(args)
    metrics = [name.strip() for name in args.metrics.split(",")]
    _check(metrics)
    keys = ("disguises", "count", "strength", "seed", "points", "emd_points", "threshold")
    settings = {key: getattr(args, key) for key in keys}
    copies = args.output / "copies" / "shapes.json"
    codes = [_disguise(args, copies)]
    rows = []
    for name in metrics:
        tables = [args.output / f"{side}_{_table(name, args)[0]}.npz" for side in ("copies", "set")]
        for source, table in zip((copies, args.input), tables, strict=True):
            codes.append(_run(args, *_table(name, args)[1], "--input", source, "--output", table))
        result = args.output / f"copies_{name}.json"
        more = ("--threshold", args.threshold) if name == "fscore" else ()
        where = ("--query", tables[0], "--database", tables[1], "--output", result)
        codes.append(
            _run(args, "retrieval/retrieve.py", *where, "--metric", name, "--topk", TOPK, *more)
        )
        rows += score(name, read_json(copies)["shapes"], read_json(result))
    _write(args, settings, rows)
    print(json.dumps(rows, indent=1) if args.json else markdown(rows))
    return cli.SOME_FAILED if cli.SOME_FAILED in codes else cli.OK


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "seed", "workers", "overwrite", "json")
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder, list or shapes.json of the set")
    add("--output", type=Path, required=True, help="folder for copies, tables and results")
    add("--metrics", default="lfd,cd,emd,fscore,iou", help="comma-separated (default %(default)s)")
    add("--disguises", default=DISGUISES, help="comma-separated (default %(default)s)")
    add("--count", type=int, default=100, help="shapes to disguise, by seed (default 100)")
    add("--strength", type=float, default=1.0, help="of the disguises (default 1)")
    add("--points", type=int, default=1024, help="points of a cloud (default 1024)")
    add("--emd-points", type=int, default=256, help="the same for emd (default 256)")
    add("--threshold", type=float, default=0.05, help="match radius of fscore (default 0.05)")
    return parser


def _check(metrics: Sequence[str]) -> None:
    from retrieval.metrics import METRICS

    known = [name for name, metric in METRICS.items() if metric.kind != "embedding"]
    for name in metrics:
        if name not in known:
            raise ValueError(f"--metrics {name}: unknown here; one of {', '.join(known)}")


def _table(metric: str, args: Any) -> tuple[str, list[Any]]:
    """Name of the table a metric reads and the script, with flags, that writes it."""
    if metric == "lfd":
        return "lfd", ["retrieval/extract_lfd.py"]
    if metric == "iou":
        return "voxels", ["retrieval/voxelize.py"]
    count = args.emd_points if metric == "emd" else args.points
    return f"points{count}", ["retrieval/sample_points.py", "--points", count, "--seed", args.seed]


def _disguise(args: Any, copies: Path) -> int:
    script, names = "data_curation/disguise_shapes.py", ("count", "strength", "seed")
    flags = [part for name in names for part in (f"--{name}", getattr(args, name))]
    where = ("--input", args.input, "--output", copies.parent, "--disguise", args.disguises)
    return _run(args, script, *where, *flags)


def _run(args: Any, script: str, *flags: Any) -> int:
    """Run a script of the repository, its words on stderr. Raises ValueError when it fails."""
    common = ["--workers", args.workers, *(["--overwrite"] if args.overwrite else [])]
    command = [sys.executable, STAGES / script, *flags, *common, *(["-q"] if args.quiet else [])]
    code = subprocess.run([str(part) for part in command], stdout=2, check=False).returncode
    if code not in (cli.OK, cli.SOME_FAILED):
        raise ValueError(f"{script} ended with exit code {code}; its message stands above")
    return code


def score(
    metric: str, copies: Sequence[dict[str, Any]], result: dict[str, Any]
) -> list[dict[str, Any]]:
    """Recall of a metric for each disguise, and for all of them together."""
    from retrieval.recall import rank, recall

    ranks: dict[str, list[int | None]] = {}
    for copy in (copy for copy in copies if copy["id"] in result):
        place = rank(result[copy["id"]], copy["copied_from"])
        for group in (copy["disguise"], "all"):
            ranks.setdefault(group, []).append(place)
    groups = [*(name for name in ranks if name != "all"), "all"]
    rows = []
    for name in groups:
        row: dict[str, Any] = {"metric": metric, "disguise": name, "n": len(ranks[name])}
        for k in (1, 5):
            share = recall(ranks[name], k)
            row[f"recall_{k}"] = share.hits / share.n
            row[f"interval_{k}"] = [share.low, share.high]
        rows.append(row)
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Disguises down, metrics across; recall@1 with its interval / recall@5, in percent."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    lines = ["| disguise | n | " + " | ".join(metrics) + " |", "|---|---|" + "---|" * len(metrics)]
    for name in dict.fromkeys(row["disguise"] for row in rows):
        mine = {row["metric"]: row for row in rows if row["disguise"] == name}
        counts = "-".join(str(n) for n in sorted({row["n"] for row in mine.values()}))
        cells = [_cell(mine[metric]) if metric in mine else "" for metric in metrics]
        lines.append(f"| {name} | {counts} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    low, high = row["interval_1"]
    ends = f"{100 * low:.0f}-{100 * high:.0f}"
    return f"{100 * row['recall_1']:.0f} ({ends}) / {100 * row['recall_5']:.0f}"


def _write(args: Any, settings: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    target = args.output / "benchmark.json"
    write_json(target, {"settings": settings, "topk": TOPK, "rows": rows})
    write_run(target, settings, {"rows": len(rows)}, [args.output / "copies" / "shapes.json"])


if __name__ == "__main__":
    raise SystemExit(main())
