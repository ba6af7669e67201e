"""Chair backs and headboards, drawn flat in the x-y plane with their foot at y = 0."""

from __future__ import annotations

import numpy as np

from ..primitives import Pair, Solid, both_sides, box, plate, smooth, tube, union
from .draw import NUMBERS, Draw
from .supports import spread

STYLES = ("panel", "slats", "ladder", "cross", "hoop", "frame", "splat")


def back(
    d: Draw, width: float, height: float, styles: tuple[str, ...] = STYLES
) -> tuple[Solid, str]:
    """Back of a given width and height, about 2 to 5 cm thick about z = 0, and its words."""
    style = d.pick("back", styles)
    thick = d.real("back_thickness", 0.018, 0.045)
    arch = d.real("back_arch", -0.05, 0.3) * height
    if style == "hoop":
        return _hoop(d, width, height, thick), "a hoop back with spindles"
    if style in ("panel", "frame"):
        return _board(d, width, height, thick, arch, style == "frame")
    post = d.real("back_post", 0.02, 0.05)
    flare = d.real("back_flare", 0.85, 1.12)
    half = 0.5 * (width - post)
    parts = [
        _post(half, half * flare, height, post, thick),
        _rail(half * flare, height, post, arch, thick),
    ]
    filled, words = _filling(d, style, (half, flare), height, thick)
    return union([*parts, *filled]), words


def _post(foot: float, head: float, height: float, wide: float, thick: float) -> Solid:
    w = 0.5 * wide
    outline = [(foot - w, 0.0), (foot + w, 0.0), (head + w, height), (head - w, height)]
    return both_sides(plate(outline, (-0.5 * thick, 0.5 * thick)))


def _rail(half: float, height: float, wide: float, arch: float, thick: float) -> Solid:
    """Top rail, arched by `arch` in the middle."""
    x = np.linspace(-half - 0.5 * wide, half + 0.5 * wide, 13)
    lift = np.maximum(arch, 0.0) * (1.0 - (x / x[-1]) ** 2)
    upper = np.stack([x, height + lift], axis=1)
    lower = np.stack([x, height - 1.6 * wide + 0.6 * lift], axis=1)[::-1]
    return plate(np.concatenate([upper, lower]), (-0.55 * thick, 0.55 * thick))


def _filling(
    d: Draw, style: str, place: Pair, height: float, thick: float
) -> tuple[list[Solid], str]:
    """What is between the posts, which stand at x = `place[0]`, times `place[1]` at their top."""
    (half, flare), narrow = place, min(1.0, place[1])
    z = (-0.3 * thick, 0.3 * thick)
    if style == "slats":
        count = d.whole("back_slats", 2, 7)
        half *= narrow
        w = d.real("slat_width", 0.2, 0.6) * half / count
        bars = [box((x - w, x + w), (0.0, 0.97 * height), z) for x in spread(-half, half, count)]
        return bars, f"a back of {NUMBERS[count]} upright slats"
    if style == "ladder":
        count = d.whole("back_rungs", 2, 6)
        h = d.real("rung_height", 0.15, 0.35) * height / count
        levels = spread(0.1 * height, 0.92 * height, count)
        wide = [half * (1.0 + (flare - 1.0) * y / height) for y in levels]
        rungs = [box((-w, w), (y - h, y + h), z) for w, y in zip(wide, levels, strict=True)]
        return rungs, f"a ladder back of {NUMBERS[count]} rungs"
    if style == "splat":
        w = d.real("splat_width", 0.2, 0.5) * half
        waist = d.real("splat_waist", 0.3, 1.6)
        edge = smooth([(w, 0.0), (w * waist, 0.35 * height), (1.3 * w, 0.97 * height)], 12)
        outline = np.concatenate([edge, (edge * (-1.0, 1.0))[::-1]])
        return [plate(outline, z)], "a splat back"
    w = d.real("cross_width", 0.015, 0.035)
    low, high = 0.12 * height, 0.95 * height
    one = plate([(-half - w, low), (-half + w, low), (half + w, high), (half - w, high)], z)
    rail = box((-half, half), (low - 0.02, low + 0.03), z)
    return [one, one.mirror((1.0, 0.0, 0.0)), rail], "a cross back"


def _board(
    d: Draw, width: float, height: float, thick: float, arch: float, hollow: bool
) -> tuple[Solid, str]:
    x = np.linspace(-0.5 * width, 0.5 * width, 17)
    top = height + arch * (1.0 - (2.0 * x / width) ** 2)
    taper = d.real("back_taper", 0.8, 1.15)
    outline = [(-0.5 * width * taper, 0.0), *zip(x, top, strict=True), (0.5 * width * taper, 0.0)]
    rounding = d.real("back_rounding", 0.01, 0.2) * min(width, height)
    low = d.real("back_gap", 0.0, 0.35) * height if d.chance("back_lifted", 0.35) else 0.0
    solid = plate(outline[::-1], (-0.5 * thick, 0.5 * thick), rounding)
    words = "an arched back panel" if arch > 0.12 * height else "a plain back panel"
    if low > 0.04:
        rest = solid ^ box((-width, width), (low, 2.0 * height + 1.0), (-1.0, 1.0))
        post = both_sides(
            box((0.3 * width, 0.3 * width + 0.03), (0.0, low + 0.03), (-0.4 * thick, 0.4 * thick))
        )
        return rest + post, "a raised back panel"
    foot = box((-0.4 * width, 0.4 * width), (-0.001, 0.5 * height), (-0.5 * thick, 0.5 * thick))
    if not hollow:
        return solid + foot, words
    inner = d.real("back_opening", 0.5, 0.78)
    hole = plate(np.array(outline[::-1]) * inner, (-1.0, 1.0), rounding * inner)
    return (solid + foot) - hole.translate(
        (0.0, 0.5 * (1.0 - inner) * height, 0.0)
    ), "an open frame back"


def _hoop(d: Draw, width: float, height: float, thick: float) -> Solid:
    half, r = 0.5 * width - 0.5 * thick, 0.5 * thick
    square = d.real("hoop_squareness", 0.6, 1.0)
    turn = np.linspace(0.0, np.pi, 21)
    x = half * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** square
    y = height * np.sin(turn) ** square
    parts = [tube(np.stack([x, y, 0.0 * x], axis=1), r, 8)]
    count = d.whole("back_spindles", 2, 8)
    for at in spread(-0.9 * half, 0.9 * half, count):
        reach = float(np.interp(at, x[::-1], y[::-1]))
        parts.append(
            box((at - 0.3 * thick, at + 0.3 * thick), (0.0, reach), (-0.25 * thick, 0.25 * thick))
        )
    return union(parts)
