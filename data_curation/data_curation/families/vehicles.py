"""Airplanes and cars; the nose of both points to +z."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Array,
    Pair,
    Solid,
    around,
    ball,
    beam,
    both_sides,
    box,
    hull,
    loft,
    plate,
    rod,
    soft_box,
    superellipse,
    union,
)
from .draw import NUMBERS, Design, Draw, degree


def airplane(d: Draw) -> Design:
    """Fuselage, wings, tail and engines; biplane, floats, gear, winglets come and go."""
    length, fat = d.real("length", 7.0, 40.0), d.real("fuselage_ratio", 0.075, 0.15)
    radius = 0.5 * fat * length
    build = d.pick("build", ("jet", "jet", "propeller", "glider", "fighter"))
    body = _fuselage(d, length, radius)
    parts, details = [body], []
    tall = {"low": -0.55, "mid": 0.0, "high": 0.75}
    mount = d.pick("wing_mount", ("low", "mid", "high"))
    root = (0.25 * radius, tall[mount] * radius, length * d.real("wing_place", -0.06, 0.12))
    wing, tip, size = _main_wing(d, build, length, root)
    parts.append(both_sides(wing))
    if build == "propeller" and d.chance("biplane", 0.35):
        parts += _second_wing(d, wing, tip, root, radius)
        details.append("two pairs of wings")
    details.append(_tail(d, parts, length, radius))
    details.append(_engines(d, parts, build, (length, radius), (root, tip), size))
    if build in ("jet", "glider") and d.chance("winglets", 0.35):
        parts.append(both_sides(_fin(tip, (size * 0.8, size * 0.5), 0.07 * length, 0.5)))
        details.append("winglets")
    details += _gear(d, parts, length, radius, mount)
    looks = [
        {"jet": "", "propeller": "propeller", "glider": "glider-like", "fighter": "delta-winged"}[
            build
        ]
    ]
    return Design(
        parts,
        [*looks, f"{mount}-winged", degree(fat, 0.095, 0.125, ("slim", "", "stout"))],
        details,
    )


def _fuselage(d: Draw, length: float, radius: float) -> Solid:
    nose, tail = d.real("nose_length", 0.1, 0.3), d.real("tail_length", 0.25, 0.55)
    rise, oval = d.real("tail_rise", 0.2, 0.8), d.real("fuselage_height", 0.85, 1.3)
    blunt = d.real("nose_bluntness", 1.4, 2.6)
    place = np.concatenate(
        [
            np.linspace(0, nose, 9),
            np.linspace(nose, 1 - tail, 5)[1:-1],
            np.linspace(1 - tail, 1, 10),
        ]
    )
    fore = np.clip(place / nose, 0.0, 1.0)
    aft = np.clip((place - 1 + tail) / tail, 0.0, 1.0)
    share = np.minimum((1 - (1 - fore) ** blunt) ** (1 / blunt), 1 - 0.88 * aft**1.6)
    share = np.maximum(share, 0.06) * radius
    ring = superellipse((1.0, oval), 2.0, 28)
    x = share[:, None] * ring[:, 0]
    y = share[:, None] * ring[:, 1] + (rise * radius * aft**1.5)[:, None]
    z = np.broadcast_to(((0.5 - place) * length)[:, None], x.shape)
    return loft(np.stack([x, y, z], axis=-1))


def _airfoil(chord: float, thick: float) -> Array:
    """(14, 2) points of (z, y): a symmetric profile, leading edge at z = 0, trailing at -chord."""
    t = np.linspace(0.0, 1.0, 8) ** 1.5
    half = (
        thick * chord * (2.969 * np.sqrt(t) - 1.26 * t - 3.516 * t**2 + 2.843 * t**3 - 1.036 * t**4)
    )
    upper = np.stack([-t * chord, half], axis=1)
    lower = np.stack([-t * chord, -half], axis=1)[1:-1][::-1]
    upper[-1, 1] = 0.0
    return np.concatenate([upper, lower])


def _panel(places: Array, chords: Array, thick: float, upright: bool = False) -> Solid:
    """Wing through (m, 3) leading-edge points with (m,) chords; `upright` for fins."""
    rings = []
    for place, chord in zip(places, chords, strict=True):
        z, y = _airfoil(float(chord), thick).T
        flat = np.zeros_like(z)
        rings.append(np.stack([y, flat, z] if upright else [flat, y, z], axis=1) + place)
    return loft(np.array(rings))


def _main_wing(
    d: Draw, build: str, length: float, root: Array | tuple[float, float, float]
) -> tuple[Solid, Array, float]:
    """Right wing, the leading edge of its tip, its tip chord."""
    low, high = {
        "jet": (0.36, 0.58),
        "propeller": (0.45, 0.65),
        "glider": (0.9, 1.4),
        "fighter": (0.28, 0.4),
    }[build]
    span = length * d.real("half_span", low, high)
    chord = (
        length
        * {"jet": 0.2, "propeller": 0.17, "glider": 0.12, "fighter": 0.5}[build]
        * d.real("chord", 0.8, 1.25)
    )
    taper = (
        d.real("wing_taper", 0.15, 0.4) if build == "fighter" else d.real("wing_taper", 0.25, 1.0)
    )
    sweep = {"jet": (15, 38), "propeller": (-3, 12), "glider": (-2, 8), "fighter": (40, 58)}[build]
    back = np.tan(np.radians(d.real("wing_sweep", *sweep))) * span
    lift = np.tan(np.radians(d.real("dihedral", -3.0, 9.0))) * span
    thick = d.real("wing_thickness", 0.08, 0.13)
    start = np.array(root) + np.array((0.0, 0.0, 0.55 * chord))
    tip = start + np.array((span, lift, -back))
    bend = d.real("wing_kink", 0.25, 0.5)
    middle = start + (tip - start) * bend + (0.0, 0.0, 0.02 * length)
    chords = np.array([chord, chord * (1 - 0.6 * bend * (1 - taper)), chord * taper])
    return _panel(np.array([start, middle, tip]), chords, thick), tip, chord * taper


def _second_wing(
    d: Draw, wing: Solid, tip: Array, root: tuple[float, float, float], radius: float
) -> list[Solid]:
    gap = radius * d.real("wing_gap", 2.0, 2.8)
    side = -1.0 if root[1] > 0 else 1.0
    centre = wing.translate((-2.5 * root[0], side * gap, 0.0))
    places = [np.array(root) + (tip - np.array(root)) * share for share in (0.35, 0.75)]
    struts = [_strut(x, (y, y + side * gap), z - 0.2 * radius, radius) for x, y, z in places]
    inner = _strut(0.0, (0.5 * root[1], root[1] + side * gap), root[2], 1.6 * radius)
    return [both_sides(union([centre, *struts, inner]))]


def _strut(x: float, ends: Pair, z: float, size: float) -> Solid:
    wide, deep = 0.04 * size, 0.2 * size
    return box((x - wide, x + wide), (min(ends), max(ends)), (z - deep, z + deep))


def _fin(start: Array, chords: Pair, rise: float, sweep: float) -> Solid:
    places = start + np.array([(0.0, 0.0, 0.0), (0.0, rise, -sweep * rise)])
    return _panel(places, np.array(chords), 0.09, upright=True)


def _tail(d: Draw, parts: list[Solid], length: float, radius: float) -> str:
    kind = d.pick("tail", ("plain", "plain", "T", "V", "twin"))
    rise, chord = length * d.real("fin_height", 0.1, 0.2), length * d.real("fin_chord", 0.1, 0.18)
    sweep, span = d.real("fin_sweep", 0.2, 1.1), length * d.real("tail_span", 0.1, 0.2)
    z = -0.5 * length + 1.25 * chord
    foot = np.array((0.0, 0.25 * radius, z))
    level = 0.45 * radius
    if kind == "V":
        fin = _fin(foot, (chord, 0.55 * chord), 1.2 * rise, sweep)
        fin = (
            fin.translate((0.0, -level, 0.0)).rotate((0.0, 0.0, -40.0)).translate((0.0, level, 0.0))
        )
        parts.append(both_sides(fin))
        return "a V tail"
    high = level if kind != "T" else 0.25 * radius + 0.92 * rise
    at = z - (0.9 * sweep * rise if kind == "T" else 0.1 * chord)
    lead = np.array([(0.0, high, at), (span, high + 0.05 * span, at - 0.6 * sweep * span)])
    parts.append(both_sides(_panel(lead, np.array((0.75 * chord, 0.4 * chord)), 0.09)))
    if kind == "twin":
        fin = _fin(
            np.array((0.85 * span, 0.2 * radius, at - 0.4 * sweep * span)),
            (0.7 * chord, 0.4 * chord),
            0.8 * rise,
            0.4,
        )
        parts.append(both_sides(fin))
        return "a twin tail"
    parts.append(_fin(foot, (chord, 0.5 * chord), rise, sweep))
    return "a T tail" if kind == "T" else "a plain tail"


def _engines(
    d: Draw,
    parts: list[Solid],
    build: str,
    body: Pair,
    wing: tuple[tuple[float, float, float], Array],
    chord: float,
) -> str:
    length, radius = body
    if build == "glider":
        return "no engine"
    if build == "propeller":
        return _propellers(d, parts, length, radius, wing)
    if build == "fighter":
        nozzle = rod((-0.1 * length, 0.06 * length), (0.5 * radius, 0.75 * radius), 24).rotate(
            (90.0, 0.0, 0.0)
        )
        parts.append(nozzle.translate((0.0, 0.35 * radius, -0.44 * length)))
        canopy = (0.5 * radius, 0.8 * radius, 0.1 * length)
        parts.append(ball((0.0, 0.75 * radius, 0.22 * length), canopy, 20))
        return "a bubble canopy"
    r, long = (
        radius * d.real("engine_size", 0.32, 0.55),
        length * d.real("engine_length", 0.08, 0.14),
    )
    pod = rod((-0.5 * long, 0.5 * long), (0.75 * r, r), 24).rotate((90.0, 0.0, 0.0))
    pod = pod - rod((0.3 * long, long), (0.75 * r, 0.75 * r), 24).rotate((90.0, 0.0, 0.0))
    if d.chance("rear_engines", 0.3):
        place = (radius + 0.6 * r, 0.4 * radius, -0.27 * length)
        arm = box((0.0, radius), (0.3 * radius, 0.5 * radius), (-0.3 * length, -0.25 * length))
        parts.append(both_sides(pod.translate(place) + arm))
        return "two engines at the tail"
    count = d.whole("engine_pairs", 1, 2)
    root, tip = np.array(wing[0]), wing[1]
    for share in ((0.34,), (0.3, 0.58))[count - 1]:
        x, y, z = root + (tip - root) * share + (0.0, 0.0, 0.3 * chord)
        drop = y - 1.15 * r
        pylon = box(
            (x - 0.12 * r, x + 0.12 * r), (drop, y), (z - 0.5 * long - 0.2 * chord, z + 0.2 * long)
        )
        parts.append(both_sides(pod.translate((x, drop, z + 0.1 * long)) + pylon))
    return f"{NUMBERS[2 * count]} engines under the wings"


def _propellers(
    d: Draw,
    parts: list[Solid],
    length: float,
    radius: float,
    wing: tuple[tuple[float, float, float], Array],
) -> str:
    blades, size = d.whole("blades", 2, 5), radius * d.real("propeller_size", 1.1, 1.9)
    blade = beam(
        (0.0, 0.0, 0.0),
        (0.0, size, 0.0),
        (0.22 * radius, 0.12 * radius),
        (0.07 * radius, 0.05 * radius),
    )
    fan = around(blade.rotate((90.0, 0.0, 0.0)), blades).rotate((90.0, 0.0, 0.0))
    spinner = ball((0.0, 0.0, 0.0), (0.25 * radius, 0.25 * radius, 0.4 * radius), 16)
    screw = fan + spinner
    if d.chance("twin_engines", 0.4):
        root, tip = np.array(wing[0]), wing[1]
        x, y, z = root + (tip - root) * d.real("engine_place", 0.25, 0.45)
        pod = rod((-0.16 * length, 0.08 * length), (0.2 * radius, 0.45 * radius), 20).rotate(
            (90.0, 0.0, 0.0)
        )
        engine = pod + screw.translate((0.0, 0.0, 0.08 * length))
        parts.append(both_sides(engine.translate((x, y, z))))
        return f"two {NUMBERS[blades]}-bladed propellers"
    parts.append(screw.translate((0.0, 0.0, 0.495 * length)))
    return f"a {NUMBERS[blades]}-bladed propeller"


def _gear(d: Draw, parts: list[Solid], length: float, radius: float, mount: str) -> list[str]:
    kind = d.pick("gear", ("none", "none", "wheels", "floats"))
    if kind == "none":
        return []
    drop, thick = radius * d.real("gear_height", 1.5, 2.1), 0.09 * radius
    x = 0.7 * radius if mount != "low" else 0.9 * radius
    if kind == "floats":
        long = length * d.real("float_length", 0.28, 0.4)
        pod = ball((x, -drop, 0.05 * length), (0.3 * radius, 0.35 * radius, long), 20)
        legs = [
            beam((x, -drop, z), (0.4 * radius, 0.0, z), (thick, thick))
            for z in (-0.06 * length, 0.13 * length)
        ]
        parts.append(both_sides(union([pod, *legs])))
        return ["floats"]
    wheel = rod((-0.12 * radius, 0.12 * radius), (0.3 * radius, 0.3 * radius), 20).rotate(
        (0.0, 0.0, 90.0)
    )
    leg = beam((x, -drop, 0.02 * length), (0.4 * radius, 0.0, 0.02 * length), (thick, thick))
    nose = beam((0.0, -drop, 0.32 * length), (0.0, 0.0, 0.32 * length), (thick, thick))
    parts.append(both_sides(wheel.translate((x, -drop, 0.02 * length)) + leg))
    parts.append(nose + wheel.translate((0.0, -drop, 0.32 * length)))
    return ["its wheels down"]


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
