"""What a caption must be: lengths by level, no forbidden words, one object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .simplify import leaks

LEVELS = ("phrase", "sentence", "paragraph")
Limits = Mapping[str, tuple[int, int]]
WRITTEN: Limits = {"phrase": (1, 12), "sentence": (1, 40), "paragraph": (1, 150)}  # metadata alone
MEASURED: Limits = {"phrase": (2, 12), "sentence": (4, 60), "paragraph": (20, 150)}
MODEL: Limits = {"phrase": (3, 10), "sentence": (5, 30), "paragraph": (20, 120)}  # the prompt's
SENTENCES = {"phrase": (1, 1), "sentence": (1, 2), "paragraph": (3, 6)}
_FORBIDDEN = re.compile(
    r"\bbackgrounds?\b|\bview(?:ed|s|point|points)?\b(?= (?:from|of)\b)|\b(?:multiple|different|"
    r"various|all) (?:angles|views|perspectives)\b|\brender(?:ed|ing|ings|s)?\b|\b3-?d\b|"
    r"\bimages?\b|\bpictures? shows?\b|\bphotos? (?:of|shows?)\b|\bunknown\b|"
    r"\buntextured\b|\bmesh\b|\bscreenshot\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"^(?:an?\s+|the\s+)?(?:set|pair|collection|group|row|bunch|series) of\b(?! (?:scissors|"
    r"glasses|sunglasses|trousers|pliers|tongs|headphones|shelves|drawers|stairs))|"
    r"^(?:two|three|four|five|six|several|various|many)\b",
    re.IGNORECASE,
)


def problems(captions: Mapping[str, Any], limits: Limits, shape_only: bool) -> list[str]:
    """What is wrong with the three captions, as "level: problem"; empty when nothing is.

    Args:
        captions:   text by level.
        limits:     least and most words by level.
        shape_only: colours and materials are forbidden too.
    """
    found = []
    for level in LEVELS:
        text = captions.get(level)
        if not isinstance(text, str) or not text.strip():
            found.append(f"{level}: no text")
            continue
        found += [f"{level}: {problem}" for problem in _of(text.strip(), level, limits[level])]
        if shape_only and (words := leaks(text)):
            found.append(f"{level}: colour or material ({words[0]})")
    return found


def _of(text: str, level: str, limits: tuple[int, int]) -> list[str]:
    found = []
    words = len(text.split())
    if not limits[0] <= words <= limits[1]:
        found.append(f"{words} words, expected {limits[0]} to {limits[1]}")
    sentences = len(re.findall(r"[.!?](?=\s+[A-Z]|$)", text)) or 1
    least, most = SENTENCES[level]
    if not (least if limits[0] > 1 else 1) <= sentences <= most:
        found.append(f"{sentences} sentences")
    if level == "phrase" and text[-1] in ".!?":
        found.append("ends in a full stop")
    if (match := _FORBIDDEN.search(text)) is not None:
        found.append(f"forbidden word ({match[0].lower()})")
    if _SEVERAL.search(text):
        found.append("more than one object")
    return found


def kind(problem: str) -> str:
    """The kind of a problem, for counting: without the numbers and words it names."""
    return re.sub(r"\d+", "n", re.sub(r" \(.*\)", "", problem))
