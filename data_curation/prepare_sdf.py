"""Sample signed distances of meshes: what a vector-set autoencoder is trained on.

DIR/<id>.npz (formats/npz.md) for every shape, in the unit sphere, negative inside, and DIR/sdf.json
(formats/sdf.schema.json): how each sign was found and how far it can be trusted; suspicious ones
are named on stderr too. Closed meshes are measured as they are (raw), others after a surface was
closed around them (watertight). With --shard i/n the index is DIR/sdf.<i>-of-<n>.json; a run
without --shard, when all are done, writes the whole one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_curation import cli, files, meshes, pool
from data_curation.upright import UPS, Turns


def build_parser() -> argparse.ArgumentParser:
    p = cli.parser(__doc__, "seed", "limit", "shard", "workers", "overwrite")
    p.add_argument("--input", type=Path, required=True, help="folder, text list or shapes.json")
    p.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to fill")
    p.add_argument(
        "--method",
        choices=("auto", "watertight", "raw"),
        default="auto",
        help="auto: raw where the mesh is closed, else watertight (default auto)",
    )
    p.add_argument(
        "--resolution",
        type=int,
        default=256,
        metavar="R",
        help="watertight: grid steps along the longest side (default 256)",
    )
    p.add_argument(
        "--volume",
        choices=("ball", "cube"),
        default="ball",
        help="volume points fill the ball of radius sqrt 3 or [-1, 1]^3 (default ball)",
    )
    p.add_argument("--volume-points", type=int, default=250_000, help="default 250000")
    p.add_argument(
        "--near-points", type=int, default=250_000, help="of all sigmas together (default 250000)"
    )
    p.add_argument("--surface-points", type=int, default=125_000, help="default 125000")
    p.add_argument(
        "--sigmas",
        default="0.005,0.05",
        metavar="A,B",
        help="noise of near points, in radii (default 0.005,0.05)",
    )
    p.add_argument("--up", choices=UPS, default="file", help="up axis: y, z or as shapes.json says")
    return p  # fmt: skip


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.set_up_logging(args)
    from data_curation.sdf import Job, finished, prepare

    settings, turns = _settings(args), Turns(args.input, args.up)
    items = meshes.list_meshes(args.input, args.shard, args.limit)
    jobs = []
    for item in items:
        meshes.check_id(item.id, str(args.input))
        jobs.append(Job(item, turns.of(item.id), args.output / f"{item.id}.npz", settings))
    done: dict[str, Any] = {}
    for job in [] if args.overwrite else jobs:
        if (there := finished(job)) is not None:
            files.require_same(str(job.path), there.pop("settings"), asdict(settings))
            done[job.item.id] = there
    todo = [job for job in jobs if job.item.id not in done]
    reused, failures = len(done), []
    for outcome in pool.map_items(prepare, todo, args.workers, "sdf", args.quiet):
        name = todo[outcome.place].item.id
        if outcome.error is None:
            done[name] = outcome.value
        else:
            failures.append({"id": name, "stage": "sdf", "error": outcome.error})
            print(f"{name}: {outcome.error}", file=sys.stderr)
    return _finish(args, settings, done, failures, reused)


def _settings(args: argparse.Namespace) -> Any:
    from data_curation.sdf import Settings

    try:
        sigmas = tuple(float(word) for word in args.sigmas.split(","))
    except ValueError:
        sigmas = (0.0,)
    if not all(0 < sigma < 10 for sigma in sigmas):
        raise ValueError(
            f"--sigmas {args.sigmas}: expected numbers over 0 and under 10, as 0.005,0.05"
        )
    for name in ("volume_points", "near_points", "surface_points"):
        if not 1 <= vars(args)[name] <= 10**8:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} {vars(args)[name]}: expected 1 to 100,000,000")
    if not 16 <= args.resolution <= 1024 or args.seed < 0:
        raise ValueError(
            f"--resolution {args.resolution} --seed {args.seed}: expected 16 to 1024, and 0 or more"
        )
    own = vars(args) | {"sigmas": sigmas}
    return Settings(**{key: own[key] for key in Settings.__annotations__})


def _finish(
    args: argparse.Namespace,
    settings: Any,
    done: dict[str, Any],
    failures: list[dict[str, str]],
    reused: int,
) -> int:
    """Index, failures and run record of the folder, or of this share of it; the exit code."""
    part, parts = cli.parse_shard(args.shard)
    index = args.output / (f"sdf.{part}-of-{parts}.json" if parts > 1 else "sdf.json")
    rows = [{**done[name], "path": f"{name}.npz"} for name in sorted(done)]
    doubtful = [row for row in rows if row["suspicious"]]
    for row in doubtful:
        print(f"{row['id']}: suspicious: {'; '.join(row['suspicious'])}", file=sys.stderr)
    files.write_json(index, {"shapes": rows})
    files.write_failures(index, failures)
    raw = sum(row["method"] == "raw" for row in rows)
    counts = {"shapes": len(rows), "raw": raw, "watertight": len(rows) - raw,
              "suspicious": len(doubtful), "reused": reused, "failed": len(failures)}  # fmt: skip
    packages = ("numpy", "numba", "scipy", "libigl", "scikit-image", "trimesh")
    files.write_run(index, asdict(settings), counts, packages=packages)
    print(f"{index}:", ", ".join(f"{number} {name}" for name, number in counts.items()))
    if failures:
        return cli.SOME_FAILED if rows else cli.FAILED
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
