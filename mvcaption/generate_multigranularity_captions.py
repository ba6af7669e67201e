"""Captions of shapes at three levels (phrase, sentence, paragraph), in one table each.

By a vision-language model from renders, or without weights from what is written about a shape and
what can be measured on its mesh:
  python generate_multigranularity_captions.py --metadata_csv train.csv --output_csv captions.csv
  python generate_multigranularity_captions.py --backend metadata,geometry --input shapes.json
         --output_csv captions.csv

Writes OUT.csv (a row a shape: three captions, status, backend, model, views, raw), OUT.phrase.csv,
OUT.sentence.csv, OUT.paragraph.csv (model_uid, lvis_category, caption) and OUT.rows.jsonl, from
which a run goes on; failed rows are tried again. Prints how many shapes share a caption.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvcaption import cli, files

if TYPE_CHECKING:
    from mvcaption.asking import Job
    from mvcaption.rowstore import RowStore

PROMPTS = Path(__file__).parent / "prompts"
BACKENDS = ("vlm", "metadata", "geometry", "metadata,geometry")
Rows = list[dict[str, Any]]


def build_parser() -> argparse.ArgumentParser:
    p = cli.parser(__doc__, "limit", "shard", "workers", "overwrite")
    add = p.add_argument
    add("--input", type=Path, help="shapes.json, for metadata and geometry, or vlm with --views")
    add("--metadata_csv", type=Path, help="table with a uid and the path of a sprite, for vlm")
    add("--output", "--output_csv", dest="output", type=Path, required=True, metavar="CSV")
    add("--backend", choices=BACKENDS, default="vlm", help="who writes the captions (default vlm)")
    add("--views", type=Path, metavar="DIR", help="folder of render_views.py, with --input")
    add("--uid-col", default="model_uid", help="column of ids (default model_uid)")
    add("--path-col", default="view_path", help="column of sprites, relative to the table")
    add("--model_id", default="Qwen/Qwen3-VL-8B-Instruct", help="folder or hub name")
    add("--prompts", default="shape", help="shape (default), paper, or a text file")
    add("--dtype", default="auto", help="auto, bfloat16, float16 or float32 (default auto)")
    add("--device_map", default="auto", help="of transformers: auto, cpu, cuda:0 (default auto)")
    add("--force-gpu0", action="store_true", help="everything on cuda:0")
    add("--attn_impl", choices=("flash_attention_2", "sdpa", "eager"), help="attention")
    add("--offline", action="store_true", help="no hub, only what is here")
    add("--cache-dir", type=Path, help="of the hub's files")
    add("--num-views", type=int, default=12, help="tiles of a strip without views.json (12)")
    add("--views-per-sample", type=int, default=4, help="views shown (default 4)")
    add("--split", choices=("train", "val"), default="val",
        help="train: random views by seed and id; val: the policy (default)")  # fmt: skip
    add("--val-view-policy", default="even", help="even, first, center, indices:i,j,k, index:i")
    add("--max-new-tokens", type=int, default=256, help="doubled when cut off (default 256)")
    add("--retries", type=int, default=3, help="attempts in total (default 3)")
    add("--temperature", type=float, default=0.0, help="0: greedy (default)")
    add("--num-beams", type=int, default=1, help="default 1")
    add("--batch-size", type=int, default=32, help="shapes at once (default 32)")
    add("--skip_bad", action="store_true", help="exit with 0 though some rows failed")
    add("--fail-log", type=Path, help="also list failures here: uid, tab, error")
    add("--fsync-every", type=int, default=1, help="rows between syncs to disk (default 1)")
    add("--seed", type=int, default=42, help="of random views and sampling (default 42)")
    add("--language", default="en", help="of names and tags (default en)")
    add("--stop", default="", metavar="A,B", help="tags of a catalogue that name no thing")
    add("--progress", action="store_true", help="progress bar even where stderr is a file")
    return p


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    if (args.input is None) == (args.metadata_csv is None):
        parser.error("give either --input or --metadata_csv")
    if args.backend != "vlm" and args.input is None:
        parser.error("metadata and geometry need --input, a shapes.json")
    if args.backend == "vlm" and args.input is not None and args.views is None:
        parser.error("vlm with --input needs --views, the folder of the renders")
    if min(args.batch_size, args.retries, args.max_new_tokens, args.fsync_every) < 1:
        raise ValueError("--batch-size, --retries, --max-new-tokens, --fsync-every: 1 or more")
    return _by_model(args) if args.backend == "vlm" else _by_facts(args)


def _by_facts(args: argparse.Namespace) -> int:
    """Captions from metadata and measurements; only measurements take time and are stored."""
    from mvcaption import meshes, pool
    from mvcaption.measure import VERSION
    from mvcaption.measuring import Work, facts_of
    from mvcaption.rowstore import RowStore
    from mvcaption.upright import Turns

    records = {row["id"]: row for row in files.read_json(_index(args.input))["shapes"]}
    items = meshes.list_meshes(args.input)[: args.limit]
    settings: dict[str, Any] = {"backend": args.backend}
    done: dict[str, Any] = {}
    if "geometry" in args.backend:
        settings["version"] = VERSION
        store = RowStore(args.output, settings, args.shard, args.overwrite)
        turns, digests = Turns(args.input, "file"), _digests(items)
        part, parts = cli.parse_shard(args.shard)
        of = {i.id: [digests[i.id], turns.of(i.id).ravel().tolist()] for i in items}
        todo = [i for i in items[part::parts] if not _stored(store.done, i.id, of[i.id])]
        works = [Work(i.id, i.path, turns.of(i.id)) for i in todo]
        for got in pool.map_items(facts_of, works, args.workers, "measure", _quiet(args)):
            uid = works[got.place].uid
            value = {"facts": got.value} if got.error is None else {"error": got.error}
            store.add(uid, {"of": of[uid], **value})
        store.close()
        if parts > 1:
            print(f"{store.path}: {len(works)} measured; without --shard writes the tables")
            return cli.OK
        done = store.done
    rows = [_worded(args, records[item.id], done.get(item.id)) for item in items]
    return _finish(args, rows, settings, ("numpy", "scipy", "trimesh"))


def _index(source: Path) -> Path:
    index = source / "shapes.json" if source.is_dir() else source
    if index.suffix != ".json" or not index.is_file():
        raise ValueError(f"{source}: metadata and geometry need a shapes.json; see list_shapes.py")
    return index


def _digests(items: Sequence[Any]) -> dict[str, str]:
    """SHA-256 of mesh files that are there; one that is not fails when it is measured."""
    return {i.id: files.sha256(i.path) if i.path.is_file() else "" for i in items}


def _stored(done: dict[str, Any], uid: str, of: list[Any]) -> bool:
    found = done.get(uid, {})
    return "facts" in found and found["of"] == of


def _worded(args: argparse.Namespace, record: dict[str, Any], stored: Any) -> dict[str, Any]:
    """The row of a shape; failed when it could not be measured or its captions break a rule."""
    import json

    from mvcaption import validate, wording
    from mvcaption.measuring import facts_from

    row = {"model_uid": record["id"], "lvis_category": record.get("category", ""),
           "backend": args.backend, "model": "", "views": "", "note": ""}  # fmt: skip
    blank = dict.fromkeys(validate.LEVELS, "") | {"status": "failed", "raw": ""}
    if stored is not None and "error" in stored:
        return row | blank | {"error": stored["error"]}
    stop = frozenset(args.stop.lower().split(","))
    written = "metadata" in args.backend
    about = wording.About.of(record, args.language, stop) if written else None
    facts = facts_from(stored["facts"]) if stored is not None else None
    if about and facts and wording.size_disagrees(about, facts):
        row["note"] = "size of the catalogue disagrees with the mesh"
    try:
        made = wording.captions(about, facts)
    except ValueError as error:
        return row | blank | {"error": str(error)}
    limits = validate.MEASURED if facts else validate.WRITTEN
    texts = {level: getattr(made, level) for level in validate.LEVELS}
    wrong = validate.problems(texts, limits, shape_only=False)
    raw = json.dumps([list(clause) for clause in made.clauses], ensure_ascii=False)
    status = "failed" if wrong else "done"
    return row | texts | {"status": status, "raw": raw, "error": "; ".join(wrong)}


def _by_model(args: argparse.Namespace) -> int:
    from mvcaption import validate
    from mvcaption.asking import Asker
    from mvcaption.rowstore import RowStore
    from mvcaption.vision import Vision, VisionOptions, digest

    prompt = _prompt(args.prompts)
    rows = _from_views(args) if args.input is not None else _from_csv(args)
    rows = rows[: args.limit]
    settings = {
        "backend": "vlm", "model": args.model_id, "digest": digest(args.model_id),
        "prompt": prompt, "dtype": args.dtype, "split": args.split, "seed": args.seed,
        "policy": args.val_view_policy, "views": args.views_per_sample, "beams": args.num_beams,
        "max_new_tokens": args.max_new_tokens, "retries": args.retries,
        "temperature": args.temperature,
    }  # fmt: skip
    store = RowStore(args.output, settings, args.shard, args.overwrite)
    part, parts = cli.parse_shard(args.shard)
    todo = [
        r for r in rows[part::parts] if store.done.get(r["model_uid"], {}).get("status") != "done"
    ]
    if todo:
        device = "cuda:0" if args.force_gpu0 else args.device_map
        options = VisionOptions(
            args.model_id, args.dtype, device, args.attn_impl, args.offline, args.cache_dir,
            args.temperature, args.num_beams, args.seed,
        )  # fmt: skip
        shape_only = args.prompts != "paper"
        asker = Asker(Vision(options, prompt), args.max_new_tokens, args.retries,
                      validate.MODEL, shape_only)  # fmt: skip
        jobs = [_job(args, row) for row in todo]
        _store(args, store, asker.run(jobs, args.batch_size), len(jobs))
    store.close()
    if parts > 1:
        print(f"{store.path}: {len(todo)} rows of this share; without --shard writes the tables")
        return cli.OK
    made = [
        row | store.done[row["model_uid"]] | {"backend": "vlm", "model": args.model_id}
        for row in rows
    ]
    for row in made:
        row["views"] = " ".join(map(str, row["views"]))
    return _finish(args, made, settings, ("numpy", "torch", "transformers"))


def _prompt(name: str) -> str:
    path = PROMPTS / f"{name}.txt" if name in ("shape", "paper") else Path(name)
    return path.read_text(encoding="utf-8").strip()


def _from_csv(args: argparse.Namespace) -> Rows:
    """Rows of the table: id, sprite, category. A row without one is told, not left out."""
    from mvcaption.csv_tables import read_table

    table = read_table(args.metadata_csv)
    if not table.columns:
        return []
    uid, path = table.column(args.uid_col), table.column(args.path_col)
    found: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(table.rows):
        if not row[uid].strip() or not row[path].strip():
            raise ValueError(f"{args.metadata_csv}: row {number} has no {uid} or no {path}")
        sprite = args.metadata_csv.parent / row[path].strip()
        made = {"model_uid": row[uid].strip(), "sprite": sprite,
                "lvis_category": row.get("lvis_category", row.get("label", ""))}  # fmt: skip
        if found.setdefault(made["model_uid"], made) != made:
            raise ValueError(f"{args.metadata_csv}: two different rows for {made['model_uid']!r}")
    return list(found.values())


def _from_views(args: argparse.Namespace) -> Rows:
    from mvcaption import meshes

    rows = []
    for item in meshes.list_meshes(args.input):
        about = args.views / item.id / "views.json"
        sprite = files.read_json(about)["sprite"] if about.is_file() else "views.json"
        rows.append({"model_uid": item.id, "sprite": about.parent / sprite,
                     "lvis_category": item.category})  # fmt: skip
    return rows


def _job(args: argparse.Namespace, row: dict[str, Any]) -> Job:
    from mvcaption import views
    from mvcaption.asking import Job

    form = views.layout(row["sprite"], args.num_views)
    if args.split == "train":
        wanted = views.draw(args.seed, row["model_uid"], form[0], args.views_per_sample)
    else:
        wanted = views.pick(args.val_view_policy, form[0], args.views_per_sample)
    load = partial(views.tiles, row["sprite"], form, wanted)
    return Job(row["model_uid"], load, tuple(wanted))


def _store(args: argparse.Namespace, store: RowStore, results: Iterator[Any], count: int) -> None:
    from tqdm import tqdm

    bar = tqdm(results, total=count, desc="caption", unit="shape",
               disable=False if args.progress else _quiet(args) or None)  # fmt: skip
    for number, (job, made) in enumerate(bar, 1):
        store.add(job.uid, made)
        if number % args.fsync_every == 0:
            descriptor = os.open(store.path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def _quiet(args: argparse.Namespace) -> bool:
    return bool(args.quiet) and not args.progress


def _finish(
    args: argparse.Namespace, rows: Rows, settings: dict[str, Any], packages: Sequence[str]
) -> int:
    from mvcaption.results import table_of, write_tables
    from mvcaption.validate import kind

    found = write_tables(args.output, rows)
    failed = [row for row in rows if row["status"] != "done"]
    kinds = Counter(kind(part) for row in failed for part in row["error"].split("; "))
    steps = Counter(row["step"] for row in rows if row.get("step"))
    notes = Counter(row["note"] for row in rows if row.get("note"))
    counts = {"rows": len(rows), "done": len(rows) - len(failed), "failed": len(failed)}
    about = {
        "problems": dict(sorted(kinds.items())), "steps": dict(sorted(steps.items())),
        "notes": dict(notes), "distinct": {k: v._asdict() for k, v in found.items()},
    }  # fmt: skip
    source = [p for p in (args.metadata_csv, args.input) if p is not None and p.is_file()]
    files.write_run(args.output, settings, counts, source, packages, **about)
    errors = [{"id": r["model_uid"], "stage": "caption", "error": r["error"]} for r in failed]
    files.write_failures(args.output, errors)
    if args.fail_log is not None:
        lines = [f"{row['id']}\t{row['error']}\n" for row in errors]
        files.write_text(args.fail_log, "".join(lines))
    print(f"{args.output}: {counts['done']} of {len(rows)} shapes ({_who(args)})", end="")
    print(f", {len(failed)} failed" + "".join(f", {n} x {text}" for text, n in notes.items()))
    if found:
        print(table_of(found))
    return cli.SOME_FAILED if failed and not args.skip_bad else cli.OK


def _who(args: argparse.Namespace) -> str:
    return args.model_id if args.backend == "vlm" else f"{args.backend}, no vision model"


if __name__ == "__main__":
    raise SystemExit(main())
