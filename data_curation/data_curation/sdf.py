"""Signed distance samples of one shape (formats/npz.md), the data of a vector-set autoencoder.

Numbers and distributions are those of VecSetX (github.com/1zb/VecSetX).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .files import replacing, sha256
from .meshes import Item, load_arrays
from .shell import closed_around
from .signed import SignedMesh, Trust
from .solids import Floats, Placed, balanced, crosses, merged, placed, surface_samples

METHODS = ("auto", "watertight", "raw")
VOLUMES = {"ball": 4 / 3 * np.pi * 3**1.5, "cube": 8.0}  # of the regions volume points fill
TESTS = 1000  # points of each test of the sign
SUSPICIOUS = 0.01  # share of test points that speaks against a sign, or a mesh as it is


@dataclass(frozen=True)
class Settings:
    """What decides the samples; recorded with every shape."""

    volume: str
    volume_points: int
    near_points: int
    surface_points: int
    sigmas: tuple[float, ...]
    method: str
    resolution: int
    up: str
    seed: int


class Job(NamedTuple):
    """One mesh to sample into a file; `turn` (3, 3) sets it upright."""

    item: Item
    turn: Floats
    path: Path
    settings: Settings


class Solid(NamedTuple):
    """The mesh that distances are measured to; (original - shifts) * scale, and how it was made."""

    mesh: SignedMesh
    shifts: Floats
    scale: float
    trust: Trust
    how: dict[str, Any]


def prepare(job: Job) -> dict[str, Any]:
    """Write the npz of one mesh. Returns its record. Raises ValueError, OSError."""
    item, turn, path, settings = job
    digest = sha256(item.path)
    vertices, faces = load_arrays(item.path)
    try:
        arrays, found = sample(vertices @ turn.T, faces, settings, item.id)
    except ValueError as error:
        raise ValueError(f"{item.path}: {error}") from error
    record = {"id": item.id, "category": item.category, "sha256": digest, **found}
    own = {"turn": turn.ravel().tolist(), "settings": asdict(settings)}
    with replacing(path) as temporary:
        np.savez(temporary, record=json.dumps(record | own), **arrays)  # type: ignore[arg-type]
    return record


def sample(
    vertices: Floats, faces: NDArray[np.int64], settings: Settings, name: str
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Arrays of a mesh in memory and what was found out about it.

    Args:
        vertices, faces: (n, 3), (m, 3) of the upright mesh.
        name:            with the seed, decides the random numbers.
    """
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4").tolist()
    volume, near, surface, test = np.random.default_rng([settings.seed, *words]).spawn(4)
    place = placed(*merged(vertices, faces))
    closed = balanced(place.faces)
    solid, s = _solid(place, closed, settings, test), settings
    drawn = [
        _fill(s.volume, s.volume_points, volume),
        _around(solid.mesh, s.near_points, s.sigmas, near),
    ]
    points = np.concatenate(drawn).astype(np.float32)
    distances = solid.mesh.sdf(points.astype(np.float64), solid.trust).astype(np.float32)
    on, _ = surface_samples(solid.mesh.vertices, solid.mesh.faces, s.surface_points, surface)
    arrays = {
        "vol_points": points[: s.volume_points],
        "vol_sdf": distances[: s.volume_points],
        "near_points": points[s.volume_points :],
        "near_sdf": distances[s.volume_points :],
        "surface_points": on.astype(np.float32),
        "shifts": solid.shifts.astype(np.float32),
        "scale": np.array(solid.scale, np.float32),
    }
    inside = distances < 0
    volume_inside = float(np.mean(inside[: s.volume_points])) * VOLUMES[s.volume]
    record = {
        "faces": len(faces),
        "watertight": closed,
        **solid.how,
        "volume": round(volume_inside, 6),
        "disagreement": solid.trust.disagreement,
        "unturned": solid.trust.unturned,
    }
    return arrays, record | {"suspicious": _suspicions(solid.trust, bool(inside.any()))}


def _suspicions(trust: Trust, some_inside: bool) -> list[str]:
    """What speaks against the signs of a shape; empty when nothing does."""
    found = {
        "winding number and ray parity disagree": trust.disagreement > SUSPICIOUS,
        "surface points have one sign on both sides": trust.unturned > SUSPICIOUS,
        "no point is inside": not some_inside,
    }
    return [text for text, holds in found.items() if holds]


def _solid(place: Placed, closed: bool, settings: Settings, rng: np.random.Generator) -> Solid:
    """The mesh itself where `settings.method` takes it, else the surface closed around it."""
    real = (crosses(place.vertices, place.faces) != 0).any(axis=1)  # slivers close a mesh, no more
    mesh = SignedMesh(place.vertices, place.faces[real])
    if settings.method == "raw" or (settings.method == "auto" and closed):
        trust = mesh.trust(TESTS, rng)
        if settings.method == "raw" or trust.unturned <= SUSPICIOUS:
            return Solid(mesh, place.shifts, place.scale, trust, {"method": "raw"})
    vertices, faces, resolution = closed_around(mesh, settings.resolution)
    around = placed(vertices, faces)
    mesh = SignedMesh(around.vertices, around.faces)
    shifts, scale = place.shifts + around.shifts / place.scale, around.scale * place.scale
    how = {"method": "watertight", "resolution": resolution}
    return Solid(mesh, shifts, scale, mesh.trust(TESTS, rng), how)


def _fill(region: str, count: int, rng: np.random.Generator) -> Floats:
    """(count, 3) uniform points of the ball of radius sqrt 3 or of the cube [-1, 1]^3."""
    if region == "cube":
        return rng.uniform(-1, 1, (count, 3))
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * (np.sqrt(3) * np.cbrt(rng.random((count, 1))))


def _around(
    mesh: SignedMesh, count: int, sigmas: tuple[float, ...], rng: np.random.Generator
) -> Floats:
    """(count, 3) surface points with Gaussian noise, an even share for each sigma in turn."""
    points, _ = surface_samples(mesh.vertices, mesh.faces, count, rng)
    widths = np.repeat(sigmas, -(-count // len(sigmas)))[:count, None]
    return points + rng.normal(size=(count, 3)) * widths


def finished(job: Job) -> dict[str, Any] | None:
    """What the npz of this mesh says about it, or None when absent or the mesh has changed since.

    Raises:
        ValueError: the file is not one of ours.
    """
    if not job.path.is_file():
        return None
    try:
        with np.load(job.path, allow_pickle=False) as table:
            record = json.loads(str(table["record"]))
            record["settings"]["sigmas"] = tuple(record["settings"]["sigmas"])
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{job.path}: not an npz of this script; remove it") from error
    same = record.pop("turn") == job.turn.ravel().tolist()
    return record if same and record["sha256"] == sha256(job.item.path) else None
