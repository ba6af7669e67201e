"""The training loop: any task, one process or many, with exact resume.

The engine is Hugging Face Accelerate (DDP, FSDP, DeepSpeed, mixed precision). All randomness is a
function of (seed, micro-batch), so that one process with `update_every` 2 sees the same numbers as
two processes with 1, and a resumed run the same as one that was never stopped.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DeepSpeedPlugin, DistributedDataParallelKwargs
from torch import Tensor, nn

from . import checkpoints
from .training_options import Training
from .utils.trainings.checkpoint_rules import resume_step
from .weights import read_state

log = logging.getLogger(__name__)
Batch = dict[str, Any]
Logs = dict[str, Tensor]
VALIDATION = 1 << 40  # micro-batch numbers of validation, apart from those of training


class Task(Protocol):
    """What is trained; an `nn.Module`."""

    def __call__(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Logs]: ...
    def begin(self, batches: Sequence[Batch], mean: Callable[[Tensor], Tensor]) -> None:
        """Before step 0 of a run from scratch, with its micro-batches; `mean` is over processes."""

    def optimizer(self, lr: float) -> torch.optim.Optimizer: ...
    def lr_factor(self, steps: int) -> Callable[[int], float]: ...
    def after_step(self) -> None: ...
    def slim_state(self) -> dict[str, Tensor]: ...
    def load_slim(self, state: Mapping[str, Tensor], where: str) -> None: ...


class Data(Protocol):
    """Batches; see `UnifiedDataModule`."""

    batch_size: int

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
        self.accelerator = make_accelerator(options, data.batch_size)
        self.task = task
        assert isinstance(task, nn.Module)
        task.to(self.accelerator.device)
        optimizer = task.optimizer(options.learning_rate(data.batch_size))
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self.step = self._restore(optimizer)
        self.model, self.optimizer = self.accelerator.prepare(task, optimizer)
        self.stats = Stats(self.out, self.step) if self.accelerator.is_main_process else None

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes)

    def generator(self, micro: int) -> torch.Generator:
        """Generator of a micro-batch, numbered over all processes."""
        made = torch.Generator(self.accelerator.device)
        return made.manual_seed(hash((self.options.seed, micro)) % (1 << 63))

    def run(self) -> dict[str, float]:
        """Train to `options.steps`; returns the last logged numbers."""
        from tqdm import tqdm

        options, done = self.options, self.step * self.options.update_every
        batches = self.data.train_batches(done, self.rank, self.world)
        factor = self.task.lr_factor(options.steps)
        if self.step == 0:
            first = list(itertools.islice(batches, options.update_every))
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
                self._after_step()
        return self.stats.last if self.stats else {}

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
        self.model.eval()
        window = Window()
        mine = self.data.val_batches(self.rank, self.world)
        for index, batch in enumerate(itertools.islice(mine, self.options.limit_val_batches)):
            number = VALIDATION + index * self.world + self.rank
            with self.accelerator.autocast():
                loss, logs = self.model(self._to_device(batch), self.generator(number))
            window.add({"total_loss": loss, **logs})
        return {k: v.item() for k, v in window.means(self._mean).items()}

    def _report(self, window: Window, bar: Any) -> None:
        if self.step % self.options.log_every_n_steps and self.step != self.options.steps:
            return
        seconds = window.seconds_a_step()
        means = {f"train/{k}": v.item() for k, v in window.means(self._mean).items()}
        bar.set_postfix_str(f"loss {means['train/total_loss']:.4g}")
        rate = self.optimizer.param_groups[0]["lr"]
        self._log({**means, "lr_abs": rate, "train/step_time": seconds})

    def _log(self, numbers: Mapping[str, float]) -> None:
        if self.stats and numbers:
            self.stats.add(self.step, numbers)

    def _after_step(self) -> None:
        options = self.options
        if self.step % options.every_n_train_steps == 0 or self.step == options.steps:
            self.save()
        if self.accelerator.is_main_process:
            for callback in self.callbacks:
                callback(self, self.step)
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """Write a checkpoint of this step."""
        folder = checkpoints.folder_of(self.out, self.step)
        sharded = self.accelerator.distributed_type.value in ("DEEPSPEED", "FSDP")
        if self.accelerator.is_main_process:
            optimizer = None if sharded else {"optimizer": self.optimizer.state_dict()}
            if self.accelerator.scaler is not None and optimizer is not None:
                optimizer["scaler"] = self.accelerator.scaler.state_dict()
            state = {"settings": self.settings, "world": self.world}
            checkpoints.save(self.out, self.step, self.task.slim_state(), optimizer, state)
        self.accelerator.wait_for_everyone()
        if sharded:
            self.accelerator.save_state(str(folder / "shards"))

    def _restore(self, optimizer: torch.optim.Optimizer) -> int:
        """Load what the options name; the step to go on from."""
        options, there = self.options, checkpoints.newest(self.out)
        if options.init_ckpt is not None:
            if options.ckpt_path is not None:
                raise ValueError("--ckpt_path and --init_ckpt exclude each other")
            self.task.load_slim(read_state(options.init_ckpt), options.init_ckpt)
            return resume_step(options.init_ckpt) or 0
        if options.ckpt_path is None:
            if there is not None:
                raise ValueError(
                    f"{self.out}: holds {there.name} of an earlier run; --ckpt_path auto goes on"
                    " with it, another --output_dir starts anew"
                )
            return 0
        folder = there if options.ckpt_path == "auto" else Path(options.ckpt_path)
        if folder is None:
            return 0
        weights, saved, state = checkpoints.load(folder)
        self._agree(state["settings"], folder)
        self.task.load_slim(weights, str(folder))
        optimizer.load_state_dict(saved["optimizer"])
        if self.accelerator.scaler is not None and "scaler" in saved:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        return int(state["step"])

    def _agree(self, settings: Mapping[str, Any], folder: Path) -> None:
        now = json.loads(json.dumps(self.settings))
        names = sorted(k for k in {*now, *settings} if now.get(k) != settings.get(k))
        if names:
            told = "; ".join(f"{k}: {settings.get(k)!r}, now {now.get(k)!r}" for k in names[:4])
            raise ValueError(f"{folder}: was trained with other settings: {told}")

    def _to_device(self, batch: Batch) -> Batch:
        device = self.accelerator.device
        return {
            k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v
            for k, v in batch.items()
        }

    def _mean(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value, reduction="mean")


def make_accelerator(options: Training, batch_size: int) -> Accelerator:
    """Accelerator of a run. Raises ValueError when DeepSpeed is asked for and not installed."""
    precision = {"16": "fp16", "bf16": "bf16", "32": "no"}[options.amp_type]
    deepspeed = None
    if options.deepspeed or options.deepspeed2:
        try:
            deepspeed = DeepSpeedPlugin(
                gradient_accumulation_steps=options.update_every,
                gradient_clipping=options.gradient_clip_val,
                zero_stage=2 if options.deepspeed2 else 1,
            )
        except ImportError as error:
            raise ValueError(
                "--deepspeed: the package is missing; pip install deepspeed"
            ) from error
        deepspeed.deepspeed_config["train_micro_batch_size_per_gpu"] = batch_size
    return Accelerator(
        mixed_precision=precision if options.use_amp else "no",
        gradient_accumulation_steps=options.update_every,
        deepspeed_plugin=deepspeed,
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


class Window:
    """Sums of logs since the last report."""

    def __init__(self) -> None:
        self._sums: Logs = {}
        self._count, self._start = 0, time.perf_counter()

    def add(self, logs: Logs) -> None:
        self._count += 1
        for name, value in logs.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def seconds_a_step(self) -> float:
        return (time.perf_counter() - self._start) / max(self._count, 1)

    def means(self, over_processes: Callable[[Tensor], Tensor]) -> Logs:
        """Mean of each log, by name; the window starts anew."""
        found = {k: over_processes(v / self._count) for k, v in sorted(self._sums.items())}
        self._sums, self._count, self._start = {}, 0, time.perf_counter()
        return found


class Stats:
    """`stats.jsonl` and TensorBoard; lines after `step` of an interrupted run are dropped."""

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.last = out / "stats.jsonl", dict[str, float]()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines(keepends=True) if self.path.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self.path.write_text("".join(kept))
        board = out / "log" / "tensorboard"
        version = len(list(board.glob("version_*"))) if board.is_dir() else 0
        self._board = SummaryWriter(str(board / f"version_{version}"))

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append one line and the same to TensorBoard."""
        self.last.update(numbers)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
