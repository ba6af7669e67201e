"""How much a condition says: how many shapes share a caption, the variable of the study.

The finer the caption, the fewer training shapes share it, and the more a model conditioned on it
can remember each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Distinct(NamedTuple):
    """Of one table.

    Attributes:
        rows, distinct: numbers of captions and of different ones.
        share:    distinct / rows.
        entropy:  of the distribution of captions, bits; log2(rows) when all differ.
        largest:  rows of the commonest caption, which is `commonest`.
        sharing:  mean over the rows of the number of rows with the same caption, itself included.
        words:    mean length.
    """

    rows: int
    distinct: int
    share: float
    entropy: float
    largest: int
    commonest: str
    sharing: float
    words: float


def distinctness(captions: Sequence[str]) -> Distinct:
    """Raises ValueError for no captions."""
    if not captions:
        raise ValueError("no captions to count")
    rows = len(captions)
    count = Counter(captions)
    commonest, largest = min(count.items(), key=lambda pair: (-pair[1], pair[0]))
    entropy = math.log2(rows) - sum(n * math.log2(n) for n in count.values()) / rows
    sharing = sum(n * n for n in count.values()) / rows
    words = sum(len(text.split()) for text in captions) / rows
    return Distinct(
        rows, len(count), len(count) / rows, entropy, largest, commonest, sharing, words
    )
