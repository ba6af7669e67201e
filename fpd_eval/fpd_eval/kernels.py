"""KID and the Vendi score: metrics from inner products of feature rows."""

from __future__ import annotations

import numpy as np

from .frechet import Rows
from .samples import Sample

STEP = 2000  # rows of one block of inner products


def kid(reference: Sample, generated: Sample) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1)^3, of all rows.

    0 on average for sets of one distribution, and negative about half of the time then; unlike the
    Frechet distance it does not shrink with the number of rows. Binkowski et al., ICLR 2018,
    arXiv:1801.01401, who average over subsets what is computed on all rows here.

    Raises:
        ValueError: fewer than two rows in a set.
    """
    n, m = len(reference), len(generated)
    if min(n, m) < 2:
        raise ValueError("needs 2 rows of each set")
    inner = [_own(side) / (len(side) * (len(side) - 1)) for side in (reference, generated)]
    between = _total(reference.features, generated.features)
    return float(sum(inner) - 2 * between / (n * m))


def _own(side: Sample) -> float:
    """Sum of the kernel over all pairs of different rows of one set."""
    if "kernel" not in side.known:
        rows = side.features
        diagonal = (((rows**2).sum(axis=1) / rows.shape[1] + 1) ** 3).sum()
        side.known["kernel"] = _total(rows, rows) - float(diagonal)
    return float(side.known["kernel"])


def _total(a: Rows, b: Rows) -> float:
    parts = [
        ((a[start : start + STEP] @ b.T / a.shape[1] + 1) ** 3).sum()
        for start in range(0, len(a), STEP)
    ]
    return float(sum(parts))


def vendi(sample: Sample) -> float:
    """Effective number of different shapes, 1 (all alike) to min(n, d).

    exp of the entropy of the eigenvalues of K / n, with K the cosines between rows. Friedman,
    Dieng, TMLR 2023, arXiv:2210.02410, order 1.

    Raises:
        ValueError: a row of length 0 has no direction.
    """
    rows = sample.features
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"row {int(np.argmin(lengths))} is 0 and has no direction")
    unit = rows / lengths / np.sqrt(len(rows))
    small = unit @ unit.T if len(unit) < unit.shape[1] else unit.T @ unit
    values = np.linalg.eigvalsh(small)
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))
