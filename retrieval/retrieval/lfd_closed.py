"""Which faces of a mesh need drawing where they face one way only.

Whether a centre lies at or right of an edge that crosses its row does not depend on the direction
of the edge. So in a part of a mesh that passes every edge as often one way as the other, each
centre is covered by as many triangles of positive area as of negative area, and those of positive
area make the whole silhouette of the part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .jit import inlined, kernel

_FREE = np.int32(-1)
_MIX, _OTHER_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_32 = np.uint64(32)


@kernel()
def weld(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    shift: NDArray[np.float64],
    scale: float,
    local: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points (vertex + shift) * scale in float32, none twice, and the faces over them.

    Faces with two corners in one point, which cover nothing, are left out; `local`, one entry a
    vertex, is -1 before and after.
    """
    points = np.empty((min(faces.size, len(vertices)), 3), np.float32)
    table = np.full(_table_size(len(points)), _FREE)
    corners = np.empty(faces.shape, np.int32)
    count, kept = 0, 0
    for face in range(len(faces)):
        for corner in range(3):
            vertex = faces[face, corner]
            if local[vertex] < 0:
                for axis in range(3):
                    value = np.float32((vertices[vertex, axis] + shift[axis]) * scale)
                    points[count, axis] = value + np.float32(0)  # no negative zero
                local[vertex] = _row_like(points.view(np.uint32), count, table)
                count += local[vertex] == count
            corners[kept, corner] = local[vertex]
        a, b, c = corners[kept, 0], corners[kept, 1], corners[kept, 2]
        kept += a != b and b != c and c != a
    for face in range(len(faces)):
        for corner in range(3):
            local[faces[face, corner]] = -1
    return points[:count], corners[:kept]


@inlined()
def _row_like(rows: NDArray[np.uint32], row: int, table: NDArray[np.int32]) -> int:
    """The row in the table that equals this one, which enters the table if there is none."""
    x, y, z = rows[row, 0], rows[row, 1], rows[row, 2]
    place = _start(np.uint64(x) << _32 | np.uint64(y), np.uint64(z), len(table))
    while table[place] != _FREE:
        other = table[place]
        if rows[other, 0] == x and rows[other, 1] == y and rows[other, 2] == z:
            break
        place = (place + 1) & (len(table) - 1)
    if table[place] == _FREE:
        table[place] = row
    return table[place]


@inlined()
def _start(one: np.uint64, other: np.uint64, size: int) -> int:
    """Where in a hash table of `size`, a power of two, to look for a pair first."""
    mixed = (one * _MIX) ^ (other * _OTHER_MIX)
    return int(((mixed ^ (mixed >> _32)) * _MIX) >> _32) & (size - 1)


@inlined()
def _table_size(entries: int) -> int:
    """A power of two that leaves a quarter free."""
    size = 4
    while 3 * size < 4 * entries:
        size *= 2
    return size


@kernel()
def closed(corners: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which faces lie in parts, joined by common edges, with as many edges one way as the other.

    Args:
        corners: (m, 3), no point twice in a face.

    Returns:
        (m,) flags; the same for all faces of a part.
    """
    parent = np.arange(len(corners)).astype(np.int32)
    size = _table_size(3 * len(corners))
    keys, excess = np.full(size, -1), np.zeros(size, np.int32)
    owner = np.empty(size, np.int32)  # a face at the edge
    for face in range(len(corners)):
        for corner in range(3):
            a, b = np.int64(corners[face, corner]), np.int64(corners[face, (corner + 1) % 3])
            key = min(a, b) << 32 | max(a, b)
            place = _start(np.uint64(key), np.uint64(0), size)
            while keys[place] != key and keys[place] >= 0:
                place = (place + 1) & (size - 1)
            if keys[place] < 0:
                keys[place], owner[place] = key, face
            else:
                parent[_root(parent, face)] = _root(parent, owner[place])
            excess[place] += 1 if a < b else -1
    is_open = np.zeros(len(corners), np.bool_)
    for place in range(size):
        if excess[place] != 0:
            is_open[_root(parent, owner[place])] = True
    return np.array([not is_open[_root(parent, face)] for face in range(len(corners))], np.bool_)


@inlined()
def _root(parent: NDArray[np.int32], face: int) -> int:
    while parent[face] != face:
        parent[face] = parent[parent[face]]
        face = parent[face]
    return face


@kernel()
def distinct(
    corners: NDArray[np.int32], flags: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Each face once, and its flag; the two orientations of a flagged face are two faces."""
    table = np.full(_table_size(len(corners)), _FREE)
    found, found_flags = np.empty_like(corners), np.empty_like(flags)
    count = 0
    for face in range(len(corners)):
        a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
        low, high = min(a, b, c), max(a, b, c)
        middle = a ^ b ^ c ^ low ^ high
        follower = b if a == low else (c if b == low else a)
        swap = flags[face] and follower == high
        found[count, 0], found[count, 1] = low, (high if swap else middle)
        found[count, 2], found_flags[count] = (middle if swap else high), flags[face]
        count += _row_like(found.view(np.uint32), count, table) == count
    return found[:count], found_flags[:count]
