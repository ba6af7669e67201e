"""CPU time of light field descriptors and distances on one thread, in one run.

Descriptors: the golden meshes, or those of --meshes (a folder or shapes.json; every --every'th).
`ray casting` is what a ray caster (embreex) needs for 100 silhouettes of 256 x 256 alone, without
being exact and without any feature; a sixth of the meshes is measured.

Distances: mixtures of the golden descriptors with noise, or the rows of --table (made by
extract_lfd.py; every tenth row is a query). Pruning depends on the shapes, brute force does not.
`torch` is the code of `--device cuda` on the CPU: torch's own L1 distances of the 100 x 100 image
pairs, then one matrix product over the 6,000 alignments.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "retrieval"))

from retrieval.lfd import describe  # noqa: E402
from retrieval.lfd_cameras import EYES  # noqa: E402
from retrieval.lfd_distance import nearest_on_cpu, prepare  # noqa: E402
from retrieval.lfd_simd import SIMD  # noqa: E402
from retrieval.meshes import list_meshes, load_arrays  # noqa: E402
from retrieval.metrics import Options  # noqa: E402
from retrieval.tables import Table, read_table  # noqa: E402

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


def golden_meshes() -> list[Mesh]:
    """The sixteen meshes of the golden set."""
    with np.load(ROOT / "tests/golden/lfd/lfd_golden.npz", allow_pickle=False) as golden:
        cuts, face_cuts = golden["vertex_offsets"], golden["face_offsets"]
        vertices, faces = golden["vertices"].astype(np.float64), golden["faces"].astype(np.int64)
    rows = zip(cuts, cuts[1:], face_cuts, face_cuts[1:], strict=False)
    return [(vertices[a:b], faces[c:d]) for a, b, c, d in rows]


def cast_silhouettes(mesh: Mesh) -> None:
    """100 silhouettes of 256 x 256 by ray casting."""
    from trimesh import Trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    caster = RayMeshIntersector(Trimesh(*mesh, process=False))
    ends = (mesh[0].min(0), mesh[0].max(0))
    middle, size = (ends[0] + ends[1]) / 2, float((ends[1] - ends[0]).max())
    grid = (np.mgrid[0:256, 0:256].reshape(2, -1).T - 127.5) / 128 * size
    for eye in EYES.reshape(-1, 3):
        ahead = -eye / np.linalg.norm(eye)
        side = np.cross(ahead, [0, 1, 0])
        side /= np.linalg.norm(side)
        start = middle - 2 * size * ahead + grid[:, :1] * side + grid[:, 1:] * np.cross(side, ahead)
        caster.intersects_any(start, np.broadcast_to(ahead, start.shape))  # type: ignore[no-untyped-call]


def report_descriptors(meshes: list[Mesh], load: list[float], repeat: int) -> None:
    """Measure and print the time of descriptors; `load` holds reading times, if any."""
    start = time.process_time()
    describe(*meshes[0])
    first = time.process_time() - start
    times = np.array([_fastest(lambda m=m: describe(*m), repeat) for m in meshes])  # type: ignore[misc]
    some = range(0, len(meshes), 6)
    cast = sum(_fastest(lambda i=i: cast_silhouettes(meshes[i]), 1) for i in some)  # type: ignore[misc]
    ratio = cast / times[list(some)].sum()
    faces = np.mean([len(mesh[1]) for mesh in meshes])
    print(f"{_processor()}; {len(meshes)} meshes, {faces:.0f} faces on average; one thread")
    print(f"first descriptor, with compilation unless cached   {first:8.2f} s")
    print(f"descriptor, mean                  {1e3 * times.mean():9.2f} ms a mesh")
    print(f"descriptor, median                {1e3 * np.median(times):9.2f} ms a mesh")
    print(f"ray casting the silhouettes alone {ratio:9.1f} x as long")
    if load:
        print(f"reading the file with trimesh     {1e3 * np.mean(load):9.2f} ms a mesh")


def _fastest(work: Callable[[], Any], repeat: int) -> float:
    """Least CPU time of `repeat` runs, in seconds."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def mixtures(n: int, seed: int) -> Table:
    """n shapes: weighted means of the golden descriptors plus noise of four levels."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(16, 0.3), n).astype(np.float32)
    mixed = {}
    with np.load(ROOT / "tests/golden/lfd/lfd_golden.npz", allow_pickle=False) as golden:
        for key in ("art", "fd", "cir", "ecc"):
            values = np.tensordot(weights, golden[key].astype(np.float32), 1)
            values += 4 * rng.standard_normal(values.shape, np.float32)
            mixed[key] = values.clip(0, 255).astype(np.uint8)
    names = [f"{seed}-{i}" for i in range(n)]
    return Table("lfd", names, [""] * n, mixed, {}, [""] * n)


def microseconds(work: Callable[[], Any], pairs: int, repeat: int) -> float:
    """Least CPU time of `repeat` runs, in microseconds a pair."""
    return _fastest(work, repeat) / pairs * 1e6


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {'AVX2' if SIMD else 'no AVX2'}"


def main() -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--meshes", type=Path, help="folder or shapes.json (default: the golden meshes)")
    add("--every", type=int, default=8, help="of --meshes, every so many (default 8)")
    add("--table", type=Path, nargs="+", help="LFD table or its parts")
    add("--queries", type=int, default=64, help="queries of the pruned runs (default 64)")
    add("--targets", type=int, default=10_000, help="database size (default 10000)")
    add("--repeat", type=int, default=3, help="runs, the fastest counts (default 3)")
    args = parser.parse_args()
    meshes, load = golden_meshes(), []
    if args.meshes:
        meshes = []
        for item in list_meshes(args.meshes)[:: args.every]:
            start = time.process_time()
            meshes.append(load_arrays(item.path))
            load.append(time.process_time() - start)
    report_descriptors(meshes, load, args.repeat)
    print()
    query, database = mixtures(args.queries, 1), mixtures(args.targets, 2)
    if args.table:
        table = read_table(args.table)
        mask = np.arange(len(table)) % 10 == 0
        query = table.rows(np.flatnonzero(mask)[: args.queries])
        database = table.rows(np.flatnonzero(~mask)[: args.targets])
    report_distances(query, database, args.repeat)
    return 0


def report_distances(query: Table, database: Table, repeat: int) -> None:
    """Measure and print; every row is checked against the brute-force result."""
    import torch

    from retrieval.lfd_torch import nearest_on

    torch.set_num_threads(1)
    few, n = query.rows(slice(0, 4)), len(database)
    none = np.full(len(query), -1)

    def run(table: Table, k: int, pruning: bool) -> tuple[Any, dict[str, int]]:
        options = Options("cpu", pruning=pruning)
        return nearest_on_cpu(table, database, k, none, options, SIMD), options.statistics

    run(few, 1, True)  # compiles
    expected = np.empty((len(few), n), np.int64)
    index, distance = run(few, n, False)[0]
    np.put_along_axis(expected, index, distance, 1)
    part, one = database.rows(slice(0, 1024)), few.rows(slice(0, 1))

    def by_torch() -> Any:
        return nearest_on(torch.device("cpu"), one, part, 1, none[:1], Options())

    if by_torch()[1][0, 0] != expected[0, : len(part)].min():
        raise AssertionError("torch and brute force differ")
    print(f"{_processor()}; {len(query)} queries, {n} targets; CPU time of one thread")
    layout = microseconds(lambda: prepare(database), n, repeat)
    print(f"layout of the database, once   {layout:9.2f} us a target")
    slow = microseconds(by_torch, len(part), 1)
    print(f"torch, 1,024 a step            {slow:9.2f} us a pair")
    brute = microseconds(lambda: run(few, 1, False), len(few) * n, repeat)
    brute -= layout / len(few)
    print(f"brute force                    {brute:9.2f} us a pair   {slow / brute:7.0f} x")
    for k in (1, 5, 10):
        (index, _), counts = run(query, k, True)
        wanted = np.argsort(expected, axis=1, kind="stable")[:, :k]
        if not np.array_equal(index[: len(few)], wanted):
            raise AssertionError(f"top {k}: pruned and brute force differ")
        pruned = microseconds(lambda k=k: run(query, k, True), len(query) * n, repeat)  # type: ignore[misc]
        pruned -= layout / len(query)
        share = counts["aligned_pairs"] / counts["pairs"]
        print(
            f"pruned, top {k:<2}                 {pruned:9.2f} us a pair   {slow / pruned:7.0f} x"
            f"   {100 * share:.1f} % of pairs aligned"
        )


if __name__ == "__main__":
    raise SystemExit(main())
