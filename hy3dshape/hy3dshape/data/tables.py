"""CSV tables of shapes: `model_uid`, categories, captions, view paths.

The paper's tables name their captions `cap3d_caption` or `caption`, depending on the table.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

CAPTION_COLUMNS = ("cap3d_caption", "caption")
Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table in file order."""

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]

    def require(self, column: str) -> str:
        """`column` itself. Raises ValueError naming file and columns when it is absent."""
        if column not in self.columns:
            raise ValueError(
                f"{self.path}: no column {column!r}; its columns are {', '.join(self.columns)}"
            )
        return column

    def by_uid(self) -> dict[str, Row]:
        """Rows by `model_uid`; a row that stands twice counts once.

        Raises:
            ValueError: a row without uid, or two different rows with the same one.
        """
        self.require("model_uid")
        found: dict[str, Row] = {}
        for number, row in enumerate(self.rows):
            uid = row["model_uid"]
            if not uid:
                raise ValueError(f"{self.path}: row {number} has no model_uid")
            if found.setdefault(uid, row) != row:
                raise ValueError(f"{self.path}: two different rows for model_uid {uid!r}")
        return found

    def caption_column(self, wanted: str | None = None) -> str:
        """The column that holds the captions: `wanted`, else the only known one.

        Raises:
            ValueError: naming file and columns: `wanted` is absent, or none or two are there.
        """
        if wanted is not None:
            return self.require(wanted)
        present = [name for name in CAPTION_COLUMNS if name in self.columns]
        if len(present) == 1:
            log.info("%s: captions from column %r", self.path, present[0])
            return present[0]
        problem = "two caption columns" if present else "no caption column"
        raise ValueError(
            f"{self.path}: {problem} among {', '.join(self.columns)}; name one with caption_column"
        )


def read_table(path: Path | str, require: Sequence[str] = ()) -> Table:
    """Read a CSV with a header line, UTF-8.

    Raises:
        ValueError: naming the file and line: not text, no rows, a doubled column, a row of
                    another length than the header, a `require`d column absent.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = csv.reader(handle, strict=True)
            columns = tuple(next(lines, ()))
            rows = [_row(path, lines.line_num, columns, line) for line in lines if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV table in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path}: no rows")
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path}: a column stands twice: {', '.join(columns)}")
    table = Table(path, columns, rows)
    for column in require:
        table.require(column)
    return table


def _row(path: Path, number: int, columns: tuple[str, ...], line: list[str]) -> Row:
    if len(line) != len(columns):
        raise ValueError(f"{path}: line {number} has {len(line)} fields, {len(columns)} expected")
    return dict(zip(columns, line, strict=True))
