"""What stands under seats, tables and beds: legs, pedestals, runners, panels, trestles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..primitives import (
    Pair,
    Solid,
    around,
    beam,
    both_sides,
    box,
    lathe,
    rod,
    smooth,
    tube,
    union,
)
from .draw import NUMBERS, Draw

LEGS = ("straight legs", "tapered legs", "turned legs", "splayed legs", "round legs")
CENTRAL = ("pedestal", "star base")


def support(d: Draw, half: Pair, top: float, kinds: tuple[str, ...]) -> tuple[Solid, str]:
    """Solid from the floor up to height `top`, within about half-widths `half`, and its words."""
    kind = d.pick("support", kinds)
    if kind.endswith(" legs") and kind != "crossed legs":
        return legs(d, half, top, kind.removesuffix(" legs"))
    made = {
        "pedestal": _pedestal,
        "star base": _star,
        "sled runners": _sled,
        "side panels": _panels,
        "trestles": _trestles,
        "crossed legs": _crossed,
    }[kind]
    return made(d, half, top)


def legs(d: Draw, half: Pair, top: float, style: str) -> tuple[Solid, str]:
    """Four legs, perhaps joined by stretchers."""
    thick = d.real("leg_thickness", 0.025, 0.065) * (1.0 if top > 0.25 else 1.2)
    inset = d.real("leg_inset", 0.0, 0.14)
    splay = d.real("leg_splay", 0.1, 0.35) * min(top, 0.8) * 0.8 if style == "splayed" else 0.0
    x, z = (h * (1.0 - inset) - 0.55 * thick for h in half)
    waist = d.real("leg_waist", 0.35, 0.9)
    one = _leg(style, top, thick, waist, splay)
    corners = [(x, z, 1, 1), (-x, z, -1, 1), (x, -z, 1, -1), (-x, -z, -1, -1)]
    parts = [one.scale((sx, 1.0, sz)).translate((px, 0.0, pz)) for px, pz, sx, sz in corners]
    stretcher = d.pick("stretcher", ("none", "none", "ring", "H"))
    if stretcher != "none" and top > 0.25:
        height = d.real("stretcher_height", 0.15, 0.5) * top
        out = splay * (1.0 - height / top)
        parts.append(_stretchers(stretcher, x + out, z + out, height, 0.4 * waist * thick + 0.004))
    words = f"four {style} legs"
    return union(parts), f"{words} and stretchers" if len(parts) > 4 else words


def _leg(style: str, top: float, thick: float, waist: float, splay: float) -> Solid:
    """One leg at the origin, leaning outwards to (+splay, +splay) at the floor."""
    if style == "turned":
        r = 0.55 * thick
        knots = [(waist, 0), (1, 0.12), (waist, 0.25), (1.1, 0.55), (waist, 0.78), (1, 1)]
        outline = smooth(knots, 18) * (r, top)
        return lathe([(0.0, 0.0), *outline, (0.0, top)], 12)
    if style == "round":
        return rod((0.0, top), (0.5 * thick * waist, 0.5 * thick), 14)
    narrow = thick if style == "straight" else thick * waist
    return beam((splay, 0.0, splay), (0.0, top, 0.0), (narrow, thick))


def _stretchers(kind: str, x: float, z: float, y: float, r: float) -> Solid:
    sides = both_sides(box((x - r, x + r), (y - r, y + r), (-z, z)))
    if kind == "H":
        return sides + box((-x, x), (y - r, y + r), (-r, r))
    front = box((-x, x), (y - r, y + r), (z - r, z + r))
    return sides + front + front.mirror((0.0, 0.0, 1.0))


def _pedestal(d: Draw, half: Pair, top: float) -> tuple[Solid, str]:
    foot = d.real("foot_radius", 0.5, 0.95) * min(half)
    thin = max(0.012, d.real("column_thickness", 0.08, 0.3) * foot)
    swell = d.real("column_swell", 0.7, 2.2)
    knots = [(thin * 1.5, 0), (thin, 0.25), (thin * swell, 0.5), (thin, 0.8), (thin * 1.6, 1)]
    column = smooth(knots, 20) * (1.0, top)
    height = d.real("foot_height", 0.02, 0.06)
    parts = [lathe([(0.0, 0.0), *column, (0.0, top)], 20)]
    if d.chance("round_foot", 0.6):
        rim = [(0, 0), (foot, 0), (foot, 0.4 * height), (thin, height + 0.02), (0, height + 0.02)]
        parts.append(lathe(rim, 32))
    else:
        parts.append(box((-foot, foot), (0.0, height), (-foot, foot)))
    return union(parts), "a central pedestal"


def _star(d: Draw, half: Pair, top: float) -> tuple[Solid, str]:
    count = d.whole("feet", 3, 6)
    reach = d.real("foot_reach", 0.75, 1.15) * min(half)
    thick = d.real("column_thickness", 0.02, 0.045)
    rise = d.real("foot_rise", 0.03, 0.12)
    wheel = d.real("castor_radius", 0.02, 0.035) if d.chance("castors", 0.5) else 0.0
    arch = smooth([(0.0, wheel + rise, 0.0), (0.5, wheel + 0.8 * rise, 0.0), (1.0, 0.0, 0.0)], 7)
    arch = arch * (reach, 1.0, 1.0) + (0.0, wheel + 0.012, 0.0)
    foot = tube(arch, np.linspace(0.6 * thick, 0.011, 7).tolist(), 8)
    if wheel:
        foot = foot + rod((-0.012, 0.012), (wheel, wheel), 14).rotate((90.0, 0.0, 0.0)).translate(
            (reach, wheel, 0.0)
        )
    start = 90.0 if count % 2 else 0.0
    words = f"a {NUMBERS[count]}-star base" + (" on castors" if wheel else "")
    return around(foot, count, start) + rod((wheel + 0.01, top), (thick, thick), 16), words


def _sled(d: Draw, half: Pair, top: float) -> tuple[Solid, str]:
    r = 0.5 * d.real("runner_thickness", 0.018, 0.045)
    x, z = half[0] - r, half[1] * d.real("runner_length", 0.7, 1.0) - r
    bend = min(d.real("runner_bend", 0.02, 0.12), 0.4 * top, 0.6 * z)
    side = [(z, top), (z, bend), (z - 0.3 * bend, 0.3 * bend), (z - bend, 0.0)]
    side += [(-b, a) for b, a in side[::-1]]
    path = np.array([(x, min(y + r, top), depth) for depth, y in side])
    parts = [both_sides(tube(path, r, 10))]
    if d.chance("runner_bar", 0.6):
        parts.append(tube([(-x, r, z - bend), (x, r, z - bend)], 0.8 * r, 8))
    return union(parts), "sled runners"


def _panels(d: Draw, half: Pair, top: float) -> tuple[Solid, str]:
    thick = d.real("panel_thickness", 0.018, 0.06)
    x = half[0] * d.real("panel_place", 0.75, 1.0)
    z = half[1] * d.real("panel_depth", 0.7, 1.0)
    parts = [both_sides(box((x - thick, x), (0.0, top), (-z, z)))]
    if d.chance("panel_back", 0.6):
        low = top * d.real("panel_back_height", 0.1, 0.7)
        parts.append(box((-x, x), (low, top), (-0.8 * z - 0.5 * thick, -0.8 * z + 0.5 * thick)))
    return union(parts), "two side panels"


def _trestles(d: Draw, half: Pair, top: float) -> tuple[Solid, str]:
    thick = d.real("trestle_thickness", 0.03, 0.07)
    x = half[0] * d.real("trestle_place", 0.5, 0.85)
    spread = half[1] * d.real("trestle_spread", 0.55, 0.95)
    narrow = spread * d.real("trestle_narrowing", 0.05, 0.8)
    leg = beam((x, 0.0, spread), (x, top, narrow), (thick, thick))
    pair = leg + leg.mirror((0.0, 0.0, 1.0))
    height = top * d.real("trestle_bar_height", 0.15, 0.6)
    z = spread + (narrow - spread) * height / top
    bar = box((x - 0.4 * thick, x + 0.4 * thick), (height, height + thick), (-z, z))
    beam_along = box((-x, x), (height, height + thick), (-0.4 * thick, 0.4 * thick))
    return both_sides(pair + bar) + beam_along, "two trestles"


def _crossed(d: Draw, half: Pair, top: float) -> tuple[Solid, str]:
    thick = d.real("leg_thickness", 0.022, 0.06)
    x = half[0] - 0.6 * thick
    z = half[1] * d.real("cross_spread", 0.75, 1.0) - 0.6 * thick
    bar = [beam((x, 0.0, s * z), (x, top, -s * z), (thick, thick)) for s in (1, -1)]
    middle = box(
        (-x, x), (0.5 * top - 0.4 * thick, 0.5 * top + 0.4 * thick), (-0.3 * thick, 0.3 * thick)
    )
    return both_sides(union(bar)) + middle, "crossed legs"


def spread(low: float, high: float, count: int) -> list[float]:
    """Middles of `count` equal pieces of [low, high]."""
    edges = np.linspace(low, high, count + 1)
    return [float(0.5 * (a + b)) for a, b in pairwise(edges)]
