"""Finished rows of a table, one JSON line each, so that any run of it can go on.

`X.csv` has `X.rows.jsonl`, a share of it `X.rows.1-of-4.jsonl`; a run without --shard takes over
what shares have done. The file stays: it holds what the table has no room for (raw answers), and
a run with other thresholds reads it instead of asking a model again. The same file in every stage
that makes tables row by row.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cli import parse_shard
from .files import replacing, require_same


class RowStore:
    """Rows by key. The first line of a file holds its settings; a torn last line is dropped.

    Args:
        output:   the table.
        settings: what decides a row; files of other settings are refused.
        shard:    "i/n" or None.
        fresh:    start anew.

    Raises:
        ValueError: other settings (the differing keys are named), or a damaged file.
    """

    def __init__(
        self, output: Path, settings: Mapping[str, Any], shard: str | None, fresh: bool = False
    ) -> None:
        part, parts = parse_shard(shard)
        stem = output.with_suffix("")
        self.path = Path(
            f"{stem}.rows.jsonl" if parts == 1 else f"{stem}.rows.{part}-of-{parts}.jsonl"
        )
        self.done: dict[str, Any] = {}
        self._settings = json.loads(json.dumps(dict(settings)))
        shares = sorted(stem.parent.glob(f"{glob.escape(stem.name)}.rows.*-of-*.jsonl"))
        sources = [self.path] if parts > 1 else [*shares, self.path]
        for path in sources:
            if fresh:
                path.unlink(missing_ok=True)
            self.done |= self._read(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        own = self._read(self.path)
        with replacing(self.path) as temporary:
            lines = [json.dumps(self._settings), *map(json.dumps, own.items())]
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._handle = self.path.open("a", encoding="utf-8")

    def _read(self, path: Path) -> dict[str, Any]:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        if not lines:
            return {}
        try:
            head, *rows = map(json.loads, lines)
            found = {str(key): value for key, value in rows}
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: damaged; remove it or use --overwrite") from error
        require_same(str(path), head, self._settings)
        return found

    def add(self, key: str, value: Any) -> None:
        """Append one finished row; `value` is anything JSON holds."""
        self._handle.write(json.dumps([key, value]) + "\n")
        self._handle.flush()
        self.done[key] = value

    def close(self) -> None:
        self._handle.close()
