"""Is a caption about one instance of its label? By rule: head noun, plural, set, part, scene.

`confidence` is 1 where a rule decides by words that leave no doubt, and lower where the label is
merely not the head noun; nothing else is known without a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .classes import in_singular, phrases_of
from .lexicon import Lexicon, Phrase
from .simplify import simplify
from .words import PLURALE, is_plural, listed, noun_phrase, words_of

REASONS = ("set", "part", "scene", "other class", "empty", "nothing left")
_NUMBER = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|many|various|multiple"
_GROUP = "set|pair|row|collection|group|bunch|stack|pile|bundle|series|assortment|variety|couple"
_SET = re.compile(
    rf"^(?:an?\s+|the\s+)?(?:\w+\s+)?(?:{_GROUP})s?\s+of\b|^(?:the\s+)?(?:{_NUMBER})\b"
)
_SCENE = listed(
    "room interior scene landscape environment street city village town bedroom bathroom kitchen "
    "garden forest park office restaurant dungeon island level map diorama"
)
_PART = re.compile(
    r"^(?:an?\s+|the\s+)?(?:\w+\s+)?(?:leg|handle|door|arm|wheel|foot|head|hand|lid|blade|back|"
    r"fragment|piece|part|section|half|detail|component)s?\s+of\b|\bfragment\b"
)


class Screened(NamedTuple):
    """A decision on one row.

    Attributes:
        keep:       "yes", "no" or "failed" (nothing could be decided).
        reason:     of `REASONS` for no; the error for failed; "" for yes.
        confidence: 0 to 1, in `keep`.
        caption:    the caption without colour and material; "" unless kept.
    """

    keep: str
    reason: str
    confidence: float
    caption: str


class RuleScreener:
    """Rules for one class list; `synonyms` make "couch" a sofa."""

    def __init__(self, synonyms: Mapping[Phrase, str]) -> None:
        self._synonyms = synonyms
        self._lexica: dict[str, Lexicon] = {}

    def __call__(self, caption: str, label: str) -> Screened:
        words = words_of(caption)
        if not words:
            return Screened("no", "empty", 1.0, "")
        if PLURALE & set(words):  # a pair of scissors is one thing
            caption = re.sub(r"\bpairs?\s+of\s+", "", caption, flags=re.I)
            words = words_of(caption)
        reason, confidence = self._reason(caption, words, label)
        if reason:
            return Screened("no", reason, confidence, "")
        text = simplify(caption, label_words(label))
        return Screened("yes", "", 1.0, text) if text else Screened("no", "nothing left", 1.0, "")

    def _reason(self, caption: str, words: Sequence[str], label: str) -> tuple[str, float]:
        phrase = noun_phrase(list(words))
        head, own = phrase[-1], label_words(label)
        spoken = " ".join(words)
        if _SET.search(spoken):
            return "set", 1.0
        if "and" in phrase[:-1] and _joins_nouns(caption):
            return "set", 0.8
        if is_plural(head) and head not in own:
            return "set", 1.0
        if _PART.search(spoken) and not {w for w in own if re.search(rf"^\w*\s*{w}\b", spoken)}:
            return "part", 1.0
        named = self._named(label).label(caption)
        if not named.label and in_singular([head])[0] in _SCENE:
            return "scene", 1.0
        if not named.label:
            return "other class", 0.5 if set(own) & set(words) else 0.8
        return "", 1.0

    def _named(self, label: str) -> Lexicon:
        if label not in self._lexica:
            self._lexica[label] = Lexicon([label], self._synonyms)
        return self._lexica[label]


def label_words(label: str) -> list[str]:
    """Words of a class name in singular, and as written."""
    return sorted({w for phrase in phrases_of(label) for w in phrase} | set(words_of(label)))


def _joins_nouns(caption: str) -> bool:
    """ "shower head and faucet", not "black and white chair" or "round and tall vase"."""
    before = re.split(r"\band\b", simplify(caption).lower())[0].split()
    after = re.split(r"\band\b", simplify(caption).lower())[1:]
    adjective = re.compile(
        r".*(?:ed|ish|al|ic|y|ous|ive|ful|less|round|tall|long|small|large|old|new)$"
    )
    return bool(after) and bool(before) and not adjective.fullmatch(before[-1])
