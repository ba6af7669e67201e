"""Table of captions for training: shapes.json to CSV (model_uid, lvis_category, caption).

Example: python make_table.py --input shapes.json --output train.csv --caption mixed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_curation import cli

LEVELS = ("name", "phrase", "sentence")


def caption_of(row: Mapping[str, Any], level: str, seed: int, where: str) -> str:
    """The caption of a shape; `name` is "a chair", `mixed` draws a level from (seed, id).

    Raises:
        ValueError: the shape has no caption of that level.
    """
    import numpy as np

    if level == "mixed":
        rng = np.random.default_rng([seed, *row["id"].encode()])
        level = LEVELS[rng.integers(len(LEVELS))]
    if level == "name":
        name = str(row.get("names", {}).get("en", "")).strip()
        caption = f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}" if name else None
    else:
        caption = row.get("captions", {}).get(level)
    if not caption:
        raise ValueError(f"{where}: '{row['id']}' has no {level} caption")
    return str(caption)


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "seed")
    parser.add_argument("--input", type=Path, required=True, help="a shapes.json")
    parser.add_argument("--output", type=Path, required=True, help="the .csv to write")
    parser.add_argument("--caption", choices=(*LEVELS, "mixed"), default="phrase",
                        help="which one; mixed: one at random (default phrase)")  # fmt: skip
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    import csv
    import io

    from data_curation.files import write_text
    from data_curation.shapes_index import read_index

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["model_uid", "lvis_category", "caption"])
    rows = read_index(args.input)
    for row in rows:
        caption = caption_of(row, args.caption, args.seed, str(args.input))
        table.writerow([row["id"], row["category"], caption])
    write_text(args.output, text.getvalue())
    print(f"{args.output}: {len(rows)} captions")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
