"""Items of training and validation: latents or point samples, with their condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .conditions import Conditions
from .images import latent_view
from .latents import Groups, LatentForm
from .randomness import item_rng
from .raw import Augmentation, RawOptions, draw_sample, random_rotation, read_raw


class Source(Protocol):
    """Where the arrays of a shape come from."""

    def read(self, uid: str, rng: np.random.Generator) -> tuple[dict[str, Tensor], Path, int]:
        """Tensors by batch key, the file, and which of its copies was taken."""


@dataclass(frozen=True)
class LatentSource:
    """Latent files; `policy` says which copy of a shape is taken."""

    groups: Groups
    form: LatentForm
    policy: str

    def read(self, uid: str, rng: np.random.Generator) -> tuple[dict[str, Tensor], Path, int]:
        copies = self.groups[uid]
        number = latent_view(self.policy, len(copies), rng)
        return {"latents": self.form.read(copies[number])}, copies[number], number


@dataclass(frozen=True)
class RawSource:
    """Point samples `{folder}/{uid}.npz`."""

    folder: Path
    options: RawOptions
    augmentation: Augmentation

    def read(self, uid: str, rng: np.random.Generator) -> tuple[dict[str, Tensor], Path, int]:
        path = self.folder / f"{uid}.npz"
        arrays = read_raw(path, self.options.distances)
        try:
            sample = draw_sample(arrays, self.options, rng)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        matrix = random_rotation(self.augmentation, rng)
        turned = {k: v if k == "labels" else v @ matrix for k, v in sample.items()}
        return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in turned.items()}, path, 0


class ShapeDataset(Dataset[dict[str, Any]]):
    """Shapes with conditions; item (epoch, i) is a function of seed, epoch and uid alone.

    Args:
        uids:       the shapes, in order.
        source:     their arrays.
        conditions: their conditions.
    """

    def __init__(self, uids: Sequence[str], source: Source, conditions: Conditions, seed: int):
        self.uids, self.source, self.conditions, self.seed = uids, source, conditions, seed

    def __len__(self) -> int:
        return len(self.uids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        uid = self.uids[index]
        rng = item_rng(self.seed, epoch, uid)
        tensors, path, copy = self.source.read(uid, rng)
        condition = self.conditions.of(uid, rng)
        return {
            **tensors, "conditioning": condition, "uid": uid, "source_path": str(path),
            "view_idx": copy,
        }  # fmt: skip
