"""Render views of meshes as PNG, headless by ray casting.

DIR/<id>/view_00.png ..., sprite_v<N>.png (the views stacked from top to bottom), views.json
(formats/views.schema.json) and, with --passes, views.npz (formats/npz.md). A shape is done when
its views.json exists. Orthographic cameras around the centre of the bounding box; white ground.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data_curation import cli, files, meshes, pool
from data_curation.cameras import RIGS, make_rig
from data_curation.shading import SHADINGS
from data_curation.upright import UPS, Turns
from data_curation.views import PASSES, Job, Settings, finished, render


def build_parser() -> argparse.ArgumentParser:
    p = cli.parser(__doc__, "limit", "shard", "workers", "overwrite")
    p.add_argument("--input", type=Path, required=True, help="folder, text list or shapes.json")
    p.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of pictures")
    p.add_argument("--ids", type=Path, metavar="FILE", help="only these: JSON list or one a line")
    p.add_argument("--views", type=int, default=12, help="pictures a mesh (default 12)")
    p.add_argument("--size", type=int, default=256, help="pixels per side (default 256)")
    p.add_argument("--rig", choices=RIGS, default="ring", help="where cameras stand (default ring)")
    p.add_argument("--elevation", type=float, default=20, help="of a ring, degrees (default 20)")
    p.add_argument("--azimuth", type=float, default=30, help="of view 0, degrees (default 30)")
    p.add_argument("--up", choices=UPS, default="file", help="up axis: y, z or as shapes.json says")
    p.add_argument("--shading", choices=SHADINGS, default="clay", help="default clay")
    p.add_argument("--samples", type=int, default=2, help="rays per pixel side (default 2: 4 rays)")
    p.add_argument("--passes", default="", help=f"also views.npz with any of {','.join(PASSES)}")
    return p


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.set_up_logging(args)
    settings = _settings(args)
    items, turns = _items(args), Turns(args.input, args.up)
    jobs = [Job(item, turns.of(item.id), args.output / item.id, settings) for item in items]
    todo = jobs if args.overwrite else [job for job in jobs if not _done(job)]
    failures = []
    for outcome in pool.map_items(render, todo, args.workers, "render", args.quiet):
        if outcome.error is not None:
            shape = todo[outcome.place].item.id
            failures.append({"id": shape, "stage": "render", "error": outcome.error})
            print(f"{shape}: {outcome.error}", file=sys.stderr)
    counts = {
        "meshes": len(jobs),
        "rendered": len(todo) - len(failures),
        "already there": len(jobs) - len(todo),
        "failed": len(failures),
    }
    _record(args, settings, counts, failures)
    print(", ".join(f"{number} {name}" for name, number in counts.items()), f"-> {args.output}")
    if failures:
        return cli.SOME_FAILED if len(failures) < len(jobs) else cli.FAILED
    return cli.OK


def _settings(args: argparse.Namespace) -> Settings:
    passes = tuple(name for name in PASSES if name in args.passes.split(","))
    unknown = sorted(set(args.passes.split(",")) - {"", *PASSES})
    if unknown:
        raise ValueError(f"--passes: {unknown[0]!r} is unknown; any of {', '.join(PASSES)}")
    if not 1 <= args.size <= 8192 or not 1 <= args.samples <= 8:
        raise ValueError(
            f"--size {args.size} --samples {args.samples}: expected 1 to 8192 pixels, 1 to 8 rays"
        )
    make_rig(args.rig, args.views, args.elevation, args.azimuth)  # refuses bad values
    own = vars(args)
    return Settings(**{k: own[k] for k in Settings.__annotations__ if k != "passes"}, passes=passes)


def _items(args: argparse.Namespace) -> list[meshes.Item]:
    items = meshes.list_meshes(args.input)
    if args.ids is not None:
        wanted = _read_ids(args.ids)
        missing = sorted(set(wanted) - {item.id for item in items})
        if missing:
            raise ValueError(
                f"{args.ids}: {len(missing)} of {len(wanted)} ids are not in {args.input}, "
                f"the first is {missing[0]!r}"
            )
        items = [item for item in items if item.id in set(wanted)]
    for item in items:
        meshes.check_id(item.id, str(args.input))
    part, parts = cli.parse_shard(args.shard)
    return items[: args.limit][part::parts]


def _read_ids(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if not text.lstrip().startswith(("[", "{")):
        return [line.strip() for line in text.splitlines() if line.strip()]
    found = files.read_json(path)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path}: expected a JSON list of ids or one id a line")
    return found


def _done(job: Job) -> bool:
    there = finished(job)
    if there is not None:
        here = asdict(job.settings) | {"passes": list(job.settings.passes)}
        files.require_same(str(job.folder / "views.json"), there, here)
    return there is not None


def _record(
    args: argparse.Namespace,
    settings: Settings,
    counts: dict[str, int],
    failures: list[dict[str, str]],
) -> None:
    """Run record and failures of the folder, or of this share of it."""
    part, parts = cli.parse_shard(args.shard)
    args.output.mkdir(parents=True, exist_ok=True)
    about = args.output if parts == 1 else args.output / f"shard_{part}_of_{parts}.views"
    packages = ("numpy", "trimesh", "embreex", "pillow")
    files.write_run(about, asdict(settings), counts, packages=packages)
    files.write_failures(about, failures)


if __name__ == "__main__":
    raise SystemExit(main())
