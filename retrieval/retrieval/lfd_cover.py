"""Which views and pixel centres a triangle covers, decided for all views at once, a view a lane.

Written in LLVM as numba cannot be made to vectorise it well; the vectors are generic, so LLVM
translates them for every processor. Nothing is bounds-checked. The arrays throughout:

    window (n, 2, LANES) float32: x and y of the points in 1/256 pixel, whole numbers, y downward.
    cells  (n, 2, PADDED) uint8: the first column at or right of x, the last row at or above y.
    box    (4, PADDED) uint8: first column in question, row before the first one in question, and
           how many columns and rows of pixel centres are in question.
    masks  (2, 2) uint64: views to decide here, views with too many centres; bit = lane.
    hits   (2, LANES) int32: centres covered, bit 8 * row + column, rows 0 to 3 and 4 to 7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numpy.typing import NDArray

from .jit import inlined
from .lfd_simd import I8, I32, I64, Emitter, inline, void

WORD = 8  # lanes in a vector
LANES = 104  # the 100 views in whole vectors
PADDED = 128  # bytes in a row of cells, whole vectors too
COLUMNS, ROWS = 7, 8  # most centres in question that `_decide` takes

_ROW = 4 * LANES  # bytes
_TIE = 2.0**-20  # see _emit_decide
_DOUBT = 256.0  # above the error of twice an area in float32, (1/256 pixel)^2
_NONE, _BYTE = np.uint64(0), np.uint64(255)

F32 = ir.FloatType()
V8X1, V8X8, V8X32 = (ir.VectorType(ir.IntType(bits), WORD) for bits in (1, 8, 32))
V8F32, V32X8 = ir.VectorType(F32, WORD), ir.VectorType(I8, 32)


def _all(kind: Any, value: Any) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _spread(build: Any, value: Any) -> Any:
    """Vector of WORD equal values."""
    kind = ir.VectorType(value.type, WORD)
    first = build.insert_element(kind(ir.Undefined), value, I32(0))
    return build.shuffle_vector(first, kind(ir.Undefined), _all(V8X32, 0))


def _corners(make: Emitter, window: Any, corners: Any, word: Any) -> list[list[Any]]:
    """x and y of three points in the views of a word."""
    build, places = make.builder, []
    for corner in corners:
        at = build.add(build.mul(corner, I64(2 * _ROW)), build.mul(word, I64(4 * WORD)))
        point = make.at(window, at, I8)
        places.append([make.load(point, _ROW * axis, V8F32) for axis in range(2)])
    return places


def _emit_classify(make: Emitter) -> None:
    build = make.builder
    cells, *corners, box, masks = make.base
    points = [make.at(cells, build.mul(corner, I64(2 * PADDED)), I8) for corner in corners]

    def pick(order: str, a: Any, b: Any) -> Any:
        return build.select(build.icmp_unsigned(order, a, b), a, b)

    for at in range(0, PADDED, 32):
        spans = []
        for axis in range(2):
            a, b, c = (make.load(point, PADDED * axis + at, V32X8) for point in points)
            low = pick("<", pick("<", a, b), c)
            spans.append(build.sub(pick(">", pick(">", a, b), c), low))
            make.store(low, box, PADDED * axis + at)
            make.store(spans[axis], box, PADDED * (2 + axis) + at)
        some = build.icmp_unsigned("!=", pick("<", *spans), _all(V32X8, 0))
        wide = build.icmp_unsigned(">", spans[0], _all(V32X8, COLUMNS))
        high = build.icmp_unsigned(">", spans[1], _all(V32X8, ROWS))
        many = build.bitcast(build.and_(some, build.or_(wide, high)), I32)
        make.store(build.xor(build.bitcast(some, I32), many), masks, at // 8)
        make.store(many, masks, 16 + at // 8)


@inline
def classify(typing: Any, cells: Any, a: Any, b: Any, c: Any, box: Any, masks: Any) -> Any:
    """classify(cells, a, b, c, box, masks): fill box and masks for the triangle of three points."""
    return types.void(cells, a, b, c, box, masks), void(_emit_classify)


def _emit_facing(make: Emitter) -> Any:
    """Two products below 2**32, each off by up to 128, so that below -256 the sign is certain."""
    build = make.builder
    window, *corners, word = make.base
    (xa, ya), (xb, yb), (xc, yc) = _corners(make, window, corners, word)
    one = build.fmul(build.fsub(xb, xa), build.fsub(yc, ya))
    other = build.fmul(build.fsub(xc, xa), build.fsub(yb, ya))
    keep = build.fcmp_ordered(">=", build.fsub(one, other), _all(V8F32, -_DOUBT))
    return build.zext(build.bitcast(keep, I8), I64)


@inline
def _facing(typing: Any, window: Any, a: Any, b: Any, c: Any, word: Any) -> Any:
    """_facing(window, a, b, c, word): byte of the lanes in which the area may be positive."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _emit_facing(Emitter(context, builder, signature, values))

    return types.uint64(window, a, b, c, word), codegen


def _emit_decide(make: Emitter) -> None:
    """Rows of bits at or right of an edge, combined by exclusive or over the edges that cross.

    In pixels from the column before the first centre and from the first row, an edge meets a row at
    x + (row - y) * slope, (x, y) its middle. Quotient and product are each off by a part in 2**24
    of up to 4 pixels, the sum by 2**-22: in all less than 12 * 2**-24. A place that is not whole is
    2**-16 / 9 = 28.4 * 2**-24 or more from a whole number, as the edge is at most 9 pixels high. So
    less _TIE = 16 * 2**-24 (x - _TIE is exact), whole or not, it is cut to one less than its
    rounded-up value: the first column at or right of the edge, counted from the first centre.
    """
    build = make.builder
    window, *corners, box, word, lanes, hits = make.base
    place = make.at(box, build.mul(word, I64(WORD)), I8)
    first = [build.uitofp(make.load(place, PADDED * axis, V8X8), V8F32) for axis in range(2)]
    zero, one, half, pixel = (_all(V8F32, value) for value in (0.0, 1.0, 0.5, 1 / 256))
    origin = [build.fsub(first[0], one), build.fadd(first[1], one)]
    points = []
    for corner in _corners(make, window, corners, word):
        points.append([build.fsub(build.fmul(corner[k], pixel), origin[k]) for k in range(2)])
    edges = []
    for (xa, ya), (xb, yb) in zip(points, points[1:] + points[:1], strict=True):
        height = build.fsub(yb, ya)
        height = build.select(build.fcmp_ordered("==", height, zero), one, height)
        x = build.fsub(build.fmul(build.fadd(xa, xb), half), _all(V8F32, _TIE))
        y = build.fmul(build.fadd(ya, yb), half)
        edges.append((x, y, build.fdiv(build.fsub(xb, xa), height)))
    rows = build.select(
        build.bitcast(build.trunc(lanes, I8), V8X1), make.load(place, 3 * PADDED, V8X8), V8X8(None)
    )
    most = build.zext(make.call("llvm.vector.reduce.umax.v8i8", I8, rows), I64)
    out = make.at(hits, build.mul(word, I64(4 * WORD)), I8)
    for part in range(2):
        left = build.sub(most, I64(4 * part))
        count = build.select(build.icmp_signed("<", left, I64(4)), left, I64(4))
        make.store(_rows(build, points, edges, 4 * part, count), out, _ROW * part)


def _rows(build: Any, points: Any, edges: Any, start: int, count: Any) -> Any:
    """<8 x i32>: the hits of `count` rows, 0 to 4, from row `start` on."""
    none = V8X32(None)
    found = cgutils.alloca_once_value(build, none)
    build.store(none, found)
    with cgutils.for_range(build, count) as loop:
        row = _spread(build, build.sitofp(build.add(loop.index, I64(start)), F32))
        above = [build.fcmp_ordered("<", y, row) for _, y in points]
        bits = none
        for k, (x, y, slope) in enumerate(edges):
            place = build.fadd(x, build.fmul(build.fsub(row, y), slope))
            column = build.and_(build.fptosi(place, V8X32), _all(V8X32, 7))
            crosses = build.xor(above[k], above[(k + 1) % 3])
            right = build.select(crosses, build.shl(_all(V8X32, -1), column), none)
            bits = build.xor(bits, right)
        shift = _spread(build, build.trunc(build.mul(loop.index, I64(8)), I32))
        build.store(build.or_(build.load(found), build.shl(bits, shift)), found)
    return build.load(found)


@inline
def _decide(
    typing: Any, window: Any, a: Any, b: Any, c: Any, box: Any, word: Any, lanes: Any, hits: Any
) -> Any:
    """_decide(window, a, b, c, box, word, lanes, hits): fill hits for the lanes of a byte."""
    return types.void(window, a, b, c, box, word, lanes, hits), void(_emit_decide)


def _emit_merge(make: Emitter) -> None:
    images, at, bits = make.base
    place = make.at(images, at, I64)
    make.builder.store(make.builder.or_(make.builder.load(place, align=1), bits), place, align=1)


@inline
def merge(typing: Any, images: Any, at: Any, bits: Any) -> Any:
    """merge(images, at, bits): set bits of the eight bytes from byte `at` on."""
    return types.void(images, at, bits), void(_emit_merge)


@inlined()
def facing(
    window: NDArray[np.float32], a: int, b: int, c: int, half: int, lanes: np.uint64
) -> np.uint64:
    """Those of the lanes 64 * half + bit in which the triangle may have positive area."""
    found = _NONE
    for word in range(8):
        if (lanes >> np.uint64(8 * word)) & _BYTE:
            found |= _facing(window, a, b, c, 8 * half + word) << np.uint64(8 * word)
    return lanes & found


@inlined()
def decide(
    window: NDArray[np.float32],
    a: int,
    b: int,
    c: int,
    box: NDArray[np.uint8],
    half: int,
    lanes: np.uint64,
    hits: NDArray[np.int32],
) -> None:
    """Fill hits for the lanes 64 * half + bit."""
    for word in range(8):
        some = (lanes >> np.uint64(8 * word)) & _BYTE
        if some:
            _decide(window, a, b, c, box, 8 * half + word, some, hits)
