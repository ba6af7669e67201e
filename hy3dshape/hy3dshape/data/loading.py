"""Order of items and batches: a function of (seed, epoch), the same for every process count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


@dataclass
class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, item) for one of `world` processes; iterating gives one epoch.

    Process r takes batches r, r + world, ... of the one order, over the ends of epochs, so that a
    step on `world` processes sees the items that one process sees in `world` batches.

    Attributes:
        items:     how many there are.
        shuffle:   another order every epoch, else always that of epoch 0, so that the beginning
                   of a validation set whose uids sort by category is a fair sample of it.
        drop_last: drop what fills no batch for every process; else the rest comes as it is.

    Raises:
        ValueError: with drop_last, no batch is left.
    """

    items: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    rank: int = 0
    world: int = 1
    epoch: int = field(default=0, init=False)
    start: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.start = self.rank
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, found {self.batch_size}")
        if self.drop_last and not len(self):
            each = f" on {self.world} processes" if self.world > 1 else ""
            raise ValueError(
                f"{self.items} items fill no batch of {self.batch_size}{each}; lower batch_size"
            )

    def __len__(self) -> int:
        """Batches of an epoch for this process; with drop_last the fewest it can be."""
        if self.drop_last:
            return self.total // self.world
        return len(range(self.rank, self.total, self.world))

    @property
    def total(self) -> int:
        """Batches of an epoch for all processes."""
        return (
            self.items // self.batch_size if self.drop_last else -(-self.items // self.batch_size)
        )

    def set_state(self, epoch: int, batch: int) -> None:
        """The next iteration is `epoch`, every world-th batch from number `batch` on."""
        self.epoch, self.start = epoch, batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch if self.shuffle else 0
        order = np.random.default_rng([self.seed, epoch]).permutation(self.items)
        for number in range(self.start, self.total, self.world):
            first = number * self.batch_size
            yield [(epoch, int(i)) for i in order[first : first + self.batch_size]]


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch: tensors stacked, whole numbers as (b,) int64, texts and images as lists."""
    batch: dict[str, Any] = {}
    for key, first in items[0].items():
        values = [item[key] for item in items]
        if isinstance(first, Tensor):
            batch[key] = torch.stack(values)
        else:
            batch[key] = torch.tensor(values) if isinstance(first, int) else values
    return batch


def plainly(loader: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The batches; an error of a worker process says what it would say in this one."""
    try:
        yield from loader
    except ValueError as error:
        last = str(error).strip().splitlines()[-1]
        raise ValueError(last.removeprefix("ValueError: ")) from error
