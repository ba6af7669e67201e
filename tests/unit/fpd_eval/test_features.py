"""What the feature reader takes, and what it refuses."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fpd_eval.records import KEYS, read_features

ROWS = np.arange(6.0).reshape(3, 2)


def test_keys_come_in_a_fixed_order_then_the_first_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for i, key in enumerate(KEYS):
        np.savez(path, first=ROWS - 1, **{k: ROWS + KEYS.index(k) for k in reversed(KEYS[i:])})
        got = read_features(path)
        assert got.key == key
        assert (got.rows == ROWS + i).all()
    np.savez(path, zebra=ROWS, ant=ROWS + 1)
    assert read_features(path).key == "zebra"


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1"])
def test_everything_becomes_float64(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", ROWS.astype(dtype))
    got = read_features(tmp_path / "a.npy")
    assert got.rows.dtype == np.float64
    assert (got.rows == ROWS).all()


BAD = {
    "vector": (ROWS[0], r"features: expected \(n, d\) numbers, found float64 \(2,\)"),
    "cube": (ROWS[None], "expected"),
    "no_rows": (ROWS[:0], "expected"),
    "text": (ROWS.astype(str), "expected"),
    "complex": (ROWS + 1j, "expected"),
    "pickled": (ROWS.astype(object), "not a readable NPZ or NPY file"),
    "nan": (np.where(ROWS == 3, np.nan, ROWS), "features: row 1 is not finite"),
    "infinite": (np.where(ROWS == 5, -np.inf, ROWS), "row 2 is not finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_array_is_refused_by_file_and_key(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.npz"
    np.savez(path, features=BAD[name][0])
    with pytest.raises(ValueError, match=BAD[name][1]) as error:
        read_features(path)
    assert str(path) in str(error.value)


def _archive(members: dict[str, bytes]) -> bytes:
    handle = io.BytesIO()
    with zipfile.ZipFile(handle, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return handle.getvalue()


def _npy() -> bytes:
    handle = io.BytesIO()
    np.save(handle, ROWS)
    return handle.getvalue()


BROKEN = {
    "nothing": b"",
    "garbage": bytes(range(256)),
    "cut_npy": _npy()[:-5],
    "cut_npz": _archive({"arr.npy": _npy()})[:-30],
    "no_member": _archive({}),
    "cut_member": _archive({"arr.npy": _npy()[:-5]}),
    "not_an_array": _archive({"notes.txt": b"hello"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.npz"
    path.write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=f"{name}.npz"):
        read_features(path)
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "absent.npz")
