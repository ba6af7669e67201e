"""Chairs, stools, armchairs and sofas."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Pair,
    Solid,
    ball,
    both_sides,
    box,
    lathe,
    lying,
    plate,
    rod,
    soft_box,
    superellipse,
    tube,
    union,
)
from .backs import back
from .draw import NUMBERS, Design, Draw, degree
from .supports import CENTRAL, LEGS, spread, support


def chair(d: Draw) -> Design:
    """Seat, back and support; cushion, armrests and headrest come and go."""
    width, depth = d.real("width", 0.36, 0.58), d.real("depth", 0.36, 0.54)
    height, thick = d.real("seat_height", 0.38, 0.55), d.real("seat_thickness", 0.02, 0.08)
    seat, reach = _seat(d, width, depth, height, thick)
    under, stands = support(
        d,
        reach,
        height - 0.5 * thick,
        (*LEGS, "sled runners", "side panels", *CENTRAL, "crossed legs"),
    )
    tall = d.real("back_height", 0.22, 0.75)
    wide = min(d.real("back_width", 0.7, 1.0) * width, 1.7 * reach[0])
    upright, backed = back(d, wide, tall)
    lean = d.real("back_lean", 0.0, 18.0)
    place = (0.0, height - 0.6 * thick, -reach[1] * 0.95 + 0.02)
    parts = [seat, under, upright.rotate((-lean, 0.0, 0.0)).translate(place)]
    details = [backed, stands]
    if d.chance("cushion", 0.3):
        w, z = 0.92 * reach[0], 0.85 * reach[1]
        soft = d.real("cushion_height", 0.03, 0.07)
        parts.append(soft_box((-w, w), (height - 0.015, height + soft), (-z, z), 0.03))
        details.append("a seat cushion")
    if d.chance("arms", 0.35):
        parts.append(_arms(d, reach, height, thick))
        details.append("armrests")
    looks = [degree(tall, 0.35, 0.6, ("low-backed", "", "high-backed"))]
    return Design(parts, [*looks, degree(width, 0.42, 0.53, ("narrow", "", "wide"))], details)


def _seat(d: Draw, width: float, depth: float, top: float, thick: float) -> tuple[Solid, Pair]:
    """Seat board with its upper face at `top`; also half-widths of a box inside its outline."""
    shape = d.pick("seat", ("square", "trapezoid", "rounded", "round"))
    half = (0.5 * width, 0.5 * depth)
    if shape == "round":
        outline, inside = superellipse(half, 2.0, 36), (0.76 * half[0], 0.76 * half[1])
    elif shape == "rounded":
        outline, inside = (
            superellipse(half, d.real("seat_squareness", 3.0, 6.0), 36),
            (
                0.88 * half[0],
                0.88 * half[1],
            ),
        )
    else:
        rear = d.real("seat_narrowing", 0.7, 0.9) if shape == "trapezoid" else 1.0
        x, z = half
        outline = np.array([(x, -z), (rear * x, z), (-rear * x, z), (-x, -z)])  # plate y is -z
        inside = (rear * x, z)
    return lying(plate(outline, (0.0, thick)), top - thick), inside


def _arms(d: Draw, half: Pair, seat: float, thick: float) -> Solid:
    rise = d.real("arm_height", 0.16, 0.28)
    wide = d.real("arm_width", 0.025, 0.07)
    front = half[1] * d.real("arm_length", 0.3, 1.0)
    x = half[0] - 0.01
    rest = soft_box((x, x + wide), (seat + rise - 0.03, seat + rise), (-half[1], front), 0.012, 8)
    post = box(
        (x + 0.002, x + 0.03), (seat - thick, seat + rise - 0.01), (front - 0.04, front - 0.01)
    )
    rear = box(
        (x + 0.002, x + 0.03), (seat - thick, seat + rise - 0.01), (-half[1], 0.035 - half[1])
    )
    hold = box(
        (x - 0.06, x + 0.03), (seat - 0.8 * thick, seat - 0.2 * thick), (front - 0.05, front)
    )
    return both_sides(
        union([rest, post, rear, hold, hold.translate((0.0, 0.0, -front - half[1] + 0.05))])
    )


def stool(d: Draw) -> Design:
    """Seat without a back on legs or a column; foot ring, cushion and low back come and go."""
    height, thick = d.real("seat_height", 0.3, 0.85), d.real("seat_thickness", 0.02, 0.07)
    width = d.real("width", 0.26, 0.5)
    seat, reach = _seat(d, width, width * d.real("proportion", 0.65, 1.1), height, thick)
    kinds = (*LEGS, *LEGS, *CENTRAL, "sled runners", "side panels", "crossed legs")
    under, stands = support(d, reach, height - 0.5 * thick, kinds)
    parts, details = [seat, under], [stands]
    if d.chance("cushion", 0.4):
        soft = d.real("cushion_height", 0.03, 0.12)
        soft = min(soft, 0.6 * min(reach))
        parts.append(ball((0.0, height - 0.005, 0.0), (0.95 * reach[0], soft, 0.95 * reach[1]), 28))
        details.append("a domed cushion")
    if d.chance("low_back", 0.25):
        tall = d.real("back_height", 0.1, 0.25)
        upright, _ = back(d, 1.6 * reach[0], tall, ("panel", "slats", "ladder"))
        parts.append(upright.translate((0.0, height - 0.6 * thick, 0.02 - 0.95 * reach[1])))
        details.append("a low back")
    if d.values["support"] in CENTRAL and height > 0.5 and d.chance("foot_ring", 0.7):
        parts.append(_foot_ring(d, reach, height))
        details.append("a foot ring")
    return Design(parts, [degree(height, 0.42, 0.62, ("low", "", "tall"))], details)


def _foot_ring(d: Draw, half: Pair, height: float) -> Solid:
    radius = min(half) * d.real("ring_radius", 0.75, 1.0)
    y, r = height * d.real("ring_height", 0.3, 0.45), 0.011
    turn = np.linspace(0.0, 2.0 * np.pi, 9)[:-1]
    section = np.stack([radius + r * np.cos(turn), y + r * np.sin(turn)], axis=1)
    spoke = box((-radius, radius), (y - 0.8 * r, y + 0.8 * r), (-0.8 * r, 0.8 * r))
    return lathe(section, 32) + spoke + spoke.rotate((0.0, 90.0, 0.0))


def armchair(d: Draw) -> Design:
    """One upholstered seat: block, wing, barrel or wooden frame."""
    kind = d.pick("build", ("club", "wing", "barrel", "frame"))
    seat = d.real("seat_width", 0.45, 0.68)
    if kind == "barrel":
        return _barrel(d, seat)
    if kind == "frame":
        return _lounge(d, seat)
    design, body = _upholstered(d, seat, 1)
    if kind == "wing":
        deep, drop = d.real("wing_depth", 0.12, 0.3), d.real("wing_drop", 0.01, 0.12)
        thick = d.real("wing_thickness", 0.04, 0.09)
        x, z = (body[0] - thick, body[0] + 0.01), (body[2] - 0.15, body[2] + deep)
        wing = soft_box(x, (body[3] + 0.04, body[1] - drop), z, 0.04)
        design.parts.append(both_sides(wing))
        design.details.insert(0, "wings beside the head")
    return design


def sofa(d: Draw) -> Design:
    """Two to four upholstered seats; a chaise, pillows and legs come and go."""
    count = d.whole("seats", 2, 4)
    seat = d.real("seat_width", 0.5, 0.72)
    design, body = _upholstered(d, seat * count, count)
    design.details.insert(0, f"{NUMBERS[count]} seats")
    if d.chance("chaise", 0.35):
        long, side = d.real("chaise_length", 0.45, 0.85), 1 if d.chance("chaise_left", 0.5) else -1
        x = sorted((side * (0.5 * count - 1.0) * seat, side * 0.5 * count * seat))
        z = -body[2] - 0.25
        low, high = body[3] - 0.01, body[4] + 0.05
        design.parts.append(soft_box((x[0], x[1]), (low, high), (z - 0.1, -body[2] + long), 0.04))
        leg = box((-0.03, 0.03), (0.0, low + 0.05), (-0.03, 0.03))
        design.parts.append(leg.translate((x[0] + 0.08, 0.0, long - body[2] - 0.08)))
        design.parts.append(leg.translate((x[1] - 0.08, 0.0, long - body[2] - 0.08)))
        design.details.insert(1, "a chaise")
    return design


def _upholstered(d: Draw, inner: float, seats: int) -> tuple[Design, tuple[float, ...]]:
    """Base, back, arms and cushions around a seat `inner` wide.

    Returns also (half-width of the back, its top, its front z, underside and top of the base).
    """
    deep, base = d.real("depth", 0.65, 0.98), d.real("base_height", 0.1, 0.26)
    lift = d.real("leg_height", 0.0, 0.2)
    lift = lift if lift > 0.04 else 0.0
    soft, round_ = d.real("cushion_height", 0.08, 0.2), d.real("rounding", 0.012, 0.09)
    tall, thick = d.real("back_height", 0.3, 0.75), d.real("back_thickness", 0.1, 0.26)
    half, z = 0.5 * inner, 0.5 * deep
    top = lift + base + soft
    frame = soft_box((-half - 0.02, half + 0.02), (lift, lift + base), (-z, z), 0.02)
    rest = soft_box((-half - 0.03, half + 0.03), (lift + 0.02, top + tall), (-z, thick - z), round_)
    hinge = (0.0, -lift, z)
    lean = d.real("back_lean", 0.0, 14.0)
    tilted = rest.translate(hinge).rotate((-lean, 0.0, 0.0)).translate((0.0, lift, -z))
    parts = [frame, tilted + box((-half, half), (lift + 0.02, lift + base), (-z, thick - z))]
    gap = d.real("cushion_gap", 0.0, 0.03)
    for x in spread(-half, half, seats):
        w = half / seats - 0.5 * gap
        cushion = ((x - w, x + w), (lift + base - 0.02, top), (-z + 0.6 * thick, z + 0.02))
        parts.append(soft_box(*cushion, min(0.05, 0.4 * soft)))
    arms, words = _sides(d, half, (lift, top), (-z, z), round_)
    parts += arms
    if lift:
        parts.append(_short_legs(d, half, z, lift))
    if d.chance("pillows", 0.35):
        parts += _pillows(d, half, top, thick - z)
    looks = [degree(tall, 0.4, 0.6, ("low-backed", "", "high-backed"))]
    looks.append("soft" if round_ > 0.06 else "boxy" if round_ < 0.03 else "")
    details = [words, "legs" if lift else "a base down to the floor"]
    return Design(parts, looks, details), (half + 0.03, top + tall, thick - z, lift, lift + base)


def _sides(d: Draw, half: float, y: Pair, z: Pair, rounding: float) -> tuple[list[Solid], str]:
    style = d.pick("arms", ("block", "rolled", "sloped", "thin", "none"))
    wide = d.real("arm_width", 0.08, 0.26)
    rise = d.real("arm_height", 0.08, 0.28)
    x = (half - 0.02, half + wide)
    if style == "none":
        return [], "no arms"
    if style == "rolled":
        r = 0.5 * wide + 0.02
        roll = rod((z[0] + 0.03, z[1]), (r, r), 24).rotate((90.0, 0.0, 0.0))
        roll = roll.translate((half + 0.5 * wide, y[1] + rise - r, 0.0)).scale((1.0, 1.0, -1.0))
        block = box((x[0], x[1] - 0.3 * wide), (y[0], y[1] + rise - r), (z[0] + 0.03, z[1] - 0.01))
        return [both_sides(roll + block)], "rolled arms"
    if style == "sloped":
        low = y[1] + d.real("arm_front", 0.0, 0.08)
        outline = [(z[0], y[0]), (z[1], y[0]), (z[1], low), (z[0], y[1] + rise + 0.1)]
        slab = plate([(-a, b) for a, b in outline], (0.0, x[1] - x[0]), 0.02)
        return [
            both_sides(slab.rotate((0.0, 90.0, 0.0)).translate((x[0], 0.0, 0.0)))
        ], "sloping arms"
    if style == "thin":
        x = (half - 0.02, half + 0.05)
    slab = soft_box(x, (y[0], y[1] + rise), z, rounding)
    return [both_sides(slab)], "thin arms" if style == "thin" else "block arms"


def _short_legs(d: Draw, half: float, z: float, lift: float) -> Solid:
    r = d.real("leg_thickness", 0.02, 0.045)
    narrow = d.real("leg_taper", 0.4, 1.0)
    leg = rod((0.0, lift + 0.05), (narrow * r, r), 12)
    row = both_sides(leg.translate((half - 0.06, 0.0, z - 0.08)))
    return row + both_sides(leg.translate((half - 0.06, 0.0, 0.08 - z)))


def _pillows(d: Draw, half: float, seat: float, z: float) -> list[Solid]:
    count = d.whole("pillow_count", 1, 3)
    size = d.real("pillow_size", 0.16, 0.24)
    one = soft_box((-size, size), (-size, size), (-0.07, 0.07), 0.06).rotate((-15.0, 0.0, 0.0))
    spots = spread(-half, half, 3)[:: 1 if count == 3 else 2][:count]
    return [one.translate((x, seat + 0.9 * size, z + 0.09)) for x in spots]


def _barrel(d: Draw, seat: float) -> Design:
    """Round seat inside a wall that runs round the back and slopes down to the arms."""
    radius, thick = 0.5 * seat + 0.04, d.real("wall_thickness", 0.04, 0.2)
    lift = d.real("leg_height", 0.05, 0.2) if d.chance("legs", 0.6) else 0.0
    base, tall = lift + d.real("base_height", 0.15, 0.3), d.real("back_height", 0.2, 0.85)
    arm = min(d.real("arm_height", 0.0, 0.24), 0.8 * tall)
    outer = radius + thick
    wall = lathe([(radius, lift), (outer, lift), (outer, base + tall), (radius, base + tall)], 40)
    open_ = d.real("opening", 0.55, 0.9) * radius
    front = box((-open_, open_), (-1.0, 3.0), (0.0, 2.0))
    slope = [
        (-0.2 * outer, base + tall),
        (outer * 1.1, base + arm),
        (2.0, base + arm),
        (2.0, 4.0),
        (-0.2 * outer, 4.0),
    ]
    above = plate([(-a, b) for a, b in slope], (-1.0, 1.0)).rotate((0.0, 90.0, 0.0))
    floor = rod((lift, base), (radius + 0.02, radius + 0.02), 40)
    soft = d.real("cushion_height", 0.06, 0.14)
    round_ = d.real("cushion_squareness", 2.0, 4.0)
    cushion = lying(
        plate(superellipse((0.97 * radius, 0.97 * radius), round_, 40), (0.0, soft)), base - 0.01
    )
    cushion = cushion ^ rod((0.0, 2.0), (radius + 0.01, radius + 0.01), 40)
    parts = [wall - front - above, floor, cushion]
    if lift:
        r = d.real("leg_thickness", 0.018, 0.04)
        out = 0.62 * radius
        leg = rod((0.0, lift + 0.02), (0.7 * r, r), 12)
        parts += [leg.translate((sx * out, 0.0, sz * out)) for sx in (1, -1) for sz in (1, -1)]
    look = degree(tall, 0.33, 0.45, ("low", "", "high"))
    return Design(
        parts, [look, "round"], ["a curved back that wraps the seat", "legs" if lift else ""]
    )


def _lounge(d: Draw, seat: float) -> Design:
    """Bent frame of tubes with a seat and a back cushion."""
    half, r = 0.5 * seat + 0.03, 0.5 * d.real("frame_thickness", 0.022, 0.05)
    deep, height = d.real("depth", 0.6, 0.85), d.real("seat_height", 0.3, 0.42)
    rise, lean = d.real("arm_height", 0.14, 0.26), d.real("back_lean", 15.0, 38.0)
    z, arm = 0.5 * deep, height + rise
    splay = d.real("leg_splay", 0.0, 0.14)
    hoop = [
        (half, r, z + splay),
        (half, arm - 0.05, z),
        (half, arm, z - 0.05),
        (half, arm, 0.05 - z),
    ]
    hoop += [(half, arm - 0.05, -z), (half, r, -z - splay)]
    cross = [
        tube([(-half, height - 0.06, s * 0.8 * z), (half, height - 0.06, s * 0.8 * z)], r, 8)
        for s in (1, -1)
    ]
    low = height - 0.06
    foot = z + splay * (1.0 - low / arm)
    ties = box((half - 0.8 * r, half + 0.8 * r), (low - r, low + r), (-foot, foot))
    parts = [both_sides(tube(hoop, r, 10) + ties), *cross]
    soft, tall = d.real("cushion_height", 0.08, 0.16), d.real("back_height", 0.45, 0.75)
    inner = half - r - 0.004
    parts.append(soft_box((-inner, inner), (height - 0.07, height - 0.07 + soft), (-z, z), 0.04))
    rest = soft_box((-inner, inner), (0.0, tall), (-0.5 * soft, 0.5 * soft), 0.04)
    parts.append(rest.rotate((-lean, 0.0, 0.0)).translate((0.0, height - 0.05, 0.05 - 0.8 * z)))
    hold = tube([(-half, arm, 0.05 - z), (half, arm, 0.05 - z)], r, 8)
    parts.append(hold)
    if d.chance("head_pillow", 0.4):
        pillow = soft_box(
            (-0.7 * inner, 0.7 * inner), (tall - 0.12, tall + 0.05), (0.0, soft), 0.05
        )
        parts.append(
            pillow.rotate((-lean, 0.0, 0.0)).translate((0.0, height - 0.05, 0.05 - 0.8 * z))
        )
    return Design(
        parts,
        ["reclined", degree(lean, 20, 30, ("", "", "deep"))],
        ["a bent tube frame", "loose cushions"],
    )
