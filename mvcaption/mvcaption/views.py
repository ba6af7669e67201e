"""Which views of a shape a model is shown, and how they are cut out of a sprite.

views.json beside the sprite (formats/views.schema.json) says how many tiles it has and how they
lie; without it, it is a vertical strip of --num-views equal tiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import read_json

POLICIES = "even, first, center, indices:i,j,k, index:i"


def pick(policy: str, views: int, count: int) -> list[int]:
    """Indices of `count` of `views` views on a circle.

    even: floor(i views / count), equal steps around the circle, so that no two are neighbours
    while others are left out; first; center: around the middle; indices: just those, however many.

    Raises:
        ValueError: another policy, a view that is not there, more views than there are.
    """
    name, _, given = policy.partition(":")
    if name in ("indices", "index"):
        wanted = [int(word) if word.strip().isdecimal() else -1 for word in given.split(",")]
        if not all(0 <= i < views for i in wanted) or (name == "index" and len(wanted) > 1):
            raise ValueError(f"{policy}: expected views 0 to {views - 1}")
        return wanted
    if not 1 <= count <= views:
        raise ValueError(f"{count} views asked for, there are {views}")
    if policy == "even":
        return [i * views // count for i in range(count)]
    if policy in ("first", "center"):
        start = (views - count) // 2 if policy == "center" else 0
        return list(range(start, start + count))
    raise ValueError(f"view policy {policy!r}: expected one of {POLICIES}")


def draw(seed: int, uid: str, views: int, count: int) -> list[int]:
    """`count` different views by (seed, uid) alone, so order, shards and resuming do not matter."""
    if not 1 <= count <= views:
        raise ValueError(f"{count} views asked for, there are {views}")
    digest = hashlib.sha256(uid.encode()).digest()
    rng = np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
    return sorted(int(i) for i in rng.choice(views, count, replace=False))


def layout(sprite: Path, views: int) -> tuple[int, int, int]:
    """(views, rows, columns) of a sprite: of the views.json beside it, else a strip of `views`."""
    about = sprite.parent / "views.json"
    if not about.is_file():
        return views, views, 1
    table = read_json(about)
    try:
        found = int(table["views"]), int(table["rows"]), int(table["cols"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{about}: no views, rows and cols; render again") from error
    if table.get("sprite") != sprite.name:
        return views, views, 1
    return found


def tiles(sprite: Path, form: tuple[int, int, int], wanted: Sequence[int]) -> list[Any]:
    """RGB images of the wanted tiles, counted row by row.

    Raises:
        ValueError: naming the file: unreadable, or its size is not a multiple of the tiles.
    """
    from PIL import Image, UnidentifiedImageError

    views, rows, columns = form
    try:
        with Image.open(sprite) as opened:
            picture = opened.convert("RGB")
    except FileNotFoundError:
        raise
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(f"{sprite}: not a readable picture ({error})") from error
    width, height = picture.size
    if height % rows or width % columns or views > rows * columns:
        raise ValueError(
            f"{sprite}: {width} x {height} pixels do not divide into {columns} x {rows} views; "
            "render again, or say how many with --num-views"
        )
    w, h = width // columns, height // rows
    boxes = [(i % columns * w, i // columns * h) for i in wanted]
    return [picture.crop((x, y, x + w, y + h)) for x, y in boxes]
