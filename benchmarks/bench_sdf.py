"""CPU time of `prepare_sdf.py` for each shape, at the sample counts of the paper by default.

Shapes are made by make_shapes.py, or those of --input (folder or shapes.json; every --every'th).
Reading the mesh, its sign, all distances and writing the file count; imports and the compilation of
kernels, which is done once, do not. A shape that fails is told and left out.
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
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "data_curation")]

import prepare_sdf  # noqa: E402
from data_curation.meshes import Item, list_meshes  # noqa: E402
from data_curation.nearest import Nearest  # noqa: E402
from data_curation.sdf import Job, Settings, prepare  # noqa: E402
from data_curation.upright import Turns  # noqa: E402

TARGET = 10.0  # seconds a shape on one core


def settings(flags: list[str]) -> Settings:
    """Those of the script's defaults, or of `flags` of it."""
    args = prepare_sdf.build_parser().parse_args(["--input", "-", "--output", "-", *flags])
    return prepare_sdf._settings(args)


def measure(items: list[Item], turns: Turns, how: Settings, folder: Path) -> dict[str, float]:
    """Seconds of CPU time of each shape, by id and method; failures go to stderr."""
    Nearest(np.eye(3), np.arange(3)[None]).signed(np.eye(3))  # compiles
    found = {}
    for item in items:
        started = time.process_time()
        try:
            record = prepare(Job(item, turns.of(item.id), folder / "shape.npz", how))
        except (OSError, ValueError) as error:
            print(f"{item.id}: left out: {error}", file=sys.stderr)
            continue
        name = f"{item.id} ({record['method']}, {record['faces']} faces)"
        found[name] = time.process_time() - started
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="other flags: of prepare_sdf.py")
    parser.add_argument("--shapes", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--input", type=Path, help="meshes (default: made by make_shapes.py)")
    parser.add_argument("--every", type=int, default=1, help="of the meshes (default 1)")
    args, flags = parser.parse_known_args()
    how = settings(flags)
    with tempfile.TemporaryDirectory() as made:
        source = args.input or Path(made) / "shapes"
        if args.input is None:
            script = ROOT / "data_curation" / "make_shapes.py"
            words = ["--output", source, "--count", str(args.shapes), "--seed", "99", "-q"]
            subprocess.run([sys.executable, script, *words], check=True, stdout=sys.stderr)
        items = list_meshes(source)[:: args.every][: args.shapes]
        spent = measure(items, Turns(source, how.up), how, Path(made))
    if not spent:
        raise SystemExit("bench_sdf.py: no shape could be sampled")
    seconds, slowest = np.array(list(spent.values())), max(spent, key=spent.__getitem__)
    print(f"{platform.machine()}, one thread; {len(spent)} shapes, {how.volume_points} volume,"
          f" {how.near_points} near, {how.surface_points} surface points")  # fmt: skip
    print(f"median {np.median(seconds):6.2f} s a shape")
    print(f"most   {seconds.max():6.2f} s: {slowest}")
    print(f"over {TARGET:g} s: {int((seconds > TARGET).sum())}")


if __name__ == "__main__":
    main()
