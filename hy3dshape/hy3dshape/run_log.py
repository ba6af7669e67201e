"""Numbers of a run: means between reports, `stats.jsonl`, TensorBoard, the best checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from .files import read_json, write_json

Logs = dict[str, Tensor]
RATE, STEP_TIME = "lr_abs", "train/step_time"
OTHERS = "metrics/"  # beginning of what callbacks log; not known beforehand


class Window:
    """Sums of `count` logs since the last report."""

    def __init__(self) -> None:
        self._sums: Logs = {}
        self.count, self._start = 0, time.perf_counter()

    @property
    def names(self) -> list[str]:
        return list(self._sums)

    def add(self, logs: Mapping[str, Tensor]) -> None:
        self.count += 1
        for name, value in logs.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def seconds_each(self) -> float:
        return (time.perf_counter() - self._start) / max(self.count, 1)

    def means(self, over_processes: Callable[[Tensor], Tensor] = lambda value: value) -> Logs:
        """Mean of each log, by name; the window starts anew."""
        found = {k: over_processes(v / self.count) for k, v in sorted(self._sums.items())}
        self._sums, self.count, self._start = {}, 0, time.perf_counter()
        return found


class Stats:
    """`stats.jsonl` and TensorBoard; lines after `step` of an interrupted run are dropped.

    Attributes:
        last: the newest value of every log, and the step it belongs to.
    """

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.last = out / "stats.jsonl", dict[str, tuple[int, float]]()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines(keepends=True) if self.path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        rows = [(line, json.loads(line)) for line in whole]
        self.path.write_text("".join(line for line, row in rows if row["step"] <= step))
        for _, row in rows:
            at = row.pop("step")
            self.last.update({k: (at, v) for k, v in row.items() if at <= step})
        board = out / "log" / "tensorboard"
        version = len(list(board.glob("version_*"))) if board.is_dir() else 0
        self.board = SummaryWriter(str(board / f"version_{version}"))

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append one line and the same to TensorBoard."""
        if not numbers:
            return
        self.last.update({name: (step, value) for name, value in numbers.items()})
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        for name, value in numbers.items():
            self.board.add_scalar(name, value, step)
        self.board.flush()


def require_monitor(monitor: str, logs: Iterable[str]) -> None:
    """Raise ValueError when a run whose steps log `logs` will never log `monitor`."""
    known = [f"{split}/{name}" for split in ("train", "val") for name in logs]
    if monitor not in (*known, RATE, STEP_TIME) and not monitor.startswith(OTHERS):
        raise ValueError(f"monitor: nothing logs {monitor!r}; known: {', '.join(known)}")


def note_best(stats: Stats, monitor: str, checkpoint: Path) -> None:
    """Name a new checkpoint in `best.json` beside it if its `monitor` is the lowest so far.

    The value is the newest there is, and the step where it was measured stands beside it.
    """
    path = checkpoint.with_name("best.json")
    best = read_json(path) if path.is_file() else None
    if best is not None and not checkpoint.with_name(best["checkpoint"]).is_dir():
        best = None
    step, value = stats.last.get(monitor, (0, float("nan")))
    if value < (best["value"] if best else float("inf")):
        found = {"checkpoint": checkpoint.name, "monitor": monitor}
        write_json(path, found | {"value": value, "measured_at_step": step})
