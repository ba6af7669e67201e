"""Random parameters that remember themselves, and what a family makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from ..primitives import Solid

T = TypeVar("T", float, int, str, bool)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass
class Draw:
    """Source of the parameters of one shape.

    Every value drawn is kept in `values` under its name, rounded as it is used, so that the list of
    parameters describes the shape completely.
    """

    rng: np.random.Generator
    values: dict[str, float | int | str | bool] = field(default_factory=dict)

    def _keep(self, name: str, value: T) -> T:
        if name in self.values:
            raise ValueError(f"parameter {name!r} is drawn twice")
        self.values[name] = value
        return value

    def real(self, name: str, low: float, high: float) -> float:
        """Uniform in [low, high], 4 decimals: metres, degrees or a ratio."""
        value = round(float(self.rng.uniform(low, high)), 4)
        return self._keep(name, value)

    def whole(self, name: str, low: int, high: int) -> int:
        """Uniform among low, ..., high."""
        value = int(self.rng.integers(low, high + 1))
        return self._keep(name, value)

    def pick(self, name: str, options: Sequence[str]) -> str:
        value = str(options[int(self.rng.integers(len(options)))])
        return self._keep(name, value)

    def chance(self, name: str, share: float) -> bool:
        """True with probability `share`."""
        value = bool(self.rng.random() < share)
        return self._keep(name, value)


class Design(NamedTuple):
    """Solids whose union is the shape, and what to say about it.

    looks:   adjectives before the name, most telling first ("round", "low").
    details: parts after it, each a noun phrase ("four turned legs").
    """

    parts: list[Solid]
    looks: list[str]
    details: list[str]


def degree(value: float, low: float, high: float, words: tuple[str, str, str]) -> str:
    """Word for a value below `low`, between, and above `high`; "" says nothing."""
    return words[0] if value < low else words[2] if value > high else words[1]


def caption(name: str, design: Design, height: float) -> dict[str, str]:
    """Phrase (the first look and detail) and sentence (all of them, with the height)."""
    looks = [look for look in design.looks if look]
    details = [detail for detail in design.details if detail]
    first = " ".join([*looks[:1], name])
    phrase = article(first) + (f" with {details[0]}" if details else "")
    parts = f" with {listing(details)}" if details else ""
    text = f"{article(', '.join(looks) + ' ' + name if looks else name)}{parts}"
    size = f"{height * 100:.0f} cm" if height < 3.0 else f"{height:.1f} m"
    return {"phrase": phrase, "sentence": f"{text[0].upper()}{text[1:]}, {size} high."}


def article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def listing(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
