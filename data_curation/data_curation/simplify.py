"""Colours and materials out of a caption, with nouns that only look like them left in.

"a dark red wooden chair with gold legs, made of oak" -> "a chair with legs". A wine glass, an iron
and an orange keep their names: the last word of a phrase and the words of the label are protected.
Applying it twice changes nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .words import CUTS, article, listed, plain

COLOURS = listed(
    "red orange yellow green blue purple violet pink brown black white grey gray beige cyan "
    "magenta turquoise teal maroon navy crimson scarlet lavender indigo ivory cream gold golden "
    "silver bronze copper khaki tan reddish orangish yellowish greenish bluish purplish pinkish "
    "brownish blackish whitish greyish grayish colored coloured colorful colourful multicolored "
    "multicoloured monochrome"
)
MATERIALS = listed(
    "wood wooden metal metallic plastic glass steel iron aluminium aluminum brass chrome chromed "
    "leather fabric cloth cotton wool velvet silk linen ceramic porcelain clay stone marble "
    "granite concrete cement brick rubber paper cardboard wicker rattan bamboo oak pine walnut "
    "mahogany teak beech birch cherrywood tin stainless stainless-steel wrought"
)
SHADES = listed("dark light bright pale deep vivid dull matte glossy shiny")
LISTED = COLOURS | MATERIALS
_TOKEN = re.compile(r"[\w'-]+|[^\w\s]")
_JOINERS = frozenset({"and", "or", ",", "&"})


def simplify(caption: str, label_words: Sequence[str] = ()) -> str:
    """`caption` without words of colour and material.

    Args:
        label_words: words of the class name, never removed.

    Returns:
        the caption; "" when nothing but such words was there.
    """
    text = plain(caption).strip(" .,")
    protected = frozenset(word.lower() for word in label_words)
    for _ in range(20):  # each pass removes something or is the last
        made = _once(text, protected)
        if made == text:
            break
        text = made
    return text


def leaks(caption: str, label_words: Sequence[str] = ()) -> list[str]:
    """Listed words that `simplify` would still remove."""
    protected = {word.lower() for word in label_words}
    left = simplify(caption, label_words).lower().split()
    listed = [w for w in re.findall(r"[\w-]+", caption.lower()) if w in LISTED - protected]
    return [word for word in listed if listed.count(word) > left.count(word)]


def _once(text: str, protected: frozenset[str]) -> str:
    words = _TOKEN.findall(text)
    low = [word.lower() for word in words]
    keep = [not _removable(low, i, protected) for i in range(len(words))]
    for i, word in enumerate(low):  # "dark" of "dark red", "made of" before what is gone
        after = next((j for j in range(i + 1, len(low)) if low[j] not in SHADES), len(low))
        if word in SHADES and after < len(low) and not keep[after] and low[after] in COLOURS:
            keep[i] = False
    return _tidied([word for word, kept in zip(words, keep, strict=True) if kept], text)


def _removable(low: Sequence[str], i: int, protected: frozenset[str]) -> bool:
    word = low[i]
    stem = word.partition("-")[0] if word.endswith(("-colored", "-coloured")) else word
    if stem not in LISTED or word in protected:
        return False
    start = next((j for j in range(i - 1, -1, -1) if low[j] not in LISTED | SHADES | _JOINERS), -1)
    made = (start >= 1 and low[start - 1] == "made") or (start >= 0 and low[start] == "in")
    return bool(made) or not _ends_phrase(low, i) or (_of(low, start) and word != "glass")


def _of(low: Sequence[str], start: int) -> bool:
    return start >= 1 and low[start] == "of"


def _ends_phrase(low: Sequence[str], i: int) -> bool:
    """Whether no noun of the same phrase follows, so that the word is the noun itself."""
    joined = False
    for j in range(i + 1, len(low)):
        if low[j] in _JOINERS:
            joined = True
            continue
        if low[j] in CUTS or not low[j][0].isalnum() or low[j] in ("that", "which", "is", "has"):
            return True
        return low[j] in ("a", "an", "the") or (
            joined and low[j] in LISTED and _ends_phrase(low, j)
        )
    return True


def _tidied(words: list[str], before: str) -> str:
    """Text of the words that stay: no joiner or preposition without what it joined."""
    text = re.sub(r"\s+([^\w\s(&])", r"\1", " ".join(words))
    text = re.sub(r"\(\s*\)", "", text)
    joined = r"(?:\band\b|\bor\b|,|&)"
    edge = r"(?:with|of|in|made of|made from|made out of|made)"
    text = re.sub(rf"\b{edge}\s*(?={joined}|[.;]|$)", "", text, flags=re.I)
    text = re.sub(rf"\b(a|an|the|with|of|in)\s*{joined}\s+", r"\1 ", text, flags=re.I)
    text = re.sub(rf"({joined})(?:\s*{joined})+\s", r"\1 ", text)
    text = re.sub(rf"^\s*{joined}\s+|\s*\b(?:and|or)\s*(?=[.;]|$)", "", text, flags=re.I)
    text = re.sub(r"\b(?:a|an|the)\s+(?=(?:with|of|and|or|in)\b|[.,;]|$)", "", text, flags=re.I)
    text = re.sub(r"\b(an?)\s+(?:an?)\s+", r"\1 ", text, flags=re.I)
    text = " ".join(text.split()).strip(" .,;&")
    return text if text == before else _articles(text)


def _articles(text: str) -> str:
    """ "a" or "an" after what now follows it."""

    def fit(match: re.Match[str]) -> str:
        right = article(match[2])
        return f"{right.capitalize() if match[1][0].isupper() else right} {match[2]}"

    return re.sub(r"\b([Aa]n?)\s+([\w-]+)", fit, text)
