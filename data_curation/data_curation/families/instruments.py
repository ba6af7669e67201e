"""Guitars: body in the x-y plane, neck up, strings to the front (+z)."""

from __future__ import annotations

import numpy as np

from ..primitives import Array, Pair, Solid, both_sides, box, plate, rod, smooth, tube, union
from .draw import NUMBERS, Design, Draw, degree


def guitar(d: Draw) -> Design:
    """Acoustic or electric body, neck, head; cutaway, sound hole, pickups, stand come and go."""
    long, wide = d.real("body_length", 0.38, 0.55), 0.5 * d.real("body_width", 0.27, 0.43)
    electric = d.chance("electric", 0.5)
    thick = d.real("body_thickness", 0.035, 0.06) if electric else d.real("body_depth", 0.08, 0.13)
    outline, words = _electric(d, long, wide) if electric else _acoustic(d, long, wide)
    body = plate(outline, (-thick, 0.0), d.real("edge_rounding", 0.002, 0.012))
    neck, half = d.real("neck_length", 0.34, 0.62), 0.5 * d.real("neck_width", 0.042, 0.062)
    parts, details = [body], [words]
    details += _front(d, parts, electric, long, wide, thick)
    top = long + neck
    parts.append(_neck(d, long, top, half))
    strings, head = _head(d, top, half)
    parts.append(head)
    if words != "a V-shaped body" and d.chance("stand", 0.2):
        parts.append(_stand(d, wide, thick))
        details.append("a stand")
    details.insert(1, f"{NUMBERS[strings]} tuning pegs")
    looks = [
        "electric" if electric else "acoustic",
        degree(neck, 0.42, 0.54, ("short-necked", "", "long-necked")),
    ]
    return Design(parts, looks, details)


def _closed(right: list[Pair], steps: int = 40) -> Array:
    """Outline that mirrors a spline through points of its right side, from bottom to top."""
    edge = smooth(right, steps)
    edge[[0, -1], 0] = 0.0
    return np.concatenate([edge, (edge[1:-1] * (-1.0, 1.0))[::-1]])


def _acoustic(d: Draw, long: float, wide: float) -> tuple[Array, str]:
    waist, upper = d.real("waist", 0.55, 0.9), d.real("upper_bout", 0.62, 0.92)
    at, lower = d.real("waist_height", 0.52, 0.64), d.real("lower_bout_height", 0.22, 0.33)
    right = [
        (0, 0),
        (0.72, 0.05),
        (1, lower),
        (waist, at),
        (upper, 0.83),
        (0.55 * upper, 0.99),
        (0, 1),
    ]
    outline = _closed([(x * wide, y * long) for x, y in right])
    if d.chance("cutaway", 0.4):
        deep = d.real("cutaway_depth", 0.16, 0.3)
        bite = (outline[:, 0] > 0.025) & (outline[:, 1] > (1.0 - deep) * long)
        outline[bite, 1] = np.minimum(
            outline[bite, 1], (1.0 - deep) * long + 0.9 * (outline[bite, 0] - 0.03)
        )
        return outline, "a cutaway body"
    return outline, degree(waist, 0.66, 0.8, ("a narrow waist", "a curved body", "a broad body"))


def _electric(d: Draw, long: float, wide: float) -> tuple[Array, str]:
    kind = d.pick("shape", ("double cutaway", "single cutaway", "V", "explorer", "teardrop"))
    left, right = d.real("left_horn", 0.75, 1.25), d.real("right_horn", 0.7, 1.1)
    waist = d.real("waist", 0.6, 0.85)
    if kind == "V":
        open_, tip = d.real("v_opening", 0.12, 0.35), d.real("v_tip", 0.2, 0.4)
        half = [(0, open_), (1.0 - tip, 0), (1.15, 0.06), (0.28, 0.95), (0.15, 1), (0, 1)]
        points = [(x * wide, y * long) for x, y in half]
        return np.array([*points, *[(-x, y) for x, y in points[1:-1][::-1]]]), "a V-shaped body"
    if kind == "explorer":
        skew = d.real("skew", 0.6, 1.1)
        shape = [
            (-0.5, 0.05),
            (0.3, 0.16),
            (1.25, 0 + 0.1 * skew),
            (0.55, 0.55),
            (0.9 * right, 0.98),
            (0.2, 0.88),
            (-0.2, 0.88),
            (-1.1 * skew, 0.75),
            (-0.6, 0.45),
            (-1.0, 0.2),
        ]
        return np.array(shape) * (wide, long), "an angular body"
    if kind == "teardrop":
        low = d.real("lower_bout_height", 0.25, 0.42)
        half = [(0, 0), (0.7, 0.05), (1, low), (0.6 * waist, 0.75), (0.2, 0.98), (0, 1)]
        return _closed([(x * wide, y * long) for x, y in half]), "a teardrop body"
    neck = 0.028 / wide
    horn_r = [(0.8 * right, 0.86), (0.62 * right, 0.97 * right), (0.3, 0.8), (neck, 0.8)]
    horn_l = [(-neck, 0.82), (-0.3, 0.86), (-0.6 * left, 1.1 * left), (-0.85 * left, 0.9)]
    if kind == "single cutaway":
        horn_l = [(-neck, 0.99), (-0.4, 0.99), (-0.75 * left, 0.92)]
    knots = [
        (0, 0),
        (0.7, 0.04),
        (1, 0.25),
        (waist, 0.58),
        *horn_r,
        *horn_l,
        (-waist, 0.58),
        (-1, 0.27),
        (-0.7, 0.05),
        (0, 0),
    ]
    outline = smooth(knots, 80)[:-1] * (wide, long)
    return outline, f"a {kind} body"


def _front(
    d: Draw, parts: list[Solid], electric: bool, long: float, wide: float, thick: float
) -> list[str]:
    """Bridge, sound hole or pickups, pick guard, knobs."""
    words, bridge = [], long * d.real("bridge_place", 0.2, 0.32)
    pointed = d.values.get("shape") == "V"
    if pointed:
        bridge = max(bridge, long * (float(d.values["v_opening"]) + 0.12))
    w = d.real("bridge_width", 0.06, 0.1) * (1.0 if electric else 1.5)
    parts.append(box((-0.5 * w, 0.5 * w), (bridge - 0.012, bridge + 0.012), (-0.005, 0.012)))
    if electric:
        count = d.whole("pickups", 1, 3)
        for k in range(count):
            y = bridge + 0.05 + 0.055 * k
            parts.append(box((-0.036, 0.036), (y - 0.014, y + 0.014), (-0.005, 0.008)))
        words.append(f"{NUMBERS[count]} pickup{'s' * (count > 1)}")
        knobs, x = d.whole("knobs", 1, 4), (0.75 if pointed else 0.5) * wide
        for k in range(knobs):
            knob = rod((-0.004, 0.016), (0.011, 0.009), 14).rotate((90.0, 0.0, 0.0))
            parts.append(knob.translate((x - 0.022 * k, 0.16 * long + 0.018 * k, 0.0)))
        return words
    radius = d.real("hole_radius", 0.034, 0.056)
    hole = rod((-0.8 * thick, 0.1), (radius, radius), 36).rotate((90.0, 0.0, 0.0))
    parts[0] = parts[0] - hole.translate((0.0, 0.66 * long, 0.0))
    words.append("a round sound hole")
    if d.chance("pick_guard", 0.4):
        ring = [
            (0.03, 0.5 * long),
            (0.4 * wide, 0.42 * long),
            (0.5 * wide, 0.52 * long),
            (0.06, 0.58 * long),
        ]
        parts.append(plate(ring, (-0.003, 0.0035), 0.01))
    return words


def _neck(d: Draw, body: float, top: float, half: float) -> Solid:
    """Fingerboard with frets over a half-round neck, from inside the body to the nut."""
    deep, start = d.real("neck_depth", 0.016, 0.028), body * d.real("fingerboard_start", 0.68, 0.82)
    taper = d.real("neck_taper", 0.75, 0.95)
    edge = [(half, start), (taper * half, top), (-taper * half, top), (-half, start)]
    parts = [plate(edge, (-0.008, 0.009))]
    turn = np.linspace(np.pi, 2.0 * np.pi, 10)
    ring = np.stack([np.cos(turn) * taper * half, np.sin(turn) * deep], axis=1)
    parts.append(
        plate(ring, (0.0, top - 0.9 * body))
        .rotate((-90.0, 0.0, 0.0))
        .scale((1.0, 1.0, -1.0))
        .translate((0.0, 0.9 * body, -0.004))
    )
    scale = 1.9 * (top - start)
    for k in range(1, d.whole("frets", 12, 20)):
        y = top - scale * (1.0 - 2.0 ** (-k / 12.0))
        if y > start + 0.01:
            parts.append(box((-0.7 * half, 0.7 * half), (y - 0.0012, y + 0.0012), (0.005, 0.011)))
    return union(parts)


def _head(d: Draw, top: float, half: float) -> tuple[int, Solid]:
    """Headstock with its pegs, leaning back; returns how many pegs."""
    long, wide = d.real("head_length", 0.12, 0.2), half * d.real("head_width", 1.2, 1.9)
    kind, lean = (
        d.pick("head", ("paddle", "open", "one-sided", "pointed")),
        d.real("head_lean", 4.0, 16.0),
    )
    h = 0.85 * half
    outline = {
        "paddle": [
            (h, -0.01),
            (wide, 0.02),
            (1.05 * wide, long),
            (0, 0.94 * long),
            (-1.05 * wide, long),
            (-wide, 0.02),
            (-h, -0.01),
        ],
        "open": [
            (h, -0.01),
            (wide, 0.025),
            (wide, long),
            (-wide, long),
            (-wide, 0.025),
            (-h, -0.01),
        ],
        "one-sided": [
            (h, -0.01),
            (0.9 * h, 0.3 * long),
            (0.6 * wide, long),
            (-0.4 * wide, 1.05 * long),
            (-wide, 0.05),
            (-h, -0.01),
        ],
        "pointed": [
            (h, -0.01),
            (wide, 0.35 * long),
            (0.0, 1.2 * long),
            (-wide, 0.35 * long),
            (-h, -0.01),
        ],
    }[kind]
    solid = plate(outline, (-0.016, 0.0), 0.002)
    if kind == "open":
        slot = box((0.3 * wide, 0.6 * wide), (0.2 * long, 0.88 * long), (-1.0, 1.0))
        solid = solid - both_sides(slot)
    count = d.whole("peg_rows", 2, 4)
    reach = wide + d.real("peg_reach", 0.015, 0.035)
    for k in range(count):
        y = long * (0.22 + 0.58 * k / (count - 1))
        x = reach if kind != "pointed" else reach * (1.0 - 0.4 * k / count)
        bar = box((-x, x), (y - 0.003, y + 0.003), (-0.011, -0.005))
        ear = box((x - 0.012, x + 0.004), (y - 0.01, y + 0.01), (-0.012, -0.004))
        solid = solid + (bar + both_sides(ear))
    return 2 * count, solid.rotate((-lean, 0.0, 0.0)).translate((0.0, top, 0.006))


def _stand(d: Draw, wide: float, thick: float) -> Solid:
    """Two bent front legs and one behind, carrying the body from below."""
    drop, out = d.real("stand_height", 0.12, 0.22), d.real("stand_width", 0.7, 1.1) * wide
    back = -thick - 0.02
    cradle = [(out, -drop, 0.12), (0.5 * wide, -0.02, back), (0.5 * wide, 0.06, back)]
    leg = tube(smooth(cradle, 12), 0.008, 8)
    hook = box((0.5 * wide - 0.008, 0.5 * wide + 0.008), (0.02, 0.05), (back - 0.004, 0.02))
    bar = box((-0.5 * wide, 0.5 * wide), (0.03, 0.046), (back - 0.008, back + 0.008))
    rear = tube([(0.0, 0.038, back), (0.0, -drop, back - 0.2)], 0.008, 8)
    return both_sides(leg + hook) + bar + rear
