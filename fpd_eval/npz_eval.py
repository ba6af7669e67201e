"""Frechet distance between the embeddings of two sets of shapes.

Reads NPZ or NPY files of (n, d) rows, one encoder for all: the first of the keys arr, X, features,
emb, embeddings, data, else the first array. Smaller is closer. The distance of finite samples is
above 0 even for equal generators and shrinks with their number: --floor says what held-out shapes
reach with as many.

  npz_eval.py train.npz generated.npz --floor test.npz
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


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "seed", "json")
    add = parser.add_argument
    add("reference", type=Path, help="rows of the reference set, mostly the training shapes")
    add("generated", type=Path, help="rows of the generated shapes")
    add("--floor", type=Path, metavar="TEST", help="also the distance of reference to these rows")
    choices = ("none", "standardise", "whiten")
    said = "map all rows by the mean and variances or covariance of --stats (default none)"
    add("--normalise", choices=choices, default="none", help=said)
    add("--stats", "--train-stats", type=Path, metavar="TRAIN", help="rows --normalise measures")
    said = "clip eigenvalues at EPS as the reference program does with 1e-12 (default 0, exact)"
    add("--eps", type=_eps, default=0.0, help=said)
    add("--output", type=Path, metavar="FILE", help="write the result here (JSON)")
    return parser


def _eps(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more")
    return value


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if (args.normalise == "none") != (args.stats is None):
        parser.error("--normalise standardise or whiten and --stats go together")
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: expected 0 or more")
    if args.output in _inputs(args):
        parser.error("--output must not be an input")
    cli.set_up_logging(args)
    result = evaluate(args)
    if args.output:
        files.write_json(args.output, result)
        settings = {key: result[key] for key in ("normalise", "eps", "seed")}
        counts = {key: value for key, value in result.items() if key.startswith("n_")}
        files.write_run(args.output, settings, counts, _inputs(args))
    if args.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
        print()
    else:
        print(_text(result))
    return cli.OK


def _inputs(args: argparse.Namespace) -> list[Path]:
    return [p for p in (args.reference, args.generated, args.floor, args.stats) if p]


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Read the inputs and compute the result."""
    from fpd_eval.frechet import frechet
    from fpd_eval.records import read_features

    paths = _inputs(args)
    read = {path: read_features(path) for path in paths}
    _same_width(list(read.values()))
    sets = {path: features.rows for path, features in read.items()}
    if args.stats:
        sets = _normalised(sets, args.stats, args.normalise)
    ref, gen = sets[args.reference], sets[args.generated]
    exact = frechet(ref, gen)
    shown = frechet(ref, gen, args.eps) if args.eps else exact
    return {
        "fd": shown.distance,
        "fd_exact": exact.distance,
        "mean_term": exact.mean_term,
        "trace_reference": exact.trace_ref,
        "trace_generated": exact.trace_gen,
        "cross_term": exact.cross_term,
        "n_reference": len(ref),
        "n_generated": len(gen),
        "dimensions": ref.shape[1],
        "normalise": args.normalise,
        "eps": args.eps,
        "seed": args.seed,
        "floor": _floor(ref, gen, sets[args.floor], args.eps, args.seed) if args.floor else None,
        "inputs": {str(p): {"sha256": files.sha256(p), "key": read[p].key or None} for p in paths},
    }


def _same_width(read: Sequence[Any]) -> None:
    first = read[0]
    for other in read[1:]:
        if other.rows.shape[1] != first.rows.shape[1]:
            raise ValueError(
                f"{first.path} and {other.path}: rows of {first.rows.shape[1]} and "
                f"{other.rows.shape[1]} numbers; use one encoder for both"
            )


def _normalised(sets: dict[Path, Any], stats: Path, how: str) -> dict[Path, Any]:
    from fpd_eval.frechet import standardiser, whitener

    try:
        change = (standardiser if how == "standardise" else whitener)(sets[stats])
    except ValueError as error:
        raise ValueError(f"{stats}: --normalise {how}: {error}") from error
    return {path: change(rows) for path, rows in sets.items()}


def _floor(ref: Any, gen: Any, test: Any, eps: float, seed: int) -> dict[str, Any]:
    """Distances of generated and of test rows to the reference, as many rows of each."""
    import numpy as np

    from fpd_eval.frechet import frechet

    n = min(len(gen), len(test))
    drawn = []
    for i, rows in enumerate((gen, test)):
        chosen = np.random.default_rng([seed, i]).choice(len(rows), n, replace=False)
        drawn.append(rows if n == len(rows) else rows[np.sort(chosen)])
    values = [frechet(ref, rows, eps).distance for rows in drawn]
    return {"n": n, "n_test": len(test), "fd": values[0], "fd_test": values[1]}


def _text(result: dict[str, Any]) -> str:
    n, d = result["n_reference"], result["dimensions"]
    width = f"{d} dimension{'s' * (d != 1)}"
    counts = f"({n} reference, {result['n_generated']} generated, {width})"
    lines = [f"FD = {result['fd']:.6f}  {counts}"]
    if abs(result["fd"] - result["fd_exact"]) > 1e-6:
        lines.append(f"FD without clipping = {result['fd_exact']:.6f}  {counts}")
    if floor := result["floor"]:
        if floor["n"] < result["n_generated"]:
            some = f"{floor['n']} of {result['n_generated']} generated"
            lines.append(f"FD at equal n = {floor['fd']:.6f}  ({n} reference, {some}, {width})")
        some = f"{floor['n']} of {floor['n_test']} test"
        some = some if floor["n"] < floor["n_test"] else f"{floor['n']} test"
        lines.append(f"floor = {floor['fd_test']:.6f}  ({n} reference, {some}, {width})")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
