"""Read and write the NPZ tables that carry descriptors between stages (formats/npz.md).

The same file in every stage that writes them.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import replacing

ARRAYS: dict[str, dict[str, tuple[str, tuple[int | None, ...]]]] = {
    "lfd": {
        "art": ("uint8", (10, 10, 35)),
        "fd": ("uint8", (10, 10, 10)),
        "cir": ("uint8", (10, 10)),
        "ecc": ("uint8", (10, 10)),
    },
    "points": {"points": ("float32", (None, 3))},
    "voxels": {"voxels": ("uint8", (None,))},
    "embedding": {"embeddings": ("float", (None,))},
}
_FOREIGN = ("embeddings", "arr", "X", "features", "emb", "data")
_PART = re.compile(r"(.+)\.(\d+)-of-(\d+)\.npz")


@dataclass(frozen=True)
class Table:
    """Rows of one kind: row i of every array belongs to shape `ids[i]`.

    Args:
        kind:       `lfd`, `points`, `voxels` or `embedding`.
        ids:        n unique shape ids.
        categories: n categories, "" when unknown.
        arrays:     the arrays of this kind (formats/npz.md), n rows each.
        settings:   what decided the values; tables are comparable only if these agree.
        sha256:     n digests of the mesh files, "" when unknown.
        paths:      the files the rows came from.
    """

    kind: str
    ids: list[str]
    categories: list[str]
    arrays: dict[str, NDArray[Any]]
    settings: dict[str, Any]
    sha256: list[str]
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def name(self) -> str:
        """The file or files, for messages."""
        return ", ".join(map(str, self.paths)) or f"{self.kind} table"

    def rows(self, which: Sequence[int] | NDArray[np.int64] | slice) -> Table:
        """The same table with the given rows only, in the given order (a slice copies nothing)."""
        place = np.arange(len(self))[which]
        return Table(
            self.kind,
            [self.ids[i] for i in place],
            [self.categories[i] for i in place],
            {key: array[which] for key, array in self.arrays.items()},
            self.settings,
            [self.sha256[i] for i in place],
            self.paths,
        )


def read_table(paths: Sequence[Path]) -> Table:
    """Read one table from its part files, rows in the order the files are given.

    `X.npz` that does not exist stands for all of `X.0-of-n.npz` ... `X.<n-1>-of-n.npz`.

    Raises:
        OSError:    a file cannot be read.
        ValueError: no rows; a malformed file (file and key named); parts that differ in kind,
                    settings or row shape; an id twice; a part of a sharded table is missing.
    """
    files = part_files(paths)
    _check_shards(files)
    parts = [read_part(path) for path in files]
    for part in parts[1:]:
        require_comparable(parts[0], part, free=())
    seen: dict[str, Path] = {}
    for part, path in zip(parts, files, strict=True):
        for name in part.ids:
            if name in seen:
                raise ValueError(f"{path}: ids: {name!r} stands in {seen[name]} already")
            seen[name] = path
    if not seen:
        raise ValueError(f"{', '.join(map(str, files))}: ids: no rows")
    return parts[0] if len(parts) == 1 else _join(parts, files)


def _join(parts: list[Table], files: list[Path]) -> Table:
    arrays = {}
    for key in list(parts[0].arrays):
        arrays[key] = np.concatenate([part.arrays.pop(key) for part in parts])
    return Table(
        parts[0].kind,
        [name for part in parts for name in part.ids],
        [name for part in parts for name in part.categories],
        arrays,
        parts[0].settings,
        [digest for part in parts for digest in part.sha256],
        tuple(files),
    )


def require_comparable(first: Table, second: Table, free: Sequence[str] = ("seed",)) -> None:
    """Raise ValueError naming what differs in kind, settings or row shape of two tables.

    Settings in `free` may differ.
    """
    place = f"{first.name} and {second.name}"
    if first.kind != second.kind:
        raise ValueError(f"{place}: kinds {first.kind!r} and {second.kind!r} cannot be compared")
    keys = sorted({*first.settings, *second.settings} - {*free})
    rows = [(k, first.settings.get(k), second.settings.get(k)) for k in keys]
    text = "; ".join(f"{k}: {a!r} and {b!r}" for k, a, b in rows if a != b)
    if text:
        raise ValueError(f"{place}: settings differ ({text}); make both with the same settings")
    for key, array in first.arrays.items():
        other = second.arrays[key]
        if array.shape[1:] != other.shape[1:]:
            raise ValueError(f"{place}: {key}: rows of {array.shape[1:]} and {other.shape[1:]}")


def write_table(
    path: Path,
    kind: str,
    ids: Sequence[str],
    categories: Sequence[str],
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
    sha256: Sequence[str],
) -> None:
    """Write a table atomically; equal content gives equal bytes.

    Raises:
        OSError:    naming `path`, when it cannot be written.
        ValueError: the content is not a valid table of `kind`.
    """
    content = {
        "ids": np.array(ids, dtype=np.str_),
        "categories": np.array(categories, dtype=np.str_),
        "sha256": np.array(sha256, dtype=np.str_),
        "kind": np.array(kind),
        "settings": np.array(json.dumps(dict(settings), sort_keys=True, allow_nan=False)),
        **arrays,
    }
    _table(path, content)
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **content)


def part_files(paths: Sequence[Path]) -> list[Path]:
    """The files behind the given names: themselves, or the parts a missing one stands for."""
    return [part for path in paths for part in _parts(path)]


def _parts(path: Path) -> list[Path]:
    if path.exists() or path.suffix != ".npz":
        return [path]
    found = [
        p for p in path.parent.glob("*.npz") if (m := _PART.fullmatch(p.name)) and m[1] == path.stem
    ]
    return sorted(found, key=lambda p: int(_PART.fullmatch(p.name)[2])) or [path]  # type: ignore[index]


def _check_shards(files: Sequence[Path]) -> None:
    names = {p.resolve() for p in files}
    for path in files:
        match = _PART.fullmatch(path.name)
        for i in range(int(match[3])) if match else ():
            part = path.with_name(f"{match[1]}.{i}-of-{match[3]}.npz") if match else path
            if part.resolve() not in names:
                raise ValueError(f"{path}: part {part.name} of this sharded table is not given")


def read_part(path: Path) -> Table:
    """Read one file, be it a whole table or one part of a sharded one; errors as `read_table`."""
    content: dict[str, NDArray[Any]] = {}
    key = "the archive"
    try:
        with path.open("rb") as handle:
            if handle.read(2) != b"PK":
                raise ValueError("not an NPZ (zip) file")
            handle.seek(0)
            with np.load(handle, allow_pickle=False) as archive:
                for key in archive.files:
                    content[key] = archive[key]
                    if not isinstance(content[key], np.ndarray):
                        raise ValueError("not an array")
    except (
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: {key}: unreadable ({reason}); write the file again") from error
    return _table(path, content)


def _table(path: Path, content: Mapping[str, NDArray[Any]]) -> Table:
    """Check the content of one file against formats/npz.md and make it a Table."""
    kind = _scalar(path, content, "kind", "embedding")
    if kind not in ARRAYS:
        raise ValueError(f"{path}: kind: {kind!r} is none of {', '.join(ARRAYS)}")
    try:
        settings = json.loads(_scalar(path, content, "settings", "{}"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: settings: not JSON") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: settings: expected a JSON object, found {settings!r:.60}")
    ids = _strings(path, content, "ids", None)
    if len(set(ids)) < len(ids):
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise ValueError(f"{path}: ids: {twice!r} stands twice")
    if "" in ids:
        raise ValueError(f"{path}: ids: row {ids.index('')} is empty")
    names = {key: key for key in ARRAYS[kind]}
    if kind == "embedding":
        names["embeddings"] = next((k for k in _FOREIGN if k in content), "embeddings")
    arrays = {
        key: _rows(path, content, names[key], len(ids), *ARRAYS[kind][key]) for key in ARRAYS[kind]
    }
    categories = _strings(path, content, "categories", len(ids))
    digests = _strings(path, content, "sha256", len(ids))
    return Table(kind, ids, categories, arrays, settings, digests, (path,))


def _scalar(path: Path, content: Mapping[str, NDArray[Any]], key: str, default: str) -> str:
    if key not in content:
        return default
    value = content[key]
    if value.dtype.kind != "U" or value.shape != ():
        raise ValueError(f"{path}: {key}: expected one string, found {value.dtype} {value.shape}")
    return str(value)


def _strings(
    path: Path, content: Mapping[str, NDArray[Any]], key: str, count: int | None
) -> list[str]:
    """(count,) strings; an absent key gives empty ones, except when no count is given."""
    if key not in content:
        if count is None:
            raise ValueError(f"{path}: {key}: missing; a row needs its shape id")
        return [""] * count
    value = content[key]
    if value.dtype.kind != "U" or value.ndim != 1 or count not in (None, len(value)):
        wanted = "n" if count is None else count
        raise ValueError(
            f"{path}: {key}: expected ({wanted},) strings, found {value.dtype} {value.shape}"
        )
    return [str(text) for text in value]


def _rows(
    path: Path,
    content: Mapping[str, NDArray[Any]],
    key: str,
    n: int,
    dtype: str,
    row: tuple[int | None, ...],
) -> NDArray[Any]:
    if key not in content:
        raise ValueError(f"{path}: {key}: missing; found {', '.join(sorted(content)) or 'nothing'}")
    value = content[key]
    fits = value.ndim == len(row) + 1 and all(
        size and want in (None, size) for want, size in zip(row, value.shape[1:], strict=True)
    )
    right = value.dtype.kind == "f" if dtype == "float" else value.dtype == dtype
    if not fits or not right or len(value) != n:
        shape = ", ".join(str(size or "any") for size in (n, *row))
        raise ValueError(
            f"{path}: {key}: expected {dtype} ({shape}), found {value.dtype} {value.shape}"
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = int(np.argwhere(~np.isfinite(value))[0][0])
        raise ValueError(f"{path}: {key}: row {bad} is not finite; compute it again")
    return np.ascontiguousarray(value)
