"""From files to the three sets: read, check, normalise."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .cache import default_folder, measured
from .distances import Pairs, read_pairs
from .frechet import Gaussian, Normaliser, standardiser, whitener
from .records import KEYS, Features, load_arrays, read_features, read_ids
from .samples import Sample, Sets

SIDES = ("train", "test", "generated")


@dataclass(frozen=True)
class Read:
    """The sets, the width of their rows (None without rows) and what was read by role."""

    sets: Sets
    dimensions: int | None
    files: dict[str, dict[str, str | None]]


def read(args: argparse.Namespace) -> Read:
    """The sets that the flags of npz_eval.py name. OSError, ValueError naming the file."""
    paths = {"train": args.reference, "test": args.test, "generated": args.generated}
    paths = {side: path for side, path in paths.items() if path}
    paths |= {"stats": args.stats} if args.stats else {}
    pairs = read_pairs(args.distances) if args.distances else None
    digests = {side: files.sha256(path) for side, path in paths.items()}
    features = {
        side: read_features(path)
        for side, path in paths.items()
        if side == "stats" or pairs is None or _has_rows(path)
    }
    _same_width(list(features.values()))
    folder = args.cache or default_folder()
    known = {
        side: measured(found, digests[side], folder)
        for side, found in features.items()
        if side in ("train", "stats")
    }
    change = _normaliser(args, known.get("stats"))
    samples = {
        side: _sample(path, features.get(side), known.get(side), change, pairs)
        for side, path in paths.items()
        if side in SIDES
    }
    about = {
        side: {"path": str(path), "sha256": digests[side], "key": _key(features.get(side))}
        for side, path in paths.items()
    }
    if pairs is not None:
        about["distances"] = {
            "path": str(pairs.path),
            "sha256": files.sha256(pairs.path),
            "key": None,
        }
    width = next((found.rows.shape[1] for found in features.values()), None)
    sets = Sets(samples["train"], samples.get("test"), samples["generated"])
    return Read(sets, width, about)


def _has_rows(path: Path) -> bool:
    return bool(load_arrays(path, KEYS))


def _key(features: Features | None) -> str | None:
    return (features.key or None) if features else None


def _same_width(read: list[Features]) -> None:
    for other in read[1:]:
        if other.rows.shape[1] != read[0].rows.shape[1]:
            raise ValueError(
                f"{read[0].path} and {other.path}: rows of {read[0].rows.shape[1]} and "
                f"{other.rows.shape[1]} numbers; use one encoder for both"
            )


def _normaliser(args: argparse.Namespace, stats: Gaussian | None) -> Normaliser | None:
    if stats is None:
        return None
    try:
        return standardiser(stats) if args.normalise == "standardise" else whitener(
            stats, args.ridge
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{args.stats}: --normalise {args.normalise}: {error}") from error


def _sample(
    path: Path,
    features: Features | None,
    known: Gaussian | None,
    change: Normaliser | None,
    pairs: Pairs | None,
) -> Sample:
    places = None
    if pairs is not None:
        ids: Any = features.ids if features and features.ids else read_ids(path)
        places = pairs.places(ids, path)
    rows = features.rows if features else None
    if change and rows is not None:
        rows, known = change(rows), known.mapped(change) if known else None
    return Sample(rows, pairs, places, known)
