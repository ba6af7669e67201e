"""What a language model answered, as JSON: a ladder of readings, none of which makes up a value.

plain, fenced (```json), embedded (the first balanced braces in prose), repaired (single quotes,
bare keys, commas before a closing brace, missing closing brace), cut (as repaired, but the last
text has no end: its value is incomplete). The same file in every stage that asks models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

STEPS = ("plain", "fenced", "embedded", "repaired", "cut")
_FENCE = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL | re.IGNORECASE)
_SINGLE = re.compile(r"(?<=[{,:])\s*'((?:[^'\\\n]|\\.|'(?=\w))*)'\s*(?=[,:}])")


class Answer(NamedTuple):
    """An object and the step of `STEPS` that read it."""

    value: dict[str, Any]
    step: str


def parse(text: str, keys: Mapping[str, Sequence[str]]) -> Answer:
    """The object in an answer with just `keys`; each may also be called by one of its synonyms.

    Raises:
        ValueError: no step reads an object, or it lacks a key.
    """
    for step, candidate in _candidates(text.strip()):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return Answer(_named(value, keys), step)
    raise ValueError(f"no JSON object in {text.strip()!r:.80}")


def _candidates(text: str) -> list[tuple[str, str]]:
    start = text.find("{")
    body = text[start:] if start >= 0 else ""
    end = _balanced(body)
    embedded = body[:end] if end else body
    closed, whole = _closed(_repaired(embedded))
    fenced = _FENCE.findall(text)
    return [
        ("plain", text),
        *(("fenced", block) for block in fenced),
        ("embedded", embedded),
        ("repaired" if whole else "cut", closed),
    ]


def _balanced(body: str) -> int:
    """Length of the first balanced {...} at the start of `body`, braces in texts aside; or 0."""
    depth, quoted, escaped = 0, False, False
    for place, sign in enumerate(body):
        if quoted:
            quoted, escaped = escaped or sign != '"', sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        else:
            depth += (sign == "{") - (sign == "}")
            if depth == 0:
                return place + 1
    return 0


def _repaired(body: str) -> str:
    """Single quotes, bare keys and commas before a closing brace put right."""
    if '"' not in body:
        body = _SINGLE.sub(lambda m: json.dumps(m[1].replace("\\'", "'")), body)
    body = re.sub(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)", r'\1"\2"\3', body)
    return re.sub(r",(\s*)(?=\}|$)", r"\1", body)


def _closed(body: str) -> tuple[str, bool]:
    """`body` with what is open closed, and whether no text was open."""
    quoted, escaped, depth = False, False, 0
    for sign in body:
        if quoted:
            quoted, escaped = escaped or sign != '"', sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        else:
            depth += (sign == "{") - (sign == "}")
    tail = body[:-1] if escaped else body
    return tail + '"' * quoted + "}" * max(depth, 0), not quoted


def _named(value: dict[str, Any], keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    given = {re.sub(r"[\s-]+", "_", str(name).strip().lower()): v for name, v in value.items()}
    found = {}
    for key, synonyms in keys.items():
        present = [name for name in (key, *synonyms) if name in given]
        if not present:
            raise ValueError(f"no key {key!r} among {', '.join(given) or 'none'}")
        found[key] = given[present[0]]
    return found
