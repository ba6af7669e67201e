"""Desk lamps and floor lamps."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Point,
    Solid,
    around,
    ball,
    lathe,
    lying,
    plate,
    rod,
    smooth,
    soft_box,
    superellipse,
    tube,
)
from .draw import NUMBERS, Design, Draw, degree


def desk_lamp(d: Draw) -> Design:
    """Base, arm (gooseneck, jointed or straight) and a tilted shade; switch and cap vary."""
    reach, height = d.real("reach", 0.1, 0.4), d.real("height", 0.22, 0.55)
    thick = 0.5 * d.real("arm_thickness", 0.009, 0.024)
    base, tall, words = _base(d, d.real("base_radius", 0.06, 0.13))
    kind = d.pick("arm", ("gooseneck", "jointed", "jointed", "straight"))
    broad = d.values["base"] in ("disc", "square")
    start = (-d.real("arm_offset", 0.0, 0.045) if broad else 0.0, tall - 0.005, 0.0)
    end = (reach, tall + height, 0.0)
    arm = _arm(d, kind, start, end, thick)
    size = d.real("shade_size", 0.045, 0.12)
    shade, shaded = _shade(d, size, ("cone", "dome", "cylinder", "bar", "disc"))
    tilt = d.real("shade_tilt", -15.0, 65.0)
    parts = [base, arm, shade.rotate((0.0, 0.0, tilt)).translate(end)]
    parts.append(ball(end, (1.6 * thick + 0.004,) * 3, 16))
    if broad and d.chance("switch", 0.6):
        at = d.real("switch_place", 0.2, 0.6) * size
        parts.append(
            rod((tall - 0.004, tall + 0.02), (0.012, 0.009), 12).translate((-0.02, 0.0, at))
        )
    look = degree(height, 0.3, 0.45, ("small", "", "tall"))
    details = [
        {"gooseneck": "a gooseneck", "jointed": "a jointed arm", "straight": "a straight arm"}[kind]
    ]
    return Design(parts, [look], [*details, shaded, words])


def _base(d: Draw, radius: float) -> tuple[Solid, float, str]:
    """Foot of a lamp about the y axis, its height, its words."""
    height = d.real("base_height", 0.012, 0.05)
    kind = d.pick("base", ("disc", "dome", "square", "tripod"))
    if kind == "disc":
        return rod((0.0, height), (radius, radius * 0.95), 36), height, "a disc base"
    if kind == "dome":
        knots = [(radius, 0.0), (0.92 * radius, 0.5 * height), (0.4 * radius, 1.6 * height)]
        profile = [(0.0, 0.0), *smooth(knots, 12), (0.0, 1.7 * height)]
        return lathe(profile, 36), 1.65 * height, "a domed base"
    if kind == "square":
        corner = d.real("base_squareness", 4.0, 9.0)
        outline = superellipse((radius, radius * 0.8), corner, 32)
        return lying(plate(outline, (0.0, height))), height, "a square base"
    foot = tube(
        [(0.0, 1.8 * height, 0.0), (0.6 * radius, height, 0.0), (1.25 * radius, 0.008, 0.0)],
        0.008,
        8,
    )
    return (
        around(foot, 3, 60.0) + rod((0.9 * height, 2.0 * height), (0.014, 0.012), 16),
        1.9 * height,
        "three feet",
    )


def _arm(d: Draw, kind: str, start: Point, end: Point, r: float) -> Solid:
    a, b = np.array(start), np.array(end)
    if kind == "straight":
        return tube([a, b], r, 12)
    if kind == "gooseneck":
        bow, over = d.real("neck_bow", 0.0, 0.25), d.real("neck_over", 0.05, 0.3)
        lift = b[1] - a[1]
        knots = [
            a,
            a + np.array((-bow * lift, 0.5 * lift, 0.0)),
            0.5 * (a + b) + (0.0, (0.5 + over) * lift, 0.0),
            b,
        ]
        return tube(smooth(knots, 28), r, 12)
    bend = d.real("elbow_back", 0.05, 0.35)
    lift = float(b[1] - a[1])
    elbow = a + np.array((-bend * lift, d.real("elbow_height", 0.5, 1.1) * lift, 0.0))
    joint = rod((-2.2 * r, 2.2 * r), (2.0 * r, 2.0 * r), 16).rotate((90.0, 0.0, 0.0))
    parts = joint.translate(tuple(elbow)) + joint.translate((a[0], a[1] + r, 0.0))
    if d.chance("double_rods", 0.5):
        side = np.array((0.0, 0.0, 1.4 * r))
        for s in (-1, 1):
            parts += tube([a + s * side, elbow + s * side], 0.6 * r, 8)
            parts += tube([elbow + s * side, b + s * side], 0.6 * r, 8)
        return parts
    return parts + tube([a, elbow], r, 12) + tube([elbow, b], r, 12)


def _shade(d: Draw, size: float, kinds: tuple[str, ...]) -> tuple[Solid, str]:
    """Shade that hangs below the origin (its neck) and opens downwards, and its words."""
    kind = d.pick("shade", kinds)
    high = size * d.real("shade_height", 0.9, 1.9)
    neck = size * d.real("shade_neck", 0.25, 0.7)
    wall = 0.06 * size + 0.002
    if kind == "bar":
        wide = d.real("shade_length", 1.5, 3.2) * size
        return soft_box(
            (-0.3 * size, wide), (-0.02, 0.01), (-0.025, 0.025), 0.008
        ), "a bar-shaped head"
    if kind == "disc":
        flat = 0.2 * size
        return rod((-flat, 0.3 * flat), (1.1 * size, 1.1 * size), 36), "a flat round head"
    if kind == "globe":
        return ball((0.0, -0.7 * size, 0.0), (size, 0.9 * size, size), 24), "a globe"
    outer = {
        "cone": [(neck, 0.006), (size, -high)],
        "cylinder": [(0.75 * size, 0.006), (0.75 * size, -high)],
        "drum": [(0.85 * size, 0.006), (size, -0.8 * high)],
        "dome": smooth([(neck, 0.006), (0.8 * size, -0.3 * high), (size, -0.75 * high)], 9),
        "bell": smooth([(neck, 0.006), (0.55 * size, -0.5 * high), (size, -high)], 9),
        "bowl": smooth(
            [(0.25 * size, -0.35 * high), (0.8 * size, -0.1 * high), (size, 0.25 * high)], 12
        ),
    }[kind]
    out = np.asarray(outer, np.float64)
    start = float(out[0, 1])
    floor = start + (wall if kind == "bowl" else -wall)
    inner = out[np.abs(out[:, 1] - start) > 1.2 * wall] - np.array((wall, 0.0))
    hub = [(float(out[0, 0]) - wall, floor), (0.0, floor)]
    ring = np.concatenate([[(0.0, start)], out, inner[::-1], hub])
    return lathe(ring, 28), f"a {kind} shade"


def floor_lamp(d: Draw) -> Design:
    """Tall pole, arch or tripod with one or several shades; tray and reading arm vary."""
    height, size = d.real("height", 1.15, 1.95), d.real("shade_size", 0.11, 0.32)
    r = 0.5 * d.real("pole_thickness", 0.016, 0.045)
    build = d.pick("build", ("pole", "arch", "tripod", "branched", "uplight"))
    shade, shaded = _shade(
        d, size, ("bowl",) if build == "uplight" else ("cone", "drum", "dome", "bell", "globe")
    )
    radius = d.real("base_radius", 0.1, 0.2)
    if build == "tripod":
        return _tripod(d, height, r, shade, shaded)
    base, tall, words = _base(d, radius)
    details = [shaded, words]
    if build == "arch":
        span, rise = d.real("arch_span", 0.5, 1.2), d.real("arch_rise", 0.08, 0.3)
        knots = [
            (0, tall - 0.01),
            (0.02, 0.55 * height),
            (0.45 * span, height + rise),
            (span, height),
        ]
        path = [(x, y, 0.0) for x, y in smooth(knots, 40)]
        parts = [base, tube(path, r, 12), shade.translate((span, height, 0.0))]
        return Design(
            [*parts, ball((span, height, 0.0), (2 * r, 2 * r, 2 * r), 16)], ["arched"], details
        )
    parts = [base, _pole(d, tall - 0.01, height, r)]
    if build == "branched":
        parts.append(_branches(d, height, r, shade, size))
        details[0] = details[0] + " on each branch"
    else:
        parts.append(shade.translate((0.0, height, 0.0)))
    if d.chance("tray", 0.25):
        y, wide = height * d.real("tray_height", 0.3, 0.5), d.real("tray_radius", 0.14, 0.26)
        parts.append(rod((y, y + 0.02), (wide, wide), 36))
        details.append("a tray on its pole")
    if build == "pole" and d.chance("reading_arm", 0.3):
        y, out = height * d.real("reading_height", 0.5, 0.72), d.real("reading_reach", 0.2, 0.4)
        parts.append(tube([(0.0, y, 0.0), (0.6 * out, y + 0.08, 0.0), (out, y, 0.0)], 0.01, 8))
        small = lathe([(0.0, 0.01), (0.03, 0.01), (0.075, -0.1), (0.068, -0.1), (0.0, -0.004)], 24)
        parts.append(small.translate((out, y, 0.0)))
        details.append("a reading light")
    look = "slender" if r < 0.014 else ""
    return Design(parts, ["upward-shining" if build == "uplight" else look or "tall"], details)


def _pole(d: Draw, low: float, high: float, r: float) -> Solid:
    if d.chance("turned_pole", 0.35):
        swell = d.real("pole_swell", 1.3, 2.6)
        knots = [(1.3, 0), (1, 0.1), (swell, 0.25), (1, 0.4), (1, 0.7), (0.7 * swell, 0.8), (1, 1)]
        return lathe(
            [(0.0, low), *(smooth(knots, 40) * (r, high - low) + (0.0, low)), (0.0, high)], 16
        )
    return rod((low, high), (r, r), 16)


def _tripod(d: Draw, height: float, r: float, shade: Solid, shaded: str) -> Design:
    count, out = d.whole("feet", 3, 4), d.real("foot_reach", 0.22, 0.42)
    hub = height * d.real("hub_height", 0.72, 0.95)
    leg = tube([(out, 0.0, 0.0), (0.0, hub, 0.0)], [0.7 * r + 0.004, r + 0.004], 10)
    parts = [around(leg, count, 30.0), rod((hub - 0.06, height), (r + 0.006, r), 16)]
    parts.append(shade.translate((0.0, height, 0.0)))
    details = [shaded, f"{NUMBERS[count]} long legs"]
    if d.chance("leg_ring", 0.4):
        y = d.real("ring_height", 0.25, 0.5) * hub
        parts.append(rod((y, y + 0.015), (out * (1.0 - y / hub) + 0.01,) * 2, 36))
        details.append("a small shelf between them")
    return Design(parts, ["tripod"], details)


def _branches(d: Draw, height: float, r: float, shade: Solid, size: float) -> Solid:
    count, out = d.whole("branches", 2, 5), d.real("branch_reach", 0.16, 0.4)
    rise, droop = d.real("branch_rise", 0.05, 0.25), d.real("branch_tilt", -20.0, 50.0)
    scale = min(0.75, 0.8 * out / size)
    path = [(0.0, height - 0.15), (0.4 * out, height - 0.1 + rise), (out, height - 0.1)]
    arm = tube([(x, y, 0.0) for x, y in smooth(path, 12)], 0.7 * r + 0.002, 8)
    head = shade.scale((scale,) * 3).rotate((0.0, 0.0, droop)).translate((out, height - 0.1, 0.0))
    return around(arm + head + ball((out, height - 0.1, 0.0), (0.018,) * 3, 12), count)
