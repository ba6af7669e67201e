"""Where the cameras of a rig stand and how a mesh is framed. No I/O.

Every camera is orthographic and looks at the centre of the mesh's bounding box. Frame of a camera:
x right, y up, z towards the viewer (OpenGL). Lengths are in radii of the mesh.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALF_WIDTH = 1.02  # half the side of the picture, radii: the unit sphere and a little margin
DISTANCE = 2.0  # from the camera plane to the centre, radii; sets the zero of depth
RIGS = ("ring", "sphere")


class Rig(NamedTuple):
    """Cameras as angles in degrees and as axes.

    azimuths, elevations: (v,) degrees; azimuth is about y, which is up, from z towards x.
    axes: (v, 3, 3) rows right, up, back (towards the viewer), in the axes of the upright mesh.
    """

    azimuths: Floats
    elevations: Floats
    axes: Floats


class Frame(NamedTuple):
    """Where an upright mesh is: centre of its bounding box, distance of its farthest vertex."""

    centre: Floats
    radius: float


def make_rig(name: str, views: int, elevation: float, azimuth: float) -> Rig:
    """Cameras of a ring (one elevation, even steps) or a sphere (Fibonacci lattice).

    Raises:
        ValueError: unknown rig, no views, elevation outside -90 ... 90.
    """
    if name not in RIGS:
        raise ValueError(f"rig {name!r}: expected one of {RIGS}")
    if views < 1 or not -90 <= elevation <= 90 or not np.isfinite(azimuth):
        raise ValueError(
            f"views {views}, elevation {elevation}, azimuth {azimuth}: expected at least one view, "
            "an elevation from -90 to 90 and a finite azimuth, in degrees"
        )
    if name == "ring":
        azimuths = (azimuth + 360.0 * np.arange(views) / views) % 360.0
        elevations = np.full(views, float(elevation))
    else:
        spots = fibonacci(views)
        elevations = np.degrees(np.arcsin(spots[:, 1]))
        azimuths = (azimuth + np.degrees(np.arctan2(spots[:, 0], spots[:, 2]))) % 360.0
    return Rig(azimuths, elevations, _axes(azimuths, elevations))


def fibonacci(count: int) -> Floats:
    """(count, 3) nearly even unit directions on the sphere, from +y down to -y."""
    steps = np.arange(count)
    height = 1.0 - (2.0 * steps + 1.0) / count
    angle = steps * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - height * height)
    return np.stack([ring * np.sin(angle), height, ring * np.cos(angle)], axis=1)


def _axes(azimuths: Floats, elevations: Floats) -> Floats:
    a, e = np.radians(azimuths), np.radians(elevations)
    zero = np.zeros_like(a)
    right = np.stack([np.cos(a), zero, -np.sin(a)], axis=1)
    back = np.stack([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], axis=1)
    return np.stack([right, np.cross(back, right), back], axis=1)


def frame(vertices: Floats, faces: NDArray[np.int64]) -> Frame:
    """Frame of the vertices (n, 3) that faces (m, 3) use. Raises ValueError when they coincide."""
    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    centre = low / 2 + high / 2  # halves first: no overflow
    half = float(np.max(high / 2 - low / 2))
    if half == 0:
        raise ValueError("all vertices of its faces are one point; there is nothing to see")
    scaled = (used - centre) / half
    return Frame(centre, half * float(np.sqrt(np.max(np.einsum("ij,ij->i", scaled, scaled)))))


def world_to_camera(rig: Rig, place: Frame, turn: Floats) -> Floats:
    """(v, 4, 4) matrices from file coordinates to camera coordinates in radii; depth is -z.

    `turn` (3, 3) sets the mesh of the file upright.

    A point (x, y, -depth) falls on column size (x / HALF_WIDTH + 1) / 2 and row
    size (1 - y / HALF_WIDTH) / 2 of the picture.
    """
    matrices = np.tile(np.eye(4), (len(rig.axes), 1, 1))
    matrices[:, :3, :3] = rig.axes @ turn / place.radius
    matrices[:, :3, 3] = -rig.axes @ place.centre / place.radius
    matrices[:, 2, 3] -= DISTANCE
    return matrices
