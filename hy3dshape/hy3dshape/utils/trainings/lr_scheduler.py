"""Learning-rate factor by optimiser step: linear warm-up, then half a cosine, then constant.

The class name and arguments are those of the paper's YAML files (arXiv 2512.23628).
"""

from __future__ import annotations

import math


class LambdaWarmUpCosineFactorScheduler:
    """Factor for `torch.optim.lr_scheduler.LambdaLR`: a function of the step alone.

    Args:
        warm_up_steps:   steps from f_start to f_max, 0 or more.
        max_decay_steps: step at which f_min is reached and kept; the training's step count.
        f_start, f_max, f_min: factors at step 0, after warm-up, at the end.

    Raises:
        ValueError: a step count or factor is negative.
    """

    def __init__(
        self,
        warm_up_steps: int,
        max_decay_steps: int,
        f_start: float = 1e-6,
        f_min: float = 1e-3,
        f_max: float = 1.0,
    ) -> None:
        numbers = {"warm_up_steps": warm_up_steps, "max_decay_steps": max_decay_steps}
        for name, value in {**numbers, "f_start": f_start, "f_min": f_min, "f_max": f_max}.items():
            if not value >= 0:
                raise ValueError(f"{name}: expected 0 or more, found {value}")
        self.warm_up_steps = warm_up_steps
        self.max_decay_steps = max_decay_steps
        self.f_start, self.f_min, self.f_max = f_start, f_min, f_max

    def __call__(self, step: int) -> float:
        """Factor of the step's learning rate; a run shorter than the warm-up never decays."""
        if step < self.warm_up_steps:
            return self.f_start + (self.f_max - self.f_start) * step / self.warm_up_steps
        span = max(self.max_decay_steps - self.warm_up_steps, 1)
        done = min((step - self.warm_up_steps) / span, 1.0)
        return self.f_min + 0.5 * (self.f_max - self.f_min) * (1 + math.cos(math.pi * done))
