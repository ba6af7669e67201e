"""Embeddings of class names, and what a cosine against them means.

The file (.npz, no pickles): `bank` (c, d) float32 unit rows; `metadata`, JSON text with
`labels_raw`, `labels_canonical`, templates, what embedded them, and the threshold found by
calibration, if any. A threshold belongs to a bank: 0.70 is the paper's for Qwen3-Embedding-8B with
an instruction; with MiniLM and the same instruction it keeps nothing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classes import readable
from .encoder import Encoder
from .files import replacing

TEMPLATES = ("class label: {}", "label: {}", "{}")
PAPER_MODEL, PAPER_THRESHOLD = "Qwen3-Embedding-8B", 0.70


class Match(NamedTuple):
    """Nearest class of a caption; cosines are rounded to 6 decimals."""

    label: str
    score: float
    runner_up: str
    margin: float


@dataclass
class Bank:
    names: list[str]
    rows: NDArray[np.float32]  # (c, d), unit length
    settings: dict[str, Any]  # of the embedding; two banks of equal settings and names are equal
    calibration: dict[str, Any] = field(default_factory=dict)

    def match(self, vector: NDArray[np.float32]) -> Match:
        """Nearest class of a unit vector (d,); of equals the first by name.

        Raises:
            ValueError: another width.
        """
        if vector.shape != self.rows.shape[1:]:
            raise ValueError(f"the bank has width {self.rows.shape[1]}, the query {len(vector)}")
        cosine = np.round(self.rows.astype(np.float64) @ vector.astype(np.float64), 6)
        order = sorted(range(len(cosine)), key=lambda i: (-cosine[i], self.names[i]))
        best, score = self.names[order[0]], float(cosine[order[0]])
        if len(order) == 1:
            return Match(best, score, "", round(score + 1.0, 6))
        rival = float(cosine[order[1]])
        return Match(best, score, self.names[order[1]], round(score - rival, 6))


def threshold_of(settings: Mapping[str, Any], calibration: Mapping[str, Any]) -> float:
    """The calibrated threshold, or the paper's for its model. Raises ValueError for others."""
    if "threshold" in calibration:
        return float(calibration["threshold"])
    model = str(settings["model"])
    if model.rstrip("/").endswith(PAPER_MODEL) and settings["query_format"] == "instruct":
        return PAPER_THRESHOLD
    raise ValueError(
        f"no threshold is known for {model} and these classes: give --threshold, or find one with "
        "--calibrate labelled.csv --bank_npz FILE"
    )


def make_bank(names: Sequence[str], encoder: Encoder) -> Bank:
    """Embed class names: mean of the unit vectors of three templates, of unit length again."""
    texts = [template.format(readable(name)) for name in names for template in TEMPLATES]
    rows = np.stack(list(encoder.encode(texts))).reshape(len(names), len(TEMPLATES), -1)
    mean = rows.mean(axis=1)
    rows = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
    return Bank(list(names), rows, dict(encoder.settings))


def write_bank(path: Path, bank: Bank) -> None:
    about = {
        "labels_raw": bank.names,
        "labels_canonical": [readable(name).lower() for name in bank.names],
        "templates": list(TEMPLATES),
        "settings": bank.settings,
        "calibration": bank.calibration,
    }
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, bank=bank.rows, metadata=np.array(json.dumps(about, ensure_ascii=False)))


def read_bank(path: Path) -> Bank:
    """Raises ValueError naming the file: pickles, other keys or shapes, rows not of unit length."""
    try:
        with np.load(path, allow_pickle=False) as table:
            rows, text = table["bank"], str(table["metadata"])
        about = json.loads(text)
        names, settings = list(about["labels_raw"]), dict(about["settings"])
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a bank of class names ({error}); make it again") from error
    good = rows.ndim == 2 and rows.dtype == np.float32 and len(rows) == len(names) > 0
    if not good or not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-3):
        raise ValueError(
            f"{path}: expected {len(names)} float32 rows of length 1, found "
            f"{rows.shape} {rows.dtype}"
        )
    return Bank(names, rows, settings, dict(about.get("calibration") or {}))
