"""Captions by a vision-language model: answers read, checked, asked for again, errors blamed.

A row fails alone: when a batch raises, it is halved until the row is found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .answers import parse
from .validate import LEVELS, Limits, problems

log = logging.getLogger(__name__)
Images = list[Any]
Ask = Callable[[Sequence[Images], int], list[str]]
KEYS = {"phrase": ("noun_phrase", "short"), "sentence": ("medium",), "paragraph": ("long",)}


class Job(NamedTuple):
    """One shape: id, sprite, views to show."""

    uid: str
    load: Callable[[], Images]
    views: tuple[int, ...]


Result = dict[str, Any]  # phrase, sentence, paragraph, status, error, step, attempts, views, raw


class Asker:
    """Settings of a run.

    Args:
        ask:        the model: lists of images and a number of new tokens to answers.
        tokens:     of the first attempt; doubled after an answer that was cut off.
        retries:    attempts in total.
        limits:     words by level.
        shape_only: colours and materials are faults.
    """

    def __init__(
        self, ask: Ask, tokens: int, retries: int, limits: Limits, shape_only: bool
    ) -> None:
        self.ask, self.tokens, self.retries = ask, tokens, retries
        self.limits, self.shape_only = limits, shape_only

    def run(self, jobs: Sequence[Job], batch: int) -> Iterator[tuple[Job, Result]]:
        """Every job with its result, as batches finish."""
        for start in range(0, len(jobs), batch):
            yield from self._batch(jobs[start : start + batch])

    def _batch(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        loaded: list[tuple[Job, Images]] = []
        for job in jobs:
            try:
                loaded.append((job, job.load()))
            except Exception as bad:  # a bad picture is told with its row
                log.warning("%s: its picture cannot be read", job.uid, exc_info=bad)
                yield job, _failed(job, f"{type(bad).__name__}: {bad}", 0, "")
        tokens = self.tokens
        for attempt in range(1, self.retries + 1):
            left = []
            cut = False
            for (job, images), text, error in self._answers(loaded, tokens):
                made = self._read(job, text, error, attempt)
                if made["status"] == "done" or attempt == self.retries:
                    yield job, made
                else:
                    left.append((job, images))
                    cut |= made["step"] == "cut"
            loaded, tokens = left, tokens * 2 if cut else tokens
            if not loaded:
                break

    def _answers(
        self, loaded: Sequence[tuple[Job, Images]], tokens: int
    ) -> list[tuple[tuple[Job, Images], str, str]]:
        if not loaded:
            return []
        try:
            texts = self.ask([images for _, images in loaded], tokens)
            return [(pair, text, "") for pair, text in zip(loaded, texts, strict=True)]
        except Exception as error:  # whatever the model raised is told with its row
            if len(loaded) == 1:
                log.warning("%s: the model failed", loaded[0][0].uid, exc_info=error)
                return [(loaded[0], "", f"{type(error).__name__}: {error}"[:300])]
            half = len(loaded) // 2
            return self._answers(loaded[:half], tokens) + self._answers(loaded[half:], tokens)

    def _read(self, job: Job, text: str, error: str, attempt: int) -> Result:
        if error:
            return _failed(job, error, attempt, text)
        try:
            answer = parse(text, KEYS)
        except ValueError as unread:
            step = "cut" if "{" in text and "}" not in text else ""
            return _failed(job, f"unparsed: {unread}", attempt, text) | {"step": step}
        found = {
            k: " ".join(v.split()) if isinstance(v, str) else v for k, v in answer.value.items()
        }
        wrong = problems(found, self.limits, self.shape_only)
        if answer.step == "cut":
            wrong = ["answer: cut off", *wrong]
        if wrong:
            return _failed(job, "; ".join(wrong), attempt, text) | {"step": answer.step}
        more = {"status": "done", "error": "", "step": answer.step, "attempts": attempt}
        return {level: found[level] for level in LEVELS} | more | {
            "views": list(job.views), "raw": text
        }  # fmt: skip


def _failed(job: Job, error: str, attempts: int, raw: str) -> Result:
    return dict.fromkeys(LEVELS, "") | {
        "status": "failed", "error": error, "step": "", "attempts": attempts,
        "views": list(job.views), "raw": raw,
    }  # fmt: skip
