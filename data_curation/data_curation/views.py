"""Render the views of one mesh and write them, the sidecar last."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import cameras, shading
from .cameras import Floats, Frame, Rig
from .files import read_json, replacing, sha256, write_json
from .materials import Painted, load_painted
from .meshes import Item, load_arrays
from .raycast import Caster, Floats32, Hits
from .smooth import corner_normals

Pictures = NDArray[np.uint8]
PASSES = ("depth", "normals", "mask", "cameras")


@dataclass(frozen=True)
class Settings:
    """What decides a rendering; recorded in every sidecar."""

    views: int
    size: int
    rig: str
    elevation: float
    azimuth: float
    up: str
    shading: str
    samples: int
    passes: tuple[str, ...]


class Job(NamedTuple):
    """One mesh to render into a folder; `turn` (3, 3) sets it upright."""

    item: Item
    turn: Floats
    folder: Path
    settings: Settings


class Scene(NamedTuple):
    """What all views of one mesh share; corners are the normals at its corners, (m, 3, 3)."""

    mesh: Painted
    caster: Caster
    corners: Floats32
    sky: shading.Sky
    settings: Settings


class Rendered(NamedTuple):
    """Pictures (v, size, size, 3), and the arrays of the passes asked for."""

    pictures: Pictures
    arrays: dict[str, NDArray[Any]]
    place: Frame
    rig: Rig


def render(job: Job) -> str:
    """Render one mesh and write its folder. Raises ValueError, OSError. Returns its id."""
    item, turn, folder, settings = job
    digest = sha256(item.path)
    if settings.shading == "material":
        painted = load_painted(item.path)
    else:
        painted = Painted(*load_arrays(item.path), np.zeros((0, 3), np.float32), [])
    try:
        rendered = render_arrays(painted, turn, settings)
    except ValueError as error:
        raise ValueError(f"{item.path}: {error}") from error
    _clear(folder)
    _write_pictures(folder, rendered)
    if rendered.arrays:
        with replacing(folder / "views.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **rendered.arrays)
    write_json(folder / "views.json", _sidecar(job, digest, rendered))
    return item.id


def render_arrays(mesh: Painted, turn: Floats, settings: Settings) -> Rendered:
    """Views of a mesh in memory, set upright by `turn` (3, 3).

    Raises:
        ValueError: there is nothing to see.
    """
    s = settings
    rig = cameras.make_rig(s.rig, s.views, s.elevation, s.azimuth)
    upright = mesh.vertices @ turn.T
    place = cameras.frame(upright, mesh.faces)
    vertices = (upright - place.centre) / place.radius
    caster = Caster(vertices, mesh.faces)
    scene = Scene(mesh, caster, corner_normals(vertices, mesh.faces), shading.Sky(), s)
    pictures = np.stack([_picture(scene, axes) for axes in rig.axes])
    if (pictures == 255).all():
        raise ValueError("no ray hit it; its triangles have no area")
    return Rendered(pictures, _passes(scene, rig, place, turn), place, rig)


def _picture(scene: Scene, axes: Floats) -> Pictures:
    size, samples = scene.settings.size, scene.settings.samples
    parts = []
    for part in range(samples**2):
        shift = (part % samples + 0.5) / samples, (part // samples + 0.5) / samples
        hits = scene.caster.cast(axes, size, shift)
        parts.append((hits.pixels, _colours(scene, axes, hits, part)))
    mean = shading.average(size, parts)
    return shading.to_bytes(mean, linear=scene.settings.shading != "normals")


def _colours(scene: Scene, axes: Floats, hits: Hits, part: int) -> Floats32:
    kind, parts = scene.settings.shading, scene.settings.samples**2
    normals = shading.turned(scene.corners, hits)
    if kind == "normals":
        return shading.raw_normals(normals)
    colours = scene.mesh.colours_at(hits) if kind == "material" else shading.CLAY
    light = scene.sky.light(scene.caster, hits, normals, part, parts)
    return shading.lit(colours, light, normals, axes)


def _passes(scene: Scene, rig: Rig, place: Frame, turn: Floats) -> dict[str, NDArray[Any]]:
    """Arrays of rays through pixel centres, 0 where they miss (formats/npz.md)."""
    s, arrays = scene.settings, dict[str, NDArray[Any]]()
    if "cameras" in s.passes:
        arrays["world_to_camera"] = cameras.world_to_camera(rig, place, turn)
    wanted = [name for name in s.passes if name != "cameras"]
    if not wanted:
        return arrays
    flat = len(rig.axes), s.size * s.size
    depth, normals = np.zeros(flat, np.float32), np.zeros((*flat, 3), np.float16)
    for view, axes in enumerate(rig.axes):
        hits = scene.caster.cast(axes, s.size)
        depth[view, hits.pixels] = hits.depth
        normals[view, hits.pixels] = hits.normals @ turn
    full: dict[str, NDArray[Any]] = {"depth": depth, "normals": normals, "mask": depth > 0}
    shape = len(rig.axes), s.size, s.size
    return arrays | {n: full[n].reshape(*shape, *full[n].shape[2:]) for n in wanted}


def _clear(folder: Path) -> None:
    """Remove an earlier rendering, the sidecar first: without it the folder is unfinished."""
    for pattern in ("views.json", "views.npz", "sprite_v*.png", "view_*.png"):
        for old in folder.glob(pattern):
            old.unlink()


def _write_pictures(folder: Path, rendered: Rendered) -> None:
    from PIL import Image

    count, size = rendered.pictures.shape[:2]
    named = {f"view_{i:02d}.png": picture for i, picture in enumerate(rendered.pictures)}
    named[f"sprite_v{count}.png"] = rendered.pictures.reshape(count * size, size, 3)
    for name, picture in named.items():
        with replacing(folder / name) as temporary:
            Image.fromarray(picture).save(temporary, "PNG", compress_level=4)


def _sidecar(job: Job, digest: str, rendered: Rendered) -> dict[str, Any]:
    item, turn, _, settings = job
    count = settings.views
    return {
        "id": item.id,
        "category": item.category,
        "sha256": digest,
        "settings": asdict(settings) | {"passes": list(settings.passes)},
        "sprite": f"sprite_v{count}.png",
        "views": count,
        "rows": count,
        "cols": 1,
        "tile": settings.size,
        "up": "y",
        "turn": turn.ravel().tolist(),
        "shading": settings.shading,
        "azimuths": [round(float(a), 6) for a in rendered.rig.azimuths],
        "elevations": [round(float(e), 6) for e in rendered.rig.elevations],
        "projection": "orthographic",
        "half_width": cameras.HALF_WIDTH,
        "centre": [float(c) for c in rendered.place.centre],
        "radius": rendered.place.radius,
    }


def finished(job: Job) -> dict[str, Any] | None:
    """Settings in the sidecar of this mesh, or None when absent or the mesh has changed since."""
    path = job.folder / "views.json"
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise ValueError(f"{path}: expected an object with 'settings'; remove it and render again")
    same = found.get("turn") == job.turn.ravel().tolist()
    return found["settings"] if same and found.get("sha256") == sha256(job.item.path) else None
