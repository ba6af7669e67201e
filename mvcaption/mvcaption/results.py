"""What a run leaves: the table of all rows, one table a level, and how much each level says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .csv_tables import write_table
from .distinct import Distinct, distinctness
from .validate import LEVELS

COLUMNS = ("model_uid", *LEVELS, "status", "backend", "model", "views", "raw")


def level_path(output: Path, level: str) -> Path:
    return output.with_name(f"{output.stem}.{level}.csv")


def write_tables(output: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Distinct]:
    """Write all rows and, of those done, model_uid, lvis_category, caption a level.

    Args:
        rows: with the keys of `COLUMNS`, `lvis_category` and `error`.
    """
    write_table(output, COLUMNS, rows)
    done = [row for row in rows if row["status"] == "done"]
    for level in LEVELS:
        table = [row | {"caption": row[level]} for row in done]
        write_table(level_path(output, level), ("model_uid", "lvis_category", "caption"), table)
    return {level: distinctness([row[level] for row in done]) for level in LEVELS if done}


def table_of(found: dict[str, Distinct]) -> str:
    """Distinctness as lines to print."""
    lines = ["level        rows distinct  share  entropy  largest  sharing  words  commonest"]
    for level, d in found.items():
        lines.append(
            f"{level:11} {d.rows:5} {d.distinct:8}  {d.share:5.3f}  {d.entropy:7.2f}  "
            f"{d.largest:7}  {d.sharing:7.2f}  {d.words:5.1f}  {d.commonest[:40]}"
        )
    return "\n".join(lines)
