#!/usr/bin/env python3
"""Does a generator copy its training shapes? Z_U, flagged samples and their share, with intervals.

Inputs are two retrieval results of one metric against one training set: of the generated shapes and
of held-out test shapes, as retrieve.py writes them.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datacopying import cli, files

LOG = logging.getLogger("datacopying_test")
EMBEDDINGS = ("train", "test", "gen")


def parser() -> argparse.ArgumentParser:
    made = cli.parser(__doc__, "seed", "json")
    add = functools.partial(_add, made)
    add("gen", Path, "retrieval result of the generated shapes (JSON)")
    add("test", Path, "retrieval result of the held-out shapes (JSON)")
    add("--output", Path, "write the result here (JSON)", metavar="FILE")
    add("--csv", Path, "per-sample table (default beside --output)", metavar="FILE")
    said = "query without a usable neighbour: refuse, or leave out and count (default error)"
    add("--missing", str, said, choices=("error", "drop"), default="error")
    said = "flag what is below this quantile of the test distances (default 0.01)"
    add("--quantile", _share, said, metavar="Q", default=0.01)
    add("--bootstrap", _count, "draws, 0 = none (default 2000)", metavar="N", default=2000)
    add("--confidence", _share, "of the intervals (default 0.95)", metavar="C", default=0.95)
    said = "shape lists (shapes.json) that give the categories of the shapes"
    add("--categories", Path, said, metavar="SHAPES", nargs="+", default=[])
    said = "neighbours of the training shapes among themselves: are duplicated ones copied more?"
    add("--train-neighbours", Path, said, metavar="FILE")
    for side in EMBEDDINGS:
        add(f"--{side}-embeddings", Path, "for C_T; give all three", metavar="NPZ")
    said = "cells of C_T: K by k-means on the training rows, or the categories (default 3)"
    add("--cells", _cells, said, metavar="K|categories", default=3)
    said = "a cell of C_T counts above this share of the generated rows (default 20 / their number)"
    add("--tau", float, said)
    return made


def _add(made: argparse.ArgumentParser, name: str, kind: Any, said: str, **more: Any) -> None:
    made.add_argument(name, type=kind, help=said, **more)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0 and less than 1")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 0")
    return int(text)


def _cells(text: str) -> int | str:
    if text != "categories" and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 1 or `categories`")
    return text if text == "categories" else int(text)


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    made = parser()
    args = made.parse_args(argv)
    given = [getattr(args, f"{side}_embeddings") for side in EMBEDDINGS]
    if any(given) and not all(given):
        made.error("C_T needs --train-embeddings, --test-embeddings and --gen-embeddings")
    if args.seed < 0:
        made.error(f"--seed {args.seed}: expected 0 or more")
    if {args.output, args.csv} & {args.gen, args.test}:
        made.error("--output and --csv must not be an input")
    cli.set_up_logging(args)
    result = audit(args)
    if args.output:
        write(args, result)
    elif args.csv:
        files.write_text(args.csv, _csv(result))
    for line in result["provenance"]["differences"]:
        LOG.warning("%s and %s do not belong together: %s", args.gen, args.test, line)
    if args.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
        print()
    else:
        from datacopying import summary

        print(summary.text(result))
    return cli.OK


def audit(args: argparse.Namespace) -> dict[str, Any]:
    """Read the inputs and compute the result (formats/zu_result.schema.json)."""
    from datacopying import provenance, records
    from datacopying.result import Settings, notes, statistics

    names = ("quantile", "bootstrap", "confidence", "seed", "missing")
    settings = Settings(**{name: getattr(args, name) for name in names})
    gen = records.read_retrieval(args.gen, args.missing)
    test = records.read_retrieval(args.test, args.missing)
    runs = {"gen": records.run_beside(args.gen), "test": records.run_beside(args.test)}
    result = statistics(gen, test, records.read_categories(args.categories), settings)
    result["inputs"] = {"gen": _input(gen), "test": _input(test)}
    result["settings"] = {name: getattr(args, name) for name in names}
    differences = provenance.differences(runs["gen"], runs["test"])
    result["provenance"] = {
        "metric": provenance.metric(*runs.values()),
        **{side: provenance.summary(run) for side, run in runs.items()},
        "differences": differences,
    }
    result["verdict"]["warnings"] += [f"inputs do not belong together: {d}" for d in differences]
    result["duplicates"] = duplication(args, result) if args.train_neighbours else None
    result["c_t"] = cell_statistic(args) if args.gen_embeddings else None
    result["notes"] = notes(result)
    return result


def _input(retrieval: Any) -> dict[str, Any]:
    return {
        "path": str(retrieval.path),
        "sha256": files.sha256(retrieval.path),
        "layout": retrieval.layout,
        "queries": len(retrieval.queries) + len(retrieval.dropped),
        "used": len(retrieval.queries),
        "dropped": [{"id": name, "reason": reason} for name, reason in retrieval.dropped],
    }


def duplication(args: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """Flags of training shapes with and without a near-duplicate; the distance in their rows."""
    from datacopying import records
    from datacopying.duplicates import by_duplication
    from datacopying.samples import finite

    found = records.read_retrieval(args.train_neighbours, args.missing)
    own = {query.id: query.distance for query in found.queries}
    if itself := [query.id for query in found.queries if query.nearest_id == query.id]:
        raise ValueError(
            f"{args.train_neighbours}: {itself[0]!r} is its own neighbour ({len(itself)} of "
            f"{len(own)} are); run retrieve.py with --exclude-self"
        )
    charged = {row["id"]: row["flagged"] for row in result["training_shapes"]}
    threshold = result["excess"]["threshold"]
    made = by_duplication(charged, own, float("inf") if threshold is None else threshold, args.seed)
    for row in result["training_shapes"]:
        row["nearest_training"] = finite(own[row["id"]])
    return made


def cell_statistic(args: argparse.Namespace) -> dict[str, Any]:
    """C_T from the three embedding files."""
    import numpy as np

    from datacopying import cells, records
    from datacopying.result import ct_section

    paths = [getattr(args, f"{side}_embeddings") for side in EMBEDDINGS]
    read = [records.read_embeddings(path) for path in paths]
    widths = {rows.shape[1] for rows, _ in read}
    if len(widths) > 1:
        raise ValueError(
            f"{', '.join(map(str, paths))}: rows of {sorted(widths)} numbers; use one encoder"
        )
    rows = read[0][0], read[1][0], read[2][0]
    sets = cells.reduced(rows)
    tau = 20 / len(sets[2]) if args.tau is None else args.tau
    if args.cells == "categories":
        for path, (_, names) in zip(paths, read, strict=True):
            if "" in names:
                raise ValueError(f"{path}: categories: row {names.index('')} has none")
        labels: Any = tuple(np.array(names) for _, names in read)
        source = "cells are the categories"
    else:
        labels = cells.kmeans_labels(sets, args.cells, args.seed)
        source = f"{args.cells} k-means cells of the training embeddings"
    kept = sets[0].shape[1]
    dimensions = rows[0].shape[1]
    reduced_to = kept if kept < dimensions else None
    return ct_section(cells.c_t(sets, labels, tau), source, dimensions, reduced_to)


def write(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Result, per-sample table and run record."""
    inputs = [args.gen, args.test, *args.categories]
    inputs += [args.train_neighbours] if args.train_neighbours else []
    inputs += [p for side in EMBEDDINGS if (p := getattr(args, f"{side}_embeddings"))]
    files.write_text(args.csv or args.output.with_suffix(".csv"), _csv(result))
    files.write_json(args.output, result)
    settings = result["settings"] | {"cells": args.cells, "tau": args.tau}
    counts = {side: result["zu"][f"n_{side}"] for side in ("gen", "test")}
    counts |= {"flagged": result["excess"]["flagged"]}
    counts |= {f"dropped_{s}": len(part["dropped"]) for s, part in result["inputs"].items()}
    files.write_run(args.output, settings, counts, inputs, ("numpy", "scipy"))


def _csv(result: dict[str, Any]) -> str:
    from datacopying import summary

    return summary.samples_csv(result["samples"])


if __name__ == "__main__":
    raise SystemExit(main())
