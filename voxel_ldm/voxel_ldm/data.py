"""Training and validation sets of grids, as both trainers read them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .grids import MADE_BY, Grids, read_grids

NAMES = "{}_voxels_{}"  # category, split


@dataclass(frozen=True)
class Set:
    """Grids of several categories, one after the other.

    Attributes:
        parts: the grids, a category each.
        labels: (n,) int64, 1 for the first category.
        resolution: R.
    """

    parts: Sequence[Grids]
    labels: np.ndarray
    resolution: int

    def __len__(self) -> int:
        return len(self.labels)

    def grids(self, rows: np.ndarray) -> Tensor:
        """(k, R, R, R) uint8 of rows of the whole."""
        ends = np.cumsum([len(part) for part in self.parts])
        which = np.searchsorted(ends, rows, side="right")
        starts = np.concatenate([[0], ends])
        packed = np.stack(
            [self.parts[w].packed[r - starts[w]] for w, r in zip(which, rows, strict=True)]
        )
        bits = np.unpackbits(packed, axis=1, count=self.resolution**3)
        return torch.from_numpy(bits.reshape(-1, *[self.resolution] * 3))

    def digest(self) -> str:
        """SHA-256 of all cells, in whatever files they are."""
        made = hashlib.sha256(f"{self.resolution} {[len(part) for part in self.parts]}".encode())
        for part in self.parts:
            made.update(np.ascontiguousarray(part.packed).data)
        return made.hexdigest()


def categories_of(folder: Path, split: str) -> list[str]:
    """Names of the categories that `folder` has a file of. ValueError: none."""
    ending = NAMES.format("", split)
    found = sorted({p.stem.removesuffix(ending) for p in folder.glob(f"*{ending}.np[yz]")})
    if not found:
        raise ValueError(f"{folder}: no *{ending}.npz or .npy in it; make them with load_data.py")
    return found


def read_set(folder: Path, categories: Sequence[str], split: str) -> Set:
    """Grids of a split.

    Raises:
        OSError: a category has no file.
        ValueError: a file is not as it should be, a category is named twice, or `check_alike`.
    """
    name, times = Counter(categories).most_common(1)[0]
    if times > 1:
        raise ValueError(f"--categories: {name} stands twice")
    parts = [read_grids(file_of(folder, name, split)) for name in categories]
    check_alike(folder, parts)
    labels = np.repeat(np.arange(1, len(parts) + 1), [len(p) for p in parts])
    return Set(parts, labels, parts[0].resolution)


def check_alike(folder: Path, parts: Sequence[Grids]) -> None:
    """Raise ValueError if resolutions differ, or settings that several sets have."""
    for key in ("resolution", *MADE_BY):
        told = {str(p.settings[key]) for p in parts if key in p.settings}
        told = {str(p.resolution) for p in parts} if key == "resolution" else told
        if len(told) > 1:
            raise ValueError(
                f"{folder}: grids made with {key} {' and '.join(sorted(told))}; make all alike"
                " with load_data.py"
            )


def file_of(folder: Path, category: str, split: str) -> Path:
    """The .npz, else the .npy of a category. FileNotFoundError: neither is there."""
    stem = folder / NAMES.format(category, split)
    for path in (stem.with_name(f"{stem.name}.npz"), stem.with_name(f"{stem.name}.npy")):
        if path.is_file():
            return path
    raise FileNotFoundError(2, "no such set of grids (.npz or .npy); see load_data.py", str(stem))
