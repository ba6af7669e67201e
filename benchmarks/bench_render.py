"""CPU time of render_views.py on one thread: 12 views of 256 x 256 pixels, 4 rays a pixel.

Meshes: a ball that fills the picture and a ring, both of some 20,000 faces, or those of --meshes
(every --every'th). Reading the mesh and writing PNG files count. `plain rays` are the same rays
through trimesh's own interface to Embree, the nearest hit alone, without light or shading.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "data_curation"))

from data_curation.cameras import DISTANCE, HALF_WIDTH, frame, make_rig  # noqa: E402
from data_curation.meshes import Item, list_meshes, load_arrays  # noqa: E402
from data_curation.shading import SHADINGS  # noqa: E402
from data_curation.views import Job, Settings, render  # noqa: E402

VIEWS, SIZE, SAMPLES = 12, 256, 2


def make_meshes(folder: Path) -> list[Item]:
    """A ball of 20,480 and a ring of 20,000 faces."""
    import trimesh

    made = {"ball": trimesh.creation.icosphere(5), "ring": trimesh.creation.torus(1, 0.3, 100, 100)}
    for name, mesh in made.items():
        mesh.export(folder / f"{name}.ply")
    return list_meshes(folder)


def render_seconds(item: Item, shading: str, folder: Path) -> float:
    """CPU seconds to read, render and write one mesh."""
    settings = Settings(VIEWS, SIZE, "ring", 20.0, 30.0, "file", shading, SAMPLES, ())
    started = time.process_time()
    render(Job(item, np.eye(3), folder / item.id, settings))
    return time.process_time() - started


def plain_seconds(item: Item) -> float:
    """CPU seconds of the same rays through trimesh."""
    import trimesh

    vertices, faces = load_arrays(item.path)
    place = frame(vertices, faces)
    mesh = trimesh.Trimesh((vertices - place.centre) / place.radius, faces, process=False)
    side = SIZE * SAMPLES
    steps = ((np.arange(side) + 0.5) / side * 2 - 1) * HALF_WIDTH
    started = time.process_time()
    for right, up, back in make_rig("ring", VIEWS, 20, 30).axes:
        grid = steps[:, None, None] * up + steps[:, None] * right + DISTANCE * back
        mesh.ray.intersects_location(
            grid.reshape(-1, 3), np.tile(-back, (side * side, 1)), multiple_hits=False
        )
    return time.process_time() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--meshes", type=Path, help="folder, list or shapes.json (default: made)")
    parser.add_argument("--every", type=int, default=1, help="take every so many (default 1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = list_meshes(args.meshes)[:: args.every] if args.meshes else make_meshes(folder)
        render_seconds(items[0], "clay", folder / "first")  # imports
        rows = {s: [render_seconds(item, s, folder / s) for item in items] for s in SHADINGS}
        rows["plain rays"] = [plain_seconds(item) for item in items]
    print(f"{len(items)} meshes, CPU seconds a mesh on one thread, {platform.machine()}")
    for label, seconds in rows.items():
        each = "" if args.meshes else f"  ({', '.join(f'{s:.2f}' for s in seconds)})"
        mean, median = np.mean(seconds), np.median(seconds)
        print(f"{label:10}  mean {mean:.2f}  median {median:.2f}  max {max(seconds):.2f}{each}")
    ratio = sum(rows["plain rays"]) / sum(rows["clay"])
    print(f"plain rays / clay = {ratio:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
