#!/usr/bin/env python3
"""JSD, MMD, COV and relatives of generated voxel grids against reference grids.

SAMPLES and the references are sets of grids of 0 and 1 of one resolution, any up to 256: .npz as
load_data.py writes them, or .npy of (n, r, r, r). The reference of CATEGORY is
DIR/CATEGORY_voxels_test and DIR/CATEGORY_voxels_val together (.npz or .npy), or --reference.

A cell (i, j, k) is the point (i, j, k) / (r - 1). Chamfer distance: mean squared distance to the
nearest point of the other shape, both directions added; exact.

  jsd   Jensen-Shannon divergence of the cells' occupancy, natural logarithm, 1e-10 added as the
        reference program does
  jsd2  the same with base 2 and nothing added, as Achlioptas et al. 2018 (their 28^3 grid over the
        unit ball is not used)
  mmd   minimum matching distance: mean over references of the distance to the nearest sample
  cov   coverage: share of references that are the nearest one of some sample (a tie: the first)
  1nna  leave-one-out accuracy of the 1-nearest-neighbour classifier, samples against references
        (exact ties: the share of the nearest ones that are of its own set); 0.5 is best
  pr    precision, recall and F-score of the distribution (Kynkaanniemi et al. 2019): the share of
        samples within some reference's ball, out to its k-th nearest reference; the other way
        round; their harmonic mean. Not the F-score of single shapes at a distance threshold

  eval.py chair samples.npy
  eval.py chair samples.npy --reference chairs.npz --json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxel_ldm import cli, files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voxel_ldm.chamfer import Cells
    from voxel_ldm.sets import Shapes

    Sums = dict[str, NDArray[np.int64]]

METRICS = ("jsd", "jsd2", "mmd", "cov", "1nna", "pr")
ALONE = {"jsd", "jsd2"}  # need no distances
WITHIN = {"1nna", "pr"}  # need distances within the sets


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, "json")
    add = parser.add_argument
    add("category", metavar="CATEGORY", help="any name: chair, airplane, table ...")
    add("samples", type=Path, metavar="SAMPLES", help="generated grids (.npy or .npz)")
    add("--reference", type=Path, nargs="+", metavar="FILE", help="reference grids, all together")
    said = "where CATEGORY_voxels_test and _val are (default data/hdf5_data)"
    folder = Path("data/hdf5_data")
    add("--dataset_path", "--dataset-path", type=Path, metavar="DIR", default=folder, help=said)
    said = "SAMPLES are probabilities in [0, 1]: a cell is occupied above T"
    add("--threshold", type=_threshold, metavar="T", help=said)
    add("--metrics", nargs="+", choices=METRICS, default=METRICS, help="which (default: all)")
    add("--k", type=int, default=3, help="neighbour that gives a ball's radius in pr (default 3)")
    add("--output", type=Path, metavar="FILE", help="write distances, sums and ids here (.npz)")
    add("--threads", type=int, default=0, help="of the distances, 0 = one a core (default 0)")
    return parser


def _threshold(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more and below 1")
    return value


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.k < 1 or args.threads < 0:
        parser.error("--k must be 1 or more, --threads 0 or more")
    if args.output and args.output.suffix != ".npz":
        parser.error(f"--output {args.output}: expected a name that ends in .npz")
    if args.threshold is not None and args.samples.suffix == ".npz":
        parser.error("--threshold is for probabilities (.npy); a table holds 0 and 1")
    if args.output and not set(args.metrics) - ALONE:
        parser.error("--output writes distances, which jsd and jsd2 do not need; add mmd")
    cli.set_up_logging(args)
    from voxel_ldm.sets import check_alike, default_reference, read_set

    paths = args.reference or default_reference(args.dataset_path, args.category)
    if args.output and args.output.resolve() in {p.resolve() for p in (args.samples, *paths)}:
        parser.error("--output must not be an input")
    gen, ref = read_set([args.samples], args.threshold), read_set(paths)
    check_alike(gen, ref)
    result = evaluate(args, gen, ref)
    if args.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
        print()
    else:
        print(_text(result))
    return cli.OK


def evaluate(args: argparse.Namespace, gen: Shapes, ref: Shapes) -> dict[str, Any]:
    """The asked scores with their counts; writes --output."""
    from voxel_ldm import scores

    asked, result = set(args.metrics), _about(args, gen, ref)
    if asked & ALONE:
        occupancy = gen.cells.occupancy(), ref.cells.occupancy()
        if "jsd" in asked:
            result["jsd"] = scores.js_divergence(*occupancy)
        if "jsd2" in asked:
            result["jsd_base2"] = scores.js_divergence_base2(*occupancy)
    if asked <= ALONE:
        return result
    sums = _sums(gen.cells, ref.cells, bool(asked & WITHIN), args)
    cd = _distances(sums, gen.cells, ref.cells)
    between = cd["gr"]
    if "mmd" in asked:
        result["mmd"] = scores.minimum_matching_distance(between)
    if "cov" in asked:
        result["cov"], matched = scores.coverage(between)
        result["matched"] = len(matched)
    if "1nna" in asked:
        result["one_nna"] = scores.one_nna(**cd) if min(between.shape) > 1 else None
    if "pr" in asked:
        enough = min(between.shape) > args.k
        made = scores.precision_recall(**cd, k=args.k)._asdict() if enough else {}
        result |= {key: made.get(key) for key in scores.PrecisionRecall._fields} | {"k": args.k}
    if args.output:
        _write(args, gen, ref, between, sums, result)
    return result


def _about(args: argparse.Namespace, gen: Shapes, ref: Shapes) -> dict[str, Any]:
    return {
        "category": args.category,
        "n_generated": len(gen.ids),
        "n_reference": len(ref.ids),
        "resolution": gen.cells.resolution,
        "threshold": args.threshold,
        "mean_cells_generated": float(gen.cells.counts.mean()),
        "mean_cells_reference": float(ref.cells.counts.mean()),
        "samples": str(args.samples),
        "reference": [str(path) for path in ref.paths],
    }


def _sums(gen: Cells, ref: Cells, within: bool, args: argparse.Namespace) -> Sums:
    """Distance sums from one set to another: gr, rg, and with `within` gg and rr."""
    from tqdm import tqdm

    from voxel_ldm.chamfer import distance_sums, join

    n, threads = len(gen), args.threads or os.cpu_count() or 1
    silent = True if args.quiet else None
    with tqdm(total=n + len(ref), desc="distances", disable=silent, unit="shape") as bar:
        if not within:
            pairs = {"gr": (gen, ref), "rg": (ref, gen)}
            return {key: distance_sums(a, b, threads, bar.update) for key, (a, b) in pairs.items()}
        both = join(gen, ref)
        made = distance_sums(both, both, threads, bar.update)
    return {"gg": made[:n, :n], "gr": made[:n, n:], "rg": made[n:, :n], "rr": made[n:, n:]}


def _distances(sums: Sums, gen: Cells, ref: Cells) -> dict[str, NDArray[np.float64]]:
    """Chamfer distances gr (n, m) and, where there are sums, gg (n, n) and rr (m, m)."""
    from voxel_ldm.chamfer import chamfer

    sets = {"g": gen, "r": ref}
    return {
        key: chamfer(sums[key], sums[key[::-1]], sets[key[0]], sets[key[1]])
        for key in ("gg", "gr", "rr")
        if key in sums
    }


def _write(
    args: argparse.Namespace,
    gen: Shapes,
    ref: Shapes,
    cd: NDArray[np.float64],
    sums: Sums,
    result: dict[str, Any],
) -> None:
    import numpy as np

    with files.replacing(args.output) as temporary:
        np.savez_compressed(
            temporary,
            generated_ids=np.array(gen.ids),
            reference_ids=np.array(ref.ids),
            generated_cells=gen.cells.counts,
            reference_cells=ref.cells.counts,
            resolution=np.array(gen.cells.resolution),
            chamfer=cd,
            sum_gen_to_ref=sums["gr"],
            sum_ref_to_gen=sums["rg"].T,
        )
    settings = {key: result[key] for key in ("category", "resolution", "threshold")}
    counts = {key: result[key] for key in ("n_generated", "n_reference")}
    inputs = (args.samples, *ref.paths)
    files.write_run(args.output, settings, counts, inputs, ("numpy", "numba"), result=result)


_LINES = {
    "jsd": "JSD",
    "jsd_base2": "JSD base 2",
    "mmd": "MMD",
    "cov": "COV",
    "one_nna": "1-NNA",
    "precision": "precision",
    "recall": "recall",
    "f_score": "F-score",
}


def _text(result: dict[str, Any]) -> str:
    n, m = result["n_generated"], result["n_reference"]
    lines = []
    for key, name in _LINES.items():
        if key not in result:
            continue
        counts = f"{n} generated, {m} reference shapes"
        if key == "cov":
            counts += f", {result['matched']} of them matched"
        if key in ("precision", "recall", "f_score"):
            counts += f", k = {result['k']}"
        value = result[key]
        shown = f"{value:.6g}" if value is not None else "undefined, too few shapes"
        lines.append(f"{name} = {shown}  ({counts})")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
