"""Keep captions that are about one instance of their label, without colour and material words.

Example: python filter_caption_label_pairs.py --in_csv pairs.csv --out_csv screened.csv

Writes OUT.csv (uid, keep, caption, label: kept rows) and beside it .all.csv (every row: yes, no or
failed, with reason, confidence, the caption before and after) and .rows.jsonl with raw answers,
from which a run goes on; failed rows are tried again. --calibrate compares decisions with those of
labelled rows.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_curation import cli, files

if TYPE_CHECKING:
    from data_curation.judging import Judged, Row

SYNONYMS = Path(__file__).parent / "classes" / "synonyms.txt"
COLUMNS = (
    "uid",
    "keep",
    "reason",
    "confidence",
    "caption",
    "original",
    "label",
    "step",
    "attempts",
)


def build_parser() -> argparse.ArgumentParser:
    p = cli.parser(__doc__, "device", "limit", "shard", "overwrite")
    add = p.add_argument
    add("--input", "--in_csv", type=Path, dest="input", metavar="CSV", help="uid, caption, label")
    add("--output", "--out_csv", type=Path, dest="output", metavar="CSV", help="kept rows")
    add("--backend", choices=("lexicon", "llm", "score"), default="lexicon",
        help="rules on words (default); a language model's answer; its P(yes)")  # fmt: skip
    add("--model_name", default="Qwen/Qwen3-4B-Instruct-2507", help="folder or hub name")
    add("--dtype", default="auto", help="of the model (default auto)")
    add("--max_new_tokens", type=int, default=96, help="of an answer, one line (default 96)")
    add("--batch", type=int, default=64, help="captions at once (default 64)")
    add("--retries", type=int, default=3, help="attempts in total (default 3)")
    add("--retry_backoff", type=float, default=1.5, help="waits 0.5 b^attempt s (default 1.5)")
    add("--min-confidence", type=float, default=0.5, help="P(yes) to keep with score (default 0.5)")
    add("--synonyms", type=Path, default=SYNONYMS, help="other word: class, of the lexicon")
    add("--calibrate", type=Path, metavar="CSV", help="labelled rows: caption, label, keep")
    add("--final_merge_out", type=Path, metavar="CSV", help="the kept rows once more")
    add("--log_every", type=int, default=1000, help="rows between log lines with -v")
    return p


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    if args.calibrate is None and (args.input is None or args.output is None):
        parser.error("--input and --output are needed (or --calibrate)")
    if args.batch < 1 or args.retries < 1 or args.max_new_tokens < 1:
        raise ValueError("--batch, --retries and --max_new_tokens must be 1 or more")
    return _calibrate(args) if args.calibrate is not None else _screen(args)


def _rows(path: Path) -> list[Row]:
    from data_curation.csv_tables import read_table
    from data_curation.judging import Row

    table = read_table(path)
    if not table.columns:
        return []
    uid, caption, label = (table.column(m) for m in ("uid", "caption", "label"))
    found = [Row(r[uid].strip(), r[caption].strip(), r[label].strip()) for r in table.rows]
    bad = next((row for row in found if not row.uid or not row.label), None)
    if bad is not None:
        raise ValueError(f"{path}: a row without uid or label: {bad!r:.100}")
    return found


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """What decides a decision, so that a resumed run agrees with itself."""
    if args.backend == "lexicon":
        return {"backend": "lexicon", "synonyms": files.sha256(args.synonyms)}
    from data_curation import judging
    from data_curation.encoder import digest
    from data_curation.generator import model_settings

    prompt = [judging.SYSTEM, judging.REMINDER] if args.backend == "llm" else [judging.QUESTION]
    about = {"backend": args.backend, "prompt": prompt, "dtype": args.dtype}
    more: dict[str, Any] = {"max_new_tokens": args.max_new_tokens, "retries": args.retries}
    if args.backend == "score":
        more = {"min_confidence": args.min_confidence}
    return about | more | model_settings(args.model_name, digest)


def _judged(args: argparse.Namespace, rows: Sequence[Row]) -> Iterator[tuple[Row, Judged]]:
    """Each row with its decision, as they are made; the model is loaded if there is a row."""
    if not rows:
        return
    if args.backend == "lexicon":
        from data_curation.classes import read_synonyms
        from data_curation.screening import RuleScreener

        screen = RuleScreener(read_synonyms(args.synonyms))
        for row in rows:
            found = screen(row.caption, row.label)._asdict()
            yield row, found | {"step": "rule", "attempts": 1, "raw": ""}
        return
    from data_curation import judging
    from data_curation.generator import Chat

    chat = Chat(args.model_name, args.device, args.dtype)
    if args.backend == "score":
        yield from judging.judge_by_score(chat.yes, rows, args.batch, args.min_confidence)
        return

    def pause(attempt: int) -> None:
        time.sleep(0.5 * args.retry_backoff ** (attempt - 1))

    yield from judging.judge(chat, rows, args.batch, args.max_new_tokens, args.retries, pause)


def _screen(args: argparse.Namespace) -> int:
    from data_curation.rowstore import RowStore

    rows = _rows(args.input)[: args.limit]
    part, parts = cli.parse_shard(args.shard)
    settings = _settings(args)
    store = RowStore(args.output, settings, args.shard, args.overwrite)
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.uid, row)
    todo = [row for row in [*first.values()][part::parts] if not _done(row, store.done)]
    for row, made in _watched(args, todo):
        store.add(row.uid, {"of": [row.caption, row.label], **made})
    store.close()
    if parts > 1:
        print(f"{store.path}: {len(todo)} rows of this share; without --shard writes the table")
        return cli.OK
    twice = {"keep": "no", "reason": "uid stands before", "confidence": 1.0, "caption": ""}
    found = [
        {"original": row.caption, "uid": row.uid, "label": row.label}
        | (store.done[row.uid] if first[row.uid] is row else twice)
        for row in rows
    ]
    return _write(args, found, settings)


def _done(row: Row, done: dict[str, Any]) -> bool:
    found = done.get(row.uid, {})
    return found.get("of") == [row.caption, row.label] and found["keep"] != "failed"


def _watched(args: argparse.Namespace, rows: Sequence[Row]) -> Iterator[tuple[Row, Judged]]:
    import logging

    from tqdm import tqdm

    shown = True if args.quiet else None
    bar = tqdm(_judged(args, rows), total=len(rows), desc="screen", disable=shown, unit="row")
    for number, pair in enumerate(bar, 1):
        if args.log_every > 0 and number % args.log_every == 0:
            logging.getLogger(__name__).info("%d of %d rows", number, len(rows))
        yield pair


def _write(args: argparse.Namespace, found: list[dict[str, Any]], settings: dict[str, Any]) -> int:
    from data_curation.csv_tables import write_table

    write_table(args.output.with_suffix(".all.csv"), COLUMNS, found)
    kept = [row for row in found if row["keep"] == "yes"]
    for path in filter(None, (args.output, args.final_merge_out)):
        write_table(path, ("uid", "keep", "caption", "label"), kept)
    decided = Counter(row["keep"] for row in found)
    counts = {"rows": len(found)} | {k: decided[k] for k in ("yes", "no", "failed")}
    reasons = Counter(row["reason"] for row in found if row["keep"] == "no")
    steps = Counter(row.get("step", "") for row in found if row.get("step"))
    packages = ("numpy",) if args.backend == "lexicon" else ("numpy", "torch", "transformers")
    more = {"reasons": dict(sorted(reasons.items())), "steps": dict(sorted(steps.items()))}
    files.write_run(args.output, settings, counts, [args.input], packages, **more)
    failed = [row for row in found if row["keep"] == "failed"]
    failures = [{"id": r["uid"], "stage": "screen", "error": r["reason"]} for r in failed]
    files.write_failures(args.output, failures)
    inside = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    print(
        f"{args.output}: {len(kept)} of {len(found)} rows kept, {decided['no']} not"
        f"{f' ({inside})' if inside else ''}, {len(failed)} failed ({args.backend})"
    )
    return cli.SOME_FAILED if failed else cli.OK


def _calibrate(args: argparse.Namespace) -> int:
    """Decisions against those of labelled rows (keep: yes or no)."""
    from data_curation.csv_tables import read_table

    table = read_table(args.calibrate)
    keep, uid = table.column("keep"), table.column("uid")
    truth = {row[uid].strip(): row[keep].strip() for row in table.rows}
    rows = _rows(args.calibrate)
    if not rows or set(truth.values()) - {"yes", "no"} or len(truth) < len(rows):
        raise ValueError(f"{args.calibrate}: expected rows with their own uid and keep yes or no")
    made = {row.uid: found for row, found in _judged(args, rows)}
    decided = {name: found["keep"] for name, found in made.items() if found["keep"] != "failed"}
    right = sum(truth[name] == said for name, said in decided.items())
    kept = [name for name, said in decided.items() if said == "yes"]
    good = sum(truth[name] == "yes" for name in kept)
    print(f"{len(rows)} labelled rows, {len(rows) - len(decided)} failed ({args.backend})")
    print(f"keeps {len(kept)}, the labels {sum(v == 'yes' for v in truth.values())}")
    print(f"agrees in {right} of {len(decided)}; of those it keeps in {good} of {len(kept)}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
