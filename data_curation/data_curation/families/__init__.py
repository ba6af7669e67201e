"""Sixteen parametric families of shapes: `FAMILIES[name](Draw(rng))` designs one of them."""

from __future__ import annotations

from collections.abc import Callable

from .airplanes import airplane
from .bottles import bottle
from .bowls import bowl
from .cars import car
from .draw import Design, Draw, caption
from .furnishing import bed, bookcase, table
from .instruments import guitar
from .lamps import desk_lamp, floor_lamp
from .seats import armchair, chair, sofa, stool
from .vessels import mug, vase

FAMILIES: dict[str, Callable[[Draw], Design]] = {
    "chair": chair,
    "table": table,
    "mug": mug,
    "airplane": airplane,
    "desk_lamp": desk_lamp,
    "bed": bed,
    "vase": vase,
    "car": car,
    "armchair": armchair,
    "bookcase": bookcase,
    "bottle": bottle,
    "guitar": guitar,
    "sofa": sofa,
    "floor_lamp": floor_lamp,
    "stool": stool,
    "bowl": bowl,
}

__all__ = ["FAMILIES", "Design", "Draw", "caption"]
