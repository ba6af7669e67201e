"""Kernels of the Chamfer distances: numba around vector instructions written in LLVM.

LANES shapes are transformed side by side, one row (a vector of their values) a cell, plane by plane
in x: distances along x come from the last and the next occupied plane of every column, then y and z
are min-plus with k^2, k rising until k^2 reaches the running value in all lanes; blocks of k that
can lower no lane are left out. While the plane is hot, the rows of every source's cells in it are
added up. No table of distances outlives its plane, and cells that no source has are left out of the
two passes. Separable transform: Saito and Toriwaki, Pattern Recognition 27 (1994).

numba does not vectorise such loops well, so they are generic LLVM vectors, which it translates for
every processor. Nothing is bounds-checked. All of it is one file because numba's disk cache watches
just the file of a kernel. Letters: R cells a side, n shapes; `places` (total,) uint16 and `starts`
(n, R + 1) are those of chamfer.Cells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
LANES = 32
BLOCK = 8  # steps of k that are left out or made together

F = TypeVar("F", bound=Callable[..., Any])


def _inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's `intrinsic`, typed: the name is called without the typing context."""
    return cast(Callable[..., Any], intrinsic(function))


def _kernel(function: F) -> F:
    """Compile on first call, keep on disk, run without the interpreter lock."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


class Code:
    """The LLVM builder at one call: arrays as base pointers, numbers as 64 bits."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.builder, self.values, self.bits = builder, [], []
        for kind, value in zip(signature.args, values, strict=True):
            if isinstance(kind, types.Array):
                data = context.make_array(kind)(context, builder, value).data
                self.values.append(builder.bitcast(data, I8.as_pointer()))
                self.bits.append(kind.dtype.bitwidth)
            else:
                self.values.append(context.cast(builder, value, kind, types.int64))
                self.bits.append(0)

    def row(self, base: int, index: Any) -> Any:
        """Pointer to row `index` of the array that is argument `base`."""
        kind = ir.VectorType(ir.IntType(self.bits[base]), LANES)
        offset = self.builder.mul(index, I64(LANES * self.bits[base] // 8))
        place = self.builder.gep(self.values[base], [offset])
        return self.builder.bitcast(place, kind.as_pointer())

    def load(self, pointer: Any) -> Any:
        return self.builder.load(pointer, align=1)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, pointer, align=1)

    def call(self, name: str, *values: Any) -> Any:
        """Vector operation `llvm.<name>` of vectors of one kind."""
        kind = values[0].type
        function = ir.FunctionType(kind, [kind] * len(values))
        full = f"llvm.{name}.v{kind.count}i{kind.element.width}"
        made = cgutils.get_or_insert_function(self.builder.module, function, full)
        return self.builder.call(made, values)

    def some(self, vector: Any) -> Any:
        """Whether any lane is not 0."""
        width = vector.type.element.width
        while vector.type.count * width > 256:  # what one instruction tests
            half = ir.VectorType(I32, vector.type.count // 2)
            low, high = (ir.Constant(half, list(range(i, i + half.count))) for i in (0, half.count))
            low, high = (self.builder.shuffle_vector(vector, vector, m) for m in (low, high))
            vector = self.builder.or_(low, high)
        whole = ir.IntType(vector.type.count * width)
        return self.builder.icmp_unsigned("!=", self.builder.bitcast(vector, whole), whole(0))

    def spread(self, number: Any, kind: Any) -> Any:
        """The number in every lane."""
        one = self.builder.trunc(number, kind.element)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), one, I32(0))
        mask = ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count)
        return self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask)


def _constant(kind: Any, number: int) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def _void(emit: Callable[[Code], None]) -> Callable[..., Any]:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit(Code(context, builder, signature, values))
        return context.get_dummy_value()

    return codegen


def _emit_square(code: Code) -> None:
    build = code.builder
    _, _, place, x, _, at = code.values
    before, after = code.load(code.row(0, place)), code.load(code.row(1, place))
    none = _constant(before.type, (1 << code.bits[0]) - 1)
    here = code.spread(x, before.type)
    back = build.select(build.icmp_unsigned("==", before, none), none, build.sub(here, before))
    ahead = build.select(build.icmp_unsigned("==", after, none), none, build.sub(after, here))
    wide = ir.VectorType(ir.IntType(code.bits[4]), LANES)
    distance = build.zext(code.call("umin", back, ahead), wide)
    code.store(build.mul(distance, distance), code.row(4, at))


@_inline
def square(typing: Any, last: Any, following: Any, place: Any, x: Any, line: Any, at: Any) -> Any:
    """square(last, following, place, x, line, at): line[at] = squared distance along x.

    last, following (R^2, LANES): nearest occupied plane up to x and from x on, all bits set for
    none, which counts as further away than anything.
    """
    return types.void(last, following, place, x, line, at), _void(_emit_square)


def _emit_least(code: Code) -> None:
    _, at, _ = code.values
    rows = [code.load(code.row(0, code.builder.add(at, I64(k)))) for k in range(BLOCK)]
    code.store(functools.reduce(functools.partial(code.call, "umin"), rows), code.row(2, at))


@_inline
def least_of(typing: Any, line: Any, at: Any, least: Any) -> Any:
    """least_of(line, at, least): least[at] = minimum of the rows line[at : at + BLOCK]."""
    return types.void(line, at, least), _void(_emit_least)


def _emit_lower(code: Code) -> None:
    build = code.builder
    _, at, _, reach, _, to, _ = code.values
    value = cgutils.alloca_once_value(build, code.load(code.row(0, at)))
    blocks = build.udiv(build.add(reach, I64(BLOCK - 1)), I64(BLOCK))
    with cgutils.for_range(build, blocks) as loop:
        k = build.add(build.mul(loop.index, I64(BLOCK)), I64(1))
        above, below, now = build.add(at, k), build.sub(at, k), build.load(value)
        square_of_k = code.spread(build.mul(k, k), now.type)
        ends = (above, build.sub(below, I64(BLOCK - 1)))
        least = code.call("umin", *(code.load(code.row(2, end)) for end in ends))
        bound = code.call("uadd.sat", least, square_of_k)
        with build.if_else(code.some(code.call("usub.sat", now, bound))) as (lowers, leaves):
            with lowers:
                build.store(_emit_block(code, now, above, below, k, square_of_k), value)
            with leaves:
                further = code.some(code.call("usub.sat", now, square_of_k))
                with build.if_then(build.not_(further)):
                    loop.do_break()
    result, most = build.load(value), code.row(6, I64(0))
    code.store(result, code.row(4, to))
    code.store(code.call("umax", code.load(most), result), most)


def _emit_block(code: Code, now: Any, above: Any, below: Any, k: Any, square_of_k: Any) -> Any:
    """The minimum of `now` and BLOCK steps: rows from `above` up and `below` down, plus squares."""
    build = code.builder
    difference = code.spread(build.add(build.add(k, k), I64(1)), now.type)
    for step in range(BLOCK):
        ends = (build.add(above, I64(step)), build.sub(below, I64(step)))
        nearest = code.call("umin", *(code.load(code.row(0, end)) for end in ends))
        now = code.call("umin", now, code.call("uadd.sat", nearest, square_of_k))
        square_of_k = build.add(square_of_k, difference)
        difference = build.add(difference, _constant(now.type, 2))
    return now


@_inline
def lower(
    typing: Any, line: Any, at: Any, least: Any, reach: Any, out: Any, to: Any, most: Any
) -> Any:
    """lower(line, at, least, reach, out, to, most): out[to] = min over k of line[at +- k] + k^2.

    k rises to `reach` (BLOCK - 1 further at most: rows must exist there) or until k^2 exceeds the
    minimum so far in all lanes. A block of k is left out where `least`, by least_of, says that
    it cannot lower any lane. most (1, LANES) becomes the maximum of itself and the result.
    """
    return types.void(line, at, least, reach, out, to, most), _void(_emit_lower)


def _emit_copy(code: Code) -> None:
    code.store(code.load(code.row(0, code.values[1])), code.row(2, code.values[3]))


@_inline
def copy(typing: Any, source: Any, at: Any, line: Any, to: Any) -> Any:
    """copy(source, at, line, to): line[to] = source[at]."""
    return types.void(source, at, line, to), _void(_emit_copy)


def _emit_add(code: Code) -> None:
    build = code.builder
    _, places, begin, end, _, at = code.values
    kind = ir.VectorType(ir.IntType(code.bits[0]), LANES)
    total = cgutils.alloca_once_value(build, _constant(kind, 0))
    with cgutils.for_range(build, build.sub(end, begin)) as loop:
        offset = build.mul(build.add(begin, loop.index), I64(2))
        pointer = build.bitcast(build.gep(places, [offset]), I16.as_pointer())
        place = build.zext(code.load(pointer), I64)
        build.store(build.add(build.load(total), code.load(code.row(0, place))), total)
    row = code.row(4, at)
    code.store(build.add(code.load(row), build.zext(build.load(total), row.type.pointee)), row)


@_inline
def add(typing: Any, plane: Any, places: Any, begin: Any, end: Any, sums: Any, at: Any) -> Any:
    """add(plane, places, begin, end, sums, at): sums[at] += rows of plane at places[begin:end].

    The sum of these rows must fit the type of `plane`; sums (n, LANES) int64.
    """
    return types.void(plane, places, begin, end, sums, at), _void(_emit_add)


@_kernel
def _look_ahead(places: Any, starts: Any, chosen: Any, following: Any) -> Any:
    """Next occupied plane of every cell of the chosen shapes, one after the other.

    following (R^2, LANES), all bits set before, holds the first occupied plane of every column
    afterwards.
    """
    size = starts.shape[1] - 1
    total = 0
    for shape in chosen:
        total += starts[shape, size] - starts[shape, 0]
    after = np.empty(total, following.dtype)
    at = 0
    for lane in range(LANES):
        shape = chosen[lane]
        first, end = starts[shape, 0], starts[shape, size]
        for x in range(size - 1, -1, -1):
            for cell in range(starts[shape, x], starts[shape, x + 1]):
                place = places[cell]
                after[at + cell - first] = following[place, lane]
                following[place, lane] = x
        at += end - first
    return after


@_kernel
def _distances(
    x: int, wanted: Any, last: Any, following: Any, line: Any, least: Any, plane: Any, most: Any
) -> None:
    """Squared distances of plane x at its wanted cells (R, R); `most` is their maximum.

    line, least (R + 2 pad, LANES) with all bits set in the `pad` rows at either end of line, plane
    (R^2, LANES).
    """
    size = len(wanted)
    pad = (len(line) - size) // 2
    lines = np.zeros(size, np.bool_)
    for y in range(size):
        for z in range(size):
            lines[y] |= wanted[y, z]
    for z in range(size):
        for y in range(size):
            square(last, following, y * size + z, x, line, pad + y)
        for y in range(1 - BLOCK, size):
            least_of(line, pad + y, least)
        for y in range(size):
            if lines[y]:
                lower(line, pad + y, least, max(y, size - 1 - y), plane, y * size + z, most)
    most[:] = 0
    for y in range(size):
        if lines[y]:
            for z in range(size):
                copy(plane, y * size + z, line, pad + z)
            for z in range(1 - BLOCK, size):
                least_of(line, pad + z, least)
            for z in range(size):
                if wanted[y, z]:
                    lower(line, pad + z, least, max(z, size - 1 - z), plane, y * size + z, most)


@_kernel
def _add_plane(x: int, places: Any, starts: Any, plane: Any, most: Any, sums: Any) -> None:
    """Add to sums (n, LANES) the rows of plane x at every shape's cells in it."""
    largest = np.int64(0)
    for lane in range(LANES):
        largest = max(largest, np.int64(most[0, lane]))
    if largest == 0:
        return
    chunk = np.int64(np.iinfo(plane.dtype).max) // largest
    for shape in range(len(starts)):
        begin, end = starts[shape, x], starts[shape, x + 1]
        while begin < end:
            stop = min(begin + chunk, end)
            add(plane, places, begin, stop, sums, shape)
            begin = stop


@_kernel
def add_batch(
    source_places: Any,
    source_starts: Any,
    wanted: Any,
    places: Any,
    starts: Any,
    chosen: Any,
    last: Any,
    following: Any,
    line: Any,
    least: Any,
    plane: Any,
    most: Any,
    sums: Any,
) -> None:
    """sums (n, LANES) of the distances of all sources' cells to the targets chosen (LANES,).

    wanted (R, R, R) bool: the cells that any source has. The rest is scratch: last to
    plane with all bits set, most (1, LANES).
    """
    after = _look_ahead(places, starts, chosen, following)
    for x in range(len(wanted)):
        for lane in range(LANES):
            for cell in range(starts[chosen[lane], x], starts[chosen[lane], x + 1]):
                last[places[cell], lane] = x
        if wanted[x].any():
            _distances(x, wanted[x], last, following, line, least, plane, most)
            _add_plane(x, source_places, source_starts, plane, most, sums)
        at = 0
        for lane in range(LANES):
            shape = chosen[lane]
            first = starts[shape, 0]
            for cell in range(starts[shape, x], starts[shape, x + 1]):
                following[places[cell], lane] = after[at + cell - first]
            at += starts[shape, len(wanted)] - first


@_kernel
def find_places(bits: Any, size: int, starts: Any) -> Any:
    """Places (y R + z) of the occupied cells of one packed grid; starts (R + 1,) by plane."""
    area = size * size
    for byte in range(len(bits)):
        if bits[byte]:
            for bit in range(8):
                if bits[byte] & (128 >> bit):
                    starts[(8 * byte + bit) // area + 1] += 1
    for x in range(size):
        starts[x + 1] += starts[x]
    places, filled = np.empty(starts[size], np.uint16), 0
    for byte in range(len(bits)):
        if bits[byte]:
            for bit in range(8):
                if bits[byte] & (128 >> bit):
                    places[filled] = (8 * byte + bit) % area
                    filled += 1
    return places


@_kernel
def count_shapes(places: Any, starts: Any, counts: Any) -> None:
    """Add to counts (R, R^2) how many shapes have the cell."""
    for shape in range(len(starts)):
        for x in range(len(counts)):
            for cell in range(starts[shape, x], starts[shape, x + 1]):
                counts[x, places[cell]] += 1
