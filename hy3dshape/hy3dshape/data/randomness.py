"""Random numbers of an item by seed, epoch and uid, so that order and workers never matter."""

from __future__ import annotations

import hashlib

import numpy as np


def item_rng(seed: int, epoch: int, uid: str) -> np.random.Generator:
    """Generator of an item in an epoch."""
    words = np.frombuffer(hashlib.sha256(uid.encode()).digest()[:16], "<u4").tolist()
    return np.random.default_rng([seed, epoch, *words])
