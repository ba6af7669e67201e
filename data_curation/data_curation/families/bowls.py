"""Bowls, plates and pots."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Array,
    Solid,
    around,
    ball,
    both_sides,
    lathe,
    rod,
    smooth,
    tube,
)
from .draw import NUMBERS, Design, Draw
from .vessels import ring_section, vessel


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
    section = ring_section(72, lobes, depth) if wavy else ring_section(sides if polygonal else 48)
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
