"""Normals that run smoothly over a surface and break at its creases. No I/O."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cameras import Floats
from .raycast import Floats32, Ints

_CREASE = np.cos(np.radians(40.0))  # faces that meet at a wider angle keep their edge
_VALENCE = 64  # a corner shared by more faces (the middle of a fan) stays flat
_FINEST = 500_000  # faces; those of finer meshes are too small to be seen one by one


def corner_normals(vertices: Floats, faces: Ints) -> Floats32:
    """Unit normal at each corner of each face, whatever the winding of its neighbours.

    The mean, weighted by corner angle, of the normals of all faces that share the corner's
    position and meet this face at less than 40 degrees, on the side this face turns to.

    Args:
        vertices: (n, 3).
        faces:    (m, 3).

    Returns:
        (m, 3, 3) by face and corner; a face without area has zeros.
    """
    triangles = vertices[faces]  # (m, 3, 3)
    flat = _unit(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]))
    flat = flat.astype(np.float32)
    if len(faces) > _FINEST:
        return np.repeat(flat[:, None], 3, axis=1)
    order, place, size, first = _groups(vertices, faces)
    face, weight = order // 3, _angles(triangles).ravel()[order].astype(np.float32)
    own = flat[face]
    total = own * weight[:, None]
    for step in range(1, min(int(size.max()), _VALENCE)):
        here = np.flatnonzero((size > step) & (size <= _VALENCE))
        there = first[here] + (place[here] + step) % size[here]
        cosine = np.einsum("ki,ki->k", own[here], own[there])
        share = np.where(np.abs(cosine) > _CREASE, np.sign(cosine), 0) * weight[there]
        total[here] += share[:, None] * own[there]
    normals = np.empty_like(total)
    normals[order] = _unit(total)
    return normals.reshape(-1, 3, 3)


def _groups(vertices: Floats, faces: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Corners (3 m) sorted by position: order, place in its group, group size, group start."""
    same = np.unique(vertices.astype(np.float32), axis=0, return_inverse=True)[1]
    keys = same.reshape(-1)[faces.ravel()]
    order = np.argsort(keys, kind="stable")
    starts, counts = np.unique(keys[order], return_index=True, return_counts=True)[1:]
    first, size = np.repeat(starts, counts), np.repeat(counts, counts)
    return order, np.arange(len(order)) - first, size, first


def _angles(triangles: Floats) -> Floats:
    """(m, 3) angle at each corner, radians; 0 where an edge has no length."""
    after = _unit(np.roll(triangles, -1, axis=1) - triangles)
    before = _unit(np.roll(triangles, 1, axis=1) - triangles)
    cosine = np.einsum("mci,mci->mc", after, before)
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)), np.float64)


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
