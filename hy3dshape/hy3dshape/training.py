"""The training loop: any task, one process or many, with exact resume.

The engine is Hugging Face Accelerate (DDP, FSDP, DeepSpeed, mixed precision). All randomness is a
function of (seed, micro-batch), so that one process with `update_every` 2 sees the same numbers as
two processes with 1, and a resumed run the same as one that was never stopped.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from . import checkpoints
from .engine import gathering, is_sharded, make_accelerator, prepare, whole
from .pipelines import evaluating
from .run_log import RATE, STEP_TIME, Logs, Stats, Window, note_best, require_monitor
from .training_options import Training
from .utils.trainings.checkpoint_rules import resume_step
from .weights import read_state

log = logging.getLogger(__name__)
Batch = dict[str, Any]
VALIDATION = 1 << 40  # micro-batch numbers of validation, apart from those of training
# what a resumed run may have otherwise: nothing that changes a number
FREE = ("dataset.params.num_workers", "dataset.params.prefetch_factor",
        "dataset.params.test_csv_path", "model.params.torch_compile",
        "conditions.conditioner.path")  # fmt: skip


class Task(Protocol):
    """What is trained; an `nn.Module`."""

    def __call__(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Logs]: ...
    def begin(self, batches: Sequence[Batch], mean: Callable[[Tensor], Tensor]) -> None:
        """Before step 0 of a run from scratch, with its micro-batches; `mean` is over processes."""

    def compile_for(self, device: torch.device) -> None:
        """Compile what the configuration says, where that helps."""

    def leaves_out(self) -> bool:
        """Whether some trained weights never get a gradient."""

    def describe(self) -> dict[str, Any]:
        """Of its conditions, what a resumed run must agree in."""

    def ema_scope(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the weights are those to be used."""

    def optimizer(self, lr: float) -> torch.optim.Optimizer: ...
    def lr_factor(self, steps: int) -> Callable[[int], float]: ...
    def after_step(self) -> None: ...
    def slim_state(self) -> dict[str, Tensor]: ...
    def load_slim(self, state: Mapping[str, Tensor], where: str) -> None: ...


class Data(Protocol):
    """Batches; see `UnifiedDataModule`."""

    batch_size: int
    class_ids: Mapping[str, int]

    def batches_an_epoch(self) -> int: ...
    def train_batches(self, done: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]: ...
    def val_batches(self, rank: int = 0, world: int = 1) -> Iterator[Batch]: ...


class Callback(Protocol):
    """Called on the first process after every optimizer step."""

    def __call__(self, run: Trainer, step: int) -> None: ...


class Trainer:
    """One run.

    Args:
        task: module to train, on the CPU.
        data: its batches.
        options: of the run; `options.output_dir` gets `ckpt/`, `log/` and `stats.jsonl`.
        settings: what a resumed run must agree in, written to every checkpoint.
        callbacks: run in this order.

    Raises:
        ValueError: the output folder holds another run, or a checkpoint does not fit.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        options: Training,
        settings: Mapping[str, Any],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.options, self.data, self.settings = options, data, dict(settings)
        self.callbacks, self.out = callbacks, Path(options.output_dir)
        self.callback_errors = 0
        self.accelerator = make_accelerator(options, data.batch_size, task.leaves_out())
        assert isinstance(task, nn.Module)
        self.task, self._module = task, task
        task.to(self.accelerator.device)
        task.compile_for(self.accelerator.device)
        optimizer = task.optimizer(options.learning_rate(data.batch_size))
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self.step, shards = self._restore(optimizer)
        self.model, self.optimizer = prepare(self.accelerator, task, optimizer)
        self.gathered = gathering(self.accelerator, self.model)
        if shards is not None:
            self.accelerator.load_state(str(shards))
        self.stats = Stats(self.out, self.step) if self.accelerator.is_main_process else None

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes)

    def generator(self, micro: int) -> torch.Generator:
        """Generator of a micro-batch, numbered over all processes; torch's own is set alike."""
        seed = hash((self.options.seed, micro)) % (1 << 63)
        torch.manual_seed(seed)
        return torch.Generator(self.accelerator.device).manual_seed(seed)

    def run(self) -> dict[str, float]:
        """Train to `options.steps`; returns the last logged numbers.

        Raises:
            ValueError: nothing logs `options.monitor`, or the loss is not finite.
        """
        from tqdm import tqdm

        options, done = self.options, self.step * self.options.update_every
        batches = self.data.train_batches(done, self.rank, self.world)
        factor = self.task.lr_factor(options.steps)
        if self.step == 0:
            first = list(itertools.islice(batches, options.update_every))
            with self.gathered():
                self.task.begin([self._to_device(b) for b in first], self._mean)
            batches = itertools.chain(first, batches)
        window = Window()
        bar = tqdm(total=options.steps, initial=self.step, unit="step",
                   disable=None if self.accelerator.is_main_process else True)  # fmt: skip
        with bar:
            while self.step < options.steps:
                window.add(self._one_step(batches, factor(self.step)))
                self.step += 1
                bar.update()
                self._report(window, bar)
                if self.step % options.val_check_interval == 0 or self.step == options.steps:
                    self._log({f"val/{k}": v for k, v in self.validate().items()})
                if self.step % options.every_n_train_steps == 0 or self.step == options.steps:
                    self.save()
                self._call_back()
        return {k: v for k, (_, v) in self.stats.last.items()} if self.stats else {}

    def _one_step(self, batches: Iterator[Batch], factor: float) -> Logs:
        """One optimizer step; mean logs of its micro-batches on this process."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self.model.train()
        total: Logs = {}
        for micro in range(self.options.update_every):
            batch = self._to_device(next(batches))
            number = (self.step * self.options.update_every + micro) * self.world + self.rank
            with self.accelerator.accumulate(self.model):
                with self.accelerator.autocast():
                    loss, logs = self.model(batch, self.generator(number))
                self.accelerator.backward(loss)
                self._clip()
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in {"total_loss": loss, **logs}.items():
                share = value.detach().float() / self.options.update_every
                total[name] = total[name] + share if name in total else share
        with self.gathered():
            self.task.after_step()
        return total

    def _clip(self) -> None:
        limit = self.options.gradient_clip_val
        if limit and self.accelerator.sync_gradients:
            if self.options.gradient_clip_algorithm == "norm":
                self.accelerator.clip_grad_norm_(self.model.parameters(), limit)
            else:
                self.accelerator.clip_grad_value_(self.model.parameters(), limit)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean logs over the first `limit_val_batches` batches of validation, {} without any."""
        sums = Window()
        numbers = range(self.rank, self.options.limit_val_batches, self.world)
        with evaluating(self._module), self.gathered(), self.task.ema_scope():
            for number, batch in zip(
                numbers, self.data.val_batches(self.rank, self.world), strict=False
            ):
                with self.accelerator.autocast():
                    generator = self.generator(VALIDATION + number)
                    loss, logs = self.task(self._to_device(batch), generator)
                sums.add({"total_loss": loss, **logs})
        count, means = sums.count, {k: v.item() for k, v in sums.means().items()}
        parts = [part for part in gather_object([(count, means)]) if part[0]]
        total = sum(count for count, _ in parts)
        names = parts[0][1] if parts else {}
        return {k: sum(n * found[k] for n, found in parts) / total for k in names}

    def _report(self, window: Window, bar: Any) -> None:
        require_monitor(self.options.monitor, window.names)
        if self.step % self.options.log_every_n_steps and self.step != self.options.steps:
            return
        seconds = window.seconds_each()
        means = {f"train/{k}": v.item() for k, v in window.means(self._mean).items()}
        loss = means["train/total_loss"]
        if not math.isfinite(loss):
            raise ValueError(f"step {self.step}: the loss is {loss}; lower base_lr, or clip")
        bar.set_postfix_str(f"loss {loss:.4g}")
        left = (self.options.steps - self.step) * seconds / 3600
        told = (self.step, self.options.steps, loss, seconds, left)
        log.info("step %d of %d, loss %.4g, %.3g s a step, %.1f h left", *told)
        self._log({**means, RATE: self.optimizer.param_groups[0]["lr"], STEP_TIME: seconds})

    def _log(self, numbers: Mapping[str, float]) -> None:
        if self.stats:
            self.stats.add(self.step, numbers)

    def _call_back(self) -> None:
        """Call the callbacks on the first process; their errors are counted, training goes on."""
        if not self.callbacks:
            return
        with self.gathered(), evaluating(self._module):
            for callback in self.callbacks if self.accelerator.is_main_process else ():
                try:
                    callback(self, self.step)
                except Exception:
                    self.callback_errors += 1
                    log.exception("step %d: %s failed", self.step, type(callback).__name__)
            self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """Write a checkpoint of this step."""
        sharded, folder = is_sharded(self.accelerator), checkpoints.draft(self.out, self.step)
        weights = whole(self.task.slim_state())
        if self.stats:
            optimizer = None if sharded else {"optimizer": self.optimizer.state_dict()}
            if self.accelerator.scaler is not None and optimizer is not None:
                optimizer["scaler"] = self.accelerator.scaler.state_dict()
            state = {"step": self.step, "settings": self.settings, "world": self.world}
            state["conditions"] = self._conditions()
            checkpoints.write(folder, weights, optimizer, state)
        self.accelerator.wait_for_everyone()
        if sharded:
            self.accelerator.save_state(str(folder / checkpoints.SHARDS))
            self.accelerator.wait_for_everyone()
        if self.stats:
            final = checkpoints.publish(self.out, self.step)
            note_best(self.stats, self.options.monitor, final)
        self.accelerator.wait_for_everyone()

    def _conditions(self) -> dict[str, Any]:
        """What conditions mean: ids of the classes, encoder of texts or images."""
        told = {"class_ids": dict(self.data.class_ids), "conditioner": self.task.describe()}
        return {k: v for k, v in told.items() if v}

    def _restore(self, optimizer: torch.optim.Optimizer) -> tuple[int, Path | None]:
        """Load what the options name; the step to go on from, and its shards if it has any."""
        options = self.options
        if options.init_ckpt is not None and options.ckpt_path is not None:
            raise ValueError("--ckpt_path and --init_ckpt exclude each other")
        folder = checkpoints.find(self.out, options.ckpt_path)
        if options.init_ckpt is not None:
            self.task.load_slim(read_state(options.init_ckpt), options.init_ckpt)
            return resume_step(options.init_ckpt) or 0, None
        if folder is None:
            return 0, None
        weights, saved, state = checkpoints.load(folder)
        self._agree(state, folder)
        self.task.load_slim(weights, str(folder))
        if is_sharded(self.accelerator) is bool(saved):
            raise ValueError(
                f"{folder}: go on with the engine that wrote it; --fsdp and --deepspeed keep the"
                " optimizer in shards, others in one file (--init_ckpt takes the weights alone)"
            )
        if not saved:
            return int(state["step"]), folder / checkpoints.SHARDS
        optimizer.load_state_dict(saved["optimizer"])
        if self.accelerator.scaler is not None and "scaler" in saved:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        return int(state["step"]), None

    def _agree(self, state: Mapping[str, Any], folder: Path) -> None:
        """Raise ValueError naming every setting in which a checkpoint differs from this run."""
        conditions = self._conditions()
        now = {**self.settings, "conditions": conditions}
        was = {**state["settings"], "conditions": state.get("conditions", conditions)}
        for settings, world in ((now, self.world), (was, state["world"])):
            settings["processes x update_every"] = world * settings.pop("update_every")
        before, after = leaves(was), leaves(json.loads(json.dumps(now)))
        names = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
        told = [f"{k} {before.get(k)!r}, now {after.get(k)!r}" for k in names if k not in FREE]
        if told:
            raise ValueError(f"{folder}: was trained with other settings: {'; '.join(told)}")

    def _to_device(self, batch: Batch) -> Batch:
        device = self.accelerator.device
        return {
            k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v
            for k, v in batch.items()
        }

    def _mean(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value, reduction="mean")


def leaves(tree: Any, place: str = "") -> dict[str, Any]:
    """Values of nested mappings under their dotted names."""
    if not isinstance(tree, Mapping) or not tree:
        return {place: tree}
    below = (leaves(v, f"{place}.{k}" if place else str(k)) for k, v in tree.items())
    return {name: value for part in below for name, value in part.items()}
