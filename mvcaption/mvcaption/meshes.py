"""Find mesh files and read them as arrays (the same file in every stage that reads meshes)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from .cli import parse_shard
from .files import read_json

SUFFIXES = (".obj", ".off", ".ply", ".stl", ".glb", ".gltf", ".3mf", ".dae")
MAX_UNPACKED = 1 << 30  # bytes; a .3mf is a zip and may be a bomb
MAX_ELEMENTS = 10**8  # of a glTF accessor, which may be zeros that no file has to hold
LARGEST = 1e300  # sums and differences of larger coordinates overflow
_UNFIT = re.compile(r"[\x00-\x1f\\\ud800-\udfff]")  # not in an id


class Item(NamedTuple):
    """One shape of a set: unique id, mesh file, category ("" when unknown)."""

    id: str
    path: Path
    category: str


def list_meshes(source: Path, shard: str | None = None, limit: int | None = None) -> list[Item]:
    """Items of a folder, a shapes.json or a text list of paths, in a stable order.

    A folder that holds a shapes.json is read through it; else every mesh file below it is an item
    whose id is its path without suffix (with suffix where two files would share an id,
    percent-encoded where it is not text) and whose category is the first folder on that path. A
    text list has one path a line, relative to itself.

    Args:
        source: what --input names.
        shard:  "i/n" keeps items i, i+n, i+2n, ...
        limit:  keeps the first so many of the list, before sharding.

    Raises:
        ValueError: nothing found, a duplicate id, a malformed shapes.json.
    """
    if source.is_dir():
        index = source / "shapes.json"
        items = _from_shapes(index) if index.is_file() else _from_folder(source)
    elif source.suffix == ".json":
        items = _from_shapes(source)
    elif source.suffix.lower() in SUFFIXES:
        raise ValueError(f"{source}: one mesh; expected a folder, a shapes.json or a text list")
    else:
        items = _from_list(source)
    if not items:
        raise ValueError(f"{source}: no meshes found ({', '.join(SUFFIXES)})")
    seen: dict[str, Path] = {}
    for item in items:
        if seen.setdefault(item.id, item.path) is not item.path:
            raise ValueError(f"{source}: id {item.id!r} stands for {seen[item.id]} and {item.path}")
    part, parts = parse_shard(shard)
    return items[:limit][part::parts]


def _from_folder(folder: Path) -> list[Item]:
    named = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    found = sorted(p for p in named if p.is_file() or not p.exists())  # a broken link is reported
    stems = [p.relative_to(folder).with_suffix("").as_posix() for p in found]
    count = Counter(stems)
    items = []
    for path, stem in zip(found, stems, strict=True):
        name = path.relative_to(folder).as_posix() if count[stem] > 1 else stem
        name = quote(os.fsencode(name)) if _UNFIT.search(name) else name
        items.append(Item(name, path, name.split("/")[0] if "/" in name else ""))
    return items


def _from_list(source: Path) -> list[Item]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: not a text list of mesh files (one path a line)") from error
    paths = [source.parent / line.strip() for line in lines if line.strip()]
    names = [line.strip().rpartition(".")[0] or line.strip() for line in lines if line.strip()]
    return [Item(n.lstrip("./"), p, "") for n, p in zip(names, paths, strict=True)]


def _from_shapes(index: Path) -> list[Item]:
    table = read_json(index)
    rows = table.get("shapes") if isinstance(table, dict) else None
    if not isinstance(rows, list):
        raise ValueError(f"{index}: expected an object with a list under 'shapes'")
    items = []
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"{index}: shapes[{place}]: expected an object, found {row!r:.60}")
        for key in ("id", "path"):
            if not isinstance(row.get(key), str) or not row[key]:
                raise ValueError(f"{index}: shapes[{place}]: '{key}' must be a non-empty string")
        if not isinstance(row.get("category", ""), str):
            raise ValueError(f"{index}: shapes[{place}]: 'category' must be a string")
        check_id(row["id"], f"{index}: shapes[{place}]")
        items.append(Item(row["id"], index.parent / row["path"], row.get("category", "")))
    return items


def check_id(name: str, place: str) -> None:
    """Raise ValueError unless `name` can be a file name below an output folder."""
    parts = name.split("/")
    if not name or _UNFIT.search(name) or any(p in ("", ".", "..") for p in parts):
        raise ValueError(f"{place}: id {name!r} cannot be used as a file name")


def load_arrays(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (n, 3) and triangles (m, 3) of a mesh file.

    A scene becomes one mesh in world coordinates, polygons become fans; nothing is merged.

    Raises:
        ValueError: unknown suffix, unreadable, no faces, index out of range, non-finite vertex.
    """
    import trimesh

    loaded = open_mesh(path, skip_materials=True)
    if isinstance(loaded, trimesh.Scene):
        with _reading(path):
            loaded = loaded.to_mesh() if loaded.geometry else trimesh.Trimesh()
    if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
        raise ValueError(f"{path}: no faces; a surface mesh is needed")
    return checked_arrays(path, loaded.vertices, loaded.faces)


def checked_arrays(
    path: Path, points: Any, corners: Any
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices and faces as contiguous arrays. Raises ValueError naming `path` and the defect."""
    vertices = np.ascontiguousarray(points, np.float64)
    faces = np.ascontiguousarray(corners, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"{path}: vertices are {vertices.shape}, expected (n, 3); repair the file")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f"{path}: a face has vertex {int(faces.max())} of {len(vertices)}; repair the file"
        )
    if not np.isfinite(vertices).all():
        bad = int(np.flatnonzero(~np.isfinite(vertices).all(axis=1))[0])
        raise ValueError(f"{path}: vertex {bad} is not finite; repair the file")
    if (largest := float(np.abs(vertices).max())) > LARGEST:
        raise ValueError(f"{path}: coordinate {largest:g} is too large; scale the mesh down")
    return vertices, faces


def open_mesh(path: Path, **options: Any) -> Any:
    """What trimesh reads from `path`, unprocessed. Raises ValueError naming the file."""
    import trimesh

    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"{path}: unknown mesh format {kind!r}; one of {', '.join(SUFFIXES)}")
    data = path.read_bytes()
    if not data:
        raise ValueError(f"{path}: empty file")
    if kind == ".3mf":
        _check_zip(data, path)
    with _reading(path):
        if kind in (".glb", ".gltf"):
            _check_counts(data)
        if kind == ".obj":
            data = _counted_from_start(data)
        resolver = trimesh.resolvers.FilePathResolver(str(path))
        loaded = trimesh.load(
            io.BytesIO(data), file_type=kind[1:], resolver=resolver, process=False, **options
        )
    if (found := _count_faces(loaded)) < (promised := _promised_faces(data, kind)):
        raise ValueError(
            f"{path}: {found} of the {promised} faces it announces can be read; "
            "cut off, or a file of another kind"
        )
    return loaded


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever the reader of a damaged file raises into a ValueError that names the file."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path}: needs more memory than there is") from error
    except Exception as error:
        kind, reason = path.suffix.lower()[1:], " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: not a readable {kind} file ({type(error).__name__}: {reason})"
        ) from error


def _check_counts(data: bytes) -> None:
    most = max(map(int, re.findall(rb'"count"\s*:\s*(\d+)', data)), default=0)
    if most > MAX_ELEMENTS:
        raise ValueError(f"{most:,} elements of one accessor, more than {MAX_ELEMENTS:,}")


def _count_faces(loaded: Any) -> int:
    parts = getattr(loaded, "geometry", {"": loaded}).values()
    return sum(len(getattr(part, "faces", ())) for part in parts)


def _promised_faces(data: bytes, kind: str) -> int:
    """Faces that a file says it has (0: it does not say); a reader may take less for the whole."""
    if kind == ".ply":
        header = data[: data.find(b"end_header")]
        said = re.search(rb"^element\s+face\s+(\d+)", header, re.MULTILINE)
        return int(said[1]) if said else 0
    if kind == ".off":
        words = re.sub(rb"#[^\n]*", b"", data[:10_000]).split()
        return int([*filter(bytes.isdigit, words[:4]), b"0", b"0"][1])
    if kind == ".stl" and b"\0" in data[:84]:
        return int.from_bytes(data[80:84], "little")
    return data.lower().count(b"endfacet") if kind == ".stl" else 0


def _counted_from_start(data: bytes) -> bytes:
    """OBJ text whose faces count vertices from the first of the file, 1.

    trimesh takes -1 for the last vertex of the file; it means the last before that line. It takes
    0, which means none, for the first.

    Raises:
        ValueError: a face names a vertex before the first, or 0.
    """
    if not _has_negative_or_zero(data):
        return data
    counts = {b"v": 0, b"vt": 0, b"vn": 0}
    lines = data.splitlines()
    for number, line in enumerate(lines):
        word, *corners = line.partition(b"#")[0].split() or [b""]
        if word in counts:
            counts[word] += 1
        elif word == b"f":
            texts = (_corner(corner, [*counts.values()], number + 1) for corner in corners)
            lines[number] = b" ".join([word, *texts])
    return b"\n".join(lines) + b"\n"


def _has_negative_or_zero(data: bytes) -> bool:
    """Whether a face line may hold a negative index or one that begins with 0."""
    text = np.frombuffer(data, np.uint8)[max(data.find(b"\nf"), 0) :]
    lines = np.flatnonzero(text[:-1] == ord("\n"))
    odd = text == ord("-")
    odd[1:-1] |= (text[1:-1] == ord("0")) & (text[:-2] <= ord(" ")) & (text[2:] != ord("."))
    odd_before = np.searchsorted(np.flatnonzero(odd), np.append(lines, len(text)))
    return bool((np.diff(odd_before)[text[lines + 1] == ord("f")] > 0).any())


def _corner(corner: bytes, counts: list[int], line: int) -> bytes:
    """`v`, `v/vt`, `v//vn` or `v/vt/vn` of a face with each index counted from 1."""
    parts = corner.split(b"/")
    for place, (part, count) in enumerate(zip(parts, counts, strict=False)):
        if part:
            index = int(part) + (count + 1 if part.startswith(b"-") else 0)
            if index < 1:
                raise ValueError(f"line {line}: index {int(part)} after {count} vertices")
            parts[place] = str(index).encode()
    return b"/".join(parts)


def _check_zip(data: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a readable 3mf file (not a zip)") from error
    if size > MAX_UNPACKED:
        raise ValueError(f"{path}: unpacks to {size:,} bytes, more than {MAX_UNPACKED:,}")
