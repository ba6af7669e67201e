"""How many shapes share a caption, for every table of captions given.

Example: python caption_stats.py captions.phrase.csv captions.sentence.csv captions.paragraph.csv
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mvcaption import cli


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "json")
    parser.add_argument("tables", type=Path, nargs="+", help="CSV with a column of captions")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from mvcaption.csv_tables import read_table
    from mvcaption.distinct import distinctness
    from mvcaption.results import table_of

    found = {}
    for path in args.tables:
        table = read_table(path)
        captions = [row[table.column("caption")].strip() for row in table.rows]
        if not captions:
            raise ValueError(f"{path}: no rows")
        found[path.stem] = distinctness(captions)
    if args.json:
        print(json.dumps({name: value._asdict() for name, value in found.items()}))
    else:
        print(table_of(found))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
