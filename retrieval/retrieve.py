"""Find the nearest database shapes of every query shape, exactly.

Reads NPZ tables (extract_lfd.py, sample_points.py, or any embedding table), writes
{query id: [{"model_id", "category_id", "distance"}, ...]}, nearest first; equal distances come in
database order. Several database files are read as one, in the order given.

  retrieve.py --query gen_lfd.npz --database train_lfd.npz --topk 5 --output gen.json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval import cli
from retrieval.files import Journal, failures_path, read_json, require_same, run_path, sha256


def _parser() -> argparse.ArgumentParser:
    from retrieval.metrics import METRICS, Options

    parser = cli.parser(__doc__, "device", "workers", "limit", "overwrite")
    add = parser.add_argument
    add("--query", type=Path, nargs="+", required=True, help="NPZ table of the queries")
    add("--database", type=Path, nargs="+", required=True, help="NPZ table, or its part files")
    add("--metric", choices=sorted(METRICS), default="lfd", help="distance (default lfd)")
    add("--topk", type=_positive, default=1, metavar="K", help="neighbours a query (default 1)")
    add("--output", type=Path, required=True, help="result, a JSON file")
    add("--exclude-self", action="store_true", help="do not return the shape of the same id")
    add("--by-category", action="store_true", help="return shapes of the query's category only")
    add("--no-pruning", action="store_true", help="compare all pairs (same result, slower)")
    add(
        "--threshold",
        type=float,
        default=Options.threshold,
        help="fscore: match radius, in units of the normalised clouds (default %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.workers < 0 or (args.limit is not None and args.limit < 1):
        parser.error("--workers must be 0 or more, --limit 1 or more")
    cli.set_up_logging(args)
    journal = args.output.with_name(args.output.name + ".journal")
    settings = _settings(args)
    if args.output.exists() and not journal.exists() and not args.overwrite:
        return _finished_before(args.output, settings)
    return _retrieve(args, settings, journal)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the result, input digests included."""
    from retrieval.metrics import METRICS
    from retrieval.tables import part_files

    shown = ("metric", "topk", "exclude_self", "by_category", "limit")
    decides = METRICS[args.metric].decides
    return {key: getattr(args, key) for key in (*shown, *decides)} | {
        "query": [sha256(path) for path in part_files(args.query)],
        "database": [sha256(path) for path in part_files(args.database)],
    }


def _finished_before(output: Path, settings: dict[str, Any]) -> int:
    record = run_path(output)
    if not record.exists():
        raise ValueError(f"{output}: exists without {record.name}; use --overwrite")
    require_same(str(output), read_json(record)["settings"], settings)
    print(f"{output}: done before, nothing to do (--overwrite computes it again)")
    return cli.SOME_FAILED if failures_path(output).exists() else cli.OK


def _retrieve(args: argparse.Namespace, settings: dict[str, Any], place: Path) -> int:
    import logging

    from tqdm import tqdm

    from retrieval.files import write_failures, write_run
    from retrieval.metrics import METRICS, Options
    from retrieval.records import write_retrieval
    from retrieval.search import search
    from retrieval.tables import read_table

    metric = METRICS[args.metric]
    if args.device not in ("auto", "cpu") and not metric.gpu:
        raise ValueError(f"--device {args.device}: --metric {metric.name} runs on the CPU only")
    query, database = read_table(args.query), read_table(args.database)
    query = query.rows(slice(0, args.limit))
    journal = Journal(place, settings, fresh=args.overwrite)
    with tqdm(total=len(query), disable=True if args.quiet else None, unit="query") as bar:
        options = Options(
            args.device, args.workers, not args.no_pruning, args.threshold, bar.update
        )
        switches = {"exclude_self": args.exclude_self, "by_category": args.by_category}
        try:
            answer = search(query, database, metric, args.topk, options, journal, **switches)
        except ValueError:
            if not journal.done:
                journal.finish()
            raise
    for row in answer.failures:
        logging.warning("%s: no neighbour: %s", row["id"], row["error"])
    counts = {"queries": len(query), "database": len(database), "failed": len(answer.failures)}
    write_failures(args.output, answer.failures)
    write_retrieval(args.output, answer.result)
    execution = {"device": args.device, "workers": args.workers, "pruning": options.pruning}
    write_run(
        args.output,
        settings,
        counts,
        [*query.paths, *database.paths],
        metric.packages,
        tables=query.settings,
        execution=execution,
        statistics=options.statistics,
    )
    journal.finish()
    print(
        f"{args.output}: {len(answer.result)} queries, {len(database)} database shapes, "
        f"{metric.name}, top {args.topk} ({len(answer.failures)} without a neighbour)"
    )
    return cli.SOME_FAILED if answer.failures else cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
