"""Grids and meshes as pictures: shaded views, slices, sheets of many. No files.

x is right, y up, z to the front. Views are orthographic and ray-cast (Embree, package embreex) with
a lamp beside the viewer and a sky of directional lights that the shape itself hides, so that folds
and corners darken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = NDArray[np.uint8]  # (h, w, 3) or (h, w)
Floats = NDArray[np.float32]
CLAY = np.array([0.51, 0.56, 0.63], np.float32)  # linear
LAMP = np.array([-0.42, 0.5, 0.76])  # right, up, back of the camera
LAMP_LIGHT, SKY_LIGHT, GROUND = 0.5, 0.6, 0.35  # strengths; light from below over above
SKY_LIGHTS = 24
SUBPIXELS = ((0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875))
MARGIN = 1.06  # half the side of a picture over half the side of the shape in it
CAPTION = 14  # pixels below a picture


class View(NamedTuple):
    """Where the viewer stands: degrees about y, from z towards x, and above the horizon."""

    azimuth: float = 35.0
    elevation: float = 25.0

    def axes(self) -> Floats:
        """(3, 3) rows right, up, back of the camera."""
        a, e = np.radians(self.azimuth), np.radians(self.elevation)
        right = [np.cos(a), 0, -np.sin(a)]
        back = [np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)]
        return np.array([right, np.cross(back, right), back], np.float32)


def cubes(grid: NDArray[Any]) -> tuple[Floats, NDArray[np.int32]]:
    """The faces between occupied and free cells of (r, r, r), two triangles each.

    Returns:
        vertices (4 q, 3) in cells, faces (2 q, 3).
    """
    full = np.pad(np.asarray(grid) != 0, 1)
    corners = []
    for axis in range(3):
        u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        here = np.argwhere(np.diff(full.astype(np.int8), axis=axis)) - 1.0
        here[:, axis] += 1
        corners.append(here[:, None] + np.stack([0 * u, u, u + v, v]))
    vertices = np.concatenate(corners).reshape(-1, 3).astype(np.float32)
    first = 4 * np.arange(len(vertices) // 4, dtype=np.int32)[:, None, None]
    faces = first + np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return vertices, faces.reshape(-1, 3)


def shaded(vertices: NDArray[Any], faces: NDArray[Any], size: int, view: View) -> Picture:
    """(size, size, 3) view of a mesh that fills the picture; white where nothing is."""
    light = np.full((size * size, 3), len(SUBPIXELS), np.float32)
    if len(faces):
        axes = view.axes()
        centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        radius = float(np.linalg.norm(vertices - centre, axis=1).max()) or 1.0
        caster = _Caster((vertices - centre) / radius, faces)
        for part, shift in enumerate(SUBPIXELS):
            caster.add(light, axes, size, shift, part)
    linear = np.clip(light / len(SUBPIXELS), 0, 1).reshape(size, size, 3)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (curved * 255 + 0.5).astype(np.uint8)


class _Caster:
    """A mesh in the unit sphere, prepared for rays."""

    def __init__(self, vertices: NDArray[Any], faces: NDArray[Any]) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.scene: Any = EmbreeScene()
        self.vertices = np.ascontiguousarray(vertices, np.float32)
        TriangleMesh(self.scene, self.vertices, np.ascontiguousarray(faces, np.int32))

    def add(
        self, light: Floats, axes: Floats, size: int, shift: tuple[float, float], part: int
    ) -> None:
        """Replace the white of one subpixel in `light` (size^2, 3) where the mesh is hit."""
        flat = self.vertices @ axes[:2].T
        low, high = flat.min(axis=0), flat.max(axis=0)
        half, middle = MARGIN * max(*(high - low), 1e-6) / 2, (low + high) / 2
        x = middle[0] + ((np.arange(size) + shift[0]) / size * 2 - 1) * half
        y = middle[1] + (1 - (np.arange(size) + shift[1]) / size * 2) * half
        starts = y[:, None, None] * axes[1] + x[:, None] * axes[0] + 2 * axes[2]
        starts = np.ascontiguousarray(starts.reshape(-1, 3), np.float32)
        found = self.scene.run(starts, np.ascontiguousarray(-axes[2:]), output=True)
        hit = np.flatnonzero(found["primID"] >= 0)
        normals = found["Ng"][hit]
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-30))
        normals *= np.where(normals @ axes[2] < 0, -1, 1)[:, None].astype(np.float32)
        points = starts[hit] - found["tfar"][hit][:, None] * axes[2] + np.float32(1e-3) * normals
        lamp = np.maximum(normals @ (LAMP / np.linalg.norm(LAMP) @ axes).astype(np.float32), 0)
        grey = LAMP_LIGHT * lamp + SKY_LIGHT * self._sky(points, normals, part)
        light[hit] += CLAY * grey[:, None] - 1

    def _sky(self, points: Floats, normals: Floats, part: int) -> Floats:
        """(k,) light of the sky on points, about 1 in the open; each subpixel asks its share."""
        total = np.zeros(len(points), np.float32)
        for towards, strength in _sky_lights()[part :: len(SUBPIXELS)]:
            cosine = normals @ towards
            facing = np.flatnonzero(cosine > 0)
            hidden = self.scene.run(points[facing], towards[None], query="OCCLUDED") >= 0
            seen = facing[~hidden]
            total[seen] += cosine[seen] * np.float32(strength * len(SUBPIXELS))
        return total


def _sky_lights() -> list[tuple[Floats, float]]:
    """Directions spread evenly (Fibonacci lattice) and strengths; those from above are stronger."""
    i = np.arange(SKY_LIGHTS)
    y, turn = 1 - (2 * i + 1) / SKY_LIGHTS, np.pi * (3 - np.sqrt(5)) * i
    ring = np.sqrt(1 - y * y)
    towards = np.stack([ring * np.sin(turn), y, ring * np.cos(turn)], axis=1).astype(np.float32)
    strengths = (GROUND + (1 - GROUND) * (y + 1) / 2) * 4 / SKY_LIGHTS
    return list(zip(towards, strengths.tolist(), strict=True))


def slices(values: NDArray[Any], size: int, count: int) -> Picture:
    """(size, count (size + 1), 3) horizontal cuts from the bottom to the top, black where 1.

    Args:
        values: (r, r, r) in [0, 1]; the cut is through y, x runs to the right, z downwards.
    """
    side = values.shape[1]
    heights = ((np.arange(count) + 0.5) * side / count).astype(np.int64)
    pixel = np.arange(size) * side // size
    parts = []
    for height in heights:
        cut = values[:, height].T[pixel][:, pixel]  # (z, x)
        parts += [np.round(255 * (1 - cut)).astype(np.uint8), np.full((size, 1), 200, np.uint8)]
    return np.repeat(np.concatenate(parts, axis=1)[..., None], 3, axis=2)


def sheet(pictures: Sequence[tuple[str, Picture]], columns: int) -> Image:
    """Pictures of one size in rows, each over its caption or as much of its end as fits."""
    from PIL import Image, ImageDraw

    height, width = pictures[0][1].shape[:2]
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    made = Image.new("RGB", (columns * width, rows * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(made)
    for i, (caption, picture) in enumerate(pictures):
        x, y = i % columns * width, i // columns * (height + CAPTION)
        made.paste(Image.fromarray(picture), (x, y))
        while draw.textlength(caption) > width - 4 and len(caption) > 1:
            caption = "…" + caption[2:]
        draw.text((x + width // 2, y + height), caption, "black", anchor="ma")
    return made
