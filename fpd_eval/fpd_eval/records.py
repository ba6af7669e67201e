"""Read feature rows from NPZ and NPY files (formats/npz.md, and files of other programs)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEYS = ("arr", "X", "features", "emb", "embeddings", "data")
_BROKEN = (
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


@dataclass(frozen=True)
class Features:
    """(n, d) float64 `rows`, finite, the `key` they stood under ("" in an NPY file), and ids."""

    path: Path
    key: str
    rows: NDArray[np.float64]
    ids: list[str] | None = None


def read_features(path: Path) -> Features:
    """Rows of an NPY file, or of the first of `KEYS` in an archive, else of its first array.

    Raises:
        OSError:    the file cannot be read.
        ValueError: not an NPY or NPZ file, pickled, empty, not (n, d) numbers, or not finite.
    """
    key, array, ids = _load(path)
    place = f"{path}: {key}" if key else str(path)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{place}: expected (n, d) numbers, found {array.dtype} {array.shape}; "
            f"name the feature array one of {', '.join(KEYS)}"
        )
    rows = array.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise ValueError(f"{place}: row {bad} is not finite; compute it again")
    names = None if ids is None else _names(path, ids, len(rows))
    return Features(path, key, rows, names)


def read_ids(path: Path) -> list[str]:
    """Ids of a table. ValueError when it has none."""
    arrays = load_arrays(path, ("ids",))
    if "ids" not in arrays:
        raise ValueError(f"{path}: ids: missing; --distances needs them to find the shapes")
    return _names(path, arrays["ids"], arrays["ids"].size)


def _names(path: Path, ids: NDArray[Any], count: int) -> list[str]:
    if ids.shape != (count,) or ids.dtype.kind not in "Uiu" or not count:
        raise ValueError(f"{path}: ids: expected ({count},) names, found {ids.dtype} {ids.shape}")
    names = [str(name) for name in ids]
    if len(set(names)) < count:
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{path}: ids: {twice!r} stands twice")
    return names


def load_arrays(path: Path, keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Those of `keys` that an NPZ archive holds. ValueError when it is none or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: _array(path, key, archive[key]) for key in keys if key in archive.files}
    except (*_BROKEN, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from error


def _load(path: Path) -> tuple[str, NDArray[Any], NDArray[Any] | None]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return "", loaded, None
        with loaded as archive:
            if not archive.files:
                raise ValueError("no array in the archive")
            key = next((key for key in KEYS if key in archive.files), archive.files[0])
            ids = archive["ids"] if "ids" in archive.files else None
            array = archive[key]
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    return key, _array(path, key, array), None if ids is None else _array(path, "ids", ids)


def _array(path: Path, key: str, value: Any) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{path}: {key}: not an array")
    return value


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ValueError(f"{path}: not a readable NPZ or NPY file ({reason})")
