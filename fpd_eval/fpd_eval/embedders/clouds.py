"""Coloured points on the surface of a mesh, uniform over its area."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..meshes import Item, checked_arrays, load_arrays, open_mesh

Floats = NDArray[np.float64]
CENTERS = ("mean", "bbox")


class Mesh(NamedTuple):
    """Vertices (n, 3) and faces (m, 3); if asked for, the coloured parts of trimesh behind them."""

    vertices: Floats
    faces: NDArray[np.int64]
    parts: list[Any]


def sample_cloud(
    item: Item, points: int, seed: int, center: str, color_fill: float, use_colors: bool
) -> dict[str, NDArray[np.float32]]:
    """`points` and `colors`, (n, 3) float32 each, of one mesh file.

    The points depend on the mesh, the seed and their number alone, not on its id or place, so that
    a copy of a mesh gives the same cloud.

    Args:
        points:     how many, n.
        seed:       of the sampling.
        center:     what goes to 0: `mean` of the points, or `bbox`, the middle of their bounding
                    box. The farthest then is at distance 1.
        color_fill: red, green and blue of points without a colour, in [0, 1].
        use_colors: take vertex, face and texture colours of the file where it has some.

    Raises:
        OSError, ValueError: naming the file, when it cannot be read or has no area.
    """
    import trimesh

    mesh = _read(item.path, use_colors)
    corners = _moderate(mesh.vertices)
    plain = trimesh.Trimesh(corners, mesh.faces, process=False)
    if not plain.area > 0:
        raise ValueError(f"{item.path}: surface of area 0; nothing to sample")
    rng = _generator(mesh, seed)
    places, face, weights = trimesh.sample.sample_surface(
        plain, points, return_barycentric=True, seed=rng
    )
    colors = np.full((points, 3), color_fill)
    if use_colors:
        _paint(colors, mesh.parts, face, weights)
    return {"points": to_unit(places, center), "colors": colors.astype(np.float32)}


def to_unit(points: Floats, center: str) -> NDArray[np.float32]:
    """Points (n, 3) with their mean or the middle of their box (`bbox`) at 0 and radius 1.

    Raises:
        ValueError: unknown `center`, or all points in one place.
    """
    if center not in CENTERS:
        raise ValueError(f"center {center!r}: expected one of {', '.join(CENTERS)}")
    box = (points.min(0) + points.max(0)) / 2
    moved = points - (points.mean(0) if center == "mean" else box)
    radius = np.linalg.norm(moved, axis=1).max()
    if not radius > 0:
        raise ValueError("all points in one place; a shape needs an extent")
    return np.asarray(moved / radius, np.float32)


def _read(path: Path, use_colors: bool) -> Mesh:
    if not use_colors:
        return Mesh(*load_arrays(path), [])
    import trimesh

    loaded = open_mesh(path)
    found = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
    parts = [p for p in found if isinstance(p, trimesh.Trimesh) and len(p.faces)]
    if not parts:
        raise ValueError(f"{path}: no faces; a surface mesh is needed")
    starts = np.cumsum([0] + [len(p.vertices) for p in parts])
    faces = np.concatenate([p.faces + start for p, start in zip(parts, starts, strict=False)])
    vertices = np.concatenate([p.vertices for p in parts])
    return Mesh(*checked_arrays(path, vertices, faces), parts)


def _moderate(vertices: Floats) -> Floats:
    """Around 0 and no coordinate above 1, so that areas neither overflow nor vanish."""
    large = float(np.abs(vertices).max()) or 1.0
    moved = vertices / large
    moved = moved - (moved.min(0) + moved.max(0)) / 2
    return np.asarray(moved / (float(np.abs(moved).max()) or 1.0))


def _generator(mesh: Mesh, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(mesh.vertices.tobytes())
    digest.update(mesh.faces.tobytes())
    return np.random.default_rng([seed, *np.frombuffer(digest.digest(), "<u4").tolist()])


def _paint(colors: Floats, parts: list[Any], face: NDArray[np.int64], weights: Floats) -> None:
    """Overwrite `colors` (n, 3) of points on parts that have some; `weights` are barycentric."""
    first = 0
    for part in parts:
        own = np.flatnonzero((face >= first) & (face < first + len(part.faces)))
        found = _colors_of(part, face[own] - first, weights[own])
        if found is not None:
            colors[own] = found[:, :3] / 255
        first += len(part.faces)


def _colors_of(part: Any, face: NDArray[np.int64], weights: Floats) -> Floats | None:
    """(k, 4) colours, 0 to 255, at points on faces; None when the part has no colour."""
    visual, corners = part.visual, part.faces[face]
    if visual.kind == "texture":
        uv = None if visual.uv is None else (visual.uv[corners] * weights[..., None]).sum(1)
        found = None if uv is None else visual.material.to_color(uv)
        flat = visual.material.main_color if found is None else found
        return np.broadcast_to(np.reshape(flat, (-1, 4)).astype(np.float64), (len(face), 4))
    if visual.kind == "vertex":
        return np.asarray((visual.vertex_colors[corners] * weights[..., None]).sum(1))
    return np.asarray(visual.face_colors[face], np.float64) if visual.kind == "face" else None
