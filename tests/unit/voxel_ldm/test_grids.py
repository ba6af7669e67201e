"""Sets of grids: round trip, a clear error for every malformed file, and nothing read whole."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxel_ldm import grids as module
from voxel_ldm.grids import pack, read_grids, row_bytes, write_grids, write_npy


def some(n: int = 3, side: int = 8, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, side, side, side)) < 0.2).astype(np.uint8)


def save(path: Path, side: int = 8, **changes: Any) -> Path:
    """A valid table as raw arrays; a change of None leaves a key out."""
    content = {
        "ids": np.array(["a", "b"]),
        "categories": np.array(["chair", ""]),
        "kind": np.array("voxels"),
        "settings": np.array(json.dumps({"resolution": side})),
        "voxels": pack(some(2, side)),
    } | changes
    content = {key: value for key, value in content.items() if value is not None}
    np.savez(path, allow_pickle=True, **content)
    return path


@pytest.mark.parametrize("side", [5, 8, 16])
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_round_trip(tmp_path: Path, side: int, suffix: str) -> None:
    path, cells = tmp_path / f"x{suffix}", some(3, side)
    write = write_grids if suffix == ".npz" else write_npy
    write(path, ["a/1", "é", "c"], ["chair", "", "x"], pack(cells), {"resolution": side, "k": 1},
          ["0" * 64, "", ""])  # fmt: skip
    read = read_grids(path)
    assert (read.ids, read.categories) == (["a/1", "é", "c"], ["chair", "", "x"])
    assert (read.resolution, read.settings, len(read)) == (side, {"resolution": side, "k": 1}, 3)
    assert read.sha256 == ["0" * 64, "", ""]
    assert np.array_equal(read.unpack(slice(None)), cells)
    assert np.array_equal(read.unpack(1)[0], cells[1])
    assert np.array_equal(read.cells(2), np.flatnonzero(cells[2]))
    assert read.cells(2).dtype == np.int32


def test_the_written_npy_is_the_papers_array(tmp_path: Path) -> None:
    cells = some()
    write_npy(tmp_path / "x.npy", ["a", "b", "c"], [""] * 3, pack(cells), {"resolution": 8})
    array = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert array.dtype == np.float32 and np.array_equal(array, cells)


def test_numpy_reads_the_table_and_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    rows = pack(some())
    for name in ("a.npz", "b.npz"):
        settings = {"resolution": 8, "z": 1, "b": 2}
        settings = settings if name == "a.npz" else dict(reversed(settings.items()))
        write_grids(tmp_path / name, ["a", "b", "c"], [""] * 3, rows, settings)
        time.sleep(2.1 if name == "a.npz" else 0)  # zip times have a step of two seconds
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as table:
        assert np.array_equal(table["voxels"], rows) and str(table["kind"]) == "voxels"


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_any_type_of_0_and_1(tmp_path: Path, dtype: str) -> None:
    cells = some()
    np.save(tmp_path / "x.npy", cells.astype(dtype))
    read = read_grids(tmp_path / "x.npy")
    assert np.array_equal(read.unpack(slice(None)), cells)
    assert read.ids == ["x_0000", "x_0001", "x_0002"]
    assert read.settings == {"resolution": 8}


def test_fortran_order(tmp_path: Path) -> None:
    cells = some()
    np.save(tmp_path / "x.npy", np.asfortranarray(cells))
    assert np.array_equal(read_grids(tmp_path / "x.npy").unpack(slice(None)), cells)


def test_probabilities_are_refused_unless_thresholded(tmp_path: Path) -> None:
    soft = some().astype(np.float32)
    soft[1, 2, 3, 4] = 0.3
    np.save(tmp_path / "x.npy", soft)
    with pytest.raises(ValueError, match=r"x\.npy: grid 1: probabilities.*--threshold"):
        read_grids(tmp_path / "x.npy")
    low, high = (read_grids(tmp_path / "x.npy", t) for t in (0.15, 0.3))
    assert low.unpack(1)[0, 2, 3, 4] == 1 and high.unpack(1)[0, 2, 3, 4] == 0
    assert low.settings["threshold"] == 0.15
    with pytest.raises(ValueError, match="threshold 1"):
        read_grids(tmp_path / "x.npy", 1.0)


def test_values_are_checked_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(module, "BLOCK", 2 * 8**3)
    monkeypatch.setattr(module, "_check_values", lambda p, block, start, t: seen.append(len(block)))
    np.save(tmp_path / "x.npy", some(5))
    assert np.array_equal(read_grids(tmp_path / "x.npy").unpack(slice(None)), some(5))
    assert seen == [2, 2, 1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 4, 4, 4), np.nan, np.float32), "grid 0: NaN"),
        (np.full((2, 4, 4, 4), -0.5), "grid 0: values from -0.5"),
        (np.full((2, 4, 4, 4), 2, np.uint8), "grid 0: values from 2 to 2"),
        (np.zeros((0, 4, 4, 4)), "expected a grid or more"),
        (np.zeros((2, 1, 4, 4, 4)), "expected .n, r, r, r."),
        (np.zeros((4, 4, 4)), "expected .n, r, r, r."),
        (np.zeros((2, 4, 4, 5)), "expected .n, r, r, r."),
        (np.zeros((2, 4, 4, 4), complex), "expected numbers"),
        (np.zeros((2, 4, 4, 4), "U3"), "expected numbers"),
        (np.full((2, 4, 4, 4), None), "not a readable .npy"),
    ],
)
def test_malformed_npy(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=f"x.npy: .*{message}"):
        read_grids(tmp_path / "x.npy")


def test_a_bad_row_deep_in_the_file_is_named(tmp_path: Path) -> None:
    array = some(5).astype(np.float32)
    array[3, 0, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match="grid 3: NaN"):
        read_grids(tmp_path / "x.npy", 0.5)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("keep", [0, 3, 0.3, 0.9])
def test_cut_off(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"x{suffix}"
    write = write_grids if suffix == ".npz" else write_npy
    write(path, ["a", "b", "c"], [""] * 3, pack(some()), {"resolution": 8})
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(ValueError, match=rf"x\{suffix}: "):
        read_grids(path)


def test_a_flipped_bit_in_a_table(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / "x.npz").read_bytes())
    data[data.index(pack(some(2)).tobytes()[:16]) + 3] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.npz: voxels: unreadable"):
        read_grids(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": None}, "kind None"),
        ({"kind": np.array("points")}, "kind points"),
        ({"settings": np.array("{")}, "settings: not JSON"),
        ({"settings": np.array("[1]")}, "settings: expected a JSON object"),
        ({"settings": np.array('{"resolution": 9}')}, "rows of 64 bytes"),
        ({"settings": np.array('{"resolution": "8"}')}, "resolution '8'"),
        ({"voxels": None}, "voxels: expected uint8"),
        ({"voxels": np.zeros((2, 64))}, "voxels: expected uint8"),
        ({"voxels": np.zeros((0, 64), np.uint8)}, "voxels: expected uint8"),
        ({"voxels": np.full((2, 64), None)}, "voxels: unreadable"),
        ({"ids": None}, "0 ids for 2 grids"),
        ({"ids": np.array(["a", "a"])}, "'a' is empty or stands twice"),
        ({"ids": np.array([1, 2])}, "ids: expected strings"),
        ({"categories": np.array(["x"])}, "1 categories for 2 grids"),
    ],
)
def test_malformed_table(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"x.npz: .*{message}"):
        read_grids(save(tmp_path / "x.npz", **changes))


def test_bits_after_the_last_cell(tmp_path: Path) -> None:
    rows = pack(some(2, 5))
    rows[1, -1] |= 1
    with pytest.raises(ValueError, match="row 1 has bits set"):
        read_grids(save(tmp_path / "x.npz", 5, voxels=rows))


def test_resolution_is_found_without_settings(tmp_path: Path) -> None:
    assert read_grids(save(tmp_path / "x.npz", 5, settings=None)).resolution == 5


def test_ids_beside_an_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some())
    beside = tmp_path / "x.json"
    beside.write_text('{"command": "something else"}')
    assert read_grids(tmp_path / "x.npy").ids[0] == "x_0000"
    beside.write_text('{"ids": ["a", "b", "c"]}')
    assert read_grids(tmp_path / "x.npy").ids == ["a", "b", "c"]
    for text, message in (
        ('{"ids": ["a"]}', "1 ids for 3 grids"),
        ('{"ids": [1, 2, 3]}', "ids: expected a list of strings"),
        ('{"ids": ["a", "b", "b"]}', "ids: 'b' is empty or stands twice"),
        ('{"ids": ["a", "b", "c"], "settings": 1}', "settings: expected an object"),
    ):
        beside.write_text(text)
        with pytest.raises(ValueError, match=f"x.json: {message}"):
            read_grids(tmp_path / "x.npy")


def test_wrong_name_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected \.npz"):
        read_grids(tmp_path / "x.txt")
    for name in ("x.npy", "x.npz"):
        with pytest.raises(FileNotFoundError, match=name):
            read_grids(tmp_path / name)


def test_writers_refuse_what_does_not_fit_together(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.npz", pack(some(2))
    for ids, packed, message in (
        (["a"], rows, "categories for 1 grids"),
        (["a", ""], rows, "'' is empty"),
        (["a", "b"], rows[:1], "1 grids for 2 ids"),
        (["a", "b"], rows[:, :-1], r"grid 0: uint8 \(63,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write_grids(path, ids, ["", ""], packed, {"resolution": 8})
    assert not list(tmp_path.iterdir())


def test_rows_may_be_made_as_needed(tmp_path: Path) -> None:
    rows = pack(some())
    write_grids(tmp_path / "x.npz", ["a", "b", "c"], [""] * 3, iter(rows), {"resolution": 8})
    assert np.array_equal(read_grids(tmp_path / "x.npz").packed, rows)
    assert row_bytes(8) == 64 and row_bytes(5) == 16
