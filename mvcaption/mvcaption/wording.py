"""Captions at three levels from what is written about a shape and what was measured on it.

Every clause has its source, "metadata" or "geometry". What is unknown is left out: a chair whose
contacts are unsure is not said to have legs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .measure import TURNS, Facts
from .simplify import simplify
from .words import article, listed, noun_phrase, singular, words_of

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
LEGGED = listed(
    "chair armchair stool sofa couch table desk bench bed cabinet ottoman puff nightstand dresser "
    "sideboard wardrobe piano easel lounge seat crib cupboard commode console shelf bookcase"
)  # of these a few small contacts are legs
SEATS = listed("chair armchair stool sofa couch bench seat lounge toilet wheelchair")
PROPER = listed("Japanese French Chinese English American Italian African Moroccan Turkish Indian")
NEARLY = 0.05  # sizes of the catalogue that differ more from the mesh are not told


class Clause(NamedTuple):
    text: str
    source: str


class Captions(NamedTuple):
    phrase: str
    sentence: str
    paragraph: str
    clauses: list[Clause]


@dataclass(frozen=True)
class About:
    """What a catalogue says of a shape; empty where it is silent. `size` is x, y, z in metres."""

    name: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    size: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], language: str, stop: frozenset[str]) -> About:
        """From a row of shapes.json; `stop` are the catalogue's own tags, in lower case."""
        tags = row.get("tags", {}).get(language, ())
        kept = tuple(t for t in tags if t.lower() not in stop and not any(map(str.isdigit, t)))
        name = str(row.get("names", {}).get(language, "")).strip()
        size = tuple(float(v) for v in row["size"]) if "size" in row else None
        return cls(name, str(row.get("category", "")), kept, size)  # type: ignore[arg-type]


def captions(about: About | None, facts: Facts | None) -> Captions:
    """Phrase, sentence and paragraph; either source may be missing.

    Raises:
        ValueError: nothing is known that could be said.
    """
    name = _name(about) if about else ""
    if not name and facts is None:
        raise ValueError("neither a name nor a measurement to make a caption of")
    head = singular(noun_phrase(words_of(name) or ["object"])[-1])
    modifiers = _modifiers(facts, name, head) if facts else []
    noun = " ".join([*(m.text for m in modifiers), name or "object"])
    phrase = f"{article(noun)} {noun}"
    parts = _parts(facts, head) if facts else []
    size = _size(about, facts)
    shape = [_proportion(facts)] if facts else []
    tail = [] if parts else shape or size
    sentence = _capital(phrase + _with(parts) + "".join(f", {c.text}" for c in tail)) + "."
    said = [Clause(name or "object", "metadata" if name else "geometry"), *modifiers, *parts, *tail]
    groups = [
        [c for c in [*shape, *size] if c not in tail],
        *(_details(facts, head) if facts else []),
    ]
    groups += [_filed(about)] if about else []
    paragraph = " ".join([sentence, *(_sentence(group) for group in groups if group)])
    return Captions(phrase, sentence, paragraph, [*said, *(c for group in groups for c in group)])


def size_disagrees(about: About, facts: Facts) -> bool:
    """Whether the proportions of the catalogue's size differ from the mesh's."""
    if about.size is None:
        return False
    ratios = [
        s / max(e, 1e-4) / max(about.size) for s, e in zip(about.size, facts.extents, strict=True)
    ]
    wide = [abs(s / max(about.size) - e) for s, e in zip(about.size, facts.extents, strict=True)]
    return any(abs(r - 1) > NEARLY and w > 0.01 for r, w in zip(ratios, wide, strict=True))


def _name(about: About) -> str:
    """The written name without colour and material, else the category, in lower case."""
    text = simplify(about.name or about.category)
    first, _, rest = text.partition(" ")
    if first[1:] == first[1:].lower() and first not in PROPER:
        first = first.lower()
    return " ".join([first, rest]).strip()


def _modifiers(facts: Facts, name: str, head: str) -> list[Clause]:
    width, height, depth = facts.extents
    found = []
    if facts.turns == TURNS[-1]:
        found.append("round")
    if height > 1.5 * max(width, depth):
        found.append("tall")
    elif height < 0.35 * min(width, depth):
        found.append("flat")
    elif max(facts.extents) < 1.1 * min(facts.extents) and facts.turns != TURNS[-1]:
        found.append("cube-like")
    elif max(width, depth) > 2 * min(width, depth):
        found.append("long" if depth > width else "wide")
    if _legs(facts, head):
        found.append(f"{NUMBERS[facts.contacts or 0]}-legged")
    spoken = set(words_of(name))
    return [Clause(word, "geometry") for word in found if word not in spoken]


def _legs(facts: Facts, head: str) -> bool:
    return head in LEGGED and facts.contacts is not None and 3 <= facts.contacts <= 8


def _parts(facts: Facts, head: str) -> list[Clause]:
    """What it has, each a noun with its article."""
    found = []
    if facts.base is not None and facts.base > 0.6:
        found.append("a solid base")
    elif facts.base is not None and facts.base < 0.25 and facts.extents[1] > 0.5:
        found.append("a narrow base")
    seats = [level for level, _ in facts.plates if 0.2 < level < 0.75]
    if len(facts.plates) >= 3:
        found.append(f"{_number(len(facts.plates))} level surfaces one above the other")
    elif seats and head in SEATS:
        found.append("a level seat")
    elif seats:
        found.append("a level surface " + _at(seats[-1]))
    if facts.plates and facts.plates[-1][0] > 0.9 and len(facts.plates) < 3:
        found.append("a flat top")
    if facts.back:
        found.append("an upright back" if head in SEATS else "an upright part along one end")
    if facts.sides:
        found.append("arms on both sides" if head in SEATS else "raised sides")
    if facts.open_top:
        found.append("a hollow, open top")
    if facts.openings[0]:
        found.append(f"{_count(facts.openings[0], 'opening')} from front to back")
    return [Clause(text, "geometry") for text in found]


def _at(level: float) -> str:
    named = min(((0.25, "a quarter"), (0.33, "a third"), (0.5, "half"), (0.67, "two thirds")),
                key=lambda pair: abs(pair[0] - level))  # fmt: skip
    return f"at {named[1]} of its height"


def _proportion(facts: Facts) -> Clause:
    width, height, depth = (max(e, 1e-3) for e in facts.extents)
    tall = f"{height / width:.2g} times as high as wide" if height >= width else (
        f"{width / height:.2g} times as wide as high"
    )  # fmt: skip
    tall = "as high as wide" if tall.startswith("1 times") else tall
    deep = f"{depth / width:.2g} times as deep as wide".removeprefix("1 times ")
    return Clause(f"about {tall} and {deep}", "geometry")


def _details(facts: Facts, head: str) -> list[list[Clause]]:
    """Clauses of the paragraph, a list a sentence."""
    groups = [(_standing(facts, head), _symmetry(facts)), (_levels(facts), _views(facts)),
              (_pieces(facts),)]  # fmt: skip
    return [[Clause(text, "geometry") for text in group if text] for group in groups]


def _standing(facts: Facts, head: str) -> str:
    if facts.contacts is None:
        return ""
    if facts.contacts > 1:
        legs = "legs" if _legs(facts, head) else "places"
        return f"set on the ground it rests on {_number(facts.contacts)} separate {legs}"
    share = f"{100 * (facts.base or 0):.0f} %"
    return f"set on the ground it rests on one place that covers {share} of its footprint"


def _symmetry(facts: Facts) -> str:
    if facts.turns == TURNS[-1]:
        return "it looks the same however it is turned about the vertical"
    both = {"left-right", "front-back"} <= set(facts.mirrors)
    if facts.turns is not None and facts.turns > 2:
        return f"{_number(facts.turns)} turns about the vertical each leave it the same"
    if both:
        return "its left mirrors its right and its front its back"
    if not facts.mirrors:
        return "it is not symmetric" if facts.turns == 0 else "half a turn leaves it the same"
    one, other = ("left", "right") if facts.mirrors[0] == "left-right" else ("front", "back")
    return f"its {one} mirrors its {other}"


def _levels(facts: Facts) -> str:
    levels = [f"{100 * level:.0f} %" for level, _ in facts.plates]
    if not levels:
        return ""
    surfaces = "a large level surface lies" if len(levels) == 1 else "large level surfaces lie"
    return f"{surfaces} at {_joined(levels)} of its height"


def _views(facts: Facts) -> str:
    places = zip(facts.openings, ("the front", "the side", "above"), strict=True)
    seen = [f"{_count(n, 'opening')} from {place}" for n, place in places if n]
    return f"one can look through {_joined(seen)}" if seen else ""


def _pieces(facts: Facts) -> str:
    if facts.holes:
        return f"it is one closed surface with {_count(facts.holes, 'tunnel')}"
    if facts.parts == 1:
        return "its surface is one connected piece"
    return f"its surface consists of {_number(facts.parts)} connected pieces"


def _size(about: About | None, facts: Facts | None) -> list[Clause]:
    if about is None or about.size is None or (facts and size_disagrees(about, facts)):
        return []
    wide, high, deep = (_length(v) for v in about.size)
    return [Clause(f"{wide} wide, {high} high and {deep} deep", "metadata")]


def _length(metres: float) -> str:
    if metres >= 3:
        return f"{metres:.1f} m"
    return f"{100 * metres:.0f} cm" if metres >= 0.095 else f"{100 * metres:.1f} cm"


def _filed(about: About) -> list[Clause]:
    name = set(words_of(about.name))
    tags = [t.lower() for t in about.tags if simplify(t).lower() == t.lower()]
    tags = [t for t in tags if t not in name][:4]
    found = [f"it is tagged {_joined(tags)}"] if tags else []
    category = " ".join(words_of(about.category))
    if category and not set(category.split()) <= name:
        found.append(f"it is filed under {category}")
    return [Clause(text, "metadata") for text in found]


def _with(parts: Sequence[Clause]) -> str:
    return f" with {_joined([c.text for c in parts])}" if parts else ""


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _count(number: int, noun: str) -> str:
    return f"{_number(number)} {noun}{'' if number == 1 else 's'}"


def _number(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def _sentence(clauses: Sequence[Clause]) -> str:
    texts = [f"it is {c.text}" if re.match(r"about |\d", c.text) else c.text for c in clauses]
    return f"{_capital(', and '.join(texts))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
