"""Write disguised copies of shapes: what a generator that copies its training set might make.

Writes OUTPUT/meshes/ID.ply and OUTPUT/shapes.json, where each shape names its source
(`copied_from`), the `disguise` and the parameters drawn.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_curation import cli
from data_curation.files import (
    Journal,
    read_json,
    replacing,
    require_same,
    run_path,
    sha256,
    write_failures,
    write_json,
    write_run,
)
from data_curation.meshes import Item, check_id, list_meshes, load_arrays
from data_curation.pool import map_items

log = logging.getLogger(__name__)
CARRIED = (  # hold for a copy as for its source
    *("names", "categories", "tags", "captions", "creator", "licence"),
    *("catalogue", "source", "up", "rotation"),
)
DEFAULT = "noise,remesh,decimate,rotate_small,rotate_large,stretch,remove_part"


class Job(NamedTuple):
    """One copy to make: its id, the source and its place in the list, the disguise."""

    id: str
    source: Item
    place: int
    disguise: str


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Make the copies; the exit code is 3 when some could not be made."""
    parser = cli.parser(__doc__, "seed", "workers", "shard", "overwrite")
    parser.add_argument("--input", type=Path, required=True, help="folder, list or shapes.json")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--disguise", default=DEFAULT, help=f"comma-separated (default {DEFAULT})")
    parser.add_argument("--pick", choices=("all", "one"), default="all", help="per source shape")
    parser.add_argument("--count", type=int, help="source shapes, by seed (default all)")
    parser.add_argument("--strength", type=float, default=1.0, help="1 as stated, 0 nearly none")
    parser.add_argument("--neutral-ids", action="store_true", help="ids that tell no source")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    jobs = plan(list_meshes(args.input), args.disguise, args.pick, args.count, args)
    keys = ("seed", "strength", "disguise", "pick", "count", "neutral_ids")
    return make_copies(jobs, {key: getattr(args, key) for key in keys}, args)


def plan(
    items: Sequence[Item], disguises: str, pick: str, count: int | None, args: Any
) -> list[Job]:
    """Every copy of the whole run, in the order of the output.

    Source i draws from (seed, i); which sources are copied is drawn from (seed, number of shapes).
    """
    import numpy as np

    from data_curation.disguise import DISGUISES

    names = [name.strip() for name in disguises.split(",")]
    for name in names:
        if name not in DISGUISES:
            raise ValueError(f"--disguise {name}: unknown; one of {', '.join(DISGUISES)}")
    if count is not None and not 1 <= count <= len(items):
        raise ValueError(f"--count {count}: expected 1 to {len(items)}, the shapes in {args.input}")
    drawn = np.random.default_rng([args.seed, len(items)]).permutation(len(items))[:count]
    jobs: list[Job] = []
    for place in map(int, drawn):
        source, chosen = items[place], names
        if pick == "one":
            chosen = [names[int(np.random.default_rng([args.seed, place]).integers(len(names)))]]
        for name in chosen:
            made = f"shape_{len(jobs):06d}" if args.neutral_ids else f"{source.id}-{name}"
            check_id(made, str(args.input))
            jobs.append(Job(made, source, place, name))
    return jobs


def make_copies(jobs: Sequence[Job], settings: Mapping[str, Any], args: Any) -> int:
    """Write the meshes that do not stand yet, then the list of them."""
    part, parts = cli.parse_shard(args.shard)
    name = "shapes.json" if args.shard is None else f"shapes.{part}-of-{parts}.json"
    target, mine = args.output / name, jobs[part::parts]
    journal = Journal(target.with_name(name + ".journal"), settings, args.overwrite)
    known = ({} if args.overwrite else _known(target, settings)) | journal.done
    todo = [job for job in mine if not _stands(known.get(job.id), job, args.output)]
    failures = []
    work = functools.partial(make_copy, folder=args.output, seed=args.seed, strength=args.strength)
    for place, entry, error in map_items(work, todo, args.workers, "disguise", args.quiet):
        job = todo[place]
        if error is None:
            known[job.id] = entry
            journal.add(job.id, entry)
        else:
            log.warning("%s: %s", job.id, error)
            failures.append({"id": job.id, "stage": "disguise", "error": error})
    failed = {row["id"] for row in failures}
    sources = _carried(args.input)
    made = [job for job in mine if job.id not in failed]
    shapes = [{**known[job.id], **sources.get(job.source.id, {})} for job in made]
    write_failures(target, failures)
    if shapes:
        write_json(target, {"shapes": shapes})
        counts = {"copies": len(mine), "made": len(made), "failed": len(failed)}
        write_run(target, settings, counts, packages=("numpy", "trimesh", "fast_simplification"))
    journal.finish()
    print(f"{target}: {len(made)} copies ({len(mine) - len(todo)} reused, {len(failed)} failed)")
    if failed:
        return cli.SOME_FAILED if made else cli.FAILED
    return cli.OK


def make_copy(job: Job, folder: Path, seed: int, strength: float) -> dict[str, Any]:
    """Disguise one shape, write the mesh, return its entry for shapes.json."""
    import numpy as np

    from data_curation.disguise import DISGUISES, disguise

    rng = np.random.default_rng([seed, job.place, list(DISGUISES).index(job.disguise)])
    digest = sha256(job.source.path)
    vertices, faces = load_arrays(job.source.path)
    vertices, faces, parameters = disguise(job.disguise, vertices, faces, rng, strength)
    path = f"meshes/{job.id}.ply"
    write_ply(folder / path, vertices, faces)
    return {
        "id": job.id,
        "path": path,
        "category": job.source.category,
        "copied_from": job.source.id,
        "copied_from_sha256": digest,
        "disguise": job.disguise,
        "disguise_parameters": parameters,
    }


def write_ply(path: Path, vertices: Any, faces: Any) -> None:
    """Binary PLY with double coordinates, so that an exact copy is exact."""
    import numpy as np

    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    with replacing(path) as temporary:
        body = vertices.astype("<f8").tobytes() + rows.tobytes()
        temporary.write_bytes(head.encode("ascii") + body)


def _known(target: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Entries by id of the list that exists, and of its parts when the target is the whole."""
    paths = [target] if target.exists() else []
    if target.name == "shapes.json":
        paths += sorted(target.parent.glob("shapes.*-of-*.json"))
    known: dict[str, Any] = {}
    for path in (p for p in paths if run_path(p).exists()):
        require_same(str(path), read_json(run_path(path))["settings"], settings)
        known |= {entry["id"]: entry for entry in read_json(path)["shapes"]}
    return known


def _stands(entry: Mapping[str, Any] | None, job: Job, folder: Path) -> bool:
    """Whether the copy exists and was made from the source file as it is now."""
    if entry is None or not (folder / entry["path"]).is_file() or not job.source.path.is_file():
        return False
    return bool(entry["copied_from_sha256"] == sha256(job.source.path))


def _carried(source: Path) -> dict[str, dict[str, Any]]:
    """What a copy takes over from the entry of its source, by source id."""
    index = source / "shapes.json" if source.is_dir() else source
    if index.suffix != ".json" or not index.is_file():
        return {}
    rows = read_json(index)["shapes"]
    return {row["id"]: {key: row[key] for key in CARRIED if key in row} for row in rows}


if __name__ == "__main__":
    raise SystemExit(main())
