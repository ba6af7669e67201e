"""Work functions for test_batch.py, in a module that spawned processes can import."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from retrieval.meshes import Item


def first_bytes(item: Item, log: Path | None = None, pause: float = 0.0) -> dict[str, np.ndarray]:
    """Stand-in descriptor: (4, 3) float32 from the first twelve bytes of the file."""
    time.sleep(pause)
    data = item.path.read_bytes()
    if data.startswith(b"bad"):
        raise ValueError(f"{item.path}: a bad mesh")
    if log is not None:
        with log.open("a") as handle:
            handle.write(item.id + "\n")
    values = np.frombuffer(data[:12], np.uint8).astype(np.float32)
    return {"points": values.reshape(4, 3)}


def interrupted(item: Item) -> dict[str, np.ndarray]:
    if item.id == "chair/5":
        raise KeyboardInterrupt
    return first_bytes(item)
