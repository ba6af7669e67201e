"""Exact silhouettes of a triangle mesh in 100 orthographic views.

Corners are snapped to 1/256 pixel and coverage is decided in exact arithmetic with the bottom-left
rule, as Mesa's software rasteriser does; that makes the images those of the 2003 program.
Equal triangles are drawn once, those of closed parts where they face one way only: see lfd_closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .jit import inlined, kernel
from .lfd_bits import SIZE, WORDS, lowest
from .lfd_cameras import RIGS, VIEWS, projections
from .lfd_closed import closed, distinct, weld
from .lfd_cover import LANES, PADDED, classify, decide, facing, merge

PIECE, CHUNK = 1 << 18, 1 << 12  # faces examined and drawn at a time, bound the memory

_HALF, _NEARLY = np.float32(0.5), np.float32(255)
_SCALE = np.float32(128)
_SUB = np.float32(256)
_FIXED = 2.0**40
_ALL, _ONE = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(1)
_BYTE, _32 = np.uint64(255), np.uint64(32)
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
    cameras = _cameras()
    low, high = _box(vertices, faces)
    with np.errstate(over="ignore"):
        extent = float((high - low).max())
        shift = -(low + high) / 2
    if extent == 0:
        return images
    if not (np.isfinite(extent) and np.isfinite(shift).all() and np.isfinite(1.0 / extent)):
        raise ValueError(f"bounding box from {low} to {high} is beyond what float64 can scale")
    for start in range(0, len(faces), PIECE):
        piece = faces[start : start + PIECE]
        points, corners = weld(vertices, piece, shift, 1.0 / extent, local)
        corners, one_sided = distinct(corners, closed(corners))
        for place in range(0, len(corners), CHUNK):
            part = slice(place, place + CHUNK)
            few, used = _compact(corners[part], points, local)
            window, cells = _project(used, cameras)
            _draw_faces(few, one_sided[part], window, cells, images)
    return images


def _cameras() -> NDArray[np.float32]:
    """Camera rows as (8, LANES): a lane is a view, spare lanes are zero."""
    padded = np.zeros((8, LANES), np.float32)
    padded[:, : RIGS * VIEWS] = projections().T
    return padded


@kernel()
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


@kernel()
def _compact(
    corners: NDArray[np.int32], points: NDArray[np.float32], local: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Faces renumbered over the points they use, and those; `local` is -1 before and after."""
    faces = np.empty_like(corners)
    used = np.empty(corners.size, np.int64)
    count = 0
    for face in range(len(corners)):
        for corner in range(3):
            point = corners[face, corner]
            if local[point] < 0:
                local[point] = count
                used[count] = point
                count += 1
            faces[face, corner] = local[point]
    for place in range(count):
        local[used[place]] = -1
    return faces, points[used[:count]]


@kernel()
def _project(
    points: NDArray[np.float32], cameras: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Snapped window coordinates in 1/256 pixel, and the pixel column and row they open."""
    window = np.empty((len(points), 2, LANES), np.float32)
    cells = np.zeros((len(points), 2, PADDED), np.uint8)
    lanes = window.shape[2]  # not the constant: known counts are unrolled, not vectorised
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for j in range(lanes):
            u = ((x * cameras[0, j] + y * cameras[1, j]) + z * cameras[2, j]) + cameras[3, j]
            window[i, 0, j] = (((u * _SCALE + _SCALE) - _HALF) * _SUB + _ROUND) - _ROUND
        for j in range(lanes):
            v = ((x * cameras[4, j] + y * cameras[5, j]) + z * cameras[6, j]) + cameras[7, j]
            window[i, 1, j] = (((-(v * _SCALE) + _SCALE) - _HALF) * _SUB + _ROUND) - _ROUND
        for j in range(lanes):
            cells[i, 0, j] = np.int32(window[i, 0, j] + _NEARLY) >> 8
        for j in range(lanes):
            cells[i, 1, j] = np.int32(window[i, 1, j]) >> 8
    return window, cells


@kernel()
def _draw_faces(
    corners: NDArray[np.int32],
    one_sided: NDArray[np.bool_],
    window: NDArray[np.float32],
    cells: NDArray[np.uint8],
    images: NDArray[np.uint64],
) -> None:
    """Draw every triangle into the views in which it may cover a pixel centre.

    A one-sided triangle is left out where its area is surely negative.
    """
    box = np.zeros((4, PADDED), np.uint8)
    masks = np.zeros((2, 2), np.uint64)
    hits = np.zeros((2, LANES), np.int32)
    for face in range(len(corners)):
        a, b, c = np.int64(corners[face, 0]), np.int64(corners[face, 1]), np.int64(corners[face, 2])
        classify(cells, a, b, c, box, masks)
        for half in range(2):
            few, many = masks[0, half], masks[1, half]
            if one_sided[face]:
                front = facing(window, a, b, c, half, few | many)
                few, many = few & front, many & front
            decide(window, a, b, c, box, half, few, hits)
            while few:
                j = 64 * half + lowest(few)
                few &= few - _ONE
                _set_cells(images, j, box, hits)
            while many:
                j = 64 * half + lowest(many)
                many &= many - _ONE
                _draw(
                    images, j,
                    np.int64(window[a, 0, j]), np.int64(window[a, 1, j]),
                    np.int64(window[b, 0, j]), np.int64(window[b, 1, j]),
                    np.int64(window[c, 0, j]), np.int64(window[c, 1, j]),
                )  # fmt: skip


@inlined()
def _set_cells(
    images: NDArray[np.uint64], view: int, box: NDArray[np.uint8], hits: NDArray[np.int32]
) -> None:
    """Set the pixels of the hits of one view."""
    bits = np.uint64(np.uint32(hits[0, view])) | np.uint64(np.uint32(hits[1, view])) << _32
    column, row = box[0, view], box[1, view]
    at = _byte(view, SIZE - 2 - row, column)
    for _ in range(box[3, view]):
        merge(images, at, (bits & _BYTE) << np.uint64(column & 7))
        bits >>= np.uint64(8)
        at -= 8 * WORDS


@inlined()
def _byte(view: int, y: int, x: int) -> int:
    """Where the byte of a pixel lies."""
    return (view * SIZE + y) * 8 * WORDS + (x >> 3)


@kernel()
def _draw(
    images: NDArray[np.uint64], view: int, xa: int, ya: int, xb: int, yb: int, xc: int, yc: int
) -> None:
    """Set the pixels whose centre the triangle covers; corners in 1/256 pixel, y downward."""
    swap = ya > yb
    xa, xb = (xb if swap else xa), (xa if swap else xb)
    ya, yb = min(ya, yb), max(ya, yb)
    swap = yb > yc
    xb, xc = (xc if swap else xb), (xb if swap else xc)
    yb, yc = min(yb, yc), max(yb, yc)
    swap = ya > yb
    xa, xb = (xb if swap else xa), (xa if swap else xb)
    ya, yb = min(ya, yb), max(ya, yb)
    top, middle, bottom = (ya >> 8) + 1, (yb >> 8) + 1, (yc >> 8) + 1
    one, one_step = _edge(xa, ya, xc, yc, top)
    other, other_step = _edge(xa, ya, xb, yb, top)
    lower, lower_step = _edge(xb, yb, xc, yc, middle)
    if top == middle:
        other, other_step = lower, lower_step
    at = _byte(view, SIZE - 1 - top, 0)
    for row in range(top, bottom):
        left, right = min(one, other) >> 40, max(one, other) >> 40
        width = right - left
        if 0 < width <= 57:
            bits = (_ALL >> np.uint64(64 - width)) << np.uint64(left & 7)
            merge(images, at + (left >> 3), bits)
        elif width > 0:
            _set_span(images, view, SIZE - 1 - row, left, right)
        at -= 8 * WORDS
        one += one_step
        last = row + 1 == middle
        other = lower if last else other + other_step
        other_step = lower_step if last else other_step


@inlined()
def _edge(xa: int, ya: int, xb: int, yb: int, row: int) -> tuple[int, int]:
    """Where the edge meets a row, less _MARGIN, and its step a row; 1/2**40 pixel, rounded up."""
    slope = (xb - xa) / (256.0 * max(yb - ya, 1))
    meets = xa / 256.0 + ((row << 8) - ya) * slope - _MARGIN
    step = slope * 256.0 * _FIXED if yb - ya >= 256 else 0.0
    return int(meets * _FIXED) + (1 << 40) - 1, int(step)


@inlined()
def _set_span(images: NDArray[np.uint64], view: int, y: int, start: int, stop: int) -> None:
    """Set the pixels start <= x < stop of one row; start < stop."""
    first, last = start >> 6, (stop - 1) >> 6
    head = _ALL << np.uint64(start & 63)
    tail = _ALL >> np.uint64(63 - ((stop - 1) & 63))
    images[view, y, first] |= head & (tail if first == last else _ALL)
    images[view, y, last] |= tail & (head if first == last else _ALL)
    for word in range(first + 1, last):
        images[view, y, word] = _ALL
