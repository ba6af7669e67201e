"""Mean and covariance of a file, kept under the digest of its content."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from . import files
from .frechet import Gaussian, gaussian
from .records import Features, load_arrays

LOG = logging.getLogger(__name__)
VERSION = 1  # of what is stored; another one is another name
KEYS = ("mean", "root", "n")


def default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "shape-memorization" / "statistics"


def measured(features: Features, digest: str, folder: Path) -> Gaussian:
    """Gaussian of the rows of a file, read from `folder` when it was computed before.

    With no more rows than dimensions nothing is kept: the rows themselves are all there is to it. A
    folder that cannot be written is warned about.

    Args:
        digest: SHA-256 of the file; with the feature key it is all that names an entry.

    Raises:
        ValueError: an entry is damaged.
    """
    n, d = features.rows.shape
    if n <= d:
        return gaussian(features.rows)
    path = folder / f"{digest}.{features.key or 'npy'}.{VERSION}.npz"
    if path.exists():
        return _read(path, n, d)
    made = gaussian(features.rows)
    try:
        with files.replacing(path) as temporary:
            np.savez(temporary, mean=made.mean, root=made.root, n=made.n)
    except OSError as error:
        LOG.warning("statistics of %s are not kept: %s", features.path, error)
    return made


def _read(path: Path, n: int, d: int) -> Gaussian:
    arrays = load_arrays(path, KEYS)
    shapes = {key: value.shape for key, value in arrays.items()}
    if shapes != {"mean": (d,), "root": (d, d), "n": ()} or int(arrays["n"]) != n:
        raise ValueError(f"{path}: not the statistics of {n} rows of {d} numbers; remove it")
    return Gaussian(arrays["mean"], arrays["root"], n)
