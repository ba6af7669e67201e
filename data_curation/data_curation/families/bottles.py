"""Bottles and what closes them."""

from __future__ import annotations

import numpy as np

from ..primitives import (
    Array,
    Solid,
    loft,
    rod,
    smooth,
    soft_box,
    superellipse,
    tube,
)
from .draw import Design, Draw, degree


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
