"""CPU or GPU time from latents to grid values: near the surface only, dense, and as released.

Latents are those of shapes that make_shapes.py makes (or meshes of --meshes), encoded by the small
model or the one of --config and --ckpt. `as released` runs the decoder's layers and projects keys
and values again for every chunk of queries, as the code of arXiv 2512.23628 does. All three agree
in the cells that the surface passes through; `missed` counts those that `band` lacks.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "hy3dshape"))

from hy3dshape.encoding import list_clouds, load_autoencoder, pick_device, read_cloud  # noqa: E402
from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE  # noqa: E402
from hy3dshape.models.autoencoders.grid import Grid, evaluate_dense  # noqa: E402

SMALL = ROOT / "hy3dshape" / "weights" / "small"
BOUNDS, CHUNK = 1.01, 50_000
WAYS = ("band", "dense", "as released")


def grid_by(way: str, model: CustomShapeVAE, latent: Tensor, resolution: int) -> Grid:
    """The grid of one latent (1, m, c); `as released` runs the whole decoder once a chunk."""
    if way != "as released":
        return model.latents2grid(latent, BOUNDS, resolution, CHUNK, way)[0]

    def query(points: Tensor) -> Tensor:
        parts = points.split(CHUNK)
        return torch.cat([model.decode(latent)(part[None])[0] for part in parts])

    return evaluate_dense(query, BOUNDS, resolution, latent.device)


def clock(device: torch.device) -> float:
    """CPU time of this process, or wall time once the GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def surface_cells(values: Tensor) -> Tensor:
    """Cells whose corners are not all inside or all outside."""
    inside = (values < 0).int()
    for axis in range(3):
        n = inside.shape[axis] - 1
        inside = inside.narrow(axis, 0, n) + inside.narrow(axis, 1, n)
    return (inside > 0) & (inside < 8)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", type=Path, default=SMALL / "autoencoder_for_samples.yaml")
    parser.add_argument("--ckpt", type=Path, help="its weights (default: as for encode_latents.py)")
    parser.add_argument("--meshes", type=Path, help="folder (default: made by make_shapes.py)")
    parser.add_argument("--shapes", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--resolution", type=int, default=256, help="cells an axis (default 256)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = pick_device(args.device)
    torch.set_num_threads(1)
    model = load_autoencoder(args.config, args.ckpt)[0].to(device)
    with tempfile.TemporaryDirectory() as made:
        if args.meshes is None:
            script = ROOT / "data_curation" / "make_shapes.py"
            flags = ["--output", made, "--count", str(args.shapes), "--seed", "99", "-q"]
            subprocess.run([sys.executable, script, *flags], check=True, stdout=sys.stderr)
        clouds = list_clouds(args.meshes or Path(made))
        chosen = list(clouds.items())[: args.shapes]
        points = [read_cloud(uid, path, model.surface_size) for uid, path in chosen]
    seconds, share, missed, cells = dict.fromkeys(WAYS, 0.0), 0.0, 0, 0
    for cloud in points:
        latent = model.encode(torch.from_numpy(cloud)[None].to(device))
        grids = {}
        for way in WAYS:
            started = clock(device)
            grids[way] = grid_by(way, model, latent, args.resolution)
            seconds[way] += (clock(device) - started) / len(points)
        dense, band = surface_cells(grids["dense"].values), surface_cells(grids["band"].values)
        share += grids["band"].queried / len(points)
        missed, cells = missed + int((dense & ~band).sum()), cells + int(dense.sum())
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{platform.machine()}, one thread"
    )
    print(f"{name}; {len(points)} shapes, {args.resolution + 1} vertices an axis")
    for way, spent in seconds.items():
        print(f"{way:12} {spent:9.2f} s a shape  {spent / seconds['band']:7.1f} x")
    print(f"band queries {share:.2%} of the vertices, {1 / share:.0f} x fewer than dense;"
          f" missed {missed} of {cells} surface cells")  # fmt: skip


if __name__ == "__main__":
    main()
