"""English words of names and captions: cleaned, in the singular, cut to the noun phrase.

Copied from no list: plural rules are those of any grammar; the exceptions are common nouns of
things. The same file in every stage that reads names.
"""

from __future__ import annotations

import re
import unicodedata


def listed(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


CUTS = frozenset({"with", "on", "in", "for", "of", "made", "from", "without", "at", "by", "under"})
SAME = listed(
    "scissors glasses sunglasses eyeglasses goggles binoculars trousers pants jeans shorts tights "
    "leggings pliers tweezers tongs headphones earphones pyjamas pajamas overalls stairs shears "
    "scales clothes cutlery furniture luggage series species sheep deer fish aircraft spacecraft "
    "lens gas bus canvas atlas christmas chess tennis swiss always plus minus"
)  # equal in both numbers, or never in the other
PLURALE = listed(
    "scissors glasses sunglasses eyeglasses goggles binoculars trousers pants jeans shorts tights "
    "leggings pliers tweezers tongs headphones earphones pyjamas pajamas overalls stairs shears "
    "scales"
)  # one thing with a plural name
IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose", "oxen": "ox", "dice": "die",
    "knives": "knife", "shelves": "shelf", "bookshelves": "bookshelf", "loaves": "loaf",
    "leaves": "leaf", "wolves": "wolf", "halves": "half", "calves": "calf", "scarves": "scarf",
    "hooves": "hoof", "wives": "wife", "thieves": "thief", "lives": "life", "elves": "elf",
    "movies": "movie", "cookies": "cookie", "ties": "tie", "pies": "pie", "buses": "bus",
    "gases": "gas", "lenses": "lens", "cactuses": "cactus", "cacti": "cactus",
    "octopuses": "octopus", "walruses": "walrus", "irises": "iris", "atlases": "atlas",
    "canvases": "canvas", "quizzes": "quiz", "axes": "axe", "aircrafts": "aircraft",
    "shoes": "shoe", "horseshoes": "horseshoe", "canoes": "canoe", "toes": "toe", "hoes": "hoe",
    "headaches": "headache", "caches": "cache", "viruses": "virus", "bonuses": "bonus",
}  # fmt: skip
_TYPOGRAPHIC = str.maketrans(
    "\u2018\u2019\u201c\u201d\u2010\u2011\u2013\u2014\u2026\u00d7", "''\"\"----.x"
)  # quotes, hyphens and dashes, ellipsis, times
_SPLIT = re.compile(r"[\s_,;/()\[\]{}\"!?]+")
_COUNTED = re.compile(r"(?<=\w)\s+\d+\s+(?=[a-z]+s\b)")  # "sofa 3 seats" is a sofa with seats
_SERIAL = re.compile(r".*\d.*|[ivx]{2,}")  # sizes, versions, years, model numbers


def plain(text: str) -> str:
    """NFKC, typographic marks as ASCII ones, single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHIC)).split())


def words_of(text: str, stop: frozenset[str] = frozenset()) -> list[str]:
    """Lower-case words without sizes, versions and the catalogue's `stop` words."""
    counted = _COUNTED.sub(" with ", plain(text).lower())
    words = (w.strip(".:'-") for w in _SPLIT.split(counted))
    return [w for w in words if w and w not in stop and not _SERIAL.fullmatch(w)]


def singular(word: str) -> str:
    """The singular of an English noun in lower case; other words as they are."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in SAME or len(word) < 4:
        return word
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("shes", "sh"),
                            ("ches", "ch"), ("zes", "ze"), ("toes", "to")):  # fmt: skip
        if word.endswith(ending):
            return word.removesuffix(ending) + instead
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def is_plural(word: str) -> bool:
    """Whether a noun names several things: "chairs", not "scissors" and not "bus"."""
    return singular(word) != word


def noun_phrase(words: list[str]) -> list[str]:
    """Words before the first preposition, articles dropped; all where nothing stands before it."""
    end = next((i for i, word in enumerate(words) if word in CUTS and i > 0), len(words))
    kept = [word for word in words[:end] if word not in ("a", "an", "the")]
    return kept or words


def article(phrase: str) -> str:
    """ "a" or "an" before a phrase, by its first letter and a few sounds."""
    word = phrase.lower()
    if re.match(r"(uni|use|usu|eur|one\b|u-|uk)", word):
        return "a"
    return "an" if re.match(r"([aeiou]|hour|honest|[lfxsm]-|mp3)", word) else "a"
