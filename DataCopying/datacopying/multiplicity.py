"""Control of the false discovery rate (Benjamini, Hochberg 1995)."""

from __future__ import annotations

import numpy as np

from .zu import Array


def benjamini_hochberg(p: Array) -> Array:
    """(n,) adjusted p-values: calling all q <= a keeps the expected false share at a."""
    n = len(p)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * n / np.arange(1, n + 1)
    q = np.empty(n)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(q, 1.0)
