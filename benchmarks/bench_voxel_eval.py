"""CPU time of Chamfer matrices of voxel grids on one thread, in one run.

For each kind of grid: all sums of --count x --count shapes in both directions (MMD, COV), and of
all shapes against all (1-NNA, precision and recall too), compilation apart; against two KD-trees
and two queries a pair, on --pairs random pairs, extrapolated to the same number of pairs. Every
sampled pair is compared.

Shapes by formula (chairs, tables, lamps and blobs of random size), or those of --input, whatever
their cells; half of these are the first set. At 64^3 sparse means 2,000 cells of the surface, drawn
at random, as 2,048 points of a surface give; at 128^3 the same number.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "voxel_ldm"))

from voxel_ldm.chamfer import Cells, chamfer, distance_sums, find_cells, join  # noqa: E402
from voxel_ldm.grids import read_grids  # noqa: E402

KINDS = ("sparse64", "surface64", "solid64", "sparse128")
SPARSE = 2000
Grid = NDArray[np.bool_]


def solid(index: int, resolution: int) -> Grid:
    """A filled shape that nearly touches the sides of its grid; shape i draws from (0, i)."""
    rng = np.random.default_rng([0, index])
    axes = np.ogrid[tuple(slice(0, 1, resolution * 1j) for _ in range(3))]
    made = np.zeros((resolution,) * 3, np.bool_)
    width, depth = rng.uniform(0.25, 0.5, 2)
    top, thick = rng.uniform(0.35, 0.9), rng.uniform(0.06, 0.14)

    def box(low: Any, high: Any) -> None:
        inside = [(a >= b) & (a <= c) for a, b, c in zip(axes, low, high, strict=True)]
        np.logical_or(made, inside[0] & inside[1] & inside[2], out=made)

    def ball(centre: Any, radii: Any) -> None:
        parts = [((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)]
        np.logical_or(made, parts[0] + parts[1] + parts[2] <= 1, out=made)

    kind = index % 4
    if kind < 2:  # table, chair
        top = top if kind == 0 else 0.45
        box((0.5 - width, 0.5 - depth, top - thick), (0.5 + width, 0.5 + depth, top))
        for x in (-1, 1):
            for y in (-1, 1):
                leg = 0.5 + x * (width - 0.05), 0.5 + y * (depth - 0.05)
                box((leg[0] - 0.05, leg[1] - 0.05, 0), (leg[0] + 0.05, leg[1] + 0.05, top))
    if kind == 1:
        box((0.5 - width, 0.5 - depth, 0.45), (0.5 + width, 0.5 - depth + thick, 1))
    if kind == 2:  # lamp
        ball((0.5, 0.5, 0), (width, depth, thick))
        box((0.47, 0.47, 0), (0.53, 0.53, 0.8))
        ball((0.5, 0.5, 0.75), (width, depth, 0.25))
    if kind == 3:
        for _ in range(5):
            ball(rng.uniform(0.25, 0.75, 3), rng.uniform(0.1, 0.25, 3))
    return made


def surface(filled: Grid) -> Grid:
    """Its cells with an empty neighbour."""
    from scipy.ndimage import binary_erosion

    return filled & ~binary_erosion(filled)


def grids(kind: str, first: int, count: int) -> Cells:
    """Shapes first to first + count of a kind."""
    resolution = 128 if kind.endswith("128") else 64

    def packed(index: int) -> NDArray[np.uint8]:
        made = solid(index, resolution)
        if not kind.startswith("solid"):
            made = surface(made)
        if kind.startswith("sparse"):
            rng, cells = np.random.default_rng([1, index]), np.flatnonzero(made)
            made = np.zeros_like(made)
            made.flat[rng.choice(cells, min(SPARSE, len(cells)), replace=False)] = True
        return np.packbits(made)

    return find_cells(map(packed, range(first, first + count)), resolution)


def points(cells: Cells, index: int) -> NDArray[np.float64]:
    """(n, 3) occupied cells of one shape on the unit cube."""
    r, starts = cells.resolution, cells.starts[index]
    x = np.repeat(np.arange(r), np.diff(starts))
    rest = cells.places[starts[0] : starts[-1]]
    return np.stack([x, rest // r, rest % r], axis=1) / (r - 1)


def by_trees(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Chamfer distance of two point sets by two KD-trees."""
    from scipy.spatial import cKDTree

    to_b, to_a = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    return float((to_b**2).mean() + (to_a**2).mean())


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time of the process, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def report(name: str, gen: Cells, ref: Cells, pairs: int) -> None:
    """Measure and print one kind."""

    def matrix() -> NDArray[np.float64]:
        return chamfer(distance_sums(gen, ref), distance_sums(ref, gen), gen, ref)

    both = join(gen, ref)
    cross, got = seconds(matrix)
    everything, _ = seconds(lambda: distance_sums(both, both))
    rng, trees = np.random.default_rng(2), 0.0
    for _ in range(pairs):
        i, j = int(rng.integers(len(gen))), int(rng.integers(len(ref)))
        a, b = points(gen, i), points(ref, j)
        taken, want = seconds(lambda a=a, b=b: by_trees(a, b))  # type: ignore[misc]
        trees += taken
        if abs(got[i, j] - want) > 1e-12 * want:
            raise AssertionError(f"{name}: pair {i}, {j}: {got[i, j]} and {want} by KD-trees")
    all_pairs = trees / pairs * len(gen) * len(ref)
    print(
        f"{name:<10} {both.counts.mean():8.0f} {cross:8.2f} s {everything:8.2f} s "
        f"{1e3 * trees / pairs:9.2f} ms {all_pairs:9.0f} s {all_pairs / cross:9.0f} x"
    )


def sets(kind: str, count: int) -> tuple[Cells, Cells]:
    """Two sets of a kind."""
    return grids(kind, 0, count), grids(kind, count, count)


def halves(path: Path) -> tuple[Cells, Cells]:
    """The first and the second half of a file's grids."""
    read = read_grids(path)
    half = len(read) // 2
    if not half:
        raise SystemExit(f"{path}: expected two grids or more")
    first, second = read.packed[:half], read.packed[half : 2 * half]
    return find_cells(first, read.resolution), find_cells(second, read.resolution)


def main() -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--count", type=int, default=1000, help="shapes in each set (default 1000)")
    add("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of grids (default: all)")
    add("--input", type=Path, metavar="GRIDS", help="grids instead of shapes by formula")
    add("--pairs", type=int, default=20, help="that KD-trees are timed on (default 20)")
    args = parser.parse_args()
    tiny = grids("sparse64", 0, 1)
    distance_sums(tiny, tiny)  # compiles
    by_trees(points(tiny, 0), points(tiny, 0))
    names = [args.input.name] if args.input else args.kinds
    print(f"{_processor()}; CPU time of one thread; KD-trees: {args.pairs} pairs, extrapolated")
    print("grids         cells   n x n     all pairs   KD-trees a pair    n x n       ratio")
    for name in names:
        gen, ref = halves(args.input) if args.input else sets(name, args.count)
        report(name, gen, ref, args.pairs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB, with the interpreter and libraries")
    return 0


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    raise SystemExit(main())
