#!/usr/bin/env python3
"""What the test can see on real shapes: generators with a known share of copies, measured.

A generator is made of held-out shapes, of which a share is replaced by disguised training shapes
(noise, remeshing, decimation, small turns, stretching, a part removed). Runs the scripts of the
other stages, which skip what stands in the output folder, and prints means over seeded mixtures.

  copy_study.py --train train.json --test test.json --held-out val.json --output DIR

FD and KID need --embeddings DIR with train.npz, test.npz, held_out.npz and copies.npz. The copies
to embed are those of OUTPUT/copies, which a first run without --embeddings makes.

The last table asks how often each training shape was copied: the same copies are drawn again and
again, by an even chance and by one in proportion to 1 + the near-duplicates of their source.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datacopying import cli, files

STAGES = Path(__file__).resolve().parents[1]
DISGUISES = "noise,remesh,decimate,rotate_small,stretch,remove_part"
SHARES = "0,0.01,0.05,0.1,0.2,0.5"
SETS = ("train", "test", "held_out", "copies")
TABLES = {"lfd": "lfd", "cd": "points", "embeddings": "embeddings"}  # of each metric
LISTED = 25  # neighbours for 1-NNA: enough for one of the mixture to be among them


def parser() -> argparse.ArgumentParser:
    made = cli.parser(__doc__, "seed", "workers", "json")
    add = made.add_argument
    for name in ("train", "test", "held-out"):
        add(f"--{name}", type=Path, required=True, metavar="SHAPES", help="shapes.json or folder")
    add("--output", type=Path, required=True, metavar="DIR", help="folder to work in")
    add("--metrics", default="lfd,cd", help="of lfd and cd; may be empty (default lfd,cd)")
    add("--embeddings", type=Path, metavar="DIR", help="tables of the four sets")
    add("--disguise", default=DISGUISES, help=f"comma-separated (default {DISGUISES})")
    add("--strength", type=float, default=1.0, help="of the disguises (default 1)")
    add("--count", type=int, default=160, help="training shapes to disguise (default 160)")
    add("--points", type=int, default=1024, help="of a cloud, for cd (default 1024)")
    add("--shares", default=SHARES, help=f"of copies (default {SHARES})")
    add("--repeats", type=int, default=8, metavar="N", help="mixtures a share (default 8)")
    add("--quantile", type=float, default=0.01, help="of the flags (default 0.01)")
    add("--bootstrap", type=int, default=200, help="draws an interval (default 200)")
    return made


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    made = parser()
    args = made.parse_args(argv)
    if min(args.repeats, args.bootstrap, args.count) < 1 or min(args.seed, args.workers) < 0:
        made.error("--repeats, --bootstrap, --count: 1 or more; --seed, --workers: 0 or more")
    cli.set_up_logging(args)
    metrics = [name for name in args.metrics.split(",") if name]
    if unknown := set(metrics) - {"lfd", "cd"}:
        raise ValueError(f"--metrics {', '.join(sorted(unknown))}: expected lfd, cd or both")
    metrics += ["embeddings"] if args.embeddings else []
    shares = [_share(text) for text in args.shares.split(",")]
    disguise(args)
    for metric in metrics:
        retrieve(metric, args)
    from datacopying import often, study, study_text

    setting = study.Setting(args.output, args.repeats, args.quantile, args.bootstrap, args.seed)
    result = {
        "metrics": {metric: study.of_metric(metric, shares, setting) for metric in metrics},
        "quality": [quality(share, args) for share in shares] if args.embeddings else None,
        "often": {metric: often.of_metric(metric, setting) for metric in metrics},
    }
    write(result, args)
    print(json.dumps(result, indent=1) if args.json else "\n".join(study_text.text(result)))
    return cli.OK


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"--shares {text}: expected 0 to 1")
    return value


def disguise(args: argparse.Namespace) -> None:
    """Copies of `--count` training shapes, each disguised in one way."""
    how = ("--disguise", args.disguise, "--pick", "one", "--strength", args.strength)
    more = (*how, "--count", args.count, "--neutral-ids")
    where = ("--input", args.train, "--output", args.output / "copies")
    _run(args, "data_curation/disguise_shapes.py", *where, *more, "--seed", args.seed)


def retrieve(metric: str, args: argparse.Namespace) -> None:
    """Descriptors of the four sets, and the neighbours that the study needs."""
    tables = {name: _table(metric, name, args) for name in SETS}
    among = [tables[name] for name in SETS[1:]]
    jobs: list[tuple[str, list[Path], list[Path], int, tuple[str, ...]]]
    jobs = [(name, [tables[name]], [tables["train"]], 1, ()) for name in SETS[1:]]
    jobs += [("train", [tables["train"]], [tables["train"]], 5, ("--exclude-self",))]
    jobs += [("among", among, among, LISTED, ("--exclude-self",))]
    name_there = {"embeddings": "l2"}.get(metric, metric)
    for name, query, database, topk, more in jobs:
        output = args.output / f"{name}.{metric}.json"
        where = ("--query", *query, "--database", *database, "--output", output)
        how = ("--metric", name_there, "--topk", topk, "--workers", args.workers, *more)
        _run(args, "retrieval/retrieve.py", *where, *how)


def _table(metric: str, name: str, args: argparse.Namespace) -> Path:
    if metric == "embeddings":
        path = Path(args.embeddings / f"{name}.npz")
        if not path.exists():
            raise ValueError(f"{path}: not found; embed {_meshes(name, args)} into it")
        return path
    path = Path(args.output / f"{name}.{TABLES[metric]}.npz")
    where = ("--input", _meshes(name, args), "--output", path, "--workers", args.workers)
    if metric == "lfd":
        _run(args, "retrieval/extract_lfd.py", *where)
    else:
        _run(args, "retrieval/sample_points.py", *where, "--points", args.points)
    return path


def _meshes(name: str, args: argparse.Namespace) -> Path:
    return args.output / "copies" / "shapes.json" if name == "copies" else getattr(args, name)


def _run(args: argparse.Namespace, script: str, *words: Any) -> str:
    """stdout of a script of another stage. ValueError when it fails."""
    argv = [sys.executable, str(STAGES / script), *map(str, words)]
    argv += ["-q"] if args.quiet else []
    run = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
    if run.returncode not in (cli.OK, cli.SOME_FAILED):
        raise ValueError(f"{script}: exit code {run.returncode}; what it said stands above")
    return run.stdout


def quality(share: float, args: argparse.Namespace) -> dict[str, float]:
    """FD and KID of the mixtures to the test shapes, by npz_eval.py; means over the repeats."""
    import numpy as np

    from datacopying import study as s

    measured = s.read_measured(args.output, "embeddings")
    tables = {name: _rows(args.embeddings / f"{name}.npz") for name in SETS[1:]}
    found = []
    for i in range(args.repeats):
        mixed = s.mixture(measured, share, np.random.default_rng([args.seed, i]))
        pool = {**tables["held_out"], **tables["copies"]}
        paths = args.output / "mixed.test.npz", args.output / "mixed.generated.npz"
        for path, rows, ids in zip(
            paths, (tables["test"], pool), (mixed.test, mixed.generated), strict=True
        ):
            with files.replacing(path) as temporary:
                np.savez(temporary, ids=ids, embeddings=[rows[name] for name in ids])
        more = ("--metrics", "fd,kid", "--draws", "0", "--json")
        metrics = json.loads(_run(args, "fpd_eval/npz_eval.py", *paths, *more))["metrics"]
        found.append([row["value"] for row in metrics])
    for path in paths:
        path.unlink()
    fd, kid = np.mean(found, axis=0).tolist()
    return {"copies": share, "fd": fd, "kid": kid}


def _rows(path: Path) -> dict[str, Any]:
    import numpy as np

    from datacopying.records import read_embeddings

    rows, _ = read_embeddings(path)
    with np.load(path, allow_pickle=False) as archive:
        if "ids" not in archive.files or archive["ids"].shape != (len(rows),):
            raise ValueError(f"{path}: ids: expected ({len(rows)},) names")
        return dict(zip(archive["ids"].tolist(), rows, strict=True))


def write(result: dict[str, Any], args: argparse.Namespace) -> None:
    """Result and run record."""
    keys = (
        "metrics",
        "disguise",
        "strength",
        "count",
        "points",
        "shares",
        "repeats",
        "quantile",
        "bootstrap",
    )
    settings = {key: getattr(args, key) for key in (*keys, "seed")}
    counts = next(iter(result["metrics"].values()))["n"] if result["metrics"] else {}
    path = args.output / "copy_study.json"
    files.write_json(path, result)
    files.write_run(path, settings, counts, (), ("numpy", "scipy"))


if __name__ == "__main__":
    raise SystemExit(main())
