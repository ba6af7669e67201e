"""CSV tables of shapes: read in any dialect, one name a column, written in one form.

The paper's files call the same things `uid` and `model_uid`, `label` and `lvis_category`, `caption`
and `cap3d_caption`; `ALIASES` says so once. The same file in every stage that reads tables.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import write_text

ALIASES = {
    "uid": ("model_uid", "uid", "id"),
    "caption": ("caption", "cap3d_caption"),
    "label": ("lvis_category", "label"),
    "view": ("view_path",),
    "keep": ("keep",),
}
Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """Rows in file order, each with every column."""

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]

    def column(self, meaning: str) -> str:
        """Name of the column with a meaning of `ALIASES`, or the column of that very name.

        Raises:
            ValueError: none is there, or two are.
        """
        found = [name for name in ALIASES.get(meaning, (meaning,)) if name in self.columns]
        if len(found) == 1:
            return found[0]
        problem = f"{len(found)} columns" if found else "no column"
        raise ValueError(
            f"{self.path}: {problem} for the {meaning} ({' or '.join(ALIASES.get(meaning, ()))}); "
            f"its columns are {', '.join(self.columns)}"
        )


def read_table(path: Path, bare: Sequence[str] = ()) -> Table:
    """Read a CSV in UTF-8, with or without byte order mark, LF or CRLF.

    Args:
        bare: columns of a file without a header line; such a file is one whose first cell is none
            of the names of a uid. Empty: a header is needed. A line that ends early is filled up.

    Raises:
        ValueError: naming file and line: not text, no header, a doubled column, too many fields.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = csv.reader(handle, strict=True)
            found = [(lines.line_num, line) for line in lines if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV table in UTF-8: {error}") from error
    first = [cell.strip() for cell in found[0][1]] if found else []
    headed = bool(first) and first[0].lower() in ALIASES["uid"]
    if found and not headed and not bare:
        raise ValueError(f"{path}: no header; its first line is {','.join(first)!r:.60}")
    columns = tuple(first) if headed else tuple(bare)
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path}: a column stands twice: {', '.join(columns)}")
    return Table(path, columns, [_row(path, columns, *line) for line in found[headed:]])


def _row(path: Path, columns: tuple[str, ...], number: int, line: list[str]) -> Row:
    if len(line) > len(columns):
        raise ValueError(
            f"{path}: line {number} has {len(line)} fields, {len(columns)} expected "
            f"({', '.join(columns)}); put text with commas in quotes"
        )
    return dict(zip(columns, [*line, *[""] * (len(columns) - len(line))], strict=True))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write UTF-8 with a header and LF line ends; only these columns."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


def check_captions(place: str, captions: Sequence[str], most: float = 0.5) -> None:
    """Raise ValueError when a caption is empty, or one stands for over `most` of several rows.

    A table read with the wrong column gives every shape the same caption, and nothing fails.
    """
    if "" in captions:
        raise ValueError(f"{place}: the caption of row {captions.index('')} is empty")
    text, count = Counter(captions).most_common(1)[0] if captions else ("", 0)
    if len(captions) > 1 and count > most * len(captions):
        raise ValueError(
            f"{place}: {count} of {len(captions)} captions are {text!r:.60}; wrong column?"
        )
