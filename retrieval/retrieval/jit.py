"""`kernel`: numba.njit with a disk cache that notices a change in any module of this package.

Numba's own cache looks at the file of the compiled function alone, so a change in a function that
it calls would go on running as old code.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

from numba import config, njit

_HERE = Path(__file__).parent


def _cache_folder() -> Path:
    """A folder named after the sources, in the package if it is writable, else in the temporary."""
    digest = hashlib.sha256()
    for text in (source.read_bytes() for source in sorted(_HERE.glob("*.py"))):
        if b"jit" in text:  # it defines kernels
            digest.update(text)
    name = f"numba-{digest.hexdigest()[:12]}"
    inside = _HERE / "__pycache__"
    if os.access(inside if inside.is_dir() else _HERE, os.W_OK):
        return inside / name
    return Path(tempfile.gettempdir()) / f"retrieval-{os.getuid()}" / name


if not config.CACHE_DIR:
    config.CACHE_DIR = str(_cache_folder())

kernel = functools.partial(njit, cache=True, nogil=True)
inlined = functools.partial(kernel, inline="always")
