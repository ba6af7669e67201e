"""The seeded subset of a training table, and the file that remembers it.

Draw, file name and form (one uid a line) are those of the paper's tool (arXiv 2512.23628), whose
name does not depend on the shapes there are to draw from. Beside the file lies `*.key.json`, which
does: a subset drawn from other shapes is refused, not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..files import read_json, require_same, write_json, write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubsetKey:
    """What names a snapshot; `csv` as the configuration writes it."""

    type: str
    split: str
    csv: str
    max: int
    seed: int

    @property
    def file_name(self) -> str:
        digest = hashlib.sha1(
            json.dumps(asdict(self), sort_keys=True).encode(), usedforsecurity=False
        )
        image = "img_" if self.type == "latent_img" else ""
        return f"latentuids_{image}{self.split}_{self.max}_{digest.hexdigest()[:12]}.txt"


def draw(uids: Collection[str], count: int, seed: int) -> list[str]:
    """`count` of the uids in drawn order."""
    order = np.random.default_rng(seed).permutation(sorted(uids))
    return [str(uid) for uid in order[:count]]


def subset(
    uids: Collection[str], key: SubsetKey, folder: Path | None, write: bool = True
) -> list[str]:
    """The subset of `uids`, from its snapshot in `folder` or drawn and, if `write`, stored there.

    Raises:
        ValueError: the snapshot was drawn from other shapes, or names shapes that are not there.
    """
    if folder is None:
        return draw(uids, key.max, key.seed)
    path = folder / key.file_name
    available = hashlib.sha256("\n".join(sorted(uids)).encode()).hexdigest()
    made_from = asdict(key) | {"available": len(uids), "available_sha256": available}
    key_path = path.with_suffix(".key.json")
    if path.is_file():
        if key_path.is_file():
            require_same(str(path), read_json(key_path), made_from)
        return _read(path, uids, key.max)
    drawn = draw(uids, key.max, key.seed)
    if write:
        write_json(key_path, made_from)
        write_text(path, "\n".join(drawn) + "\n")
    return drawn


def _read(path: Path, uids: Collection[str], count: int) -> list[str]:
    listed = path.read_text(encoding="utf-8").split()
    absent = sorted(set(listed) - set(uids))
    if absent:
        raise ValueError(
            f"{path}: {len(absent)} of {len(listed)} shapes have no latents or no row in the table"
            f" ({', '.join(absent[:3])}); remove the file to draw again"
        )
    if len(listed) != count or len(set(listed)) < count:
        raise ValueError(f"{path}: expected {count} different uids, found {len(set(listed))}")
    log.info("%s: %d shapes", path, count)
    return listed
