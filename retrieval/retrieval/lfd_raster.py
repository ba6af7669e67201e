"""Exact silhouettes of a triangle mesh in 100 orthographic views.

Corners are snapped to 1/256 pixel and coverage is decided in exact arithmetic with the bottom-left
rule, as Mesa's software rasteriser does; that makes the images those of the 2003 program.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .jit import inlined, kernel
from .lfd_bits import SIZE, WORDS, lowest
from .lfd_cameras import RIGS, VIEWS, projections

LANES = 56  # views treated at once, of which BLOCK are real
BLOCK = 50
CHUNK = 1 << 12  # faces, bounds the memory whatever the mesh

_HALF, _NEARLY = np.float32(0.5), np.float32(255)
_SCALE = np.float32(128)
_SUB = np.float32(256)
_ZERO, _UNIT, _NEVER = np.float32(0), np.float32(1), np.float32(-1 << 23)
_FIXED = 2.0**40
_ALL, _ONE = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(1)
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
    """Camera rows as (2 blocks, 8, LANES): a lane is a view, spare lanes are zero."""
    padded = np.zeros((RIGS * VIEWS // BLOCK, 8, LANES), np.float32)
    padded[:, :, :BLOCK] = projections().reshape(-1, BLOCK, 8).transpose(0, 2, 1)
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
        for axis in range(3):
            points[place, axis] = vertices[used[place], axis]
        local[used[place]] = -1
    return corners, points


@kernel()
def _draw_chunk(
    points: NDArray[np.float32],
    corners: NDArray[np.int32],
    lanes: NDArray[np.float32],
    images: NDArray[np.uint64],
) -> None:
    window = np.empty((len(points), 2, LANES), np.float32)
    cells = np.empty((len(points), 2, LANES), np.uint8)
    for block in range(len(lanes)):
        _project(points, lanes[block], window, cells)
        _draw_block(corners, window, cells, images, block * BLOCK)


@kernel()
def _project(
    points: NDArray[np.float32],
    camera: NDArray[np.float32],
    window: NDArray[np.float32],
    cells: NDArray[np.uint8],
) -> None:
    """Snapped window coordinates in 1/256 pixel, and the pixel column and row they open."""
    lanes = window.shape[2]  # not the constant: known counts are unrolled, not vectorised
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for j in range(lanes):
            u = ((x * camera[0, j] + y * camera[1, j]) + z * camera[2, j]) + camera[3, j]
            window[i, 0, j] = (((u * _SCALE + _SCALE) - _HALF) * _SUB + _ROUND) - _ROUND
        for j in range(lanes):
            v = ((x * camera[4, j] + y * camera[5, j]) + z * camera[6, j]) + camera[7, j]
            window[i, 1, j] = (((-(v * _SCALE) + _SCALE) - _HALF) * _SUB + _ROUND) - _ROUND
        for j in range(lanes):
            cells[i, 0, j] = np.int32(window[i, 0, j] + _NEARLY) >> 8
        for j in range(lanes):
            cells[i, 1, j] = np.int32(window[i, 1, j]) >> 8


@kernel()
def _draw_block(
    corners: NDArray[np.int32],
    window: NDArray[np.float32],
    cells: NDArray[np.uint8],
    images: NDArray[np.uint64],
    view: int,
) -> None:
    """Draw every triangle into the views (from `view` on) in which it can cover a pixel centre.

    Views in which at most 4 x 4 centres are in question are decided together, lane by lane.
    """
    first = np.zeros((2, LANES), np.uint8)  # column and row before the first centre in question
    spans = np.zeros((2, LANES), np.uint8)  # how many columns and rows are in question
    together = np.zeros(LANES, np.uint8)
    alone = np.zeros(LANES, np.uint8)
    some, others = together.view(np.uint64), alone.view(np.uint64)
    work = np.zeros(16 * LANES, np.float32)
    lanes = window.shape[2]
    for face in range(len(corners)):
        a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
        for axis in range(2):
            for j in range(lanes):
                ka, kb, kc = cells[a, axis, j], cells[b, axis, j], cells[c, axis, j]
                low = np.minimum(np.minimum(ka, kb), kc)
                first[axis, j] = low
                spans[axis, j] = np.subtract(np.maximum(np.maximum(ka, kb), kc), low)
        for j in range(lanes):
            most, least = np.maximum(spans[0, j], spans[1, j]), np.minimum(spans[0, j], spans[1, j])
            together[j] = (least > 0) & (most <= 4)
            alone[j] = (least > 0) & (most > 4)
        rows = np.int64(0)
        for j in range(lanes):
            rows = max(rows, np.int64(spans[1, j]) * np.int64(together[j]))
        if rows > 0:
            _decide(window, a, b, c, first, rows, work)
            for j in range(lanes):
                together[j] &= work[j] > _ZERO
            for word in range(LANES // 8):
                left = some[word]
                while left:
                    j = 8 * word + (lowest(left) >> 3)
                    left &= left - _ONE
                    _set_cells(images, view + j, first[0, j], first[1, j], np.int64(work[j]), rows)
        for word in range(LANES // 8):
            left = others[word]
            while left:
                j = 8 * word + (lowest(left) >> 3)
                left &= left - _ONE
                _draw(
                    images, view + j,
                    np.int64(window[a, 0, j]), np.int64(window[a, 1, j]),
                    np.int64(window[b, 0, j]), np.int64(window[b, 1, j]),
                    np.int64(window[c, 0, j]), np.int64(window[c, 1, j]),
                )  # fmt: skip


@kernel()
def _decide(
    window: NDArray[np.float32],
    a: int,
    b: int,
    c: int,
    first: NDArray[np.uint8],
    rows: int,
    work: NDArray[np.float32],
) -> None:
    """Which of the 4 x 4 centres after `first` are covered, per lane: bit 4 * row + column.

    A centre is covered if it lies on or right of exactly one of the edges that cross its row. All
    values are integers below 2**24 for a triangle of this size, so float32 is exact. The answer
    is left in work[:LANES]; `work` is flat so that the compiler can tell its rows apart.
    """
    _relative(window, a, 0, first, work, 1)
    _relative(window, a, 1, first, work, 2)
    _relative(window, b, 0, first, work, 3)
    _relative(window, b, 1, first, work, 4)
    _relative(window, c, 0, first, work, 5)
    _relative(window, c, 1, first, work, 6)
    _edge_terms(work, 1, 3, 7)
    _edge_terms(work, 3, 5, 10)
    _edge_terms(work, 5, 1, 13)
    for j in range(LANES):
        work[j] = _ZERO
    bit = _UNIT
    for row in range(rows):
        _decide_row(work, np.float32(row), bit)
        bit *= np.float32(16)


@inlined()
def _relative(
    window: NDArray[np.float32],
    corner: int,
    axis: int,
    first: NDArray[np.uint8],
    work: NDArray[np.float32],
    out: int,
) -> None:
    """Corner seen from the first centre: rows open below it, columns at it."""
    lanes = window.shape[2]
    for j in range(lanes):
        origin = np.float32(first[axis, j]) * _SUB + np.float32(256 * axis)
        work[out * LANES + j] = window[corner, axis, j] - origin


@inlined()
def _edge_terms(work: NDArray[np.float32], start: int, end: int, out: int) -> None:
    """Edge function at the first centre, its change a row and its change a column."""
    lanes = len(work) // 16
    for j in range(lanes):
        x, y = work[start * LANES + j], work[(start + 1) * LANES + j]
        dx, dy = work[end * LANES + j] - x, work[(end + 1) * LANES + j] - y
        sign = _UNIT if dy > _ZERO else -_UNIT
        work[out * LANES + j] = sign * (y * dx - x * dy)
        work[(out + 1) * LANES + j] = sign * dx * _SUB
        work[(out + 2) * LANES + j] = sign * dy * _SUB


@kernel()
def _decide_row(work: NDArray[np.float32], row: np.float32, bit: np.float32) -> None:
    y, lanes = row * _SUB, len(work) // 16
    for j in range(lanes):
        ay, by, cy = work[2 * LANES + j] < y, work[4 * LANES + j] < y, work[6 * LANES + j] < y
        ab = work[7 * LANES + j] - row * work[8 * LANES + j] if ay != by else _NEVER
        bc = work[10 * LANES + j] - row * work[11 * LANES + j] if by != cy else _NEVER
        ca = work[13 * LANES + j] - row * work[14 * LANES + j] if cy != ay else _NEVER
        hits, value = work[j], bit
        for _ in range(4):
            count = _UNIT if ab >= _ZERO else _ZERO
            count += _UNIT if bc >= _ZERO else _ZERO
            count += _UNIT if ca >= _ZERO else _ZERO
            hits += value if count == _UNIT else _ZERO
            value += value
            ab += work[9 * LANES + j]
            bc += work[12 * LANES + j]
            ca += work[15 * LANES + j]
        work[j] = hits


@inlined()
def _set_cells(
    images: NDArray[np.uint64], view: int, column: int, row: int, hits: int, rows: int
) -> None:
    """Set the pixels of a 4 x 4 code; `row` is the one before the first."""
    word, shift = column >> 6, np.uint64(column & 63)
    for y in range(SIZE - 2 - row, SIZE - 2 - row - rows, -1):
        four = np.uint64(hits & 15)
        images[view, y, word] |= four << shift
        if shift > np.uint64(60):
            images[view, y, word + 1] |= four >> (np.uint64(64) - shift)
        hits >>= 4


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
    for row in range(top, bottom):
        left, right = min(one, other) >> 40, max(one, other) >> 40
        if left < right:
            _set_span(images, view, SIZE - 1 - row, left, right)
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
