"""Tables, beds and bookcases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..primitives import (
    Array,
    Pair,
    Solid,
    both_sides,
    box,
    lying,
    plate,
    rod,
    soft_box,
    superellipse,
)
from .backs import back
from .draw import NUMBERS, Design, Draw, degree
from .supports import CENTRAL, LEGS, spread, support


def table(d: Draw) -> Design:
    """Top of some outline on a support; apron, shelf and drawer come and go."""
    height = d.real("height", 0.34, 1.1)
    width, ratio = d.real("width", 0.5, 1.9), d.real("proportion", 0.4, 1.0)
    thick = d.real("top_thickness", 0.015, 0.07)
    kind = d.pick(
        "top", ("rectangular", "rectangular", "rounded", "oval", "hexagonal", "boat-shaped")
    )
    half = (0.5 * width, 0.5 * width * ratio)
    outline, share = _table_top(d, kind, half)
    reach = (share * half[0], share * half[1])
    kinds = (*LEGS, *CENTRAL, "side panels", "trestles", "crossed legs", "sled runners")
    under, stands = support(d, reach, height - 0.5 * thick, kinds)
    parts = [lying(plate(outline, (0.0, thick)), height - thick), under]
    details = [stands]
    deep = d.real("apron_height", 0.05, 0.14)
    if d.chance("apron", 0.45):
        parts.append(
            _frame(0.9 * reach[0], 0.9 * reach[1], (height - thick - deep, height - 0.4 * thick))
        )
        details.append("an apron")
    if d.chance("drawer", 0.25):
        x, wide = 0.0, 0.45 * reach[0]
        y = (height - thick - deep - 0.03, height - 0.4 * thick)
        parts.append(box((x - wide, x + wide), y, (-0.8 * reach[1], 0.88 * reach[1])))
        parts.append(_knob(0.5 * (y[0] + y[1]), 0.88 * reach[1]))
        details.append("a drawer")
    if (
        " legs" in stands
        and "splayed" not in stands
        and kind != "boat-shaped"
        and d.chance("shelf", 0.3)
    ):
        low = height * d.real("shelf_height", 0.18, 0.45)
        parts.append(box((-reach[0], reach[0]), (low, low + 0.02), (-reach[1], reach[1])))
        details.append("a lower shelf")
    word = "round" if kind == "oval" and ratio > 0.9 else kind
    return Design(parts, [word, degree(height, 0.52, 0.9, ("low", "", "tall"))], details)


def _table_top(d: Draw, kind: str, half: Pair) -> tuple[Array, float]:
    """Outline of a top and the share of its half-widths that legs may use."""
    if kind == "oval":
        return superellipse(half, 2.0, 48), 0.68
    if kind == "rounded":
        return superellipse(half, d.real("top_squareness", 3.0, 7.0), 48), 0.84
    if kind == "hexagonal":
        return superellipse(half, 2.0, 6), 0.6
    x, z = half
    if kind == "boat-shaped":
        end = d.real("top_narrowing", 0.55, 0.85)
        at = np.linspace(-1.0, 1.0, 15)
        edge = np.stack([at * x, z * (1.0 - (1.0 - end) * at**2)], axis=1)
        return np.concatenate([edge[::-1], edge * (1.0, -1.0)]), 0.7
    return np.array([(x, z), (-x, z), (-x, -z), (x, -z)]), 0.97


def _frame(x: float, z: float, y: Pair) -> Solid:
    return box((-x, x), y, (-z, z)) - box(
        (0.018 - x, x - 0.018), (0.0, y[1] + 1), (0.018 - z, z - 0.018)
    )


def _knob(y: float, z: float) -> Solid:
    return rod((-0.004, 0.025), (0.01, 0.016), 12).rotate((90.0, 0.0, 0.0)).translate((0.0, y, z))


def bed(d: Draw) -> Design:
    """Mattress on a frame; headboard, footboard, canopy, upper bunk, pillows, blanket vary."""
    half, z = 0.5 * d.real("width", 0.8, 2.0), 0.5 * d.real("length", 1.75, 2.2)
    low, rail = d.real("clearance", 0.06, 0.38), d.real("rail_height", 0.1, 0.24)
    soft, post = d.real("mattress_height", 0.1, 0.3), d.real("post_thickness", 0.05, 0.12)
    style = d.pick("build", ("frame", "box", "drawers", "canopy", "bunk"))
    top = low + rail
    if style in ("box", "drawers"):
        parts = [box((0.06 - half, half - 0.06), (0.0, low + 0.02), (0.08 - z, z - 0.08))]
        parts += _bed_drawers(d, half, z, low + rail) if style == "drawers" else []
    else:
        tall = {"canopy": 1.75, "bunk": 1.5}.get(style, top) * d.real("post_height", 0.95, 1.2)
        corner = box((half - post, half), (0.0, tall), (z - post, z))
        parts = [both_sides(corner + corner.mirror((0.0, 0.0, 1.0)))]
        parts += _above(d, style, half, z, (tall, post), rail, soft)
    parts.append(box((-half, half), (low, top), (-z, z)))
    parts.append(_mattress(half, z, top, soft))
    details = _ends(d, parts, half, z, top)
    details += _bedding(d, parts, half, z, top + soft)
    size = degree(half, 0.5, 0.75, ("narrow", "double", "wide"))
    name = {"canopy": "four-poster", "bunk": "bunk"}.get(style, "")
    words = ["drawers below"] if style == "drawers" else []
    return Design(parts, [name or size, size if name else ""], [*words, *details])


def _mattress(half: float, z: float, y: float, soft: float) -> Solid:
    return soft_box((0.02 - half, half - 0.02), (y - 0.03, y + soft), (0.02 - z, z - 0.02), 0.05)


def _bed_drawers(d: Draw, half: float, z: float, top: float) -> list[Solid]:
    count = d.whole("drawers", 2, 4)
    fronts = []
    for at in spread(0.1 - z, z - 0.1, count):
        w = (z - 0.1) / count - 0.02
        fronts.append(
            both_sides(box((half - 0.1, half + 0.02), (0.03, top - 0.04), (at - w, at + w)))
        )
    return fronts


def _above(
    d: Draw, style: str, half: float, z: float, posts: Pair, rail: float, soft: float
) -> list[Solid]:
    """Canopy rails, or the upper bunk with a ladder."""
    tall, post = posts
    if style == "canopy":
        frame = box((-half, half), (tall - post, tall), (-z, z))
        hole = box((post - half, half - post), (0.0, tall + 1.0), (post - z, z - post))
        roof = d.chance("canopy_roof", 0.4)
        return [frame if roof else frame - hole]
    if style == "frame":
        return []
    y = tall - d.real("bunk_drop", 0.3, 0.5)
    deck = [box((-half, half), (y, y + rail), (-z, z)), _mattress(half, z, y + rail, 0.8 * soft)]
    guard = box((-half, half), (tall - 0.08, tall), (-z, z))
    inner = box((0.03 - half, half - 0.03), (0.0, tall + 1.0), (0.03 - z, z - 0.03))
    gap = d.real("ladder_width", 0.3, 0.45)
    ladder = [
        box((half - 0.01, half + 0.04), (0.0, tall), (s, s + 0.035)) for s in (0.1, 0.1 + gap)
    ]
    count = d.whole("ladder_rungs", 4, 6)
    for step in spread(0.1, y + rail, count):
        ladder.append(box((half, half + 0.03), (step - 0.015, step + 0.015), (0.11, 0.12 + gap)))
    return [*deck, guard - inner, *ladder]


def _ends(d: Draw, parts: list[Solid], half: float, z: float, top: float) -> list[str]:
    """Add a headboard and perhaps a footboard; return their words."""
    words = []
    if d.chance("headboard", 0.8):
        tall = d.real("headboard_height", 0.3, 1.0)
        board, said = back(d, 2.0 * half, tall)
        parts.append(board.translate((0.0, top - 0.04, 0.01 - z)))
        words.append(
            said.replace(" back", " headboard").replace("a headboard of", "a headboard of")
        )
        if d.chance("footboard", 0.45):
            share = d.real("footboard_share", 0.35, 0.8)
            foot = board.scale((1.0, share, 1.0)).translate((0.0, top - 0.04, z - 0.01))
            parts.append(foot)
            words.append("a footboard")
    return words


def _bedding(d: Draw, parts: list[Solid], half: float, z: float, top: float) -> list[str]:
    words = []
    count = d.whole("pillows", 0, 3 if half > 0.6 else 1)
    soft = d.real("pillow_height", 0.08, 0.16)
    for x in spread(0.06 - half, half - 0.06, count) if count else ():
        w = (half - 0.06) / count - 0.03
        parts.append(soft_box((x - w, x + w), (top - 0.03, top + soft), (0.08 - z, 0.5 - z), 0.07))
    if count:
        words.append(f"{NUMBERS[count]} pillow{'s' if count > 1 else ''}")
    if d.chance("blanket", 0.5):
        start, drop = d.real("blanket_start", -0.5, 0.3) * z, d.real("blanket_drop", 0.05, 0.3)
        x = half + 0.015
        y = (max(0.03, top - drop), top + 0.03)
        parts.append(soft_box((-x, x), y, (start, z + 0.015), 0.025))
        words.append("a blanket")
    return words


def bookcase(d: Draw) -> Design:
    """Shelves in a frame, on a ladder or in steps; back, doors, feet, books come and go."""
    width, height = d.real("width", 0.4, 1.6), d.real("height", 0.7, 2.3)
    deep, board = 0.5 * d.real("depth", 0.2, 0.45), d.real("board_thickness", 0.015, 0.045)
    build = d.pick("build", ("frame", "frame", "open", "ladder", "stepped"))
    count, columns = d.whole("shelves", 2, 6), d.whole("columns", 1, 3)
    half = 0.5 * width
    levels = [float(y) for y in np.linspace(0.0, height - board, count + 1)]
    if build == "ladder":
        parts, details = _ladder_shelves(d, half, (levels, board), deep)
    elif build == "stepped":
        parts, details = _stepped(d, half, (levels, board), deep)
    else:
        parts, details = _framed(d, half, (levels, board), deep, build == "open", columns)
    if d.chance("books", 0.6) and build != "ladder":
        parts += _books(d, half, (levels, board), deep, build == "stepped")
        details.append("books on its shelves")
    shape = degree(height / width, 1.0, 2.2, ("wide", "", "tall and narrow"))
    return Design(parts, [shape, build if build in ("open", "stepped") else ""], details)


def _boards(half: float, levels: list[float], board: float, deep: float) -> list[Solid]:
    return [box((-half, half), (y, y + board), (-deep, deep)) for y in levels]


def _framed(
    d: Draw, half: float, rows: tuple[list[float], float], deep: float, open_: bool, columns: int
) -> tuple[list[Solid], list[str]]:
    levels, board = rows
    top = levels[-1] + board
    parts = _boards(half, levels, board, deep)
    details = [f"{NUMBERS[len(levels) - 1]} rows in {NUMBERS[columns]} column{'s' * (columns > 1)}"]
    if open_:
        corner = box((half - board, half), (0.0, top), (deep - board, deep))
        parts.append(both_sides(corner + corner.mirror((0.0, 0.0, 1.0))))
    else:
        parts.append(both_sides(box((half - board, half), (0.0, top), (-deep, deep))))
    for k, x in enumerate(np.linspace(-half, half, columns + 1)[1:-1]):
        skip = d.whole(f"divider_start_{k + 1}", 0, 1)
        parts.append(
            box((x - 0.5 * board, x + 0.5 * board), (levels[skip], top), (-deep, 0.95 * deep))
        )
    if not open_ and d.chance("back_panel", 0.6):
        parts.append(box((-half, half), (0.0, top), (-deep - 0.006, -deep + 0.006)))
        details.append("a closed back")
    if not open_ and d.chance("doors", 0.35):
        door = box(
            (0.005, half), (0.5 * board, levels[1] + 0.5 * board), (deep - 0.01, deep + 0.015)
        )
        parts += [
            both_sides(door),
            box((-0.006, 0.006), (0.5 * board, levels[1]), (deep - 0.02, deep)),
        ]
        knob = _knob(0.6 * levels[1], deep + 0.013)
        parts += [knob.translate((0.03, 0.0, 0.0)), knob.translate((-0.03, 0.0, 0.0))]
        details.append("doors at the bottom")
    out = d.real("cornice", 0.02, 0.07)
    if d.chance("has_cornice", 0.35):
        parts.append(box((-half - out, half + out), (top - 0.01, top + out), (-deep, deep + out)))
        details.append("a cornice")
    feet = d.real("foot_height", 0.04, 0.16)
    if d.chance("has_feet", 0.45):
        foot = rod((-feet, 0.01), (0.014, 0.025), 12).translate((half - 0.05, 0.0, deep - 0.05))
        parts.append(both_sides(foot + foot.mirror((0.0, 0.0, 1.0))))
        details.append("feet")
    return parts, details


def _ladder_shelves(
    d: Draw, half: float, rows: tuple[list[float], float], deep: float
) -> tuple[list[Solid], list[str]]:
    """Boards that grow shallower upwards between two leaning rails."""
    levels, board = rows
    top, thick = levels[-1] + board, d.real("rail_thickness", 0.02, 0.045)
    foot = deep * d.real("ladder_depth", 1.2, 2.0)
    front = [
        (foot, 0.0),
        (foot - thick * 1.5, 0.0),
        (thick - deep, top + 0.05),
        (2.5 * thick - deep, top + 0.05),
    ]
    rail = plate([(-a, b) for a, b in front], (0.0, thick)).rotate((0.0, 90.0, 0.0))
    upright = box((0.001, thick - 0.001), (0.0, top + 0.04), (-deep, thick - deep))
    parts = [both_sides((rail + upright).translate((half - thick, 0.0, 0.0)))]
    first, lip = d.real("first_shelf", 0.04, 0.2), d.real("lip_height", 0.02, 0.06)
    has_lip = d.chance("lips", 0.5)
    for y in (first + level * (1.0 - first / top) for level in levels[:-1]):
        edge = foot + (thick - deep - foot) * y / (top + 0.05)
        parts.append(box((-half, half), (y, y + board), (-deep, edge)))
        if has_lip:
            parts.append(box((-half, half), (y, y + board + lip), (edge - 0.012, edge)))
    return parts, [f"{NUMBERS[len(levels) - 1]} shelves between leaning rails"]


def _stepped(
    d: Draw, half: float, rows: tuple[list[float], float], deep: float
) -> tuple[list[Solid], list[str]]:
    """A staircase of cells: each row is shorter than the one below."""
    levels, board = rows
    count = len(levels) - 1
    parts = [_boards(half, levels[:1], board, deep)[0]]
    for k, (low, high) in enumerate(pairwise(levels)):
        right = half - 2.0 * half * k / count
        parts.append(box((-half, right), (high, high + board), (-deep, deep)))
        parts.append(box((right - board, right), (low, high + board), (-deep, deep)))
    parts.append(box((-half, board - half), (0.0, levels[-1] + board), (-deep, deep)))
    plinth, inset = d.real("plinth_height", 0.03, 0.12), d.real("plinth_inset", 0.02, 0.08)
    if d.chance("plinth", 0.5):
        x, z = half - inset, deep - inset
        parts.append(box((-x, x), (-plinth, 0.5 * board), (-z, z)))
    return parts, [f"{NUMBERS[count]} steps"]


def _books(
    d: Draw, half: float, rows: tuple[list[float], float], deep: float, steps: bool
) -> list[Solid]:
    """Rows of books, from the left end of every shelf to a random fill, sunk 2 mm into it."""
    levels, board = rows
    fill, size = d.real("book_fill", 0.2, 0.95), d.real("book_height", 0.55, 0.9)
    rng = np.random.default_rng(d.whole("book_pattern", 0, 99999))
    parts = []
    for k, (low, high) in enumerate(pairwise(levels)):
        x = board - half - 0.001
        end = x + fill * (2.0 * half * (1.0 - k / (len(levels) - 1) * steps) - 2.0 * board)
        while x < end - 0.06:
            wide, tall = rng.uniform(0.03, 0.08), rng.uniform(0.75, 1.0) * size
            upper = low + board + tall * (high - low - board)
            parts.append(
                box(
                    (x, x + wide + 0.0005),
                    (low + board - 0.002, upper),
                    (-deep - 0.001, deep * 0.5),
                )
            )
            x += wide
    return parts
