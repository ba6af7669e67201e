"""One procedural shape: from (seed, number, family) to a mesh and its record in shapes.json."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .families import FAMILIES, Draw, caption
from .files import replacing
from .primitives import Solid, union

MIN_FACES = 500  # coarser meshes are subdivided, so that smoothing and decimation have something
CREATOR, LICENCE = "make_shapes.py", "CC0-1.0"


class Job(NamedTuple):
    """Shape `number` of the set `seed`: item i of every set is of family i mod families."""

    number: int
    seed: int
    family: str
    folder: Path

    @property
    def id(self) -> str:
        return f"{self.family}_s{self.seed}_{self.number:06d}"

    @property
    def path(self) -> Path:
        return self.folder / f"{self.id}.ply"


def design(job: Job) -> tuple[Solid, dict[str, Any]]:
    """The solid and its record, decided by (seed, number, family) alone.

    Raises:
        ValueError: the union of the parts is empty or no manifold.
    """
    draw = Draw(np.random.default_rng([job.seed, job.number]))
    made = FAMILIES[job.family](draw)
    solid = _outside(union(made.parts))
    low, high = np.reshape(solid.bounding_box(), (2, 3))
    solid = solid.translate((0.0, float(-low[1]), 0.0))
    name = job.family.replace("_", " ")
    record = {
        "id": job.id,
        "path": job.path.name,
        "category": job.family,
        "names": {"en": name},
        "tags": {"en": [x for x in made.looks if x]},
        "captions": caption(name, made, float(high[1] - low[1])),
        "parameters": draw.values,
        "creator": CREATOR,
        "licence": LICENCE,
        "size": [round(float(x), 4) for x in high - low],
        "up": "y",
    }
    return solid, record


def _outside(solid: Solid) -> Solid:
    """The solid without enclosed cavities, with at least MIN_FACES faces."""
    if solid.is_empty():
        raise ValueError(f"the union of the parts is no solid: {solid.status()}")
    pieces = [piece for piece in solid.decompose() if piece.volume() > 0.0]
    solid = type(solid).compose(pieces)
    low, high = np.reshape(solid.bounding_box(), (2, 3))
    solid = solid.simplify(1e-5 * float(np.max(high - low)))  # no slivers left by the union
    if solid.num_tri() < MIN_FACES:
        solid = solid.refine(math.ceil(math.sqrt(MIN_FACES / solid.num_tri())))
    return solid


def arrays(solid: Solid) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(n, 3) vertices and (m, 3) faces, checked as they will be stored, in single precision.

    Raises:
        ValueError: an edge does not have exactly two faces of opposite direction.
    """
    mesh = solid.to_mesh64()
    vertices = np.asarray(mesh.vert_properties)[:, :3].astype(np.float32) + np.float32(0.0)
    faces = np.asarray(mesh.tri_verts).astype(np.int32)
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    one = edges[:, 0] * len(vertices) + edges[:, 1]
    other = edges[:, 1] * len(vertices) + edges[:, 0]
    if len(np.unique(one)) != len(one) or not np.array_equal(np.sort(one), np.sort(other)):
        raise ValueError("the mesh is not watertight; report the id, this is a bug")
    return vertices, faces


def write_ply(path: Path, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
    """Binary little-endian PLY; the same arrays always give the same bytes."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), [("count", "u1"), ("index", "<i4", 3)])
    rows["count"], rows["index"] = 3, faces
    with replacing(path) as temporary:
        temporary.write_bytes(header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())


def make(job: Job) -> dict[str, Any]:
    """Write the mesh of a job and return its record."""
    solid, record = design(job)
    write_ply(job.path, *arrays(solid))
    return record
