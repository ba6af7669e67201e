"""Chamfer distances of all pairs of two sets of voxel grids, by exact integer distance sums.

With D_S(v) the squared distance in cells from v to the nearest cell of S, the Chamfer distance is

    sum of D_B over the cells of A / (|A| (R - 1)^2) + sum of D_A over the cells of B / (|B| (R - 1)^2)

so one distance transform a shape replaces two KD-trees a pair. LANES shapes are transformed side by
side, one row (a vector of their values) a cell, plane by plane in x: distances along x come from the
last and the next occupied plane of every column, then y and z are min-plus with k^2, k rising until
k^2 reaches the running value in all lanes. While the plane is hot, the rows of every source's cells
in it are added up. No table of distances outlives its plane, and cells that no source has are left
out of the two passes. Separable transform: Saito and Toriwaki, Pattern Recognition 27 (1994).

Vectors are written in LLVM (generic ones, which it translates for every processor), since numba
does not vectorise such loops well. All of it is one file because numba's disk cache watches just
the file of a kernel. Letters: R cells a side, n shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

I8, I16, I64 = (ir.IntType(bits) for bits in (8, 16, 64))
LANES = 32
MAX_RESOLUTION = 256  # a place in a plane fits 16 bits
NARROW = 148  # above it 3 (R - 1)^2 does not fit 16 bits
UNROLL = 4

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
        count = LANES * vector.type.element.width // 64
        words = self.builder.bitcast(vector, ir.VectorType(I64, count))
        function = ir.FunctionType(I64, [words.type])
        name = f"llvm.vector.reduce.or.v{count}i64"
        made = cgutils.get_or_insert_function(self.builder.module, function, name)
        return self.builder.icmp_unsigned("!=", self.builder.call(made, [words]), I64(0))

    def spread(self, number: Any, kind: Any) -> Any:
        """The number in every lane."""
        one = self.builder.trunc(number, kind.element)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), one, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
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
    _, _, place, x, line, at = code.values
    before, after = code.load(code.row(0, place)), code.load(code.row(1, place))
    none = _constant(before.type, (1 << code.bits[0]) - 1)
    here = code.spread(x, before.type)
    back = build.select(
        build.icmp_unsigned("==", before, none), none, build.sub(here, before)
    )
    ahead = build.select(
        build.icmp_unsigned("==", after, none), none, build.sub(after, here)
    )
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


def _emit_lower(code: Code) -> None:
    build = code.builder
    _, at, reach, _, to, _ = code.values
    centre = code.row(0, at)
    kind = centre.type.pointee
    size = LANES * code.bits[0] // 8
    pointer = build.bitcast(centre, I8.as_pointer())
    value = cgutils.alloca_once_value(build, code.load(centre))
    square_of_k = cgutils.alloca_once_value(build, _constant(kind, 1))
    difference = cgutils.alloca_once_value(build, _constant(kind, 3))
    groups = build.udiv(build.add(reach, I64(UNROLL - 1)), I64(UNROLL))
    with cgutils.for_range(build, groups) as loop:
        now, k2, odd = build.load(value), build.load(square_of_k), build.load(difference)
        with build.if_then(build.not_(code.some(code.call("usub.sat", now, k2)))):
            loop.do_break()
        offset = build.mul(loop.index, I64(UNROLL * size))
        below = build.gep(pointer, [build.neg(offset)])
        above = build.gep(pointer, [offset])
        for k in range(1, UNROLL + 1):
            sides = [
                code.load(build.bitcast(build.gep(side, [I64(step * k * size)]), centre.type))
                for side, step in ((below, -1), (above, 1))
            ]
            now = code.call("umin", now, code.call("uadd.sat", code.call("umin", *sides), k2))
            k2, odd = build.add(k2, odd), build.add(odd, _constant(kind, 2))
        for new, place in ((now, value), (k2, square_of_k), (odd, difference)):
            build.store(new, place)
    code.store(build.load(value), code.row(3, to))
    most = code.row(5, I64(0))
    code.store(code.call("umax", code.load(most), build.load(value)), most)


@_inline
def lower(typing: Any, line: Any, at: Any, reach: Any, out: Any, to: Any, most: Any) -> Any:
    """lower(line, at, reach, out, to, most): out[to] = min over k of line[at +- k] + k^2.

    k goes to `reach` (UNROLL - 1 further at most: rows must exist there), or as far as it can
    matter. most (1, LANES) becomes the maximum of itself and the result.
    """
    return types.void(line, at, reach, out, to, most), _void(_emit_lower)


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
def add(
    typing: Any, plane: Any, places: Any, begin: Any, end: Any, sums: Any, at: Any
) -> Any:
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
    x: int, wanted: Any, last: Any, following: Any, line: Any, plane: Any, most: Any
) -> None:
    """Squared distances of plane x at its wanted cells (R, R); `most` is their maximum.

    line (R + 2 pad, LANES) with `pad` rows of all bits set at either end, plane (R^2, LANES).
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
        for y in range(size):
            if lines[y]:
                lower(line, pad + y, max(y, size - 1 - y), plane, y * size + z, most)
    most[:] = 0
    for y in range(size):
        if lines[y]:
            for z in range(size):
                copy(plane, y * size + z, line, pad + z)
            for z in range(size):
                if wanted[y, z]:
                    lower(line, pad + z, max(z, size - 1 - z), plane, y * size + z, most)


@_kernel
def _add_plane(
    x: int, places: Any, starts: Any, plane: Any, most: Any, capacity: int, sums: Any
) -> None:
    """Add to sums (n, LANES) the rows of plane x at every shape's cells in it."""
    largest = np.int64(0)
    for lane in range(LANES):
        largest = max(largest, np.int64(most[0, lane]))
    if largest == 0:
        return
    chunk = capacity // largest
    for shape in range(len(starts)):
        begin, end = starts[shape, x], starts[shape, x + 1]
        while begin < end:
            stop = min(begin + chunk, end)
            add(plane, places, begin, stop, sums, shape)
            begin = stop


@_kernel
def _batch(
    source_places: Any,
    source_starts: Any,
    wanted: Any,
    places: Any,
    starts: Any,
    chosen: Any,
    last: Any,
    following: Any,
    line: Any,
    plane: Any,
    most: Any,
    capacity: int,
    sums: Any,
) -> None:
    """sums (n, LANES) of the distances of all sources' cells to the targets chosen (LANES,).

    wanted (R, R, R) bool: the cells that any source has. The rest is scratch: last, following, line
    and plane with all bits set, most (1, LANES).
    """
    after = _look_ahead(places, starts, chosen, following)
    for x in range(len(wanted)):
        for lane in range(LANES):
            for cell in range(starts[chosen[lane], x], starts[chosen[lane], x + 1]):
                last[places[cell], lane] = x
        if wanted[x].any():
            _distances(x, wanted[x], last, following, line, plane, most)
            _add_plane(x, source_places, source_starts, plane, most, capacity, sums)
        at = 0
        for lane in range(LANES):
            shape = chosen[lane]
            first = starts[shape, 0]
            for cell in range(starts[shape, x], starts[shape, x + 1]):
                following[places[cell], lane] = after[at + cell - first]
            at += starts[shape, len(wanted)] - first


@_kernel
def _find(bits: Any, size: int, starts: Any) -> Any:
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
def _occupancy(places: Any, starts: Any, counts: Any) -> None:
    for shape in range(len(starts)):
        for x in range(len(counts)):
            for cell in range(starts[shape, x], starts[shape, x + 1]):
                counts[x, places[cell]] += 1


@dataclass(frozen=True)
class Cells:
    """Occupied cells of n grids.

    places: (total,) uint16 y R + z, by shape, then by x, then rising.
    starts: (n, R + 1) int64: shape s has places[starts[s, x] : starts[s, x + 1]] in plane x.
    """

    places: NDArray[np.uint16]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def resolution(self) -> int:
        return self.starts.shape[1] - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) occupied cells of every shape."""
        return self.starts[:, -1] - self.starts[:, 0]

    def occupancy(self) -> NDArray[np.int64]:
        """(R, R, R): how many shapes have the cell."""
        r = self.resolution
        made = np.zeros((r, r * r), np.int64)
        _occupancy(self.places, self.starts, made)
        return made.reshape(r, r, r)


def find_cells(packed: Iterable[NDArray[np.uint8]], resolution: int) -> Cells:
    """Occupied cells of packed grids, read one after the other.

    Args:
        packed:     rows of ceil(R^3 / 8) bytes, numpy.packbits of the C-ordered (R, R, R) grid.
        resolution: R, 1 to MAX_RESOLUTION.

    Raises:
        ValueError: resolution out of range, a row of another length, set bits behind the grid, or
                    an empty grid; shapes are named by their place.
    """
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise ValueError(f"resolution {resolution}: expected 1 to {MAX_RESOLUTION}")
    bits = resolution**3
    parts, rows = [], []
    total = 0
    for i, row in enumerate(packed):
        if row.shape != ((bits + 7) // 8,):
            raise ValueError(
                f"shape {i}: expected {(bits + 7) // 8} bytes for {resolution}^3, found {row.shape}"
            )
        if int(row[-1]) & ((1 << -bits % 8) - 1):
            raise ValueError(f"shape {i}: bits are set behind the last of its {bits} cells")
        starts = np.zeros(resolution + 1, np.int64)
        parts.append(_find(np.ascontiguousarray(row), resolution, starts))
        if not starts[-1]:
            raise ValueError(f"shape {i}: no cell is occupied")
        rows.append(starts + total)
        total += len(parts[-1])
    if not rows:
        raise ValueError("no shapes")
    return Cells(np.concatenate(parts), np.stack(rows))


def join(first: Cells, second: Cells) -> Cells:
    """The shapes of both, those of `first` first. Raises ValueError for unequal resolutions."""
    _same_resolution(first, second)
    starts = np.concatenate([first.starts, second.starts + len(first.places)])
    return Cells(np.concatenate([first.places, second.places]), starts)


def _same_resolution(first: Cells, second: Cells) -> None:
    if first.resolution != second.resolution:
        raise ValueError(f"resolutions {first.resolution} and {second.resolution}: expected equal")


def distance_sums(
    sources: Cells,
    targets: Cells,
    threads: int = 1,
    done: Callable[[int], object] = lambda count: None,
) -> NDArray[np.int64]:
    """Sums over a source's cells of the squared distance, in cells, to the nearest target cell.

    Args:
        sources: n shapes.
        targets: m shapes of the same resolution.
        threads: that work on batches of LANES targets; they share the result's memory alone.
        done:    called with the number of targets finished since the last call.

    Returns:
        (n, m) int64, exact; sums[a, b] = 0 where b holds every cell of a.

    Raises:
        ValueError: unequal resolutions, or threads below 1.
    """
    _same_resolution(sources, targets)
    if threads < 1:
        raise ValueError(f"threads {threads}: expected 1 or more")
    wanted = sources.occupancy() > 0
    result = np.empty((len(sources), len(targets)), np.int64)
    order = np.arange(len(targets))

    def work(start: int) -> int:
        chosen = order[start : start + LANES]
        sums = np.zeros((len(sources), LANES), np.int64)
        padded = np.resize(chosen, LANES)  # repeats them, so that no lane is empty
        scratch = _scratch(targets.resolution)
        own = (sources.places, sources.starts, wanted)
        _batch(*own, targets.places, targets.starts, padded, *scratch, sums)
        result[:, chosen] = sums[:, : len(chosen)]
        return len(chosen)

    with ThreadPoolExecutor(threads) as pool:
        for count in pool.map(work, range(0, len(targets), LANES)):
            done(count)
    return result


def _scratch(resolution: int) -> tuple[Any, ...]:
    """Arrays of one batch: last, following, line, plane, most, and the largest value of a row."""
    small, large = (np.uint8, np.uint16) if resolution <= NARROW else (np.uint16, np.uint32)
    area, pad = resolution**2, resolution + UNROLL
    return (
        _filled(area, small),
        _filled(area, small),
        _filled(resolution + 2 * pad, large),
        _filled(area, large),
        np.zeros((1, LANES), large),
        int(np.iinfo(large).max),
    )


def _filled(rows: int, dtype: Any) -> NDArray[Any]:
    """(rows, LANES) with all bits set, from the start of a cache line on."""
    size = rows * LANES * np.dtype(dtype).itemsize
    memory = np.full(size + 64, 255, np.uint8)
    start = -memory.ctypes.data % 64
    made: NDArray[Any] = memory[start : start + size].view(dtype).reshape(rows, LANES)
    return made


def chamfer(
    forward: NDArray[np.int64],
    backward: NDArray[np.int64],
    first: Cells,
    second: Cells,
) -> NDArray[np.float64]:
    """Chamfer distance of every pair: squared, means of both directions added, side length 1.

    Args:
        forward:  (n, m) distance sums of `first` to `second`.
        backward: (m, n) distance sums of `second` to `first`.

    Raises:
        ValueError: resolution 1, whose only cell has no side length.
    """
    if first.resolution < 2:
        raise ValueError("resolution 1: distances need 2 or more")
    side = (first.resolution - 1) ** 2
    to_second = forward / (first.counts[:, None] * side)
    to_first = backward.T / (second.counts[None, :] * side)
    made: NDArray[np.float64] = to_second + to_first
    return made
