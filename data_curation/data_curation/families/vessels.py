"""Hollow bodies of a profile; mugs and vases, with what may be fixed to them."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Array,
    Solid,
    ball,
    both_sides,
    lathe,
    loft,
    smooth,
    superellipse,
    tube,
    union,
)
from .draw import Design, Draw, degree


def vessel(outer: Array, wall: float, floor: float, section: Array, twist: float = 0.0) -> Solid:
    """Open cup: outside up, over the rim, inside down to its floor.

    Args:
        outer:   (n, 2) radius and height of the outside, from the foot to the rim.
        wall:    thickness.
        floor:   height of the inner floor above the foot.
        section: (k, 2) points of the unit section in x and z.
        twist:   degrees by which the section turns from foot to rim.
    """
    low = outer[0, 1] + floor
    radius = (
        np.interp(low, outer[:, 1], outer[:, 0])
        if np.all(np.diff(outer[:, 1]) > 0)
        else outer[0, 0]
    )
    above = outer[outer[:, 1] > low + 0.2 * floor]
    inner = np.concatenate([[(radius, low)], above]) - (wall, 0.0)
    inner[:, 0] = np.maximum(inner[:, 0], 0.25 * wall)
    profile = np.concatenate([outer, inner[::-1]])
    turn = np.radians(twist) * (profile[:, 1] - outer[0, 1]) / np.ptp(outer[:, 1])
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x = section[:, 0] * cos - section[:, 1] * sin
    z = section[:, 0] * sin + section[:, 1] * cos
    r, y = profile[:, :1], np.broadcast_to(profile[:, 1:], x.shape)
    return loft(np.stack([r * x, y, r * z], axis=-1))


def ring_section(sides: int, lobes: int = 0, depth: float = 0.0, squareness: float = 2.0) -> Array:
    """(k, 2) unit section: round or square with `sides` points and `lobes` flutes."""
    ring = superellipse((1.0, 1.0), squareness, sides)
    turn = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    wave = 1.0 - depth * 0.5 * (1.0 + np.cos(lobes * turn))
    made: Array = ring * wave[:, None] if lobes else ring
    return made


def _polygon(sides: int) -> Array:
    """(k, 2) unit polygon, its sides cut into pieces, so that it may be twisted; k is about 36."""
    corners = superellipse((1.0, 1.0), 2.0, sides)
    share = np.linspace(0.0, 1.0, max(36 // sides, 1), endpoint=False)[:, None]
    after = np.roll(corners, -1, axis=0)
    pieces = zip(corners, after, strict=True)
    return np.concatenate([a + (b - a) * share for a, b in pieces])


def mug(d: Draw) -> Design:
    """Cup of some profile; handles, lid, spoon, saucer, foot come and go."""
    radius, height = d.real("radius", 0.03, 0.055), d.real("height", 0.05, 0.16)
    foot, belly = d.real("foot", 0.55, 1.05), d.real("belly", 0.8, 1.35)
    wall = d.real("wall", 0.0025, 0.006)
    kind = d.pick("profile", ("straight", "curved", "curved", "footed"))
    knots = {
        "straight": [(foot, 0), (0.5 * (foot + 1), 0.5), (1, 1)],
        "curved": [(foot, 0), (belly, 0.35), (belly, 0.65), (1, 1)],
        "footed": [(1.0, 0), (0.5, 0.1), (0.9 * belly, 0.4), (belly, 0.7), (1, 1)],
    }[kind]
    outer = smooth(knots, 22) * (radius, height)
    sides = d.whole("facets", 5, 10) if d.chance("faceted", 0.25) else 40
    parts = [vessel(outer, wall, wall + 0.002, ring_section(sides))]
    details = _handles(d, parts, outer, height)
    details += _around_mug(d, parts, radius * max(foot, 0.7), outer, height)
    shape = degree(height / radius, 1.6, 2.7, ("wide", "", "tall"))
    looks = [shape, "faceted" if sides < 40 else "", "footed" if kind == "footed" else ""]
    return Design(parts, [x for x in looks if x], details or ["no handle"])


def _handles(d: Draw, parts: list[Solid], outer: Array, height: float) -> list[str]:
    count = 1 + d.chance("second_handle", 0.2) if d.chance("handle", 0.85) else 0
    low, high = d.real("handle_low", 0.12, 0.35) * height, d.real("handle_high", 0.62, 0.9) * height
    out = d.real("handle_reach", 0.018, 0.045)
    kind = d.pick("handle_shape", ("round", "ear", "square"))
    thick = d.real("handle_thickness", 0.0035, 0.007)
    foot, head = (float(np.interp(y, outer[:, 1], outer[:, 0])) for y in (low, high))
    a, b = foot - 0.5 * thick, head - 0.5 * thick
    widest = float(outer[(outer[:, 1] >= low) & (outer[:, 1] <= high), 0].max()) + out
    middle = {
        "round": [(widest, 0.5 * (low + high))],
        "ear": [(0.8 * widest, 0.7 * low + 0.3 * high), (widest, 0.2 * low + 0.8 * high)],
        "square": [(widest, low + 0.004), (widest, 0.5 * (low + high)), (widest, high - 0.004)],
    }[kind]
    path = smooth([(a, low), *middle, (b, high)], 20)
    for side in range(count):
        s = 1.0 - 2.0 * side
        parts.append(tube([(s * x, y, 0.0) for x, y in path], thick, 10))
    return [f"{'a' if count == 1 else 'two'} {kind} handle{'s' * (count > 1)}"] if count else []


def _around_mug(d: Draw, parts: list[Solid], foot: float, outer: Array, height: float) -> list[str]:
    words, rim = [], float(outer[-1, 0])
    if d.chance("saucer", 0.25):
        wide = foot * d.real("saucer_size", 1.5, 2.1)
        profile = [
            (0, -0.004),
            (0.6 * wide, -0.004),
            (wide, 0.008),
            (wide, 0.011),
            (0.6 * wide, 0.0015),
            (0, 0.0015),
        ]
        parts.append(lathe(profile, 40))
        words.append("a saucer")
    if d.chance("lid", 0.2):
        rise = d.real("lid_rise", 0.004, 0.02)
        dome = [
            (0.0, height - 0.002),
            (rim + 0.001, height - 0.002),
            (rim + 0.001, height + 0.003),
            (0.3 * rim, height + rise),
            (0, height + rise),
        ]
        parts += [
            lathe(dome, 36),
            ball((0.0, height + rise + 0.004, 0.0), (0.009, 0.008, 0.009), 16),
        ]
        words.append("a lid")
    elif d.chance("spoon", 0.25):
        lean = d.real("spoon_lean", 0.3, 0.8) * rim
        top = height + d.real("spoon_length", 0.03, 0.07)
        parts.append(tube([(-0.2 * lean, 0.004, 0.0), (-lean - 0.01, top, 0.0)], 0.0025, 8))
        parts.append(ball((-lean - 0.01, top, 0.0), (0.004, 0.011, 0.006), 12))
        words.append("a spoon")
    return words


def vase(d: Draw) -> Design:
    """Hollow body of a free profile; flutes, twist, handles, flowers come and go."""
    height, radius = d.real("height", 0.14, 0.65), d.real("proportion", 0.13, 0.42)
    radius = radius * height
    foot, belly = d.real("foot", 0.3, 0.85), d.real("belly_height", 0.22, 0.72)
    neck, lip = d.real("neck", 0.22, 0.85), d.real("lip", 0.85, 1.7)
    at = d.real("neck_height", 0.8, 0.93)
    knots = [(foot, 0), (1, belly), (neck, at), (neck * lip, 1)]
    t = smooth(knots, 24)
    outer = np.maximum(t, (0.12, 0.0)) * (radius, height)
    outer[:, 1] = np.maximum.accumulate(outer[:, 1] + 1e-5 * height * np.arange(24))
    kind = d.pick("section", ("round", "round", "polygonal", "fluted", "square"))
    lobes, depth = d.whole("flutes", 4, 9), d.real("flute_depth", 0.08, 0.28)
    section = {
        "round": ring_section(40),
        "polygonal": _polygon(d.whole("facets", 3, 8)),
        "fluted": ring_section(56, lobes, depth),
        "square": ring_section(32, squareness=5.0),
    }[kind]
    twist = d.real("twist", 20.0, 80.0) if kind != "round" and d.chance("twisted", 0.35) else 0.0
    wall = 0.14 * float(outer[:, 0].min())
    parts = [vessel(outer, wall, 0.03 * height, section, twist)]
    details = [degree(neck, 0.35, 0.62, ("a narrow neck", "", "a wide mouth"))]
    if kind == "round" and d.chance("handles", 0.4):
        parts.append(_vase_handles(d, outer, height))
        details.insert(0, "two handles")
    if d.chance("flowers", 0.3):
        parts.append(_flowers(d, height, float(outer[:, 0].min())))
        details.insert(0, "flowers in it")
    shape = degree(radius / height, 0.19, 0.32, ("slender", "", "round-bellied"))
    return Design(
        parts, [shape, "twisted" if twist else "", kind if kind != "round" else ""], details
    )


def _vase_handles(d: Draw, outer: Array, height: float) -> Solid:
    low, high = (
        d.real("handle_low", 0.35, 0.55) * height,
        d.real("handle_high", 0.72, 0.92) * height,
    )
    out = d.real("handle_reach", 0.06, 0.2) * height
    r = d.real("handle_thickness", 0.012, 0.022) * height
    a, b = (float(np.interp(y, outer[:, 1], outer[:, 0])) * 0.98 for y in (low, high))
    path = smooth([(a, low), (max(a, b) + out, 0.4 * low + 0.6 * high), (b, high)], 16)
    return both_sides(tube([(x, y, 0.0) for x, y in path], r, 10))


def _flowers(d: Draw, height: float, mouth: float) -> Solid:
    count, long = d.whole("stems", 2, 6), d.real("stem_length", 0.35, 0.9) * height
    open_, size = d.real("stem_spread", 0.1, 0.5), d.real("bloom_size", 0.05, 0.12) * height
    parts = []
    for k in range(count):
        turn, reach = 2.4 * k, long * (0.75 + 0.25 * np.cos(1.7 * k))
        way = np.array((np.cos(turn), 0.0, np.sin(turn)))
        tip = way * open_ * reach + (0.0, height + reach, 0.0)
        path = smooth([(0.0, 0.02 * height, 0.0), way * 0.3 * mouth + (0.0, height, 0.0), tip], 10)
        parts.append(tube(path, 0.009 * height, 6))
        parts.append(ball(tuple(tip), (size, 0.75 * size, size), 16))
    return union(parts)
