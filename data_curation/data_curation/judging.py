"""Screening by a language model: prompt, reading of the answer, retries, and blame for errors.

An answer that cannot be read is asked for again, with a reminder and twice the tokens if it was
cut off; after the last attempt the row is "failed", never "no".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .answers import Answer, parse
from .classes import readable
from .generator import Ask, Messages
from .screening import Screened, label_words
from .simplify import simplify
from .words import plain

SYSTEM = """You screen captions of 3D objects. For a label and a caption, decide whether to keep it.
Say "yes" only if the caption is about one single object, that object is what the label names, and
it is not merely a part of it (unless the label names a part). If unsure, say "no".
Also write the caption again without words for colour and material, changing nothing else.
Answer with one line of JSON and nothing else:
{"keep": "yes" or "no", "simple_caption": "..."}"""
REMINDER = (
    "Answer with exactly one JSON object with the keys keep and simple_caption. No other text."
)
QUESTION = (
    'Caption: "{caption}"\nIs this caption about one single {label}, and not several, a part or '
    "another thing? Answer yes or no."
)
KEYS = {
    "keep": ("decision", "answer", "accept"),
    "simple_caption": ("caption", "simplified_caption", "simple", "text"),
}
_YES = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}


class Row(NamedTuple):
    uid: str
    caption: str
    label: str


Judged = dict[str, Any]  # keep, reason, confidence, caption, step, attempts, raw


def judge(
    ask: Ask,
    rows: Sequence[Row],
    batch: int,
    tokens: int,
    retries: int,
    pause: Callable[[int], None],
) -> Iterator[tuple[Row, Judged]]:
    """Rows with what the model said of them, those of like length together, as they finish.

    Args:
        ask:     the model; may raise, then the batch is halved until the row is found.
        tokens:  new tokens of the first attempt; twice that after an answer that was cut off.
        retries: attempts in total.
        pause:   called with the number of the attempt before each further one.
    """
    order = sorted(rows, key=lambda row: (len(row.caption) + len(row.label), row.uid))
    for start in range(0, len(order), batch):
        left = {row: tokens for row in order[start : start + batch]}
        for attempt in range(1, retries + 1):
            if attempt > 1:
                pause(attempt)
            for row, text, error in _answers(ask, list(left), attempt, max(left.values())):
                made = _read(row, text, error, attempt)
                if made["keep"] != "failed" or attempt == retries:
                    del left[row]
                    yield row, made
                elif made["step"] == "cut":
                    left[row] *= 2
            if not left:
                break


def _answers(
    ask: Ask, rows: Sequence[Row], attempt: int, tokens: int
) -> list[tuple[Row, str, str]]:
    """(row, answer, error); a batch that fails is halved, so that one row cannot spoil others."""
    try:
        texts = ask([messages_of(row, attempt) for row in rows], tokens)
        return [(row, text, "") for row, text in zip(rows, texts, strict=True)]
    except Exception as error:  # whatever the model raised is told with its row
        if len(rows) == 1:
            return [(rows[0], "", f"{type(error).__name__}: {error}"[:300])]
        half = len(rows) // 2
        return [
            *_answers(ask, rows[:half], attempt, tokens),
            *_answers(ask, rows[half:], attempt, tokens),
        ]


def messages_of(row: Row, attempt: int) -> Messages:
    """The prompt; from the second attempt on with a reminder."""
    user = f"Label: {readable(row.label)}\nCaption: {plain(row.caption)}"
    if attempt > 1:
        user += f"\n{REMINDER}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def _read(row: Row, text: str, error: str, attempt: int) -> Judged:
    step, found = "", Screened("failed", error, 0.0, "")
    if not error:
        try:
            answer = parse(text, KEYS)
            step = answer.step
            found = _screened(row, answer)
        except ValueError as unread:
            found = Screened("failed", f"unparsed: {unread}", 0.0, "")
    return found._asdict() | {"step": step, "attempts": attempt, "raw": text}


def _screened(row: Row, answer: Answer) -> Screened:
    """The decision; of a caption without end only a "no" can be used."""
    said = str(answer.value["keep"]).strip().lower()
    if said not in _YES:
        raise ValueError(f"keep is {said!r:.40}, expected yes or no")
    if _YES[said] == "no":
        return Screened("no", "model", 1.0, "")
    text = answer.value["simple_caption"]
    if answer.step == "cut":
        raise ValueError("the answer has no end")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("simple_caption is empty")
    clean = simplify(text, label_words(row.label))
    return Screened("yes", "", 1.0, clean) if clean else Screened("no", "nothing left", 1.0, "")


def judge_by_score(
    yes: Callable[[Sequence[Messages]], list[float]],
    rows: Sequence[Row],
    batch: int,
    threshold: float,
) -> Iterator[tuple[Row, Judged]]:
    """The same by the next-token probabilities of yes and no; the caption is simplified by rule."""
    order = sorted(rows, key=lambda row: (len(row.caption) + len(row.label), row.uid))
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        asked = [QUESTION.format(caption=plain(r.caption), label=readable(r.label)) for r in part]
        for row, p in zip(
            part, yes([[{"role": "user", "content": q}] for q in asked]), strict=True
        ):
            keep = "yes" if p >= threshold else "no"
            text = simplify(row.caption, label_words(row.label)) if keep == "yes" else ""
            found = Screened(keep, "" if keep == "yes" else "model", round(max(p, 1 - p), 6), text)
            yield row, found._asdict() | {"step": "score", "attempts": 1, "raw": f"{p:.6f}"}
