"""Times of the Euler sampler.

The released sampler of arXiv:2512.23628 starts at 1/1000 instead of 0 and appends 1 to a list that
already ends there: S evaluations make S - 1 steps. That schedule is the default, because published
samples were made with it; `exact` uses the whole interval and every evaluation. With a shift the
released one shifts its first time twice, which is kept too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class EulerSchedule:
    """Noise at 0, data at 1.

    Args:
        schedule: `released` or `exact`.
        shift: s maps a time to s t / (1 + (s - 1) t); above 1 it moves times to the data end.
        num_train_timesteps: the released schedule starts at its inverse.
    """

    schedule: Literal["released", "exact"] = "released"
    shift: float = 1.0
    num_train_timesteps: int = 1000

    def __post_init__(self) -> None:
        if self.schedule not in ("released", "exact"):
            raise ValueError(f"schedule {self.schedule!r}; expected released or exact")
        if not self.shift > 0 or self.num_train_timesteps < 1:
            raise ValueError("expected shift > 0 and num_train_timesteps >= 1")

    def sigmas(self, steps: int = 50, custom: Sequence[float] | None = None) -> Tensor:
        """(evaluations + 1,) float32 times; evaluation i is at the i-th and steps to the next.

        Args:
            steps: number of evaluations, unless `custom` gives the times of all of them in [0, 1],
                in order; 1 is appended to it.
        """
        if custom is not None:
            times = torch.tensor(list(custom), dtype=torch.float64)
            inside = len(times) > 0 and bool(((times >= 0) & (times <= 1)).all())
            if not inside or (times.diff() < 0).any():
                raise ValueError("sigmas must rise within [0, 1]")
            return _closed(self._shifted(times))
        if steps < 1:
            raise ValueError(f"{steps} steps; expected 1 or more")
        if self.schedule == "exact":
            whole = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
            return self._shifted(whole).float()
        start = torch.tensor(1 / self.num_train_timesteps, dtype=torch.float64)
        times = torch.linspace(float(self._shifted(start)), 1, steps, dtype=torch.float64)
        return _closed(self._shifted(times))

    def timesteps(self, sigmas: Tensor) -> Tensor:
        """(evaluations,) times as the released code counts them, 0 to num_train_timesteps."""
        return sigmas[:-1] * self.num_train_timesteps

    def _shifted(self, t: Tensor) -> Tensor:
        return self.shift * t / (1 + (self.shift - 1) * t)


def _closed(times: Tensor) -> Tensor:
    return torch.cat([times, times.new_ones(1)]).float()
