"""Read feature rows from NPZ and NPY files (formats/npz.md, and files of other programs)."""

from __future__ import annotations

import zipfile
import zlib
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
    """(n, d) float64 `rows`, finite, and the `key` they stood under ("" in an NPY file)."""

    path: Path
    key: str
    rows: NDArray[np.float64]


def read_features(path: Path) -> Features:
    """Rows of an NPY file, or of the first of `KEYS` in an archive, else of its first array.

    Raises:
        OSError:    the file cannot be read.
        ValueError: not an NPY or NPZ file, pickled, empty, not (n, d) numbers, or not finite.
    """
    key, array = _load(path)
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
    return Features(path, key, rows)


def _load(path: Path) -> tuple[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return "", loaded
        with loaded as archive:
            if not archive.files:
                raise ValueError("no array in the archive")
            key = next((key for key in KEYS if key in archive.files), archive.files[0])
            array = archive[key]
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: not a readable NPZ or NPY file ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: {key}: not an array")
    return key, array
