"""Split a set of shapes into train, val and test, stratified, with near-duplicates on one side.

Writes DIR/train.json, val.json, test.json (each a shapes.json, usable as --input) and
DIR/split.json (the split of every id, and the groups). Shapes with equal mesh files always form a
group; with --retrieval, the result of retrieving the set against itself (--exclude-self), so do
shapes closer than --threshold, and with --same-author-and-name those of one maker and name. A
shape's side depends on a hash of (seed, id), so adding shapes moves few others. --labels and --top
choose shapes and classes, DIR/classes.json numbers them; --sizes writes DIR/train_<n>.json, each a
part of the next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from data_curation import classes, cli, files, selection, shapes_index, splits


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "seed")
    parser.add_argument("--input", type=Path, required=True, help="shapes.json or its folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument(
        "--ratios", default="0.8,0.1,0.1", help="train,val,test (default 0.8,0.1,0.1)"
    )
    parser.add_argument("--retrieval", type=Path, help="retrieval JSON of the set against itself")
    parser.add_argument(
        "--threshold", type=float, help="distance below which two shapes are near-duplicates"
    )
    parser.add_argument(
        "--same-author-and-name", action="store_true", help="these form a group as well"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="uid, label: only these, by this class"
    )
    parser.add_argument("--top", type=int, metavar="N", help="only the N largest classes")
    parser.add_argument("--classes", type=Path, help="class list; default: ranks of the classes")
    parser.add_argument("--sizes", metavar="A,B", help="nested subsets of the training set")
    args = parser.parse_args(argv)
    if (args.retrieval is None) != (args.threshold is None):
        parser.error("--retrieval and --threshold go together")
    cli.set_up_logging(args)
    index = args.input / "shapes.json" if args.input.is_dir() else args.input
    records = {row["id"]: row for row in shapes_index.read_index(index)}
    if not records:
        raise ValueError(f"{index}: no shapes to split")
    whole = set(records)
    records, ids = _chosen(args, records)
    pairs = _same_files(records, index.parent)
    if args.same_author_and_name:
        pairs += selection.same_author_and_name(records)
    close, unasked = _close(args.retrieval, args.threshold, records, whole)
    groups = splits.groups_of(records, [*pairs, *close])
    categories = {name: str(row.get("category", "")) for name, row in records.items()}
    side = splits.assign(groups, categories, _numbers(args.ratios), args.seed)
    _write(args, index, records, groups, side)
    classes.write_classes(args.output / "classes.json", ids)
    _report(groups, side, categories, unasked)
    return cli.OK


def _chosen(args: Any, records: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """The shapes that are split, and the ids of their classes."""
    whole = len(records)
    if args.labels is not None:
        records = selection.relabelled(records, args.labels)
    if args.top is not None:
        records = selection.of_largest(records, args.top)
    names = {str(row.get("category", "")) for row in records.values()} - {""}
    if args.classes is None:
        ids = classes.ids_of(names)
    else:
        ids = classes.read_classes(args.classes)
        classes.check_known(str(args.labels or args.input), names, ids, args.classes)
    if len(records) < whole:
        print(f"{len(records)} of {whole} shapes, of {len(names)} classes")
    return records, ids


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--ratios {text}: expected three numbers, for example 0.8,0.1,0.1"
        ) from error


def _same_files(records: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Pairs of ids whose mesh files have equal bytes."""
    owners = defaultdict(list)
    for name, row in sorted(records.items()):
        owners[files.sha256(folder / row["path"])].append(name)
    return [pair for names in owners.values() for pair in pairwise(names)]


def _close(
    path: Path | None, threshold: float | None, records: dict[str, Any], whole: set[str]
) -> tuple[list[tuple[str, str]], int]:
    """Pairs closer than the threshold, and how many shapes the retrieval has no query for."""
    if path is None or threshold is None:
        return [], 0
    found = splits.neighbours_of(files.read_json(path), str(path))
    named = found.keys() | {other for rows in found.values() for other, _ in rows}
    unknown = sorted(named - whole)
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} ids are not in the set, first {unknown[0]!r}; "
            "retrieve this set against itself"
        )
    pairs = splits.close_pairs(found, threshold)
    pairs = [pair for pair in pairs if records.keys() >= set(pair)]
    return pairs, len(records.keys() - found.keys())


def _write(
    args: Any, index: Path, records: dict[str, Any], groups: list[list[str]], side: dict[str, str]
) -> None:
    for name in splits.SPLITS:
        rows = [row for key, row in records.items() if side[key] == name]
        rows = shapes_index.moved(rows, index.parent, args.output)
        shapes_index.write_index(args.output / f"{name}.json", rows)
    train = [name for name, where in side.items() if where == "train"]
    order = selection.permutation(train, args.seed)
    for size in selection.sizes_of(args.sizes, len(train)) if args.sizes else []:
        rows = [records[name] for name in order[:size]]
        rows = shapes_index.moved(rows, index.parent, args.output)
        shapes_index.write_index(args.output / f"train_{size}.json", rows)
    _check(args.output, records, groups)
    kept = [group for group in groups if len(group) > 1]
    table = {"seed": args.seed, "assignment": dict(sorted(side.items())), "groups": kept}
    files.write_json(args.output / "split.json", table)
    settings = {"ratios": args.ratios, "seed": args.seed, "threshold": args.threshold,
                "same_author_and_name": args.same_author_and_name, "top": args.top,
                "sizes": args.sizes}  # fmt: skip
    counts = dict(Counter(side.values())) | {"groups": len(kept)}
    inputs = [p for p in (index, args.retrieval, args.labels, args.classes) if p]
    files.write_run(args.output / "split.json", settings, counts, inputs)


def _check(folder: Path, records: dict[str, Any], groups: list[list[str]]) -> None:
    """Read the three files again: every shape in just one, no group on two sides."""
    sets = [
        {row["id"] for row in shapes_index.read_index(folder / f"{name}.json")}
        for name in splits.SPLITS
    ]
    torn = [group for group in groups if sum(not side.isdisjoint(group) for side in sets) != 1]
    if torn or set.union(*sets) != set(records):
        raise AssertionError(f"{folder}: the splits are no partition, see {torn[:1]}")


def _report(
    groups: list[list[str]], side: dict[str, str], categories: dict[str, str], unasked: int
) -> None:
    """Print counts per split and category and what was kept together."""
    count = Counter((categories[name], split) for name, split in side.items())
    wide = max(len("category"), *(len(name) for name in categories.values()))
    print(f"{'category':{wide}}  " + "".join(f"{name:>7}" for name in splits.SPLITS))
    for category in sorted(set(categories.values())):
        cells = "".join(f"{count[category, name]:7d}" for name in splits.SPLITS)
        print(f"{category or '(none)':{wide}}  {cells}")
    total = Counter(side.values())
    print(f"{'all':{wide}}  " + "".join(f"{total[name]:7d}" for name in splits.SPLITS))
    kept = [group for group in groups if len(group) > 1]
    inside = sum(len(group) for group in kept)
    print(
        f"kept together: {len(kept)} groups of near-duplicates with {inside} of {len(side)} shapes"
    )
    if unasked:
        print(
            f"without a query in the retrieval: {unasked} shapes (close to others only as answers)"
        )


if __name__ == "__main__":
    raise SystemExit(main())
