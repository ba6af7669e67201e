"""CPU time of the metrics of fpd_eval on random rows, and what it is beside other programs.

FD: 1,000 against 1,000 rows of 1,024 numbers, exact, and scipy's root of the covariance product.
Neighbours: --rows against as many rows of --width numbers; distances are computed in blocks, once
for the radii of each set and once between them. `one matrix product` is what a product of the rows
alone takes, three of which the metric cannot do without.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "fpd_eval"))

from fpd_eval.frechet import frechet  # noqa: E402
from fpd_eval.neighbours import authpct, coverage_mmd, one_nna, prdc  # noqa: E402
from fpd_eval.samples import Sample  # noqa: E402


def seconds(name: str, call: Callable[[], Any], beside: float | None = None) -> float:
    """CPU seconds of `call` in all threads, printed with the ratio to another time."""
    wall, start = time.perf_counter(), time.process_time()
    call()
    spent, elapsed = time.process_time() - start, time.perf_counter() - wall
    ratio = f"{beside / spent:8.2f} x" if beside else ""
    print(f"{name:<44}{spent:8.2f} s CPU {elapsed:8.2f} s wall {ratio}", flush=True)
    return spent


def by_scipy(ref: Any, gen: Any) -> float:
    """The in-training form of the reference program."""
    from scipy.linalg import sqrtm

    one, two = np.cov(ref.T), np.cov(gen.T)
    root = np.real(sqrtm(one @ two))
    return float(((ref.mean(0) - gen.mean(0)) ** 2).sum() + np.trace(one + two - 2 * root))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="of a set (default 10,000)")
    parser.add_argument("--width", type=int, default=128, help="numbers a row (default 128)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    ref, gen = rng.normal(size=(2, 1000, 1024))
    spent = seconds("FD, scipy's sqrtm of the covariances", lambda: by_scipy(ref, gen))
    seconds("FD, exact", lambda: frechet(ref, gen), spent)
    one, two = (Sample(rows) for rows in rng.normal(size=(2, args.rows, args.width)))
    size = f"{args.rows:,} x {args.rows:,}"
    spent = seconds(f"one matrix product, {size}", lambda: one.features @ two.features.T)
    for name, call in (
        ("precision, recall, density, coverage", lambda: prdc(one, two, 5)),
        ("AuthPct", lambda: authpct(one, two)),
        ("COV and MMD", lambda: coverage_mmd(one, two)),
        ("1-NNA", lambda: one_nna(one, two)),
    ):
        seconds(f"{name}, {size}", call, spent)


if __name__ == "__main__":
    main()
