"""A set of shapes as every metric takes it: feature rows, distances to other sets, or both.

Distances are Euclidean between rows, or those of a given matrix (distances.py). They come in blocks
of some rows, so that 10,000 x 10,000 never stand in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .distances import Pairs
from .frechet import Gaussian, Rows, gaussian

BLOCK = 1 << 25  # bytes of one block of distances
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sample:
    """n shapes.

    Args:
        rows:     (n, d) float64, None when only distances are known.
        pairs:    distances between all shapes of all sets, None for Euclidean ones of the rows.
        places:   (n,) row of each shape in `pairs`.
        measured: Gaussian of the rows where it is known already.
        known:    what was computed of this set before, by name.
    """

    rows: Rows | None
    pairs: Pairs | None = None
    places: Places | None = None
    measured: Gaussian | None = None
    known: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features if self.places is None else self.places)

    @property
    def features(self) -> Rows:
        """The rows. ValueError where there are none."""
        if self.rows is None:
            raise ValueError("needs feature rows, and there are only distances")
        return self.rows

    @cached_property
    def gaussian(self) -> Gaussian:
        return self.measured or gaussian(self.features)

    def take(self, chosen: Places) -> Sample:
        """Some of the shapes."""
        return Sample(
            None if self.rows is None else self.rows[chosen],
            self.pairs,
            None if self.places is None else self.places[chosen],
        )

    def draw(self, count: int, rng: np.random.Generator) -> Sample:
        """`count` shapes without replacement, in their order; all of them where that is all."""
        if count >= len(self):
            return self
        return self.take(np.sort(rng.choice(len(self), count, replace=False)))

    def blocks(self, other: Sample) -> Iterator[tuple[slice, Rows]]:
        """Distances (b, m) of shapes start : start + b to all of `other`, block by block.

        The distance of a shape to itself, where `other` is this set, is infinite.
        """
        step = max(1, BLOCK // (8 * len(other)))
        for start in range(0, len(self), step):
            part = slice(start, min(start + step, len(self)))
            if self.pairs is not None and self.places is not None and other.places is not None:
                block = self.pairs.between(self.places[part], other.places)
            else:
                block = euclidean(self.features[part], other.features)
            if other is self:
                block[np.arange(len(block)), np.arange(part.start, part.stop)] = np.inf
            yield part, block

    def radius(self, k: int) -> Rows:
        """(n,) distance of each shape to its k-th nearest other of this set."""
        if not 1 <= k < len(self):
            raise ValueError(f"{len(self)} shapes: expected more than k = {k}")
        if ("radius", k) not in self.known:
            found = [np.partition(block, k - 1, axis=1)[:, k - 1] for _, block in self.blocks(self)]
            self.known["radius", k] = np.concatenate(found)
        made: Rows = self.known["radius", k]
        return made


@dataclass(frozen=True)
class Sets:
    """The three sets of every metric; `test`, held-out shapes, may be missing."""

    train: Sample
    test: Sample | None
    generated: Sample

    @property
    def held_out(self) -> Sample:
        if self.test is None:
            raise ValueError("needs held-out shapes (--test)")
        return self.test

    def with_(self, **sides: Sample) -> Sets:
        return replace(self, **sides)


def euclidean(a: Rows, b: Rows) -> Rows:
    """(n, m) distances of (n, d) and (m, d) rows; near-copies are measured by their difference.

    |a|^2 - 2ab + |b|^2 loses what is small beside |a|^2, so pairs below 1e-5 of the lengths are
    computed again.
    """
    middle = b.mean(axis=0)
    a, b = a - middle, b - middle
    lengths = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    squared = a @ b.T
    squared *= -2
    squared += lengths
    near = np.argwhere(squared < 1e-10 * lengths)
    for some in np.array_split(near, len(near) // 4096 + 1):
        squared[some[:, 0], some[:, 1]] = ((a[some[:, 0]] - b[some[:, 1]]) ** 2).sum(axis=1)
    return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)
