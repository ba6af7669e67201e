"""Apply a function to every item on several processes; no item can end the batch.

The same file in every stage that works per item.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, TypeVar

from tqdm import tqdm

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """Result of one item: its place in the list, and either a value or an error text."""

    place: int
    value: object
    error: str | None


def map_items(
    work: Callable[[T], R], items: Sequence[T], workers: int, label: str, quiet: bool = False
) -> Iterator[Outcome]:
    """Yield an Outcome per item as they finish, with a progress bar on stderr.

    Args:
        work:    importable function of one item.
        items:   all items.
        workers: processes; 0 or 1 runs them in this one. An item whose process dies (memory,
                 crash in a library) is charged to that item alone.
        label:   name on the progress bar.
    """
    if workers < 0:
        raise ValueError(f"--workers {workers}: expected 0 or more")
    bar = tqdm(total=len(items), desc=label, disable=True if quiet else None, unit="item")
    outcomes = _serial(work, items) if workers <= 1 else _parallel(work, items, workers)
    with bar:
        for outcome in outcomes:
            bar.update()
            yield outcome


def _attempt(work: Callable[[T], R], index: int, item: T) -> Outcome:
    try:
        return Outcome(index, work(item), None)
    except Exception as error:  # an item may fail in any way; it is named, counted, and logged
        log.info("item %s\n%s", item, traceback.format_exc())
        text = " ".join(str(error).split())[:500]
        known = isinstance(error, OSError | ValueError) and text
        return Outcome(index, None, text if known else f"{type(error).__name__}: {text}")


def _serial(work: Callable[[T], R], items: Sequence[T]) -> Iterator[Outcome]:
    for index, item in enumerate(items):
        yield _attempt(work, index, item)


def _one_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _executor(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    ignore = signal.SIGINT, signal.SIG_IGN  # Ctrl-C reaches the whole group; this process answers
    return ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=ignore)


def _parallel(work: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[Outcome]:
    _one_thread()  # inherited by the workers: processes, not threads, share the cores
    todo = list(range(len(items)))[::-1]
    suspects: list[int] = []
    while todo:
        pending: dict[Future[Outcome], int] = {}
        with _executor(workers) as pool:
            try:
                while todo or pending:
                    while todo and len(pending) < 2 * workers:
                        index = todo.pop()
                        pending[pool.submit(_attempt, work, index, items[index])] = index
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        outcome = future.result()
                        del pending[future]
                        yield outcome
            except BrokenProcessPool:
                suspects = sorted(pending.values())
        for index in suspects:
            yield _alone(work, index, items[index])
        suspects = []


def _alone(work: Callable[[T], R], index: int, item: T) -> Outcome:
    with _executor(1) as pool:
        try:
            return pool.submit(_attempt, work, index, item).result()
        except BrokenProcessPool:
            return Outcome(index, None, "the process that worked on it died (out of memory?)")
