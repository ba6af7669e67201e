"""The training loop of both models: one process or many, resumed exactly.

The engine is Hugging Face Accelerate (DDP, mixed precision); `scripts/train_voxel_multi_gpu.sh`
starts several processes. Order, noise and dropout are functions of (seed, micro-batch), so a run
that was killed goes on to the same weights. BatchNorm's running figures are those of the first
process.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoints import load_state, save_state
from .devices import pick_device, use_accelerator_of
from .files import write_text

Figures = dict[str, Tensor]
Step = Callable[[nn.Module, np.ndarray, torch.Generator], Figures]


@dataclass(frozen=True)
class Options:
    """Of a run.

    Args:
        output: folder of `state.pt` and `stats.jsonl`.
        steps: optimizer steps in all.
        batch_size: of each process.
        lr, warmup_steps: peak rate of Adam, and the steps to reach it (linear).
        decay: "constant" or "cosine" (to nothing, at the last step).
        gradient_clip: largest norm of the gradient; 0: not clipped.
        ema_decay: of the averaged weights; 0: none are kept.
        precision: no, bf16 or fp16.
        device: auto, cpu, cuda or cuda:N.
        save_every, log_every: steps.
    """

    output: Path
    steps: int
    batch_size: int
    lr: float
    warmup_steps: int = 0
    decay: str = "constant"
    gradient_clip: float = 0.0
    ema_decay: float = 0.0
    precision: str = "no"
    device: str = "auto"
    seed: int = 0
    save_every: int = 1000
    log_every: int = 50

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        late = 0.5 + 0.5 * math.cos(math.pi * step / self.steps) if self.decay == "cosine" else 1.0
        return self.lr * warm * late


def batches(count: int, size: int, seed: int, first: int, stride: int) -> Iterator[np.ndarray]:
    """Rows of micro-batches `first`, `first + stride`, ...; each epoch has an order of its own.

    A last batch that is not full takes the first rows of its epoch as well, so that all are equal
    (with fewer than `size` rows a batch is all of them).
    """
    size = min(size, count)
    each = -(-count // size)
    number = first
    while True:
        epoch, place = divmod(number, each)
        order = np.random.default_rng([seed, epoch]).permutation(count)
        yield np.resize(order, each * size)[place * size : (place + 1) * size]
        number += stride


class Run:
    """A model in training.

    Args:
        model: trained in place; on the CPU.
        step: of (model, rows of the data, generator) -> figures with a `loss`.
        count: rows of the training data.
        options: of the run.
        settings: what a resumed run must agree in.
        validate: of the model to be used (averaged, in eval mode) -> figures, None without.
        finish: called with that model whenever a state has been written, to export it.

    Raises:
        ValueError: the output folder holds a run with other settings or of another number of
            processes, or a damaged state; mixed precision on the CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        step: Step,
        count: int,
        options: Options,
        settings: Mapping[str, Any],
        validate: Callable[[nn.Module], Mapping[str, float]] | None,
        finish: Callable[[nn.Module], None],
    ) -> None:
        from accelerate import Accelerator

        self._step, self._validate, self._finish = step, validate, finish
        device = pick_device(options.device)
        if device.type == "cpu" and options.precision != "no":
            raise ValueError(
                f"--precision {options.precision}: PyTorch's gradients of small 3D maps were seen"
                " to be wrong with it on a CPU; use no"
            )
        use_accelerator_of(device)
        self.engine = Accelerator(mixed_precision=options.precision)
        self.options = options
        self.settings = {**settings, "processes": self.engine.num_processes}
        model.to(self.engine.device)
        self.averaged = copy.deepcopy(model).eval() if options.ema_decay else None
        optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
        self.plain = model
        self.done = self._restore(optimizer)
        self.model, self.optimizer = self.engine.prepare(model, optimizer)
        rank, world = self.engine.process_index, self.engine.num_processes
        first = self.done * world + rank
        self._rows = batches(count, options.batch_size, options.seed, first, world)

    @property
    def used(self) -> nn.Module:
        """The model to be used: averaged if averages are kept."""
        return self.plain if self.averaged is None else self.averaged

    def run(self) -> dict[str, float]:
        """Train to the last step; the last figures, whether of this or of an earlier call.

        Raises:
            ValueError: the loss is not finite.
        """
        from tqdm import tqdm

        options, sums, last = self.options, dict[str, float](), self._last
        main = self.engine.is_main_process
        with tqdm(total=options.steps, initial=self.done, unit="step",
                  disable=None if main else True) as bar:  # fmt: skip
            since = self.done
            while self.done < options.steps:
                for name, value in self._one_step().items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                self.done += 1
                bar.update()
                saves = self.done % options.save_every == 0 or self.done == options.steps
                if self.done % options.log_every == 0 or saves:
                    last = {k: self._mean(v / (self.done - since)) for k, v in sums.items()}
                    if not math.isfinite(last["loss"]):
                        raise ValueError(
                            f"step {self.done}: the loss is {last['loss']}; lower --lr"
                        )
                    bar.set_postfix({k: f"{v:.4g}" for k, v in last.items()})
                    self._log({f"train/{k}": v for k, v in last.items()})
                    sums, since = {}, self.done
                if saves:
                    last |= self.save()
        return last

    def _one_step(self) -> Figures:
        options = self.options
        number = self.done * self.engine.num_processes + self.engine.process_index
        seed = int(np.random.SeedSequence([options.seed, number]).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(seed >> 1)
        torch.manual_seed(seed >> 1)  # dropout
        for group in self.optimizer.param_groups:
            group["lr"] = options.rate(self.done)
        self.model.train()
        with self.engine.autocast():
            figures = self._step(self.model, next(self._rows), generator)
        self.engine.backward(figures["loss"])
        if options.gradient_clip:
            self.engine.clip_grad_norm_(self.model.parameters(), options.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.averaged is not None:
            self._average()
        return {k: v.detach() for k, v in figures.items()}

    @torch.no_grad()
    def _average(self) -> None:
        """Weights drift towards the newest; in the first steps faster, as those are far off."""
        assert self.averaged is not None
        decay = min(self.options.ema_decay, (1 + self.done) / (10 + self.done))
        new = self.plain.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])

    def save(self) -> dict[str, float]:
        """Validate, export and write the state of this step; figures of validation."""
        told: dict[str, float] = {}
        if self.engine.is_main_process:
            if self._validate is not None:
                was = self.used.training
                self.used.eval()
                told = {f"val/{k}": float(v) for k, v in self._validate(self.used).items()}
                self.used.train(was)
                self._log(told)
            state = {"step": self.done, "model": self.plain.state_dict(),
                     "optimizer": self.optimizer.state_dict(),
                     "settings": json.dumps(self.settings)}  # fmt: skip
            if self.averaged is not None:
                state["averaged"] = self.averaged.state_dict()
            if self.engine.scaler is not None:
                state["scaler"] = self.engine.scaler.state_dict()
            self._finish(self.used)  # before the state, or a kill between would leave none
            save_state(self.options.output / "state.pt", state)
        self.engine.wait_for_everyone()
        return told

    def _restore(self, optimizer: torch.optim.Optimizer) -> int:
        """Take over the state of the output folder; its step, 0 without one."""
        path = self.options.output / "state.pt"
        state = load_state(path, self.settings) if path.exists() else dict[str, Any](step=0)
        step = int(state["step"])
        self._last = self._rewind(step) if self.engine.is_main_process else {}
        if not step:
            return 0
        self.plain.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.engine.scaler is not None:
            self.engine.scaler.load_state_dict(state["scaler"])
        return step

    def _rewind(self, step: int) -> dict[str, float]:
        """Drop the lines of `stats.jsonl` that come again; the figures of `step`."""
        stats, told = self.options.output / "stats.jsonl", dict[str, float]()
        if not stats.is_file():
            return told
        lines = [s for s in stats.read_text().splitlines(keepends=True) if s.endswith("\n")]
        kept = [s for s in lines if json.loads(s)["step"] <= step]
        write_text(stats, "".join(kept))
        for row in map(json.loads, kept):
            if row["step"] == step:
                told |= {k.removeprefix("train/"): row[k] for k in row if k not in ("step", "lr")}
        return told

    def _log(self, numbers: Mapping[str, float]) -> None:
        """Append a line to `stats.jsonl`."""
        if self.engine.is_main_process:
            row = {"step": self.done, "lr": self.options.rate(self.done - 1), **numbers}
            with (self.options.output / "stats.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")

    def _mean(self, value: float) -> float:
        there = torch.tensor(value, device=self.engine.device)
        return float(self.engine.reduce(there, reduction="mean"))
