"""The manifest: a CSV with one line a sample, appended as samples are made."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .files import write_text

COLUMNS = (
    "uid", "out_path", "ok", "cond_type", "cond_id", "cond_text", "source", "csv_row", "seed",
    "step", "batch_size", "output_type", "dt_sec",
)  # fmt: skip


class Manifest:
    """Lines by `out_path`, one each.

    Args:
        path: the CSV; None: nothing is written.
        redo: out_paths that are made now; old lines about them are dropped, and so is a torn last
            line, which a kill leaves.

    Raises:
        ValueError: the file is another table.
    """

    def __init__(self, path: Path | None, redo: Collection[str]) -> None:
        self.path = path
        self.listed: set[str] = set()
        if path is None:
            return
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
        if rows and tuple(rows[0]) != COLUMNS:
            raise ValueError(f"{path}: not a manifest: its columns are {', '.join(rows[0])}")
        whole = [row for row in rows if None not in row.values()]
        kept = [row for row in whole if row["out_path"] not in redo]
        self.listed = {row["out_path"] for row in kept}
        lines = [",".join(COLUMNS) + "\n", *map(_line, kept)]
        if "".join(lines) != text:
            write_text(path, "".join(lines))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a line, in one write."""
        if self.path is not None and row["out_path"] not in self.listed:
            with self.path.open("a", encoding="utf-8", newline="") as handle:
                handle.write(_line(row))
            self.listed.add(row["out_path"])


def _line(row: Mapping[str, Any]) -> str:
    buffer = io.StringIO(newline="")
    csv.DictWriter(buffer, COLUMNS, lineterminator="\n").writerow(row)
    return buffer.getvalue()
