"""Metrics that see the distances between shapes alone: any metric of shapes will do.

Precision and recall: Kynkaanniemi et al., NeurIPS 2019, arXiv:1904.06991. Density and coverage:
Naeem et al., ICML 2020, arXiv:2002.09797. AuthPct: Alaa et al., ICML 2022, arXiv:2102.08921. COV
and MMD: Achlioptas et al., ICML 2018, arXiv:1707.02392. 1-NNA: Lopez-Paz, Oquab, ICLR 2017, and
Yang et al. (PointFlow), ICCV 2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .frechet import Rows
from .samples import Sample


def prdc(real: Sample, generated: Sample, k: int) -> dict[str, float]:
    """How far two sets overlap, by balls out to every shape's k-th nearest other of its set.

    precision: share of generated shapes inside some real ball; recall: share of real shapes inside
    some generated ball; density: real balls a generated shape lies in, over k (1 alike, above: the
    generator keeps to dense regions); coverage: share of real balls that hold a generated shape.
    A shape on the surface of a ball is outside.

    Raises:
        ValueError: a set without k other shapes.
    """
    real_radius, radius = real.radius(k), generated.radius(k)
    inside, count = 0, 0
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for part, block in generated.blocks(real):  # (b, n)
        within = block < real_radius
        inside += int(within.any(axis=1).sum())
        count += int(within.sum())
        covered |= within.any(axis=0)
        recalled |= (block < radius[part][:, None]).any(axis=0)
    return {
        "precision": inside / len(generated),
        "recall": float(recalled.mean()),
        "density": count / (k * len(generated)),
        "coverage": float(covered.mean()),
    }


def authpct(train: Sample, generated: Sample) -> float:
    """Percentage of generated shapes that are authentic.

    Authentic: farther from the nearest training shape than that one is from its own nearest other
    training shape. Falls with copying; what an honest generator reaches depends on the data.
    """
    distance, place = nearest(generated, train)
    return float(100 * (distance > train.radius(1)[place]).mean())


def nearest(one: Sample, other: Sample) -> tuple[Rows, NDArray[np.int64]]:
    """(n,) distance to and place of the nearest shape of `other`, the lowest of equals."""
    found = [(b.min(axis=1), b.argmin(axis=1)) for _, b in one.blocks(other)]
    distances, places = zip(*found, strict=True)
    return np.concatenate(distances), np.concatenate(places)


def coverage_mmd(reference: Sample, generated: Sample) -> dict[str, float]:
    """COV and MMD.

    cov: share of reference shapes that are the nearest of some generated shape; mmd: mean distance
    of a reference shape to the nearest generated one.
    """
    matched = np.unique(nearest(generated, reference)[1])
    distance = nearest(reference, generated)[0]
    return {"cov": len(matched) / len(reference), "mmd": float(distance.mean())}


def one_nna(reference: Sample, generated: Sample) -> float:
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier on both sets joined.

    0.5 of sets of equal size: they cannot be told apart; 1: they can; below 0.5: shapes lie closer
    to the other set than to their own. Where several shapes are exactly nearest, the share of them
    that are of its own set counts.
    """
    if min(len(reference), len(generated)) < 2:
        raise ValueError("needs 2 shapes of each set")
    right = sum(_right(a, b) for a, b in ((reference, generated), (generated, reference)))
    return right / (len(reference) + len(generated))


def _right(own: Sample, other: Sample) -> float:
    """Shapes of `own` (ties: shares of one) whose nearest shape is of `own`."""
    total = 0.0
    for start in range(0, len(own), 1000):
        part = np.arange(start, min(start + 1000, len(own)))
        inner = np.concatenate([b for _, b in own.take(part).blocks(own)])
        inner[np.arange(len(part)), part] = np.inf
        outer = np.concatenate([b for _, b in own.take(part).blocks(other)])
        least = np.minimum(inner.min(axis=1), outer.min(axis=1))[:, None]
        ours, theirs = (inner == least).sum(axis=1), (outer == least).sum(axis=1)
        total += float((ours / (ours + theirs)).sum())
    return total
