"""Labels by rule: the longest class name that ends the noun phrase of a name or caption.

"oak coffee table with drawers" is a coffee table, not a table and not a drawer. No weights; the
rules are those of any English noun phrase, whose head comes last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .classes import in_singular, phrases_of
from .words import noun_phrase, words_of

STATUSES = ("exact", "head", "synonym", "tag", "category", "ambiguous", "none")
Phrase = tuple[str, ...]


class Label(NamedTuple):
    """A label and why.

    Attributes:
        status:    of `STATUSES`; "none" and "ambiguous" have no label.
        label:     class name, or "".
        score:     share of the phrase's words that the class name covers; 0 for tag and category.
        runner_up: the next shorter class that ends the phrase, or the rival; "" when none.
        margin:    score less that of the runner-up.
        reason:    what matched, in words.
    """

    status: str
    label: str = ""
    score: float = 0.0
    runner_up: str = ""
    margin: float = 0.0
    reason: str = ""


class Lexicon:
    """Classes by the words of their names, and of their synonyms."""

    def __init__(
        self,
        names: Iterable[str],
        synonyms: Mapping[Phrase, str] | None = None,
        stop: Iterable[str] = (),
    ) -> None:
        self._own: dict[Phrase, set[str]] = defaultdict(set)
        for name in names:
            for phrase in phrases_of(name):
                self._own[phrase].add(name)
        self._other = {
            key: self._own[in_singular(words_of(name))]
            for key, name in (synonyms or {}).items()
            if in_singular(words_of(name)) in self._own and key not in self._own
        }
        self._stop = frozenset(stop)
        self.used: dict[Phrase, int] = defaultdict(int)

    def label(self, text: str, tags: Sequence[str] = (), category: str = "") -> Label:
        """Label of a name or caption, else of its tags, else of its category."""
        phrase = in_singular(noun_phrase(words_of(text, self._stop)))
        for table, status in ((self._own, ""), (self._other, "synonym")):
            found = self._ending(phrase, table, status)
            if found:
                return found
        for status, texts in (("tag", tags), ("category", [category])):
            found = self._whole(texts, status)
            if found:
                return found
        return Label("none", reason=f"no class ends {' '.join(phrase)!r}" if phrase else "no words")

    def _ending(
        self, phrase: Phrase, table: Mapping[Phrase, set[str]], status: str
    ) -> Label | None:
        """The longest and second longest class that end the phrase."""
        ends = [phrase[i:] for i in range(len(phrase)) if phrase[i:] in table]
        if not ends:
            return None
        names = sorted(table[ends[0]])
        score = len(ends[0]) / len(phrase)
        if len(names) > 1:
            reason = f"{' '.join(ends[0])!r} is the name of {' and '.join(names)}"
            return Label("ambiguous", "", score, names[1], 0.0, reason)
        if status == "synonym":
            self.used[ends[0]] += 1
        rival, rest = (sorted(table[ends[1]])[0], len(ends[1])) if len(ends) > 1 else ("", 0)
        status = status or ("exact" if score == 1.0 else "head")
        reason = f"{' '.join(phrase)!r} ends in {' '.join(ends[0])!r}"
        return Label(status, names[0], score, rival, score - rest / len(phrase), reason)

    def _whole(self, texts: Sequence[str], status: str) -> Label | None:
        """The only class that some text names exactly."""
        found: dict[str, str] = {}
        for text in texts:
            words = in_singular(words_of(text, self._stop))
            for name in sorted(self._own.get(words, set()) | self._other.get(words, set())):
                found.setdefault(name, text)
        if not found:
            return None
        names = list(found)
        if len(names) > 1:
            return Label(
                "ambiguous", "", 0.0, names[1], 0.0, f"{status}s name {' and '.join(names)}"
            )
        return Label(status, names[0], reason=f"{status} {found[names[0]]!r}")
