"""Mugs, vases, bottles and bowls: hollow bodies of a profile, with what may be fixed to them."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Array,
    Solid,
    around,
    ball,
    both_sides,
    lathe,
    loft,
    rod,
    smooth,
    soft_box,
    superellipse,
    tube,
    union,
)
from .draw import NUMBERS, Design, Draw, degree


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


def _section(sides: int, lobes: int = 0, depth: float = 0.0, squareness: float = 2.0) -> Array:
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
    parts = [vessel(outer, wall, wall + 0.002, _section(sides))]
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
        "round": _section(40),
        "polygonal": _polygon(d.whole("facets", 3, 8)),
        "fluted": _section(56, lobes, depth),
        "square": _section(32, squareness=5.0),
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


def bottle(d: Draw) -> Design:
    """Body, shoulder, neck and a cap, pump or sprayer; section, handle, label ring vary."""
    height, radius = d.real("height", 0.12, 0.36), d.real("proportion", 0.11, 0.3)
    radius = radius * height
    share, shoulder = d.real("body_share", 0.4, 0.75), d.real("shoulder_share", 0.06, 0.3)
    neck = d.real("neck", 0.22, 0.55)
    waist, foot = d.real("waist", 0.75, 1.1), d.real("foot", 0.8, 1.05)
    kind = d.pick("section", ("round", "round", "square", "flat", "faceted"))
    base = smooth([(foot, 0), (waist, 0.55 * share), (1, share)], 14)
    rise = smooth([(1, share), (0.93, share + 0.3 * shoulder), (neck, share + shoulder)], 10)[1:]
    top = 0.5 * d.real("neck_length", 0.05, 0.3) + share + shoulder
    outline = np.concatenate([base, rise, [(neck, top), (neck, top + 0.001)]]) * (radius, height)
    body, words = _bottle_body(d, kind, outline)
    end = top * height
    parts, details = [body], [words]
    details += _closure(d, parts, end, neck * radius)
    if d.chance("handle", 0.2):
        low, high = 0.45 * share * height, (share + 0.8 * shoulder) * height
        out = d.real("handle_reach", 0.25, 0.6) * radius
        path = smooth(
            [
                (0.7 * radius, low),
                (radius + out, low),
                (radius + out, high - 0.2 * (high - low)),
                (0.3 * radius, high),
            ],
            18,
        )
        parts.append(tube([(x, y, 0.0) for x, y in path], 0.11 * radius, 10))
        details.append("a handle")
    slim = degree(radius / height, 0.15, 0.23, ("slim", "", "stout"))
    return Design(parts, [slim, kind if kind != "round" else ""], [x for x in details if x])


def _bottle_body(d: Draw, kind: str, outline: Array) -> tuple[Solid, str]:
    """Solid body: every ring of the outline, its section going over to a round one at the neck."""
    flat = d.real("flatness", 0.4, 0.65) if kind == "flat" else 1.0
    sides = d.whole("facets", 5, 8) * 6 if kind == "faceted" else 36
    square = {"square": 6.0, "flat": 3.0}.get(kind, 2.0)
    turn = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    round_ = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    shaped = superellipse((1.0, 1.0), square, sides)
    if kind == "faceted":
        step = 2.0 * np.pi / (sides // 6)
        shaped = round_ / np.cos((turn % step) - 0.5 * step)[:, None] * np.cos(0.5 * step)
    r = outline[:, 0]
    blend = np.clip((r - r[-1]) / max(r.max() - r[-1], 1e-9) * 1.5, 0.0, 1.0)[:, None, None]
    ring = (blend * shaped + (1.0 - blend) * round_) * r[:, None, None]
    ring[..., 1] *= flat + (1.0 - flat) * (1.0 - blend[..., 0])
    y = np.broadcast_to(outline[:, 1:], ring.shape[:2])
    words = {"square": "square shoulders", "flat": "a flat body", "faceted": "a faceted body"}
    return loft(np.stack([ring[..., 0], y, ring[..., 1]], axis=-1)), words.get(kind, "")


def _closure(d: Draw, parts: list[Solid], end: float, neck: float) -> list[str]:
    """Add what closes the bottle on top of its neck; return its words."""
    kind = d.pick("closure", ("cap", "cork", "pump", "sprayer", "open", "sport"))
    high = d.real("cap_height", 0.5, 1.8) * neck
    wide = d.real("cap_width", 1.05, 1.5) * neck
    if kind == "open":
        hole = rod((end - 4.0 * neck, end + 1.0), (0.7 * neck, 0.7 * neck), 24)
        lip = rod((end - 0.35 * neck, end), (1.2 * neck, 1.2 * neck), 28)
        parts[0] = parts[0] + lip - hole
        return ["an open mouth"]
    if kind == "cork":
        parts.append(rod((end - 0.01, end + high), (0.75 * neck, 0.85 * neck), 24))
        return ["a cork"]
    parts.append(rod((end - 0.4 * neck, end + 0.6 * high), (wide, wide), 28))
    if kind == "cap":
        return ["a screw cap"]
    if kind == "sport":
        parts.append(rod((end, end + high + neck), (0.5 * neck, 0.35 * neck), 20))
        return ["a drinking spout"]
    stem = end + 0.6 * high + d.real("stem_length", 0.6, 1.8) * neck
    reach = d.real("spout_reach", 1.8, 3.6) * neck
    parts.append(rod((end, stem), (0.25 * neck, 0.25 * neck), 16))
    head = soft_box(
        (-0.6 * neck, reach),
        (stem - 0.2 * neck, stem + 0.5 * neck),
        (-0.4 * neck, 0.4 * neck),
        0.2 * neck,
    )
    parts.append(head)
    if kind == "sprayer":
        path = [
            (0.5 * reach, stem, 0.0),
            (0.75 * reach, stem - 0.7 * neck, 0.0),
            (0.7 * reach, stem - 1.8 * neck, 0.0),
        ]
        parts.append(tube(path, 0.16 * neck, 8))
        return ["a spray head"]
    return ["a pump"]


def bowl(d: Draw) -> Design:
    """From flat plate to deep pot; rim, foot, waves, handles, lid, contents come and go."""
    radius, deep = d.real("radius", 0.06, 0.17), d.real("depth_ratio", 0.12, 1.2)
    height = radius * deep
    foot, curve = d.real("foot", 0.3, 0.75), d.real("curve", 0.5, 1.05)
    wall = d.real("wall", 0.025, 0.06) * radius
    rim = d.real("rim_width", 0.0, 0.35) if d.chance("has_rim", 0.35) else 0.0
    knots = [(foot, 0), (foot + (1 - foot) * curve, 0.45), (1, 1)]
    outer = smooth(knots, 18)
    outer[:, 1] = np.maximum.accumulate(np.maximum(outer[:, 1], 0.0) + 1e-4 * np.arange(18))
    outer = outer * (radius, height)
    if rim:
        outer = np.concatenate([outer, [(radius * (1 + rim), height * 1.08 + 0.004)]])
    lobes, depth = d.whole("waves", 4, 12), d.real("wave_depth", 0.06, 0.2)
    wavy, sides = d.chance("wavy", 0.2), d.whole("facets", 4, 8)
    polygonal = d.chance("polygonal", 0.2)
    section = _section(72, lobes, depth) if wavy else _section(sides if polygonal else 48)
    parts = [vessel(outer, wall, min(1.2 * wall, 0.3 * height), section)]
    details = []
    inside = 0.68 if polygonal or wavy else 1.0
    if d.chance("has_foot", 0.4):
        tall = d.real("foot_height", 0.05, 0.6) * radius
        w = inside * foot * radius
        parts.append(
            lathe(
                [(0, -tall), (w, -tall), (0.8 * w, -0.5 * tall), (0.9 * w, 0.002), (0, 0.002)], 40
            )
        )
        details.append("a raised foot")
    if inside == 1.0:
        details = [*_pot_parts(d, parts, outer), *details]
    kind = "flat" if deep < 0.3 else "deep" if deep > 0.75 else "shallow" if deep < 0.5 else "round"
    look = "wavy" if wavy else "polygonal" if polygonal else ""
    return Design(parts, [kind, look], details or (["a broad rim"] if rim else []))


def _pot_parts(d: Draw, parts: list[Solid], outer: Array) -> list[str]:
    """Handles, and a lid or fruit, for a round bowl."""
    height, radius = float(outer[-1, 1]), float(outer[-1, 0])
    words = []
    kind = d.pick("handles", ("none", "none", "none", "loops", "stick"))
    if kind == "loops":
        r, out = 0.05 * radius, radius * d.real("handle_reach", 0.15, 0.35)
        y = 0.8 * height
        x = float(np.interp(y, outer[:, 1], outer[:, 0]))
        reach = np.array([x - 0.3 * r, x + 0.6 * out, x + out, x + 0.6 * out, x - 0.3 * r])
        turn = np.radians([-16.0, -15.0, 0.0, 15.0, 16.0])
        path = smooth(np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1), 20)
        parts.append(both_sides(tube([(a, y, b) for a, b in path], r, 8)))
        words.append("two handles")
    if kind == "stick":
        long = radius * d.real("stick_length", 0.8, 1.8)
        start = float(np.interp(0.8 * height, outer[:, 1], outer[:, 0]))
        parts.append(
            tube(
                [(start, 0.8 * height, 0.0), (start + long, height, 0.0)],
                [0.07 * radius, 0.09 * radius],
                10,
            )
        )
        words.append("a long handle")
    if d.chance("lid", 0.2):
        rise = d.real("lid_rise", 0.1, 0.5) * radius
        knots = [
            (1.03 * outer[-1, 0], height),
            (0.7 * radius, height + 0.6 * rise),
            (0.0, height + rise),
        ]
        dome = smooth(knots, 12)
        parts.append(
            lathe(
                [
                    (0.0, height - 0.002),
                    (dome[0, 0], height - 0.002),
                    *dome[:-1],
                    (0.0, height + rise),
                ],
                40,
            )
        )
        parts.append(ball((0.0, height + rise + 0.06 * radius, 0.0), (0.12 * radius,) * 3, 16))
        words.append("a lid")
    elif d.chance("fruit", 0.3):
        words.append(_fruit(d, parts, outer))
    return words


def _fruit(d: Draw, parts: list[Solid], outer: Array) -> str:
    """A ring of fruit about a larger one; they rest on the wall and touch the one in the middle."""
    count, size = d.whole("fruits", 4, 7), d.real("fruit_size", 0.3, 0.42)
    height, r = float(outer[-1, 1]), size * float(outer[-1, 0])
    wide = 1.3 * r
    middle = 0.6 * height + 0.4 * r
    out = 0.93 * float(np.interp(middle, outer[:, 1], outer[:, 0])) - r
    ring = around(ball((max(out, 0.6 * r), middle, 0.0), (r, r, r), 16), count - 1)
    core = rod((0.01 * height, middle), (0.5 * float(outer[0, 0]), 0.5 * r), 24)
    parts.append(ring + core + ball((0.0, middle + 0.4 * r, 0.0), (wide, wide, wide), 16))
    return f"{NUMBERS[count]} fruits in it"
