"""Condition images: one view of a vertical strip of renders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Pick = Literal["first", "center", "index", "random"]


def view_number(pick: Pick, views: int, index: int, rng: np.random.Generator) -> int:
    """Which of `views` views; `index` is clamped to their range."""
    match pick:
        case "first":
            return 0
        case "center":
            return views // 2
        case "index":
            return min(max(index, 0), views - 1)
        case "random":
            return int(rng.integers(views))


def open_view(path: Path, views: int, number: int) -> Image:
    """View `number` of a strip of `views`, RGB. Raises ValueError naming an unreadable file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as strip:
            height = strip.height // views
            if height < 1:
                raise ValueError(f"{path}: {strip.height} rows are no strip of {views} views")
            box = (0, number * height, strip.width, (number + 1) * height)
            return strip.crop(box).convert("RGB")
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable image: {error}") from error
