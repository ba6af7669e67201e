"""Quality of a generated set of shapes: Frechet distance and its relatives, with intervals.

Reads NPZ or NPY files of (n, d) rows, one encoder for all: the first of the keys arr, X, features,
emb, embeddings, data, else the first array. Every value comes with an interval over half-samples
and, with --test, beside what held-out shapes reach at the same number. Of these metrics only
authpct and fld_gap look for copies: FD, KID and 1-NNA do not see them, or improve.

  npz_eval.py train.npz generated.npz --test test.npz --metrics all
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fpd_eval import cli, files

DEFAULT = "fd,fd_infinity"


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "seed", "json")
    add = parser.add_argument
    add("reference", type=Path, help="rows of the reference set, mostly the training shapes")
    add("generated", type=Path, help="rows of the generated shapes")
    add("--test", "--floor", type=Path, metavar="TEST", help="rows of held-out shapes")
    add("--metrics", default=DEFAULT, help=f"comma-separated, or all (default {DEFAULT})")
    said = "measured distances instead of Euclidean ones: NPZ of ids and distances, or a complete "
    add("--distances", type=Path, metavar="FILE", help=f"{said}retrieval result")
    choices = ("none", "standardise", "whiten")
    said = "map all rows by the mean and variances or covariance of --stats (default none)"
    add("--normalise", choices=choices, default="none", help=said)
    add("--stats", "--train-stats", type=Path, metavar="TRAIN", help="rows --normalise measures")
    said = "added to the variances by --normalise whiten (default 0)"
    add("--ridge", type=_number, default=0.0, help=said)
    said = "clip eigenvalues at EPS as the reference program does with 1e-12 (default 0, exact)"
    add("--eps", type=_number, default=0.0, help=said)
    said = "neighbours of precision, recall, density, coverage (default 5)"
    add("--neighbours", type=int, default=5, metavar="K", help=said)
    add("--draws", type=int, default=20, help="half-samples of an interval, 0 = none (default 20)")
    add("--confidence", type=float, default=0.95, help="of the intervals (default 0.95)")
    said = "folder that keeps statistics of large files by content (default in ~/.cache)"
    add("--cache", type=Path, metavar="DIR", help=said)
    add("--output", type=Path, metavar="FILE", help="write the result here (JSON)")
    return parser


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more")
    return value


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    cli.set_up_logging(args)
    from fpd_eval import summary

    result = evaluate(args)
    if args.output:
        files.write_json(args.output, result)
        counts = {f"n_{side}": count for side, count in result["n"].items()}
        files.write_run(args.output, result["settings"], counts, _inputs(args).values())
    if args.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
        print()
    else:
        print(summary.text(result))
    return cli.OK


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if (args.normalise == "none") != (args.stats is None):
        parser.error("--normalise standardise or whiten and --stats go together")
    if args.ridge and args.normalise != "whiten":
        parser.error("--ridge belongs to --normalise whiten")
    for name, least in (("seed", 0), ("draws", 0), ("neighbours", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: expected {least} or more")
    if args.draws == 1:
        parser.error("--draws 1: expected 0, or 2 or more")
    if not 0 < args.confidence < 1:
        parser.error(f"--confidence {args.confidence}: expected more than 0 and less than 1")
    if args.output in _inputs(args).values():
        parser.error("--output must not be an input")


def _inputs(args: argparse.Namespace) -> dict[str, Path]:
    found = {"train": args.reference, "generated": args.generated, "test": args.test}
    found |= {"stats": args.stats, "distances": args.distances}
    return {role: path for role, path in found.items() if path}


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Read the inputs and compute the result (formats/quality.schema.json)."""
    from fpd_eval import inputs
    from fpd_eval.evaluation import Intervals
    from fpd_eval.evaluation import evaluate as computed
    from fpd_eval.metrics import METRICS, Options

    names = list(METRICS) if args.metrics == "all" else args.metrics.split(",")
    for name in names:
        if name not in METRICS:
            raise ValueError(f"--metrics {name}: unknown; all, or some of {', '.join(METRICS)}")
    read = inputs.read(args)
    options = Options(args.eps, args.neighbours, args.seed)
    intervals = Intervals(args.draws, args.confidence)
    rows = computed(names, read.sets, options, intervals, args.metrics not in ("all", DEFAULT))
    keys = ("normalise", "ridge", "eps", "neighbours", "draws", "confidence", "seed")
    return {
        "metrics": rows,
        "n": {s: len(v) for s, v in vars(read.sets).items() if v is not None},
        "dimensions": read.dimensions,
        "distance": "given" if args.distances else "euclidean",
        "settings": {"metrics": names} | {key: getattr(args, key) for key in keys},
        "inputs": read.files,
    }


if __name__ == "__main__":
    raise SystemExit(main())
