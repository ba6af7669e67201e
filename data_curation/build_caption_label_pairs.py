"""Give every caption the best class of a list, by embeddings or by rules; keep those that fit.

Example: python build_caption_label_pairs.py --csv captions.csv --labels classes/lvis16.json
         --threshold 0.4 --out_csv pairs.csv

Writes OUT.csv (uid, caption, label, sim: kept rows) and beside it .all.csv (every row with score,
runner-up and reason), .counts.tsv, .hist.tsv, .summary.json, and .rows.jsonl, from which a run
goes on or takes another threshold without a model. --calibrate prints, for labelled rows, what
each threshold keeps and how often the label is right, and stores one in --bank_npz.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_curation import cli, files

if TYPE_CHECKING:
    from data_curation.bank import Bank
    from data_curation.encoder import Encoder
    from data_curation.pairing import Found, Item, Labeller

log = logging.getLogger(__name__)
SYNONYMS = Path(__file__).parent / "classes" / "synonyms.txt"


def build_parser() -> argparse.ArgumentParser:
    p = cli.parser(__doc__, "device", "limit", "shard", "overwrite")
    add = p.add_argument
    add("--input", "--csv", type=Path, dest="input", metavar="FILE",
        help="CSV uid,caption with or without a header; or a shapes.json")  # fmt: skip
    add("--output", "--out_csv", type=Path, dest="output", metavar="CSV", help="kept rows")
    add("--labels", type=Path, help="class list: {name: id}, [name, ...] or one name a line")
    add("--bank_npz", type=Path, help="embedded class list; made from --labels when not there")
    add("--backend", choices=("embedding", "lexicon"), default="embedding",
        help="cosine of sentence embeddings (default), or rules on words")  # fmt: skip
    add("--model_name", default="minilm", help="folder, hub name or minilm (default minilm)")
    add("--pooling", choices=("auto", "mean", "cls", "last"), default="auto",
        help="of the model's tokens (default: as its files say)")  # fmt: skip
    add("--query-format", choices=("auto", "plain", "instruct"), default="auto",
        help="instruct: with an instruction (default: if the model has one)")  # fmt: skip
    add("--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="default fp32")
    add("--use_flash", action="store_true", help="flash attention 2")
    add("--max_length", type=int, default=512, help="tokens of a caption (default 512)")
    add("--batch", type=int, default=512, help="captions at once on a GPU (default 512)")
    add("--threshold", type=float, help="keep scores of at least this (default: the bank's)")
    add("--min-margin", type=float, default=-1.0, help="and this far above the runner-up")
    add("--rescore", action="store_true", help="new threshold for a finished run; loads no model")
    add("--calibrate", type=Path, metavar="CSV", help="labelled rows: caption, label")
    add("--target", type=float, default=0.9, help="agreement to calibrate for (default 0.9)")
    add("--use", default="name", help="of a shapes.json: name,tags,category (default name)")
    add("--language", default="en", help="of names and tags in a shapes.json (default en)")
    add("--stop", default="", metavar="A,B", help="tags of a catalogue that name no thing")
    add("--synonyms", type=Path, default=SYNONYMS, help="other word: class, of the lexicon")
    add("--stats_prefix", type=Path, help="where the files beside go (default: OUT)")
    add("--log_every", type=int, default=40960, help="rows between log lines with -v")
    add("--progress", action="store_true", help="progress bar even where stderr is a file")
    return p


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    if args.calibrate is None and (args.input is None or args.output is None):
        parser.error("--input and --output are needed (or --calibrate)")
    if args.labels is None and (args.bank_npz is None or args.backend == "lexicon"):
        raise ValueError("give the class list with --labels, or embedded with --bank_npz")
    labeller, settings, known = _labeller(args)
    if args.calibrate is not None:
        return _calibrate(args, labeller, known)
    return _label(args, labeller, settings, known)


def _labeller(args: argparse.Namespace) -> tuple[Labeller, dict[str, Any], Known]:
    """What labels rows, what decides its labels, and the bank behind it."""
    from data_curation import classes, pairing

    names = list(classes.read_classes(args.labels)) if args.labels else []
    if args.backend == "lexicon":
        from data_curation.lexicon import Lexicon

        synonyms = classes.read_synonyms(args.synonyms)
        lexicon = Lexicon(names, synonyms, args.stop.lower().split(","))
        table = sorted([" ".join(key), name] for key, name in synonyms.items())
        about: dict[str, Any] = {"backend": "lexicon", "names": names, "synonyms": table}
        return pairing.by_lexicon(lexicon), about, Known(None, None, args)
    from data_curation.encoder import Encoder, EncoderOptions

    encoder = Encoder(
        EncoderOptions(
            args.model_name, args.pooling, args.query_format, args.max_length,
            args.dtype, args.device, args.use_flash, args.batch,
        )
    )  # fmt: skip
    known = Known(encoder, names, args)
    about = {"backend": "embedding", "names": known.names, **encoder.settings}
    return pairing.by_embedding(known.bank, encoder), about, known


class Known:
    """The bank of a run: read from --bank_npz, else made when the first row needs it."""

    def __init__(
        self, encoder: Encoder | None, names: list[str] | None, args: argparse.Namespace
    ) -> None:
        from data_curation.bank import read_bank

        self._encoder, self._path, self._bank = encoder, args.bank_npz, None
        self.names, self.calibration = names or [], {}
        if encoder is None or self._path is None or not self._path.exists():
            return
        self._bank = read_bank(self._path)
        files.require_same(str(self._path), self._bank.settings, encoder.settings)
        if self.names and self.names != self._bank.names:
            raise ValueError(f"{self._path}: holds other classes than {args.labels}; remove it")
        self.names, self.calibration = self._bank.names, self._bank.calibration

    def bank(self) -> Bank:
        from data_curation.bank import make_bank, write_bank

        if self._bank is None:
            assert self._encoder is not None
            self._bank = make_bank(self.names, self._encoder)
            if self._path is not None:
                write_bank(self._path, self._bank)
        return self._bank

    def store(self, calibration: dict[str, Any]) -> None:
        from data_curation.bank import write_bank

        self.bank().calibration = calibration
        write_bank(self._path, self.bank())

    def threshold(self) -> float:
        from data_curation.bank import threshold_of

        return threshold_of(self._encoder.settings, self.calibration) if self._encoder else 0.0


def _calibrate(args: argparse.Namespace, labeller: Labeller, known: Known) -> int:
    from data_curation import calibration, pairing
    from data_curation.csv_tables import read_table

    table = read_table(args.calibrate)
    caption, label = table.column("caption"), table.column("label")
    rows = [row for row in table.rows if row[caption].strip() and row[label].strip()]
    if known.names and (unknown := {row[label] for row in rows} - set(known.names)):
        raise ValueError(f"{args.calibrate}: {min(unknown)!r} is not in the class list")
    items = [pairing.Item("", row[caption].strip()) for row in rows]
    found = list(_watched(args, labeller, items))
    scores = [row["score"] if row["label"] else -1.0 for row in found]
    right = [one["label"] == row[label].strip() for one, row in zip(found, rows, strict=True)]
    print(f"{len(rows)} labelled rows, {sum(right)} of them labelled right at any score")
    print("threshold  kept  agree")
    for point in calibration.curve(scores, right):
        print(f"{point.threshold:9.2f} {point.kept:5.2f}  {point.agree:5.2f}")
    chosen = calibration.choose(scores, right, args.target)
    print(f"chosen: {chosen.threshold:.3f} keeps {chosen.kept:.0%}, agrees in {chosen.agree:.1%}")
    if args.bank_npz is not None and args.backend == "embedding":
        about = {"rows": str(args.calibrate), "sha256": files.sha256(args.calibrate)}
        known.store(about | {"target": args.target} | chosen._asdict())
    return cli.OK


def _label(
    args: argparse.Namespace, labeller: Labeller, settings: dict[str, Any], known: Known
) -> int:
    from data_curation import pairing
    from data_curation.rowstore import RowStore

    use = args.use.split(",")
    if set(use) - set(pairing.USES):
        raise ValueError(f"--use {args.use}: expected any of {','.join(pairing.USES)}")
    threshold = known.threshold() if args.threshold is None else args.threshold
    stop = frozenset(args.stop.lower().split(","))
    items = pairing.read_items(args.input, use, stop, args.language)[: args.limit]
    part, parts = cli.parse_shard(args.shard)
    store = RowStore(args.output, settings, args.shard, args.overwrite)
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.uid, item)
    todo = [item for item in [*first.values()][part::parts] if _missing(item, store.done)]
    if todo and args.rescore:
        raise ValueError(f"--rescore: {len(todo)} rows have no score, first {todo[0].uid!r}")
    for item, found in zip(todo, _watched(args, labeller, todo), strict=True):
        store.add(item.uid, {"of": _text(item), **found})
    store.close()
    if parts > 1:
        print(f"{store.path}: {len(todo)} rows of this share; without --shard writes the table")
        return cli.OK
    rows = [
        pairing.verdict(item, _found(item, first, store.done), threshold, args.min_margin)
        for item in items
    ]
    return _write(args, rows, settings | {"threshold": threshold, "min_margin": args.min_margin})


def _text(item: Item) -> list[Any]:
    return [item.caption, list(item.tags), item.category]


def _missing(item: Item, done: dict[str, Any]) -> bool:
    return bool(item.caption) and done.get(item.uid, {}).get("of") != _text(item)


def _found(item: Item, first: dict[str, Item], done: dict[str, Any]) -> Found:
    from data_curation.pairing import EMPTY, TWICE

    if first[item.uid] is not item:
        return TWICE
    return {k: v for k, v in done[item.uid].items() if k != "of"} if item.caption else EMPTY


def _watched(args: argparse.Namespace, labeller: Labeller, items: Sequence[Item]) -> Any:
    """What the labeller finds, with a progress bar and log lines."""
    from tqdm import tqdm

    shown = False if args.progress else True if args.quiet else None
    rows = tqdm(labeller(items), total=len(items), desc="label", disable=shown, unit="row")
    for number, found in enumerate(rows, 1):
        if args.log_every > 0 and number % args.log_every == 0:
            log.info("%d of %d rows", number, len(items))
        yield found


def _write(args: argparse.Namespace, rows: list[Found], settings: dict[str, Any]) -> int:
    from data_curation.pairing import write_results

    prefix = args.stats_prefix or args.output.with_suffix("")
    counts = write_results(args.output, prefix, rows, settings)
    packages = ("numpy",) if args.backend == "lexicon" else ("numpy", "torch", "transformers")
    files.write_run(args.output, settings, counts, [args.input], packages)
    inside = ", ".join(f"{v} {k.split()[1]}" for k, v in counts.items() if k.startswith("status"))
    share = counts["kept"] / max(counts["rows"], 1)
    print(
        f"{args.output}: {counts['kept']} of {counts['rows']} rows kept ({share:.1%}), "
        f"{counts['classes']} classes; {inside or 'no rows'} ({args.backend})"
    )
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
