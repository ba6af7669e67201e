"""The ShapeNet part-segmentation release: HDF5 files of point clouds, in a folder or its zip.

`{train,val,test}_hdf5_file_list.txt` name the files of a split, one a line. A file holds `data`
(n, p, 3), the points, and `label` (n, 1), places in CATEGORIES. A zip is read in place: nothing is
unpacked, and nothing the user gave is removed.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CATEGORIES = (
    *("airplane", "bag", "cap", "car", "chair", "earphone", "guitar", "knife", "lamp", "laptop"),
    *("motorbike", "mug", "pistol", "rocket", "skateboard", "table"),
)
USUAL = ("airplane", "chair", "table")  # those the KAIST CS492(D) project trains on
SPLITS = ("train", "val", "test")
LIST = "{}_hdf5_file_list.txt"
MAX_MEMBER = 1 << 31  # bytes of one unpacked file of a zip
MAX_NUMBERS = 1 << 30  # of one file


class Row(NamedTuple):
    """One cloud: row of a file `member` of the release."""

    split: str
    member: str
    row: int
    category: str


def is_release(path: Path) -> bool:
    """Whether `path` is a zip, or a folder with one of the lists in it."""
    if path.is_dir():
        return any((path / LIST.format(split)).is_file() for split in SPLITS)
    return path.suffix.lower() == ".zip"


def list_rows(path: Path) -> list[Row]:
    """Every cloud, by split, file and row. Raises ValueError naming the file that is wrong."""
    rows = []
    for split, member in _members(path):
        with _opened(path, member) as file:
            count = _dataset(path, member, file, "data").shape[0]
            label = _dataset(path, member, file, "label")
            found = f"{label.dtype} {label.shape}"
            fits = label.shape in ((count,), (count, 1)) and label.dtype.kind in "iu"
            values = label[()].reshape(-1) if fits else np.array([-1])
        if not fits or (count and not 0 <= values.min() <= values.max() < len(CATEGORIES)):
            raise ValueError(
                f"{path}: {member}: label is {found}; expected ({count}, 1) whole numbers "
                f"from 0 to {len(CATEGORIES) - 1}"
            )
        rows += [Row(split, member, i, CATEGORIES[value]) for i, value in enumerate(values)]
    if not rows:
        raise ValueError(f"{path}: no clouds in the files its lists name")
    return rows


def read_clouds(path: Path, member: str) -> NDArray[np.floating[Any]]:
    """(n, p, 3) points of a file of the release. Raises ValueError naming it."""
    with _opened(path, member) as file:
        return np.asarray(_dataset(path, member, file, "data")[()])


def _members(path: Path) -> list[tuple[str, str]]:
    """(split, HDF5 file) in the order of the lists. Folders named in a list do not count."""
    names = [p.name for p in path.iterdir()] if path.is_dir() else _zip_names(path)
    found = []
    for split in SPLITS:
        lists = [name for name in names if PurePosixPath(name).name == LIST.format(split)]
        for text in lists[:1]:
            for line in _bytes(path, text).decode("utf-8", "replace").splitlines():
                if not line.strip():
                    continue
                file = PurePosixPath(line.strip().replace("\\", "/")).name
                member = str(PurePosixPath(text).with_name(file))
                if member not in names:
                    raise ValueError(f"{path}: {text} names {file}, which is not there")
                found.append((split, member))
    if not found:
        wanted = ", ".join(LIST.format(split) for split in SPLITS)
        raise ValueError(f"{path}: expected lists with HDF5 files in them ({wanted})")
    return found


def _zip_names(path: Path) -> list[str]:
    with _archive(path) as archive:
        return archive.namelist()


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a readable zip ({error}); download it again") from error


def _bytes(path: Path, member: str) -> bytes:
    if path.is_dir():
        return (path / member).read_bytes()
    with _archive(path) as archive:
        size = archive.getinfo(member).file_size
        if size > MAX_MEMBER:
            raise ValueError(f"{path}: {member} unpacks to {size:,} bytes, over {MAX_MEMBER:,}")
        return archive.read(member)


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[Any]:
    """An h5py.File; whatever a damaged one raises becomes a ValueError that names it."""
    import h5py

    source = path / member if path.is_dir() else io.BytesIO(_bytes(path, member))
    try:
        with h5py.File(source, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: {member}: not a readable HDF5 file ({reason})") from error


def _dataset(path: Path, member: str, file: Any, key: str) -> Any:
    """A dataset of this very file, its shape checked; links to other files are not followed."""
    import h5py

    link = file.get(key, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[key], h5py.Dataset):
        raise ValueError(f"{path}: {member}: no array '{key}' in it; found {', '.join(file)}")
    array = file[key]
    if array.external or array.is_virtual:
        raise ValueError(f"{path}: {member}: '{key}' is kept in another file; expected in this one")
    fits = array.ndim == 3 and array.shape[2] == 3 and array.dtype.kind == "f"
    if key == "data" and not fits:
        raise ValueError(
            f"{path}: {member}: data is {array.dtype} {array.shape}; expected floats (n, p, 3)"
        )
    if array.size is None or array.size > MAX_NUMBERS:
        raise ValueError(f"{path}: {member}: '{key}' has {array.size} numbers, over {MAX_NUMBERS}")
    return array
