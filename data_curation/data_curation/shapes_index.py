"""Reader and writer of shapes.json (formats/shapes.schema.json), the list of a set of shapes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .cli import parse_shard
from .files import read_json, write_json
from .meshes import check_id

Record = dict[str, Any]
PART = re.compile(r"shapes\.(\d+)-of-(\d+)\.json")


def index_path(folder: Path, shard: str | None) -> Path:
    """Where the index of a whole run or of one shard of it belongs."""
    part, parts = parse_shard(shard)
    return folder / (f"shapes.{part}-of-{parts}.json" if parts > 1 else "shapes.json")


def write_index(path: Path, records: Iterable[Record]) -> None:
    """Write records, sorted by id, as shapes.json; their paths are relative to its folder."""
    write_json(path, {"shapes": sorted(records, key=lambda row: str(row["id"]))})


def read_index(path: Path) -> list[Record]:
    """Records of one shapes.json, paths as they stand there.

    Raises:
        ValueError: names the file and the entry that has no usable id, path or category, or an id
            that comes twice.
    """
    table = read_json(path)
    rows = table.get("shapes") if isinstance(table, dict) else None
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected an object with a list under 'shapes'")
    seen: set[str] = set()
    for place, row in enumerate(rows):
        where = f"{path}: shapes[{place}]"
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected an object, found {row!r:.60}")
        for key in ("id", "path"):
            if not isinstance(row.get(key), str) or not row[key]:
                raise ValueError(f"{where}: '{key}' must be a non-empty string")
        if not isinstance(row.get("category", ""), str):
            raise ValueError(f"{where}: 'category' must be a string")
        check_id(row["id"], where)
        if row["id"] in seen:
            raise ValueError(f"{where}: id {row['id']!r} comes twice")
        seen.add(row["id"])
    return rows


def indices_of(source: Path, output: Path) -> list[Path]:
    """The index files of a folder: its shapes.json, or all parts of a sharded run, or [].

    The parts are taken when there is no shapes.json or when it is the `output` they are joined to.

    Raises:
        ValueError: some parts of a sharded run are missing, or parts of several runs are mixed.
    """
    whole = source / "shapes.json"
    named = {p: PART.fullmatch(p.name) for p in sorted(source.glob("shapes.*.json"))}
    parts = {p: (int(m[1]), int(m[2])) for p, m in named.items() if m}
    if whole.is_file() and not (parts and whole.absolute() == output.absolute()):
        return [whole]
    counts = {n for _, n in parts.values()}
    missing = sorted({(i, n) for n in counts for i in range(n)} - set(parts.values()))
    if missing:
        names = ", ".join(f"{i}/{n}" for i, n in missing)
        raise ValueError(f"{source}: parts of a sharded run are missing: --shard {names}")
    if len(counts) > 1:
        raise ValueError(f"{source}: parts of several sharded runs; remove those of one")
    return list(parts)


def moved(records: Iterable[Record], old: Path, new: Path) -> list[Record]:
    """Copies of the records with paths relative to folder `new` instead of `old`."""
    return [{**row, "path": relative(old / row["path"], new)} for row in records]


def relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, with forward slashes; links in `folder` are followed first."""
    return Path(os.path.relpath(path.absolute(), folder.resolve())).as_posix()


def join(sources: Sequence[tuple[Path, Sequence[Record]]], folder: Path) -> list[Record]:
    """Records of several indices as one list with paths relative to `folder`.

    Args:
        sources: pairs of an index (its path) and its records.

    Raises:
        ValueError: an id comes twice; both places are named.
    """
    owner: dict[str, str] = {}
    joined: list[Record] = []
    for index, records in sources:
        for old, row in zip(records, moved(records, index.parent, folder), strict=True):
            place = f"{index} ({old['path']})"
            if row["id"] in owner:
                raise ValueError(f"id {row['id']!r} is in {owner[row['id']]} and in {place}")
            owner[row["id"]] = place
            joined.append(row)
    return joined
