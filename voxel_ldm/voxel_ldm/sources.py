"""The shapes that a dataset is made from: lists of them, and their points or triangles."""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import shapenet
from .files import read_json, sha256
from .meshes import list_meshes, load_arrays, open_mesh

ARRAYS = (".npy", ".npz")
CLOUDS = (".ply", ".xyz")  # one cloud a file
POINTS, SURFACE, SOLID = MODES = ("points", "surface", "solid")

_TO_Y: dict[str, list[int]] = {  # rotations that turn an axis up, row by row
    "x": [0, -1, 0, 1, 0, 0, 0, 0, 1],
    "-x": [0, 1, 0, -1, 0, 0, 0, 0, 1],
    "y": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "-y": [1, 0, 0, 0, -1, 0, 0, 0, -1],
    "z": [1, 0, 0, 0, 0, 1, 0, -1, 0],
    "-z": [1, 0, 0, 0, 0, -1, 0, 1, 0],
}


class Shape(NamedTuple):
    """One shape: a file, or a row of an array file (`member` of a release or `path` itself).

    turn: nine numbers, row by row, that turn a mesh upright; () leaves it.
    """

    id: str
    category: str
    split: str
    path: Path
    member: str = ""
    row: int = -1
    turn: tuple[float, ...] = ()


def default_mode(source: Path) -> str:
    """`points` for arrays, clouds and ShapeNet's release, `surface` for meshes."""
    is_cloud = source.suffix.lower() in (*ARRAYS, ".xyz") or shapenet.is_release(source)
    return POINTS if is_cloud else SURFACE


def list_shapes(source: Path, mode: str, split: str | None = None) -> list[Shape]:
    """The shapes of one --input, in a stable order.

    Args:
        source: folder or zip of ShapeNet's HDF5 files; `.npy` (n, p, 3) or (p, 3), `.npz` table of
                kind points; `.ply` or `.xyz`; folder, shapes.json or text list of meshes, or with
                mode `points` a folder of clouds.
        mode:   `points`, `surface` or `solid`.
        split:  keeps one of ShapeNet's; names that of the others (default: train, or val or test
                if that is the name of the file).

    Raises:
        ValueError: nothing found, or a file is not as it should be.
    """
    if not source.exists():
        raise FileNotFoundError(2, "no such file or folder", str(source))
    if default_mode(source) == POINTS != mode:
        raise ValueError(f"{source}: points alone, without a surface; use --mode points")
    if shapenet.is_release(source):
        rows = [row for row in shapenet.list_rows(source) if split in (None, row.split)]
        return [
            Shape(
                f"{Path(r.member).stem}_{r.row:04d}", r.category, r.split, source, r.member, r.row
            )
            for r in rows
        ]
    split = split or (source.stem if source.stem in shapenet.SPLITS else shapenet.SPLITS[0])
    suffix = source.suffix.lower()
    if suffix in ARRAYS:
        names, categories = _array_names(source)
        rows_of = enumerate(zip(names, categories, strict=True))
        return [Shape(name, c, split, source, row=i) for i, (name, c) in rows_of]
    if mode == POINTS and (suffix in CLOUDS or source.is_dir()):
        return [Shape(name, c, split, path) for name, path, c in _list_clouds(source)]
    turns = _turns(source) if mode != POINTS else {}
    items = list_meshes(source)
    return [Shape(i.id, i.category, split, i.path, turn=turns.get(i.id, ())) for i in items]


def read_points(shape: Shape) -> NDArray[np.floating[Any]]:
    """(n, 3) points of a shape, unchecked but for their type. Raises ValueError naming the file."""
    if shape.row >= 0:
        clouds = _release_file(shape.path, shape.member) if shape.member else _array(shape.path)
        return np.asarray(clouds[shape.row])
    if shape.path.suffix.lower() == ".xyz":
        return _read_text(shape.path)
    return _read_vertices(shape.path)


def read_surface(shape: Shape) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Upright vertices (n, 3) and triangles (m, 3) of a mesh. Raises ValueError naming the file."""
    vertices, faces = load_arrays(shape.path)
    if shape.turn:
        vertices = vertices @ np.reshape(shape.turn, (3, 3)).T
    return vertices, faces


def digest(shape: Shape) -> str:
    """SHA-256 of what the shape is made from: its file, and turn if it has one, or its row."""
    if shape.row >= 0:
        return hashlib.sha256(np.ascontiguousarray(read_points(shape)).tobytes()).hexdigest()
    own = sha256(shape.path)
    if not shape.turn:
        return own
    return hashlib.sha256(f"{own} {json.dumps(shape.turn)}".encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _release_file(path: Path, member: str) -> NDArray[Any]:
    return shapenet.read_clouds(path, member)


@functools.lru_cache(maxsize=1)
def _array(path: Path) -> NDArray[Any]:
    """(n, p, 3) of an .npy, memory-mapped, or of a table of kind points."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            with array:
                kind = str(array["kind"]) if "kind" in array.files else "of no kind"
                if kind != "points":
                    raise ValueError(f"a table {kind}, expected one of points")
                array = array["points"]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: not readable as points ({reason})") from error
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "iuf" or not len(array):
        raise ValueError(f"{path}: {array.dtype} {array.shape}; expected numbers (n, p, 3)")
    return array


def _array_names(path: Path) -> tuple[list[str], list[str]]:
    """Ids and categories of the rows; those of an .npy are made up."""
    n = len(_array(path))
    if path.suffix.lower() == ".npy":
        return [f"{path.stem}_{i:04d}" for i in range(n)], [""] * n
    with np.load(path, allow_pickle=False) as table:
        names = [str(v) for v in table["ids"]] if "ids" in table.files else []
        categories = [str(v) for v in table["categories"]] if "categories" in table.files else []
    if len(names) != n or len(categories) not in (0, n):
        raise ValueError(f"{path}: {len(names)} ids, {len(categories)} categories for {n} clouds")
    return names, categories or [""] * n


def _list_clouds(source: Path) -> list[tuple[str, Path, str]]:
    """(id, file, category) of a cloud, or of all below a folder; as `list_meshes` names them."""
    if source.is_file():
        return [(source.stem, source, "")]
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in CLOUDS)
    if not files:
        raise ValueError(f"{source}: no clouds found ({', '.join(CLOUDS)})")
    names = [p.relative_to(source).with_suffix("").as_posix() for p in files]
    parts = [name.split("/") for name in names]
    categories = [words[0] if len(words) > 1 else "" for words in parts]
    return list(zip(names, files, categories, strict=True))


def _read_text(path: Path) -> NDArray[np.float64]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not any(line.partition("#")[0].strip() for line in lines):
        raise ValueError(f"{path}: empty; expected three numbers a line")
    try:
        return np.loadtxt(lines, ndmin=2, usecols=(0, 1, 2))
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: expected three numbers a line ({error})") from error


def _read_vertices(path: Path) -> NDArray[np.float64]:
    import trimesh

    loaded = open_mesh(path, skip_materials=True)
    if isinstance(loaded, trimesh.Scene):
        loaded = loaded.to_mesh() if loaded.geometry else trimesh.Trimesh()
    return np.asarray(loaded.vertices, np.float64)


def _turns(source: Path) -> dict[str, tuple[float, ...]]:
    """Rotations of the shapes of a shapes.json that do not stand upright, by id."""
    index = source / "shapes.json" if source.is_dir() else source
    if index.suffix != ".json" or not index.is_file():
        return {}
    table = read_json(index)
    rows: Sequence[Any] = table.get("shapes", []) if isinstance(table, dict) else []
    turned = [row for row in rows if isinstance(row, dict) and {"up", "rotation"} & row.keys()]
    found = {row.get("id", ""): _turn(row, f"{index}: {row.get('id')!r}") for row in turned}
    return {name: turn for name, turn in found.items() if turn != tuple(_TO_Y["y"])}


def _turn(row: dict[str, Any], place: str) -> tuple[float, ...]:
    if row.get("up", "y") not in _TO_Y:
        raise ValueError(f"{place}: 'up' is {row['up']!r}, expected one of {', '.join(_TO_Y)}")
    try:
        turn = np.array(row.get("rotation", _TO_Y[row.get("up", "y")]), np.float64).reshape(3, 3)
    except (TypeError, ValueError):
        turn = np.zeros((3, 3))
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
        raise ValueError(f"{place}: 'rotation' is no rotation (nine numbers, row by row)")
    return tuple(turn.ravel().tolist())
