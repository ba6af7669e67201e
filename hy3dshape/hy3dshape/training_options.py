"""Options of a training run: flag given > `training:` of the YAML > default.

Names and defaults are those of the paper's tool (arXiv 2512.23628), which gives the defaults of
its flags precedence over the file; here a flag that is not given changes nothing.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .coercion import coerce, unknown


@dataclass(frozen=True)
class Training:
    """How a run trains; counts of steps are optimiser steps."""

    steps: int = 50_000_000
    base_lr: float = 4.5e-6
    scale_lr: bool = False  # base_lr times update_every, nodes, devices and batch size
    update_every: int = 1  # micro-batches per optimiser step
    use_amp: bool = False
    amp_type: Literal["16", "bf16", "32"] = "16"
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    every_n_train_steps: int = 50_000  # between checkpoints
    log_every_n_steps: int = 50
    val_check_interval: int = 1024
    limit_val_batches: int = 64
    monitor: str = "val/total_loss"
    seed: int = 0
    num_nodes: int = 1
    num_gpus: int = 1  # processes on each node
    output_dir: str = "outputs"
    ckpt_path: str | None = None
    init_ckpt: str | None = None
    deepspeed: bool = False
    deepspeed2: bool = False
    fsdp: bool = False
    fast: bool = False

    def __post_init__(self) -> None:
        counts = ("steps", "update_every", "every_n_train_steps", "log_every_n_steps")
        for name in (*counts, "val_check_interval", "num_nodes", "num_gpus"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name}: expected 1 or more, found {self._show(name)}")
        if self.limit_val_batches < 0:
            raise ValueError(f"training.limit_val_batches: {self.limit_val_batches} is negative")
        if not 0 < self.base_lr < float("inf"):
            raise ValueError(
                f"training.base_lr: expected more than 0, found {self._show('base_lr')}"
            )
        if self.gradient_clip_val is not None and not self.gradient_clip_val >= 0:
            raise ValueError(f"training.gradient_clip_val: {self.gradient_clip_val} is negative")
        if self.fsdp and (self.deepspeed or self.deepspeed2):
            raise ValueError("training: fsdp and deepspeed exclude each other")
        if self.fsdp and self.gradient_clip_val and self.gradient_clip_algorithm == "value":
            raise ValueError("training.gradient_clip_algorithm: value; under fsdp norm alone works")

    def _show(self, name: str) -> str:
        return repr(getattr(self, name))

    @classmethod
    def resolve(
        cls, section: Mapping[str, Any] | None = None, flags: Mapping[str, Any] | None = None
    ) -> Training:
        """Options from the `training:` section of a file and the flags that were given.

        Raises:
            ValueError: naming the key: unknown, of the wrong type, out of range.
        """
        types = typing.get_type_hints(cls)
        if not isinstance(section or {}, Mapping):
            raise ValueError(f"training: expected a mapping, found {section!r}")
        values = {}
        for where, given in (("training", section or {}), ("flags", flags or {})):
            for key, value in given.items():
                if key not in types:
                    raise unknown(key, types, where)
                values[key] = coerce(value, types[key], f"{where}.{key}")
        return cls(**values)

    def learning_rate(self, batch_size: int) -> float:
        """Peak learning rate for `batch_size` items per device and micro-batch."""
        if not self.scale_lr:
            return self.base_lr
        return self.base_lr * self.update_every * self.num_nodes * self.num_gpus * batch_size

    def as_dict(self) -> dict[str, Any]:
        """For the resolved configuration beside the output."""
        return dataclasses.asdict(self)
