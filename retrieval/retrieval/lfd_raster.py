"""Exact silhouettes of a triangle mesh in 100 orthographic views.

Corners are snapped to 1/256 pixel and coverage is decided in exact arithmetic with the bottom-left
rule, as Mesa's software rasteriser does; that makes the images those of the 2003 program.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .lfd_bits import SIZE, WORDS, lowest, set_span
from .lfd_cameras import RIGS, VIEWS, projections

LANES = 32  # views projected at once, of which BLOCK are real
BLOCK = 25
CHUNK = 1 << 15  # faces, bounds the memory whatever the mesh

_HALF = np.float32(0.5)
_SCALE = np.float32(128)
_SUB = np.float32(256)
_ROUND = np.float32(3 << 22)  # adding and subtracting it rounds to integer, ties to even
_MARGIN = 2.0**-30  # below any distance of a rational of the grid to a whole number


def silhouettes(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Bit images of the mesh scaled to its bounding box, all triangles solid from both sides.

    Args:
        vertices: (n, 3) float64, finite.
        faces:    (m, 3) int64 into `vertices`; corners of degenerate faces count for the box.

    Returns:
        (100, 256, 4) uint64, see lfd_bits; all zero for a mesh without extent.
    """
    images = np.zeros((RIGS * VIEWS, SIZE, WORDS), np.uint64)
    if len(faces) == 0:
        return images
    local = np.full(len(vertices), -1, np.int64)
    lanes = _lanes()
    low, high = _box(vertices, faces)
    with np.errstate(over="ignore"):
        extent = float((high - low).max())
        shift = -(low + high) / 2
    if extent == 0:
        return images
    if not (np.isfinite(extent) and np.isfinite(shift).all() and np.isfinite(1.0 / extent)):
        raise ValueError(f"bounding box from {low} to {high} is beyond what float64 can scale")
    for start in range(0, len(faces), CHUNK):
        corners, points = _compact(vertices, faces[start : start + CHUNK], local)
        scaled = ((points + shift) * (1.0 / extent)).astype(np.float32)
        _draw_chunk(scaled, corners, lanes, images)
    return images


def _lanes() -> NDArray[np.float32]:
    """Camera rows as (4 blocks, 8, LANES): a lane is a view, spare lanes are zero."""
    padded = np.zeros((RIGS * VIEWS // BLOCK, 8, LANES), np.float32)
    padded[:, :, :BLOCK] = projections().reshape(-1, BLOCK, 8).transpose(0, 2, 1)
    return padded


@njit(cache=True, nogil=True)
def _box(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = np.full(3, np.inf)
    high = np.full(3, -np.inf)
    for face in range(len(faces)):
        for corner in range(3):
            for axis in range(3):
                value = vertices[faces[face, corner], axis]
                low[axis] = min(low[axis], value)
                high[axis] = max(high[axis], value)
    return low, high


@njit(cache=True, nogil=True)
def _compact(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], local: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Faces renumbered over the vertices they use, and those; `local` is -1 before and after."""
    corners = np.empty(faces.shape, np.int32)
    used = np.empty(faces.size, np.int64)
    count = 0
    for face in range(len(faces)):
        for corner in range(3):
            vertex = faces[face, corner]
            if local[vertex] < 0:
                local[vertex] = count
                used[count] = vertex
                count += 1
            corners[face, corner] = local[vertex]
    points = np.empty((count, 3))
    for place in range(count):
        points[place] = vertices[used[place]]
        local[used[place]] = -1
    return corners, points


@njit(cache=True, nogil=True)
def _draw_chunk(
    points: NDArray[np.float32],
    corners: NDArray[np.int32],
    lanes: NDArray[np.float32],
    images: NDArray[np.uint64],
) -> None:
    xs = np.empty((len(points), LANES), np.uint16)
    ys = np.empty((len(points), LANES), np.uint16)
    columns = np.empty((len(points), LANES), np.uint8)
    rows = np.empty((len(points), LANES), np.uint8)
    for block in range(len(lanes)):
        _project(points, lanes[block], xs, ys, columns, rows)
        _draw_block(corners, xs, ys, columns, rows, images[block * BLOCK : (block + 1) * BLOCK])


@njit(cache=True, nogil=True)
def _project(
    points: NDArray[np.float32],
    lane: NDArray[np.float32],
    xs: NDArray[np.uint16],
    ys: NDArray[np.uint16],
    columns: NDArray[np.uint8],
    rows: NDArray[np.uint8],
) -> None:
    """Snapped window coordinates, 1/256 pixel, and the pixel column and row they open."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for j in range(LANES):
            u = ((x * lane[0, j] + y * lane[1, j]) + z * lane[2, j]) + lane[3, j]
            v = ((x * lane[4, j] + y * lane[5, j]) + z * lane[6, j]) + lane[7, j]
            across = u * _SCALE + _SCALE
            down = -(v * _SCALE) + _SCALE
            px = np.int32(((across - _HALF) * _SUB + _ROUND) - _ROUND)
            py = np.int32(((down - _HALF) * _SUB + _ROUND) - _ROUND)
            xs[i, j] = px
            ys[i, j] = py
            columns[i, j] = (px + np.int32(255)) >> np.int32(8)
            rows[i, j] = py >> np.int32(8)


@njit(cache=True, nogil=True)
def _draw_block(
    corners: NDArray[np.int32],
    xs: NDArray[np.uint16],
    ys: NDArray[np.uint16],
    columns: NDArray[np.uint8],
    rows: NDArray[np.uint8],
    images: NDArray[np.uint64],
) -> None:
    """Draw every triangle into the views in which it can cover a pixel centre."""
    covers = np.zeros(LANES, np.uint8)
    words = covers.view(np.uint64)
    for face in range(len(corners)):
        a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
        ca, cb, cc = columns[a], columns[b], columns[c]
        ra, rb, rc = rows[a], rows[b], rows[c]
        for j in range(LANES):
            covers[j] = ((ca[j] ^ cb[j]) | (ca[j] ^ cc[j])) != 0
            covers[j] &= ((ra[j] ^ rb[j]) | (ra[j] ^ rc[j])) != 0
        for word in range(LANES // 8):
            left = words[word]
            while left:
                place = lowest(left) >> 3
                left &= left - np.uint64(1)
                j = 8 * word + place
                if j < BLOCK:
                    _draw(
                        images[j],
                        np.int64(xs[a, j]), np.int64(ys[a, j]),
                        np.int64(xs[b, j]), np.int64(ys[b, j]),
                        np.int64(xs[c, j]), np.int64(ys[c, j]),
                    )  # fmt: skip


@njit(cache=True, nogil=True)
def _draw(
    image: NDArray[np.uint64], xa: int, ya: int, xb: int, yb: int, xc: int, yc: int
) -> None:
    """Set the pixels whose centre the triangle covers; corners in 1/256 pixel, y downward."""
    if ya > yb:
        xa, ya, xb, yb = xb, yb, xa, ya
    if yb > yc:
        xb, yb, xc, yc = xc, yc, xb, yb
    if ya > yb:
        xa, ya, xb, yb = xb, yb, xa, ya
    long_slope = (xc - xa) / (256.0 * (yc - ya))
    upper_slope = (xb - xa) / (256.0 * (yb - ya)) if yb > ya else 0.0
    lower_slope = (xc - xb) / (256.0 * (yc - yb)) if yc > yb else 0.0
    for row in range((ya >> 8) + 1, (yc >> 8) + 1):
        level = row << 8
        one = xa / 256.0 + (level - ya) * long_slope
        if level <= yb:
            other = xa / 256.0 + (level - ya) * upper_slope
        else:
            other = xb / 256.0 + (level - yb) * lower_slope
        start = math.ceil(min(one, other) - _MARGIN)
        stop = math.ceil(max(one, other) - _MARGIN)
        if start < stop:
            set_span(image[SIZE - 1 - row], start, stop)
