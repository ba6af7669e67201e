"""Airplanes, their nose to +z."""

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
    loft,
    rod,
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
