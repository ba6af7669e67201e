"""Images of conditions and views of image latents: which one is taken, and by whose draw.

A sprite strip holds the views of one shape stacked vertically, as the paper's `sprite_v12.png`.
Nothing stands in for an image that cannot be read.
"""

from __future__ import annotations

import functools
import random
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

PICKS = ("random", "center", "first", "index")


def load_image(path: Path) -> Image.Image:
    """The image of a file, in RGB.

    Raises:
        OSError: there is no such file.
        ValueError: naming a file that is no image, damaged or too large.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: unreadable image: {error}") from error


def pick_view(views: int, pick: str, index: int = 0, seed: int = 0, item: int = 0) -> int:
    """Number of the view that is shown, 0 to views - 1.

    Args:
        views: how many there are, >= 1.
        pick:  random, center (views // 2), first or index.
        index: for `index`; clamped to the range.
        seed, item: `random` takes draw `item` of `random.Random(seed).randrange(views)`, so neither
            the batch nor a resumed run changes it; the paper's tool draws alike within a batch.

    Raises:
        ValueError: another policy, or no view.
    """
    if views < 1:
        raise ValueError(f"{views} views; expected at least one")
    if pick == "random":
        return _draws(seed, views, 1 << item.bit_length())[item]
    choices = {"center": views // 2, "first": 0, "index": min(max(index, 0), views - 1)}
    if pick not in choices:
        raise ValueError(f"view policy '{pick}'; expected one of {', '.join(PICKS)}")
    return choices[pick]


@functools.lru_cache(maxsize=8)
def _draws(seed: int, views: int, count: int) -> tuple[int, ...]:
    generator = random.Random(seed)
    return tuple(generator.randrange(views) for _ in range(count))


def crop_view(strip: Image.Image, views: int, view: int) -> Image.Image:
    """View `view` of a strip of `views`: rows [view·h, (view + 1)·h), h = height // views; RGB.

    Raises:
        ValueError: the strip has fewer rows than views, or no such view.
    """
    height = strip.height // max(views, 1)
    if not 0 <= view < views or height < 1:
        raise ValueError(
            f"view {view} of {views} in an image of {strip.width} x {strip.height} pixels;"
            " expected the views stacked vertically"
        )
    box = (0, view * height, strip.width, (view + 1) * height)
    return strip.crop(box).convert("RGB")


def latent_view(policy: str, views: int, generator: np.random.Generator | None = None) -> int:
    """Which latent of the views of one image is used, 0 to views - 1.

    Args:
        policy:    first, center (views // 2), random, or index:k with k clamped to the range.
        generator: draws for `random`.

    Raises:
        ValueError: another policy, or `random` without a generator.
    """
    name, _, number = policy.partition(":")
    if name == "index" and number.lstrip("-").isdecimal():
        return pick_view(views, "index", int(number))
    if policy == "random" and generator is not None:
        return int(generator.integers(views))
    if policy not in ("first", "center"):
        raise ValueError(
            f"view policy '{policy}'; expected first, center, index:k, or random with a generator"
        )
    return pick_view(views, policy)
