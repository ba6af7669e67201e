"""NPZ tables: round trip, parts, and a clear error for every malformed file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.tables import read_table, require_comparable, write_table

SETTINGS = {"count": 4, "normalise": "unit-sphere"}


def content(n: int = 3, **changes: Any) -> dict[str, Any]:
    """A valid `points` table as raw arrays; a change of None leaves a key out."""
    made = {
        "ids": np.array([f"s{i}" for i in range(n)], np.str_),
        "categories": np.array(["chair"] * n, np.str_),
        "sha256": np.array(["0" * 64] * n, np.str_),
        "kind": np.array("points"),
        "settings": np.array(json.dumps(SETTINGS)),
        "points": np.zeros((n, 4, 3), np.float32),
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def write(path: Path, ids: list[str], settings: dict[str, Any] | None = None) -> Path:
    n = len(ids)
    points = np.arange(n * 12, dtype=np.float32).reshape(n, 4, 3)
    arrays = {"points": points}
    write_table(path, "points", ids, ["c"] * n, arrays, settings or SETTINGS, [""] * n)
    return path


def test_round_trip(tmp_path: Path) -> None:
    table = read_table([write(tmp_path / "a.npz", ["x/y", "é"])])
    assert (table.kind, table.ids, table.categories) == ("points", ["x/y", "é"], ["c", "c"])
    assert table.settings == SETTINGS
    assert table.arrays["points"][1, 0].tolist() == [12, 13, 14]


def test_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a.npz", ["a", "b"], {"x": 1, "y": 2}).read_bytes()
    time.sleep(2.1)  # zip times have a step of two seconds
    assert write(tmp_path / "b.npz", ["a", "b"], {"y": 2, "x": 1}).read_bytes() == first


def test_parts_are_joined_in_the_order_given(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.npz", ["a", "b"]), write(tmp_path / "b.npz", ["c"])
    table = read_table([two, one])
    assert table.ids == ["c", "a", "b"]
    assert table.arrays["points"][:, 0, 0].tolist() == [0, 0, 12]


def test_sharded_table_by_its_name(tmp_path: Path) -> None:
    for i in range(11):
        write(tmp_path / f"x.{i}-of-11.npz", [f"s{i}"])
    assert read_table([tmp_path / "x.npz"]).ids == [f"s{i}" for i in range(11)]
    (tmp_path / "x.10-of-11.npz").unlink()
    with pytest.raises(ValueError, match=r"x\.10-of-11\.npz of this sharded table is not given"):
        read_table([tmp_path / "x.npz"])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_table([tmp_path / "none.npz"])


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    one = write(tmp_path / "a.npz", ["a"])
    with pytest.raises(ValueError, match="normalise: 'unit-sphere' and 'unit-cube'"):
        read_table([one, write(tmp_path / "b.npz", ["b"], SETTINGS | {"normalise": "unit-cube"})])
    with pytest.raises(ValueError, match=r"'a' stands in .*a\.npz"):
        read_table([one, write(tmp_path / "c.npz", ["a"])])
    other = save(tmp_path / "d.npz", **content(points=np.zeros((3, 5, 3), np.float32)))
    with pytest.raises(ValueError, match="points: rows of"):
        read_table([one, other])
    voxels = content(kind=np.array("voxels"), voxels=np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match="kinds 'points' and 'voxels'"):
        require_comparable(read_table([one]), read_table([save(tmp_path / "e.npz", **voxels)]))


@pytest.mark.parametrize("key", ["embeddings", "arr", "X", "features", "emb", "data"])
def test_foreign_embeddings(tmp_path: Path, key: str) -> None:
    path = save(tmp_path / "f.npz", ids=np.array(["a", "b"]), **{key: np.eye(2)})
    table = read_table([path])
    assert (table.kind, table.categories, table.settings) == ("embedding", ["", ""], {})
    assert table.arrays["embeddings"].tolist() == np.eye(2).tolist()


BAD_POINT = np.zeros((3, 4, 3), np.float32)
BAD_POINT[2, 1, 0] = np.nan
MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no ids": ({"ids": None}, "ids: missing"),
    "number ids": ({"ids": np.arange(3)}, "ids: expected"),
    "pickled ids": ({"ids": np.array(["a", "b", "c"], object)}, "ids: unreadable"),
    "id twice": ({"ids": np.array(["a", "b", "a"])}, "ids: 'a' stands twice"),
    "empty id": ({"ids": np.array(["a", "", "b"])}, "ids: row 1 is empty"),
    "no rows": (content(0), "ids: no rows"),
    "two-dimensional ids": ({"ids": np.array([["a"], ["b"], ["c"]])}, "ids: expected"),
    "few categories": ({"categories": np.array(["a"])}, "categories: expected"),
    "digest numbers": ({"sha256": np.zeros(3)}, "sha256: expected"),
    "unknown kind": ({"kind": np.array("hologram")}, "kind: 'hologram'"),
    "kind of many": ({"kind": np.array(["points"])}, "kind: expected one string"),
    "settings not JSON": ({"settings": np.array("{")}, "settings: not JSON"),
    "settings a list": ({"settings": np.array("[]")}, "settings: expected a JSON object"),
    "settings a number": ({"settings": np.array(3)}, "settings: expected one string"),
    "no points": ({"points": None}, "points: missing"),
    "pickled points": ({"points": np.array([{}, {}, {}], object)}, "points: unreadable"),
    "double points": ({"points": np.zeros((3, 4, 3))}, "points: expected float32"),
    "flat points": ({"points": np.zeros((3, 12), np.float32)}, "points: expected float32"),
    "planar points": ({"points": np.zeros((3, 4, 2), np.float32)}, "points: expected float32"),
    "empty clouds": ({"points": np.zeros((3, 0, 3), np.float32)}, "points: expected float32"),
    "too few points rows": ({"points": BAD_POINT[:2]}, "points: expected float32"),
    "nan": ({"points": BAD_POINT}, "points: row 2 is not finite"),
    "kind without its arrays": ({"kind": np.array("lfd")}, "art: missing"),
    "embedding of text": (
        {"kind": None, "X": np.array(["a", "b", "c"])},
        "X: expected float",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_table(tmp_path: Path, name: str) -> None:
    changes, message = MALFORMED[name]
    path = save(tmp_path / "bad.npz", **content(**changes))
    with pytest.raises(ValueError, match=message) as error:
        read_table([path])
    assert "bad.npz" in str(error.value)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"ids,points\n",
    "garbage": lambda _: np.random.default_rng(0).bytes(2000),
    "pickle": lambda _: b"\x80\x04]\x94.",
    "npy": lambda _: b"\x93NUMPY\x01\x00",
    "half": lambda good: good[: len(good) // 2],
    "cut tail": lambda good: good[:-30],
    "flipped byte": lambda good: good.replace(b"c\0\0\0h", b"c\0\0\0H", 1),
    "zip alone": lambda _: b"PK\x05\x06" + bytes(18),
    "huge shape": lambda good: good.replace(b"(3, 4, 3), }  ", b"(3, 4, 3000000000000), }"[:14]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_file(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "good.npz", **content())
    bad = tmp_path / "bad.npz"
    bad.write_bytes(DAMAGE[name](path.read_bytes()))
    with pytest.raises(ValueError, match=r"bad\.npz: "):
        read_table([bad])


def test_a_pickle_in_a_table_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "owned"),)

    path = save(tmp_path / "bad.npz", **content(points=np.array([Evil()] * 3, object)))
    with pytest.raises(ValueError, match="points: unreadable"):
        read_table([path])
    assert not (tmp_path / "owned").exists()


def test_writer_refuses_an_invalid_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="points: row 2 is not finite"):
        write_table(
            tmp_path / "a.npz", "points", list("abc"), [""] * 3, {"points": BAD_POINT}, {}, [""] * 3
        )
    assert not list(tmp_path.iterdir())


def test_help_is_light() -> None:
    code = (
        "import sys, retrieve\n"
        "try: retrieve.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numba', 'torch', 'scipy', 'trimesh') if m in sys.modules])"
    )
    folder = Path(__file__).parents[3] / "retrieval"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
