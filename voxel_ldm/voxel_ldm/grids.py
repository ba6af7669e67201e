"""Sets of binary voxel grids in files: NPZ tables of packed bits, and the arrays the papers use.

An `.npz` is a table of kind `voxels` (formats/npz.md). An `.npy` is (n, r, r, r) of any number
type; its ids may stand in a `.json` of the same name. The first index is the slowest, everywhere.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import read_json, replacing, write_json

Packed = NDArray[np.uint8]
KEYS = ("ids", "categories", "sha256")
MADE_BY = ("axes", "mode", "normalize", "cell")  # settings that comparable grids share
MAX_RESOLUTION = 1024
BLOCK = 1 << 26  # bytes of an .npy looked at together
_UNREADABLE = (
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
class Grids:
    """A set of n cubic grids of 0 and 1.

    Args:
        ids:        n unique ids.
        categories: n categories, "" when unknown.
        packed:     (n, ceil(r^3 / 8)) uint8, `numpy.packbits` of each grid.
        resolution: r, cells a side.
        settings:   what decided the values.
        sha256:     n digests of what the grids were made from, "" when unknown.
    """

    ids: list[str]
    categories: list[str]
    packed: Packed
    resolution: int
    settings: dict[str, Any]
    sha256: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def unpack(self, which: int | slice) -> NDArray[np.uint8]:
        """(k, r, r, r) uint8 of 0 and 1; a single index gives k = 1."""
        rows = np.atleast_2d(self.packed[which])
        side = self.resolution
        return np.unpackbits(rows, axis=1, count=side**3).reshape(-1, side, side, side)

    def cells(self, i: int) -> NDArray[np.int32]:
        """(m,) flat indices of the occupied cells of grid i, ascending."""
        bits = np.unpackbits(self.packed[i], count=self.resolution**3)
        return np.flatnonzero(bits).astype(np.int32)


def row_bytes(resolution: int) -> int:
    """Bytes of one packed grid."""
    return -(-(resolution**3) // 8)


def pack(grids: NDArray[Any]) -> Packed:
    """(k, ceil(r^3 / 8)) uint8 of grids (k, r, r, r), which are occupied where they are not 0."""
    return np.packbits(grids.reshape(len(grids), -1) != 0, axis=1)


def read_grids(path: Path, threshold: float | None = None) -> Grids:
    """Read a set of grids; of an `.npy`, no more than BLOCK bytes are unpacked at once.

    Args:
        path:      `.npz` table of kind `voxels`, or `.npy` (n, r, r, r).
        threshold: make an `.npy` of probabilities binary, value > threshold, 0 <= threshold < 1.

    Raises:
        OSError:    it cannot be read.
        ValueError: naming the file and the row: cut off, of another kind, empty, no cubes, or
                    with values that are not 0 or 1 (without `threshold`: not in [0, 1]).
    """
    if path.suffix == ".npy":
        return _read_npy(path, threshold)
    if path.suffix == ".npz":
        return _read_npz(path)
    raise ValueError(f"{path}: expected .npz (table of voxels) or .npy (n, r, r, r)")


def open_npy(path: Path) -> NDArray[Any]:
    """The (n, r, r, r) numbers of an `.npy`, memory-mapped, their shape and type checked."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not a readable .npy ({_reason(error)})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: {getattr(array, 'dtype', 'an archive')}: expected numbers")
    if array.ndim != 4 or len(set(array.shape[1:])) != 1:
        raise ValueError(f"{path}: shape {array.shape}: expected (n, r, r, r)")
    if 0 in array.shape or array.shape[1] > MAX_RESOLUTION:
        raise ValueError(
            f"{path}: shape {array.shape}: expected a grid or more of 1 to {MAX_RESOLUTION} a side"
        )
    return array


def each_grid(path: Path, limit: int | None = None) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Id and (r, r, r) values in [0, 1] of each of the first grids; one is read at a time.

    Raises:
        OSError, ValueError: as `read_grids` with a threshold.
    """
    if path.suffix == ".npy":
        array = open_npy(path)
        for i, name in enumerate(_beside(path, len(array))["ids"][:limit]):
            grid = np.asarray(array[i : i + 1])
            _check_values(path, grid, i, 0.0)
            yield name, grid[0].astype(np.float32)
    else:
        grids = read_grids(path)
        for i, name in enumerate(grids.ids[:limit]):
            yield name, grids.unpack(i)[0].astype(np.float32)


def _read_npy(path: Path, threshold: float | None) -> Grids:
    if threshold is not None and not 0 <= threshold < 1:
        raise ValueError(f"threshold {threshold}: expected 0 or more and less than 1")
    array = open_npy(path)
    n, side = array.shape[:2]
    about = _beside(path, n)
    packed = np.empty((n, row_bytes(side)), np.uint8)
    step = max(1, BLOCK // array[0].nbytes)
    for start in range(0, n, step):
        block = np.asarray(array[start : start + step])
        _check_values(path, block, start, threshold)
        packed[start : start + step] = pack(block > (threshold or 0))
    settings = about.pop("settings") | {"resolution": side}
    if threshold is not None:
        settings["threshold"] = threshold
    return Grids(packed=packed, resolution=side, settings=settings, **about)


def _beside(path: Path, n: int) -> dict[str, Any]:
    """Ids, categories, digests and settings of an `.npy` from its `.json`, or made up."""
    names = [f"{path.stem}_{i:04d}" for i in range(n)]
    made: dict[str, Any] = {"ids": names, "categories": [""] * n, "sha256": [""] * n}
    made["settings"] = {}
    place = path.with_suffix(".json")
    found = read_json(place) if place.is_file() else None
    if not isinstance(found, dict) or "ids" not in found:
        return made  # none, or a file about something else
    made |= {key: found[key] for key in made if key in found}
    for key in KEYS:
        if not isinstance(made[key], list) or not all(isinstance(v, str) for v in made[key]):
            raise ValueError(f"{place}: {key}: expected a list of strings")
    if not isinstance(made["settings"], dict):
        raise ValueError(f"{place}: settings: expected an object")
    _check_ids(place, made, n)
    return made


def _check_values(path: Path, block: NDArray[Any], start: int, threshold: float | None) -> None:
    """Refuse all but 0 and 1, or with a threshold all but probabilities."""
    if block.dtype == np.bool_:
        return
    low, high = block.min(axis=(1, 2, 3)), block.max(axis=(1, 2, 3))  # a NaN stays
    inside = (low >= 0) & (high <= 1)
    if not inside.all():
        bad = int(np.flatnonzero(~inside)[0])
        found = "NaN" if np.isnan(low[bad]) else f"values from {low[bad]} to {high[bad]}"
        raise ValueError(f"{path}: grid {start + bad}: {found}; expected 0 and 1")
    if threshold is None and block.dtype.kind == "f":
        binary = ((block == 0) | (block == 1)).all(axis=(1, 2, 3))
        if not binary.all():
            bad = int(np.flatnonzero(~binary)[0])
            raise ValueError(
                f"{path}: grid {start + bad}: probabilities, expected 0 and 1; give --threshold "
                "(of sampling_n.py when they are made, of eval.py when they are read)"
            )


def _read_npz(path: Path) -> Grids:
    content: dict[str, Any] = {}
    key = "the archive"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            for key in ("kind", "settings", *KEYS, "voxels"):
                if key in archive.files:
                    content[key] = archive[key]
    except (*_UNREADABLE, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: {key}: unreadable ({_reason(error)}); make it again") from error
    if str(content.get("kind")) != "voxels":
        raise ValueError(f"{path}: kind {content.get('kind')}: expected a table of kind 'voxels'")
    try:
        settings = json.loads(str(content.get("settings", "{}")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: settings: not JSON") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: settings: expected a JSON object")
    packed = content.get("voxels")
    if packed is None or packed.dtype != np.uint8 or packed.ndim != 2 or 0 in packed.shape:
        found = "none" if packed is None else f"{packed.dtype} {packed.shape}"
        raise ValueError(f"{path}: voxels: expected uint8 (n, r^3 / 8), n >= 1, found {found}")
    about = {key: _strings(path, content, key, len(packed)) for key in KEYS}
    _check_ids(path, about, len(packed))
    side = _resolution(path, packed, settings)
    return Grids(packed=packed, resolution=side, settings=settings, **about)


def _strings(path: Path, content: Mapping[str, Any], key: str, n: int) -> list[str]:
    value = content.get(key, np.full(0 if key == "ids" else n, ""))
    if value.dtype.kind != "U" or value.ndim != 1:
        raise ValueError(f"{path}: {key}: expected strings, found {value.dtype} {value.shape}")
    return [str(text) for text in value]


def _check_ids(path: Path, about: Mapping[str, list[str]], n: int) -> None:
    for key in KEYS:
        if len(about[key]) != n:
            raise ValueError(f"{path}: {len(about[key])} {key} for {n} grids")
    seen: set[str] = set()
    for name in about["ids"]:
        if not name or name in seen:
            raise ValueError(f"{path}: ids: {name!r} is empty or stands twice")
        seen.add(name)


def _resolution(path: Path, packed: Packed, settings: Mapping[str, Any]) -> int:
    """Cells a side, from the settings or else the row length; rows must fit it exactly."""
    side = settings.get("resolution", round((packed.shape[1] * 8) ** (1 / 3)))
    if type(side) is not int or not 1 <= side <= MAX_RESOLUTION:
        raise ValueError(f"{path}: settings: resolution {side!r}: expected 1 to {MAX_RESOLUTION}")
    if packed.shape[1] != row_bytes(side):
        raise ValueError(
            f"{path}: voxels: rows of {packed.shape[1]} bytes; {side}^3 cells are {row_bytes(side)}"
        )
    loose = np.flatnonzero(packed[:, -1] & ((1 << (-(side**3) % 8)) - 1))
    if len(loose):
        raise ValueError(f"{path}: voxels: row {loose[0]} has bits set after its last cell")
    return side


def write_grids(
    path: Path,
    ids: Sequence[str],
    categories: Sequence[str],
    packed: Iterable[Packed],
    settings: Mapping[str, Any],
    sha256: Sequence[str] | None = None,
) -> None:
    """Write an `.npz` table of kind `voxels` atomically; equal content gives equal bytes.

    Args:
        packed: one row of bits a grid, (row_bytes(r),) uint8: an array, or rows made as needed.
        settings: with `resolution`, r.

    Raises:
        OSError:    it cannot be written.
        ValueError: the lists have different lengths, or an id is empty or doubled.
    """
    about = _about(path, ids, categories, sha256)
    heads = {key: np.array(value, np.str_) for key, value in about.items()}
    heads["kind"] = np.array("voxels")
    heads["settings"] = np.array(json.dumps(dict(settings), sort_keys=True, allow_nan=False))
    shape = (len(ids), row_bytes(settings["resolution"]))
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for key, value in heads.items():
            with archive.open(f"{key}.npy", "w") as handle:
                np.lib.format.write_array(handle, value, allow_pickle=False)
        with archive.open("voxels.npy", "w", force_zip64=True) as handle:
            _write_header(handle, shape, "|u1")
            for row in _rows(path, packed, *shape):
                handle.write(row.tobytes())


def write_npy(
    path: Path,
    ids: Sequence[str],
    categories: Sequence[str],
    packed: Iterable[Packed],
    settings: Mapping[str, Any],
    sha256: Sequence[str] | None = None,
    dtype: str = "float32",
) -> None:
    """The same as an `.npy` of 0 and 1, (n, r, r, r) of `dtype`, and its ids as `.json` beside."""
    about = _about(path, ids, categories, sha256)
    side = int(settings["resolution"])
    kind = np.dtype(dtype).newbyteorder("<")
    write_json(path.with_suffix(".json"), {**about, "settings": dict(settings)})
    with replacing(path) as temporary, temporary.open("wb") as handle:
        _write_header(handle, (len(ids), side, side, side), kind.str)
        for row in _rows(path, packed, len(ids), row_bytes(side)):
            np.unpackbits(row, count=side**3).astype(kind).tofile(handle)


def _about(
    path: Path, ids: Sequence[str], categories: Sequence[str], sha256: Sequence[str] | None
) -> dict[str, list[str]]:
    digests = [""] * len(ids) if sha256 is None else list(sha256)
    made = {"ids": list(ids), "categories": list(categories), "sha256": digests}
    _check_ids(path, made, len(ids))
    return made


def _write_header(handle: Any, shape: tuple[int, ...], descr: str) -> None:
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)


def _rows(path: Path, packed: Iterable[Packed], n: int, width: int) -> Iterator[Packed]:
    count = 0
    for row in packed:
        if row.shape != (width,) or row.dtype != np.uint8:
            raise ValueError(f"{path}: grid {count}: {row.dtype} {row.shape}, not uint8 ({width},)")
        count += 1
        yield row
    if count != n:
        raise ValueError(f"{path}: {count} grids for {n} ids")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
