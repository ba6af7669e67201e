"""Training of the pointnet encoder: classes of several sets of shapes, one head a set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .embedders.pointnet import GROUP, PointNet
from .tables import read_table

JITTER = 0.005  # largest standard deviation of the noise on points, radii
TILT = 10.0  # standard deviation of the rotation about a horizontal axis, degrees
STRETCH = 1.25  # largest factor of one axis against another, and its inverse
SMOOTHING = 0.1


@dataclass(frozen=True)
class Task:
    """Clouds (n, P, 3) with classes (n,) of the names in `classes`."""

    name: str
    classes: list[str]
    points: NDArray[np.float32]
    labels: NDArray[np.int64]


def read_task(name: str, train: Path, test: Path) -> tuple[Task, Task]:
    """Tables of kind points, as sample_points.py writes them; classes are those of `train`.

    Shapes of a category that one side lacks are left out.

    Raises:
        ValueError: not points, other settings on both sides, or fewer than two categories.
    """
    tables = [read_table([path]) for path in (train, test)]
    for table in tables:
        if table.kind != "points" or table.settings != tables[0].settings:
            raise ValueError(f"{table.name}: expected points of settings {tables[0].settings}")
    classes = sorted(set(tables[0].categories) & set(tables[1].categories) - {""})
    if len(classes) < 2:
        raise ValueError(f"{train}, {test}: {len(classes)} categories in both; expected 2 or more")
    sides = []
    for table in tables:
        kept = np.flatnonzero(np.isin(table.categories, classes))
        labels = np.searchsorted(classes, np.array(table.categories)[kept])
        sides.append(Task(name, classes, table.arrays["points"][kept], labels))
    return sides[0], sides[1]


def augment(points: Tensor, random: torch.Generator) -> Tensor:
    """Clouds (B, P, 3), y up: turned, tilted, stretched, mirrored, noisy; the box middle at 0."""
    b = len(points)

    def uniform(*size: int) -> Tensor:
        return torch.rand(b, *size, generator=random)

    yaw = 2 * torch.pi * uniform()
    tilt = torch.deg2rad(TILT * torch.randn(b, generator=random))
    across = _turn(yaw, 0, 2) @ _turn(tilt, 0, 1) @ _turn(2 * torch.pi * uniform(), 0, 2)
    factors = STRETCH ** (2 * uniform(1, 3) - 1)
    factors[..., 0] *= torch.where(uniform(1) < 0.5, -1.0, 1.0)
    points = to_unit((points * factors) @ across)
    noise = torch.randn(points.shape, generator=random)
    return to_unit(points + JITTER * uniform(1, 1) * noise)


def _turn(angle: Tensor, first: int, second: int) -> Tensor:
    """(B, 3, 3) rotations in the plane of two axes."""
    out = torch.eye(3).repeat(len(angle), 1, 1)
    out[:, first, first] = out[:, second, second] = angle.cos()
    out[:, first, second], out[:, second, first] = -angle.sin(), angle.sin()
    return out


def to_unit(points: Tensor) -> Tensor:
    """Clouds (B, P, 3) with the middle of their box at 0 and radius 1."""
    moved = points - (points.amax(1, keepdim=True) + points.amin(1, keepdim=True)) / 2
    return moved / moved.norm(dim=-1).amax(1)[:, None, None]


def batches(
    tasks: list[Task], size: int, seed: int, epoch: int
) -> Iterator[list[tuple[Task, Tensor, Tensor]]]:
    """One epoch of the first task; of every other one as many shapes in all, repeated.

    Yields for every task its share of a batch: clouds (b, GROUP, 3) augmented, labels (b,).
    """
    random = torch.Generator().manual_seed(seed * 100_003 + epoch)
    steps = len(tasks[0].labels) * len(tasks) // size
    share = size // len(tasks)
    orders = [
        torch.cat([torch.randperm(len(t.labels), generator=random)
                   for _ in range(steps * share // len(t.labels) + 1)])
        for t in tasks
    ]  # fmt: skip
    for step in range(steps):
        found = []
        for task, order in zip(tasks, orders, strict=True):
            rows = order[step * share : (step + 1) * share]
            drawn = torch.randperm(task.points.shape[1], generator=random)[:GROUP]
            clouds = torch.from_numpy(task.points[rows.numpy()][:, drawn.numpy()])
            found.append((task, augment(clouds, random), torch.from_numpy(task.labels)[rows]))
        yield found


def loss_of(model: PointNet, batch: list[tuple[Task, Tensor, Tensor]]) -> Tensor:
    """Sum over tasks of the mean cross-entropy."""
    embedding = model(torch.cat([points for _, points, _ in batch]))
    parts = embedding.split([len(labels) for _, _, labels in batch])
    losses = [
        F.cross_entropy(model.scores(part, task.name), labels, label_smoothing=SMOOTHING)
        for part, (task, _, labels) in zip(parts, batch, strict=True)
    ]
    return torch.stack(losses).sum()


@torch.inference_mode()
def accuracy(model: PointNet, task: Task) -> float:
    """Share of the shapes whose class has the highest score, in eval mode, not augmented."""
    model.eval()
    right = 0
    for start in range(0, len(task.labels), 64):
        clouds = to_unit(torch.from_numpy(task.points[start : start + 64]))
        found = model.scores(model.embed(clouds), task.name).argmax(1).numpy()
        right += int((found == task.labels[start : start + 64]).sum())
    return right / len(task.labels)
