"""Diffuse colours and textures of a mesh file, as trimesh reads them. Transparency is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cameras import Floats
from .meshes import checked_arrays, open_mesh
from .raycast import Floats32, Hits, Ints
from .shading import from_bytes

_TEXTURE = 512  # pixels; larger textures are reduced: a picture is hardly larger itself


class Paint(NamedTuple):
    """A texture on the faces from `first` on: (m, 3, 2) corners in the image, (h, w, 3) linear."""

    first: int
    corners: Floats32
    image: Floats32


class Painted(NamedTuple):
    """Vertices (n, 3), faces (m, 3), a linear colour for each face (m, 3), and textures."""

    vertices: Floats
    faces: Ints
    colours: Floats32
    paints: list[Paint]

    def colours_at(self, hits: Hits) -> Floats32:
        """(k, 3) linear colour of each hit."""
        colours = self.colours[hits.faces]
        for paint in self.paints:
            local = hits.faces - paint.first
            on = np.flatnonzero((local >= 0) & (local < len(paint.corners)))
            uv = np.einsum("kc,kcd->kd", hits.bary[on], paint.corners[local[on]])
            colours[on] = _sample(paint.image, uv)
        return colours


def load_painted(path: Path) -> Painted:
    """Read a mesh with its colours. Raises ValueError as `meshes.load_arrays` does."""
    import trimesh

    loaded: Any = open_mesh(path)
    parts: list[Any] = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
    parts = [p for p in parts if isinstance(p, trimesh.Trimesh) and len(p.faces)]
    if not parts:
        raise ValueError(f"{path}: no faces; a surface mesh is needed")
    vertices, faces, colours = [], [], []
    paints: list[Paint] = []
    nodes = first = 0
    for part in parts:
        points, corners = checked_arrays(path, part.vertices, part.faces)
        paint = _paint(part.visual, corners, first)
        paints += [] if paint is None else [paint]
        vertices.append(points)
        faces.append(corners + nodes)
        colours.append(_face_colours(part.visual, len(corners)))
        nodes, first = nodes + len(points), first + len(corners)
    return Painted(np.concatenate(vertices), np.concatenate(faces), np.concatenate(colours), paints)


def _simple(visual: Any) -> Any:
    material: Any = getattr(visual, "material", None)
    return material.to_simple() if hasattr(material, "to_simple") else material


def _face_colours(visual: Any, count: int) -> Floats32:
    material = _simple(visual)
    found = visual.face_colors if material is None else material.main_color
    table = np.asarray(found, np.uint8).reshape(-1, 4)[:, :3]
    return np.broadcast_to(from_bytes(table), (count, 3)).copy()


def _paint(visual: Any, corners: Ints, first: int) -> Paint | None:
    image = getattr(_simple(visual), "image", None)
    uv = getattr(visual, "uv", None)
    if image is None or uv is None or corners.max() >= len(uv):
        return None
    small = image.convert("RGB")
    small.thumbnail((_TEXTURE, _TEXTURE))
    table: NDArray[np.uint8] = np.asarray(small, np.uint8)
    return Paint(first, np.asarray(uv, np.float32)[corners], from_bytes(table))


def _sample(image: Floats32, uv: Floats32) -> Floats32:
    """Nearest texel of (k, 2) coordinates; v runs upward and the image repeats."""
    height, width = image.shape[:2]
    whole = np.nan_to_num(uv - np.floor(uv))
    column = np.minimum((whole[:, 0] * width).astype(int), width - 1)
    row = np.minimum(((1 - whole[:, 1]) * height).astype(int), height - 1)
    return np.asarray(image[row, column], np.float32)
