"""Make a set of procedural shapes: watertight meshes of sixteen families, with captions.

Writes DIR/<family>_s<seed>_<number>.ply (metres, y up, on the floor) and DIR/shapes.json. Shape i
is of family i mod (number of families) and is decided by (seed, i) alone. With --shard i/n the
index is DIR/shapes.<i>-of-<n>.json; `list_shapes.py --input DIR --output DIR/shapes.json` joins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_curation import cli, files, pool, shapes_index


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "seed", "shard", "limit", "workers", "overwrite")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument("--count", type=int, default=100, help="shapes of the set (default 100)")
    parser.add_argument("--families", metavar="A,B", help="only these families (default: all)")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    if args.count < 1 or args.seed < 0:
        raise ValueError("--count must be 1 or more and --seed 0 or more")
    from data_curation.procedural import Job

    families = _families(args.families)
    part, parts = cli.parse_shard(args.shard)
    numbers = range(args.count)[: args.limit][part::parts]
    jobs = [Job(i, args.seed, families[i % len(families)], args.output) for i in numbers]
    index = shapes_index.index_path(args.output, args.shard)
    settings = {"seed": args.seed, "families": families}
    journal = files.Journal(index.with_suffix(".journal"), settings, fresh=args.overwrite)
    done = {} if args.overwrite else _done(index, settings) | journal.done
    made = [done[job.id] for job in jobs if job.id in done and job.path.is_file()]
    todo = [job for job in jobs if not (job.id in done and job.path.is_file())]
    records, failures = _make(todo, journal, args.workers, args.quiet)
    shapes_index.write_index(index, [*made, *records])
    files.write_failures(index, failures)
    journal.finish()
    counts = {
        "asked": len(jobs),
        "made": len(records),
        "existed": len(made),
        "failed": len(failures),
    }
    files.write_run(index, settings, counts, packages=("numpy", "manifold3d"))
    share = Counter(row["category"] for row in [*made, *records])
    print(f"{index}: {sum(share.values())} shapes of {len(share)} families", end="")
    print(f" ({len(made)} existed, {len(failures)} failed)")
    return cli.SOME_FAILED if failures else cli.OK


def _families(text: str | None) -> list[str]:
    from data_curation.families import FAMILIES

    names = text.split(",") if text else list(FAMILIES)
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or len(set(names)) < len(names):
        raise ValueError(f"--families {text}: expected different ones of {', '.join(FAMILIES)}")
    return names


def _done(index: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Records of an earlier run, which must have had the same settings."""
    if not index.is_file():
        return {}
    run = files.run_path(index)
    if run.is_file():
        files.require_same(str(index), files.read_json(run)["settings"], settings)
    rows = shapes_index.read_index(index)
    return {row["id"]: row for row in rows}


def _make(
    jobs: Sequence[Any], journal: files.Journal, workers: int, quiet: bool
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    from data_curation.procedural import make

    records: list[Any] = []
    failures = []
    for outcome in pool.map_items(make, jobs, workers, "make shapes", quiet):
        if outcome.error is None:
            records.append(outcome.value)
            journal.add(jobs[outcome.place].id, outcome.value)
        else:
            row = {"id": jobs[outcome.place].id, "stage": "make", "error": outcome.error}
            failures.append(row)
    return records, failures


if __name__ == "__main__":
    raise SystemExit(main())
