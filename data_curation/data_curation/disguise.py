"""Disguises: small changes that a generator which copies might make to a training shape.

Each takes vertices (n, 3) float, triangles (m, 3) int, a random generator and a strength (1: as
the README states, 0: nearly none) and returns new vertices, new triangles and the parameters drawn.
Lengths are in parts of the diagonal of the bounding box. The meshes may be open, in many parts and
non-manifold; `cleaned` must have been applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
Disguised = tuple[Vertices, Faces, dict[str, Any]]
Disguise = Callable[[Vertices, Faces, np.random.Generator, float], Disguised]

MAX_SUBDIVIDED = 200_000  # triangles aimed at when long edges are divided
FEWEST_FACES = 100  # decimation does not go below


def cleaned(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Merge vertices at one place, drop triangles without area and vertices without a triangle.

    Raises:
        ValueError: no triangle with an area is left.
    """
    places, index = np.unique(vertices, axis=0, return_inverse=True)
    return _compact(places, index.reshape(-1)[faces])


def disguise(
    name: str, vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float = 1.0
) -> Disguised:
    """Apply the disguise called `name` (a key of DISGUISES) to a mesh from any source.

    Raises:
        ValueError: unknown name, negative strength, no triangle with an area, or none left over.
    """
    if name not in DISGUISES:
        raise ValueError(f"unknown disguise {name!r}; one of {', '.join(DISGUISES)}")
    if not strength >= 0:
        raise ValueError(f"strength {strength}: expected 0 or more")
    vertices, faces = cleaned(vertices, faces)
    return DISGUISES[name](vertices, faces, rng, strength)


def none(vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float) -> Disguised:
    """An exact copy."""
    return vertices, faces, {}


def noise(vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float) -> Disguised:
    """Move every vertex by a normal deviate of 0.5 % of the diagonal."""
    sigma = 0.005 * strength
    moved = vertices + rng.normal(0.0, sigma * diagonal(vertices), vertices.shape)
    return moved, faces, {"sigma": sigma}


def remesh(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Divide edges longer than 2 % of the diagonal, then join vertices within cells of 2 %.

    The cells (a grid at a random place) are halved until the area is kept to 5 %, so that thin
    parts survive. Marching cubes would close open meshes and thicken sheets.
    """
    import trimesh

    size, before = diagonal(vertices), float(areas(vertices, faces).sum())
    longest = _affordable_edge(vertices, faces, 0.02 * size)
    divided = trimesh.remesh.subdivide_to_size(  # type: ignore[no-untyped-call]
        vertices, faces, longest, max_iter=60
    )
    fine, fine_faces = cleaned(*divided)
    origin, cell = fine.min(axis=0) - rng.random(3) * size, 0.02 * strength
    for _ in range(20):
        joined, joined_faces = _cluster(fine, fine_faces, origin, cell * size)
        if abs(areas(joined, joined_faces).sum() - before) <= 0.05 * before:
            return *_compact(joined, joined_faces), {"edge": longest / size, "cell": cell}
        cell /= 2
    return fine, fine_faces, {"edge": longest / size, "cell": 0.0}


def decimate(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Keep 30 % of the triangles by quadric edge collapse, at least FEWEST_FACES of them.

    Collapse eats loose leaves and open sheets, so more are kept until 90 % of the area stay.
    """
    import fast_simplification

    before, share = areas(vertices, faces).sum(), 0.3**strength
    single, short = vertices.astype(np.float32), faces.astype(np.int32)
    for _ in range(5):
        wanted = max(FEWEST_FACES, round(len(faces) * share))
        if wanted >= len(faces):
            break
        made, left = fast_simplification.simplify(single, short, target_count=wanted)
        if areas(made, left).sum() >= 0.9 * before:
            few, few_faces = cleaned(made.astype(np.float64), left.astype(np.int64))
            return few, few_faces, {"faces": [len(faces), len(few_faces)]}
        share = np.sqrt(share)
    return vertices, faces, {"faces": [len(faces), len(faces)]}


def rotate_small(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Turn by 5 to 15 degrees about a random axis."""
    return _turn(vertices, faces, rng, strength * rng.uniform(5.0, 15.0))


def rotate_large(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Turn by 30 to 180 degrees about a random axis."""
    return _turn(vertices, faces, rng, strength * rng.uniform(30.0, 180.0))


def stretch(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Scale each axis by a factor of its own, e^-0.15 to e^0.15 (0.86 to 1.16)."""
    factors = np.exp(strength * rng.uniform(-0.15, 0.15, 3))
    return vertices * factors, faces, {"factors": factors.tolist()}


def translate_scale(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Scale by 1/2 to 2 and move by up to the diagonal: what normalisation must undo."""
    factor = float(np.exp2(strength * rng.uniform(-1.0, 1.0)))
    shift = strength * rng.uniform(-1.0, 1.0, 3)
    moved = vertices * factor + shift * diagonal(vertices)
    return moved, faces, {"factor": factor, "shift": shift.tolist()}


def mirror(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Reflect along a random one of the axes; the triangles stay turned outwards."""
    axis = int(rng.integers(3))
    sign = np.where(np.arange(3) == axis, -1.0, 1.0)
    return vertices * sign, faces[:, ::-1], {"axis": "xyz"[axis]}


def remove_part(
    vertices: Vertices, faces: Faces, rng: np.random.Generator, strength: float
) -> Disguised:
    """Drop a connected part of 1 to 25 % of the area, or, without one, what a plane cuts off.

    The plane has a random direction; the triangles beyond it hold about 5 to 15 % of the area.
    """
    area = areas(vertices, faces)
    part = _parts(vertices, faces)
    share = np.bincount(part, area) / area.sum()
    loose = np.flatnonzero((share >= 0.01) & (share <= min(0.25 * strength, 0.9)))
    how = "component" if len(loose) else "slab"
    if len(loose):
        gone = part == rng.choice(loose)
    else:
        direction = _direction(rng)
        order = np.argsort(vertices[faces].mean(axis=1) @ direction, kind="stable")
        wanted = min(strength * rng.uniform(0.05, 0.15), 0.9)
        count = int(np.searchsorted(np.cumsum(area[order]) / area.sum(), wanted)) + 1
        gone = np.zeros(len(faces), bool)
        gone[order[: min(count, len(faces) - 1)]] = True
    removed = float(area[gone].sum() / area.sum())
    return *_compact(vertices, faces[~gone]), {"how": how, "share": removed}


DISGUISES: dict[str, Disguise] = {
    made.__name__: made
    for made in (
        none,
        noise,
        remesh,
        decimate,
        rotate_small,
        rotate_large,
        stretch,
        remove_part,
        mirror,
        translate_scale,
    )
}


def diagonal(vertices: Vertices) -> float:
    """Length of the diagonal of the bounding box."""
    return float(np.linalg.norm(np.ptp(vertices, axis=0)))


def areas(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """(m,) area of each triangle."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def _compact(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Without triangles of no area and without vertices of no triangle."""
    faces = faces[areas(vertices, faces) > 0]
    if len(faces) == 0:
        raise ValueError("no triangle with an area")
    used, index = np.unique(faces, return_inverse=True)
    return vertices[used], index.reshape(faces.shape)


def _cluster(
    vertices: Vertices, faces: Faces, origin: NDArray[np.float64], cell: float
) -> tuple[Vertices, Faces]:
    """Replace the vertices of each grid cell by their mean."""
    if cell <= 0:
        return vertices, faces
    boxes = np.floor((vertices - origin) / cell).astype(np.int64)
    _, index = np.unique(boxes, axis=0, return_inverse=True)
    index = index.reshape(-1)
    count = np.bincount(index)
    means = np.stack([np.bincount(index, vertices[:, k]) / count for k in range(3)], axis=1)
    return means, index[faces]


def _affordable_edge(vertices: Vertices, faces: Faces, wanted: float) -> float:
    """Edge length, `wanted` or more, at which dividing gives about MAX_SUBDIVIDED triangles."""
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)  # (m,)
    budget = max(MAX_SUBDIVIDED, len(faces))
    while (4.0 ** np.ceil(np.log2(np.maximum(longest / wanted, 1.0)))).sum() > budget:
        wanted *= 1.25
    return wanted


def _turn(vertices: Vertices, faces: Faces, rng: np.random.Generator, degrees: float) -> Disguised:
    """Turn about the middle of the bounding box."""
    from scipy.spatial.transform import Rotation

    axis = _direction(rng)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    turned = Rotation.from_rotvec(np.radians(degrees) * axis).apply(vertices - middle) + middle
    return turned, faces, {"degrees": degrees, "axis": axis.tolist()}


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit vector, uniform on the sphere."""
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def _parts(vertices: Vertices, faces: Faces) -> NDArray[np.int64]:
    """(m,) number of the connected part of each triangle; triangles that share a vertex connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(vertices),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1][faces[:, 0]], np.int64)
