"""The registry: every metric takes (train, test, generated) and answers a value for each name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .frechet import frechet
from .kernels import kid, vendi
from .likelihood import fld_gap
from .neighbours import authpct, coverage_mmd, one_nna, prdc
from .samples import Sets

TRAIN, TEST, GENERATED = "train", "test", "generated"
SIZES = 5  # numbers of rows that FD-infinity is extrapolated from
FEWEST = 20  # rows that this needs


@dataclass(frozen=True)
class Options:
    """What decides the values.

    Args:
        eps:  clip of the Frechet distance, 0 for the exact one.
        k:    neighbours of precision, recall, density and coverage.
        seed: of all draws.
    """

    eps: float = 0.0
    k: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Metric:
    """One entry.

    Args:
        names:   of the values; further keys of the answer are details of the first.
        compute: Sets and Options to values.
        uses:    the sets it looks at.
        reads:   what a value says.
        most:    rows of a set that are used, drawn by seed; None for all.
    """

    names: tuple[str, ...]
    compute: Callable[[Sets, Options], dict[str, float]]
    uses: tuple[str, ...]
    reads: str
    most: int | None = None


def _fd(sets: Sets, options: Options) -> dict[str, float]:
    exact = frechet(sets.train.gaussian, sets.generated.gaussian)
    shown = exact
    if options.eps:
        shown = frechet(sets.train.gaussian, sets.generated.gaussian, options.eps)
    return {
        "fd": shown.distance,
        "exact": exact.distance,
        "mean_term": exact.mean_term,
        "trace_train": exact.trace_ref,
        "trace_generated": exact.trace_gen,
        "cross_term": exact.cross_term,
    }


def _fd_infinity(sets: Sets, options: Options) -> dict[str, float]:
    """Intercept of a line over 1 / n through the distances of n drawn generated rows.

    Chong, Forsyth, CVPR 2020, arXiv:1911.07023. n from half of the rows to all of them.
    """
    total = len(sets.generated)
    if total < FEWEST:
        raise ValueError(f"needs {FEWEST} generated rows, found {total}")
    counts = np.linspace(total / 2, total, SIZES).round().astype(int)
    values = np.array([
        frechet(
            sets.train.gaussian,
            sets.generated.draw(n, np.random.default_rng([options.seed, i])).gaussian,
        ).distance
        for i, n in enumerate(counts.tolist())
    ])  # fmt: skip
    slope, intercept = np.polyfit(1 / counts, values, 1)
    left = values - (intercept + slope / counts)
    spread = float(((values - values.mean()) ** 2).sum())
    fit = 1 - float((left**2).sum()) / spread if spread else 1.0
    return {"fd_infinity": float(intercept), "slope": float(slope), "r_squared": fit}


BOUNDS = {name: (0.0, 1.0) for name in ("precision", "recall", "coverage", "cov", "one_nna")} | {
    "authpct": (0.0, 100.0),
    "density": (0.0, np.inf),
    "mmd": (0.0, np.inf),
    "vendi": (1.0, np.inf),
}
_ALIKE = "lower is closer to the training set; copies lower it"
METRICS: dict[str, Metric] = {
    "fd": Metric(("fd",), _fd, (TRAIN, GENERATED), _ALIKE + "; shrinks with more rows"),
    "fd_infinity": Metric(
        ("fd_infinity",),
        _fd_infinity,
        (TRAIN, GENERATED),
        "the Frechet distance of endlessly many rows, by a line over 1 / n",
    ),
    "kid": Metric(
        ("kid",),
        lambda sets, _: {"kid": kid(sets.train, sets.generated)},
        (TRAIN, GENERATED),
        f"0 alike; {_ALIKE}",
    ),
    "prdc": Metric(
        ("precision", "recall", "density", "coverage"),
        lambda sets, options: prdc(sets.train, sets.generated, options.k),
        (TRAIN, GENERATED),
        "higher is better: precision and density fidelity, recall and coverage variety",
    ),
    "vendi": Metric(
        ("vendi",),
        lambda sets, _: {"vendi": vendi(sets.generated)},
        (GENERATED,),
        "effective number of different shapes; grows with more rows",
    ),
    "authpct": Metric(
        ("authpct",),
        lambda sets, _: {"authpct": authpct(sets.train, sets.generated)},
        (TRAIN, GENERATED),
        "memorization: below the held-out value, generated shapes hug training shapes",
    ),
    "fld_gap": Metric(
        ("fld_gap",),
        lambda sets, _: fld_gap(sets.train, sets.held_out, sets.generated),
        (TRAIN, TEST, GENERATED),
        "memorization: below the held-out value, the samples lean to training rows",
        most=1000,
    ),
    "one_nna": Metric(
        ("one_nna",),
        lambda sets, _: {"one_nna": one_nna(sets.held_out, sets.generated)},
        (TEST, GENERATED),
        "0.5 alike, 1 told apart; meant for equal numbers",
    ),
    "cov_mmd": Metric(
        ("cov", "mmd"),
        lambda sets, _: coverage_mmd(sets.held_out, sets.generated),
        (TEST, GENERATED),
        "cov: higher is more variety; mmd: lower is closer to the held-out shapes",
    ),
}
