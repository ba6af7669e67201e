"""Cars, from the small hatchback to the lorry, their nose to +z."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Array,
    Pair,
    Solid,
    ball,
    both_sides,
    box,
    hull,
    plate,
    rod,
    soft_box,
    union,
)
from .draw import Design, Draw, degree

LENGTHS = {
    "saloon": (3.7, 5.4),
    "hatchback": (2.7, 4.4),
    "off-roader": (3.0, 5.0),
    "pickup": (4.4, 5.8),
    "van": (3.8, 6.4),
    "sports car": (3.7, 4.9),
    "cabriolet": (3.2, 4.9),
    "lorry": (5.0, 8.5),
}
LARGE_WHEELS = {"off-roader": 1.45, "pickup": 1.25, "lorry": 1.3}
CABIN_ENDS = {  # front and rear of the cabin at the belt line, as shares of the length
    "saloon": (0.18, -0.3),
    "hatchback": (0.2, -0.46),
    "off-roader": (0.2, -0.48),
    "pickup": (0.2, -0.08),
    "van": (0.4, -0.49),
    "sports car": (0.12, -0.34),
    "cabriolet": (0.14, -0.25),
    "lorry": (0.46, 0.22),
}


def car(d: Draw) -> Design:
    """Lower body, cabin and wheels; spoiler, roof rack, spare wheel, mirrors come and go."""
    kind = d.pick("build", tuple(LENGTHS))
    length, wide = d.real("length", *LENGTHS[kind]), 0.5 * d.real("width", 1.35, 2.1)
    r = d.real("wheel_radius", 0.26, 0.4) * LARGE_WHEELS.get(kind, 1.0)
    clear = r * d.real("clearance", 0.5, 1.0)
    belt = clear + d.real("body_height", 0.4, 0.75) * (0.8 if kind == "sports car" else 1.0)
    tyre = d.real("tyre_width", 0.14, 0.28)
    front, rear = d.real("front_overhang", 0.13, 0.21), d.real("rear_overhang", 0.14, 0.23)
    axles = ((0.5 - front) * length, (rear - 0.5) * length)
    body = _car_body(d, kind, length, wide, (clear, belt))
    arch = both_sides(union([_wheel(1.12 * r, 0.3, z, wide + 0.05, r) for z in axles]))
    parts = [body - arch]
    details = [_cabin(d, parts, kind, length, wide, belt)]
    for z in axles:
        parts.append(both_sides(_wheel(r, tyre, z, wide, r)))
        parts.append(
            rod((-wide + 0.05, wide - 0.05), (0.07, 0.07), 10)
            .rotate((0, 0, 90))
            .translate((0, r, z))
        )
        parts.append(box((-0.08, 0.08), (r, belt - 0.15), (z - 0.06, z + 0.06)))
    details += _car_extras(d, parts, kind, length, wide, (clear, belt))
    looks = [
        kind if kind != "hatchback" else "compact",
        degree(length, 3.9, 4.9, ("short", "", "long")),
    ]
    return Design(parts, looks, details)


def _wheel(radius: float, thick: float, z: float, outside: float, axle: float) -> Solid:
    """Disc with its outer face at x = `outside`."""
    disc = rod((0.0, thick), (radius, radius), 28).rotate((0.0, 0.0, 90.0))
    return disc.translate((outside, axle, z))


def _side(outline: Array | list[Pair], wide: float, rounding: float) -> Solid:
    """Solid between x = -wide and wide of an outline given as (z, y)."""
    turned = [(-z, y) for z, y in outline]
    return plate(turned, (-wide, wide), rounding).rotate((0.0, 90.0, 0.0))


def _car_body(d: Draw, kind: str, length: float, wide: float, y: Pair) -> Solid:
    low, belt = y
    nose, tail = d.real("nose_height", 0.55, 0.95), d.real("tail_height", 0.7, 1.0)
    if kind == "van":
        nose, tail = max(nose, 0.8), 1.0
    height, h = belt - low, 0.5 * length
    outline = [(h - 0.03, low), (h, low + 0.35 * height), (h - 0.06, low + nose * height)]
    outline += [(0.22 * length, belt), (-0.3 * length, belt), (0.06 - h, low + tail * height)]
    outline += [(-h, low + 0.4 * height), (0.05 - h, low)]
    round_ = d.real("body_rounding", 0.03, 0.12)
    narrow = d.real("plan_curve", 0.03, 0.22)
    plan = np.linspace(-1.0, 1.0, 21)
    edge = np.stack([wide * (1 - narrow * np.abs(plan) ** 4), plan * h * 1.01], axis=1)
    shape = plate(np.concatenate([edge, (edge * (-1.0, 1.0))[::-1]]), (-0.1, 3.0)).rotate(
        (-90.0, 0.0, 0.0)
    )
    return _side(outline, wide, round_) ^ shape


def _cabin(d: Draw, parts: list[Solid], kind: str, length: float, wide: float, belt: float) -> str:
    taller = {"van": 1.9, "sports car": 0.75, "off-roader": 1.2, "lorry": 2.0}
    tall = d.real("cabin_height", 0.38, 0.68) * taller.get(kind, 1.0)
    screen, slope = d.real("screen_slope", 0.2, 0.75), d.real("rear_slope", 0.05, 0.8)
    floor = max(belt - 0.35, 0.5 * (belt + parts[0].bounding_box()[1]))  # of a pit or load bed
    ends = CABIN_ENDS[kind]
    front, rear = ends[0] * length, ends[1] * length
    tuck = d.real("cabin_tuck", 0.04, 0.2)
    if kind == "cabriolet":
        pit = soft_box((0.14 - wide, wide - 0.14), (floor, belt + 1.0), (rear, front - 0.25), 0.08)
        parts[0] = parts[0] - pit
        glass = _side(
            [
                (front, belt - 0.05),
                (front + 0.06, belt - 0.05),
                (front - 0.5 * tall, belt + 0.75 * tall),
            ],
            wide - 0.1,
            0.0,
        )
        seat = soft_box((0.12, 0.55), (floor - 0.02, belt + 0.3), (rear + 0.35, rear + 0.55), 0.06)
        parts += [glass, both_sides(seat)]
        return "an open top"
    roof = max(0.25 * (front - rear), front - rear - (screen + slope) * tall)
    share = (front - rear - roof) / ((screen + slope) * tall)
    low = [(x, belt - 0.06, z) for x in (-wide + 0.05, wide - 0.05) for z in (rear, front)]
    top = [
        (x, belt + tall, z)
        for x in (-wide + 0.05 + tuck, wide - 0.05 - tuck)
        for z in (rear + slope * tall * share, front - screen * tall * share)
    ]
    knob = ball((0.0, 0.0, 0.0), (0.05, 0.05, 0.05), 12)
    parts.append(hull([knob.translate(p) for p in (*low, *top)]))
    if kind == "lorry":
        load, out = d.real("cargo_height", 0.9, 2.3), wide + d.real("cargo_overhang", -0.1, 0.12)
        z = (-0.495 * length, d.real("cargo_front", 0.12, 0.22) * length)
        parts.append(soft_box((-out, out), (belt - 0.15, belt + load), z, 0.04))
        return "a cargo box"
    if kind == "pickup":
        bed = box((0.1 - wide, wide - 0.1), (floor, belt + 1.0), (0.08 - 0.5 * length, rear - 0.08))
        parts[0] = parts[0] - bed
        return "a load bed"
    return {"van": "a tall cabin", "off-roader": "an upright cabin"}.get(kind, "a closed cabin")


def _car_extras(
    d: Draw, parts: list[Solid], kind: str, length: float, wide: float, y: Pair
) -> list[str]:
    words, (low, belt), h = [], y, 0.5 * length
    top = parts[1].bounding_box()[4]
    if d.chance("bumpers", 0.5):
        out = d.real("bumper_depth", 0.06, 0.16)
        bar = soft_box((0.05 - wide, wide - 0.05), (low, low + 0.2), (h - 0.2, h + out), 0.05)
        parts += [bar, bar.mirror((0.0, 0.0, 1.0))]
        words.append("bumpers")
    if kind not in ("cabriolet", "pickup", "lorry") and d.chance("roof_rack", 0.25):
        z = (-0.22 * length, 0.02 * length)
        load = d.real("roof_load", 0.1, 0.4)
        parts.append(soft_box((-0.5 * wide, 0.5 * wide), (top - 0.06, top + load), z, 0.06))
        words.append("a roof box")
    if kind in ("saloon", "sports car", "hatchback") and d.chance("spoiler", 0.35):
        rise, deep = d.real("spoiler_height", 0.12, 0.35), d.real("spoiler_depth", 0.15, 0.35)
        z = (0.12 - h, 0.12 - h + deep)
        parts.append(box((0.1 - wide, wide - 0.1), (belt + rise - 0.05, belt + rise), z))
        parts.append(
            both_sides(
                box(
                    (0.6 * wide, 0.6 * wide + 0.05),
                    (low + 0.2, belt + rise - 0.02),
                    (z[0], z[0] + 0.12),
                )
            )
        )
        words.append("a spoiler")
    if kind == "off-roader" and d.chance("spare_wheel", 0.5):
        spare = rod((-0.12, 0.25), (0.33, 0.33), 24).rotate((-90.0, 0.0, 0.0))
        parts.append(spare.translate((0.0, belt - 0.05, -h + 0.03)))
        words.append("a spare wheel at the back")
    if d.chance("mirrors", 0.6):
        mirror = soft_box(
            (wide - 0.12, wide + 0.18),
            (belt - 0.04, belt + 0.1),
            (0.12 * length, 0.12 * length + 0.1),
            0.03,
        )
        parts.append(both_sides(mirror))
        words.append("mirrors")
    return words
