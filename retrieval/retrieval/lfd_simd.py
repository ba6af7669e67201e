"""Kernels of the light field distance: numba around vector instructions written in LLVM.

numba cannot be made to vectorise the three inner loops well from Python, so each is written out
once as a straight run of vector operations. `sad_rows` needs AVX2 (`SIMD` says whether it may be
used, else `_portable_rows` does the same); the other two use generic vectors, which LLVM translates
for every processor. Addresses are counted in bytes from the start of contiguous arrays; nothing is
bounds-checked. All of it is one file because numba's disk cache watches just the file of a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
V32X8, V4X64 = ir.VectorType(I8, 32), ir.VectorType(I64, 4)
V16X16 = ir.VectorType(I16, 16)

WEIGHT1, WEIGHT2 = 5, 2  # 8-byte chunks of an image whose differences count once, twice
CHUNKS = WEIGHT1 + WEIGHT2
FEATURES = 47
LANES = 80  # 2 query rigs x 10 target rigs x 4 targets
ROW = 2 * LANES  # bytes
VECTOR = 32  # bytes
TARGETS = 16  # per vector of bounds
SATURATED = 65535

SIMD = bool(llvm.get_host_cpu_features().get("avx2", False)) and not (
    numba.config.CPU_NAME or numba.config.CPU_FEATURES
)


F = TypeVar("F", bound=Callable[..., Any])


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's `intrinsic`, typed: the name is called without the typing context."""
    return cast(Callable[..., Any], intrinsic(function))


def kernel(function: F) -> F:
    """Compile on first call, keep on disk, run without the interpreter lock."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Uninitialised array that starts on a cache line, so that no vector straddles two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    made: NDArray[Any] = memory[start : start + size].view(dtype).reshape(shape)
    return made


class Emitter:
    """The LLVM builder at one call, with arrays as base pointers."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.builder = builder
        self.base = []
        for kind, value in zip(signature.args, values, strict=True):
            is_array = isinstance(kind, types.Array)
            made = context.make_array(kind)(context, builder, value).data if is_array else value
            self.base.append(builder.bitcast(made, I8.as_pointer()) if is_array else made)

    def at(self, base: Any, offset: Any, kind: Any) -> Any:
        """Pointer to `kind`, `offset` bytes (a number or a value) behind `base`."""
        place = ir.Constant(I64, offset) if isinstance(offset, int) else offset
        return self.builder.bitcast(self.builder.gep(base, [place]), kind.as_pointer())

    def load(self, base: Any, offset: int, kind: Any = V16X16) -> Any:
        return self.builder.load(self.at(base, offset, kind), align=1)

    def store(self, value: Any, base: Any, offset: int) -> None:
        self.builder.store(value, self.at(base, offset, value.type), align=1)

    def call(self, name: str, kind: Any, *values: Any) -> Any:
        function = ir.FunctionType(kind, [value.type for value in values])
        made = cgutils.get_or_insert_function(self.builder.module, function, name)
        return self.builder.call(made, values)

    def broadcast(self, base: Any, offset: int) -> Any:
        """The 8 bytes there, four times."""
        one = self.builder.load(self.at(base, offset, I64), align=1)
        first = self.builder.insert_element(V4X64(ir.Undefined), one, I32(0))
        mask = ir.Constant(ir.VectorType(I32, 4), [0] * 4)
        return self.builder.bitcast(
            self.builder.shuffle_vector(first, V4X64(ir.Undefined), mask), V32X8
        )


def void(emit: Callable[[Emitter], None]) -> Callable[..., Any]:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit(Emitter(context, builder, signature, values))
        return context.get_dummy_value()

    return codegen


def _sum(values: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    while len(values) > 1:
        values = [add(values[0], values[1]), *values[2:]]
    return values[0]


def _image_weights(make: Emitter, query: list[Any], target: Any) -> Any:
    """<4 x i64>: weights of one query image against the four target images of a group."""
    build = make.builder
    parts = []
    for chunk in range(CHUNKS):
        other = make.load(target, chunk * VECTOR, V32X8)
        parts.append(make.call("llvm.x86.avx2.psad.bw", V4X64, query[chunk], other))
    twice = _sum(parts[WEIGHT1:], build.add)
    return build.add(_sum(parts[:WEIGHT1], build.add), build.add(twice, twice))


def _emit_sad_rows(make: Emitter) -> None:
    if not SIMD:  # compiled but never called
        return
    build = make.builder
    query_base, query_at, rows, *places, out_base, out_at = make.base
    base = make.at(query_base, query_at, I8)
    query = [make.broadcast(base, 8 * chunk) for chunk in range(CHUNKS)]
    out = make.at(out_base, out_at, I8)
    with cgutils.for_range(build, I64(5)) as loop:
        group = build.mul(loop.index, I64(CHUNKS * VECTOR))
        packed: Any = None  # 16 sums: image j of target m in lane 4 j + m
        for place in reversed(places):
            target = make.at(make.at(rows, place, I8), group, I8)
            weights = _image_weights(make, query, target)
            shifted = build.shl(packed, ir.Constant(V4X64, [16] * 4)) if packed else None
            packed = build.add(shifted, weights) if shifted else weights
        sums = build.bitcast(packed, V16X16)
        for half in range(2):
            image = build.add(build.mul(loop.index, I64(4)), I64(2 * half))
            second = build.icmp_signed(">=", image, I64(10))
            jump = build.select(second, I64(ROW - 80), I64(0))
            where = make.at(out, build.add(build.mul(image, I64(8)), jump), I8)
            mask = ir.Constant(ir.VectorType(I32, 8), [8 * half + i for i in range(8)])
            make.store(build.shuffle_vector(sums, sums, mask), where, 0)


@inline
def sad_rows(
    typing: Any,
    query: Any,
    query_at: Any,
    rows: Any,
    t0: Any,
    t1: Any,
    t2: Any,
    t3: Any,
    out: Any,
    out_at: Any,
) -> Any:
    """sad_rows(query, query_at, rows, t0, t1, t2, t3, out, out_at), AVX2 only.

    Weights of one query image (56 bytes at `query_at`) against two views of four targets (five
    groups from each of t0..t3 in `rows`), written as 2 x 40 uint16 in two successive rows of `out`:
    target rig d, target m in lane 4 d + m.
    """
    signature = types.void(query, query_at, rows, t0, t1, t2, t3, out, out_at)
    return signature, void(_emit_sad_rows)


def _emit_best_of(make: Emitter) -> None:
    weights, which, which_at, best = make.base
    places = make.at(which, which_at, I8)
    rows = []
    for i in range(10):
        rows.append(make.at(weights, make.load(places, 8 * i, I64), I8))
    for offset in range(0, ROW, VECTOR):
        total = make.load(rows[0], offset)
        for row in rows[1:]:
            total = make.call("llvm.uadd.sat.v16i16", V16X16, total, make.load(row, offset))
        least = make.call("llvm.umin.v16i16", V16X16, total, make.load(best, offset))
        make.store(least, best, offset)


@inline
def best_of(typing: Any, weights: Any, which: Any, which_at: Any, best: Any) -> Any:
    """best_of(weights, which, which_at, best): best = min(best, saturated sum of ten rows).

    The ten int64 at byte `which_at` of `which` are byte offsets of rows of LANES uint16.
    """
    return types.void(weights, which, which_at, best), void(_emit_best_of)


def _emit_bound_of(make: Emitter) -> None:
    build = make.builder
    query_base, query_at, total_base, total_at, sums_base, sums_at, all_base, all_at, best = (
        make.base
    )
    query, total = make.at(query_base, query_at, I8), make.at(total_base, total_at, I8)
    sums = make.at(sums_base, sums_at, I8)
    larger = [cgutils.alloca_once_value(build, ir.Constant(V16X16, [0] * 16)) for _ in range(5)]
    with cgutils.for_range(build, I64(FEATURES)) as loop:
        at = build.mul(loop.index, I64(VECTOR))
        other = make.load(make.at(sums, at, I8), 0)
        for s in range(5):
            own = make.load(make.at(query, at, I8), s * FEATURES * VECTOR)
            most = make.call("llvm.umax.v16i16", V16X16, own, other)
            build.store(build.add(build.load(larger[s]), most), larger[s])
    target_total = make.load(make.at(all_base, all_at, I8), 0)
    least = make.load(best, 0)
    for s in range(5):
        both = build.add(make.load(total, s * VECTOR), target_total)
        most = build.load(larger[s])
        l1 = build.sub(build.add(most, most), both)
        least = make.call("llvm.umin.v16i16", V16X16, least, l1)
    make.store(least, best, 0)


@inline
def bound_of(
    typing: Any,
    query: Any,
    query_at: Any,
    total: Any,
    total_at: Any,
    sums: Any,
    sums_at: Any,
    totals: Any,
    totals_at: Any,
    best: Any,
) -> Any:
    """bound_of(query, query_at, total, total_at, sums, sums_at, totals, totals_at, best).

    best = min(best, L1 modulo 65536) over five query rigs and one rig of 16 targets: `query`
    holds 5 x 47 feature sums, each 16 times, `sums` 47 x 16; `total` and `totals` their sums.
    |a - b| = 2 max(a, b) - a - b, so two operations a feature; the remainder is never above L1.
    """
    signature = types.void(query, query_at, total, total_at, sums, sums_at, totals, totals_at, best)
    return signature, void(_emit_bound_of)


@kernel
def _portable_rows(
    query: Any,
    image: int,
    rows: Any,
    place: int,
    target: int,
    pair: int,
    out: Any,
    row: int,
    lane: int,
) -> None:
    """What sad_rows does, for the target in place `place` of four, on any processor."""
    for group in range(5):
        for j in range(4):
            weight = np.uint32(0)
            for byte in range(8 * CHUNKS):
                a = query[image, byte]
                b = rows[target, 5 * pair + group, byte >> 3, j, byte & 7]
                difference = np.uint32(max(a, b)) - np.uint32(min(a, b))
                weight += difference if byte < 8 * WEIGHT1 else difference + difference
            n = 4 * group + j
            out[row + n // 10, lane + 4 * (n % 10) + place] = weight


@kernel
def _four(query: Any, rows: Any, t: Any, offsets: Any, simd: bool, weights: Any, best: Any) -> None:
    """Least saturated alignment of one query with targets t[0..3], per lane of `best` (80,).

    query (100, 56) and rows (n, 25, 7, 4, 8) uint8, weights (100, 80) uint16 scratch.
    """
    size = 5 * CHUNKS * 32
    for lane in range(LANES):
        best[lane] = SATURATED
    for rig in range(0, 10, 2):
        for pair in range(5):
            p0, p1 = (t[0] * 5 + pair) * size, (t[1] * 5 + pair) * size
            p2, p3 = (t[2] * 5 + pair) * size, (t[3] * 5 + pair) * size
            for half in range(2):
                for view in range(10):
                    image = (rig + half) * 10 + view
                    row = view * 10 + 2 * pair
                    if simd:
                        at = row * ROW + half * LANES
                        sad_rows(query, image * 8 * CHUNKS, rows, p0, p1, p2, p3, weights, at)
                    else:
                        for m in range(4):
                            _portable_rows(
                                query, image, rows, m, t[m], pair, weights, row, half * 40
                            )
        for g in range(60):
            best_of(weights, offsets, g * 80, best)


@kernel
def _full(query: Any, rows: Any, target: int, offsets: Any, weights: Any) -> int:
    """LFD of one pair in 64 bits, for values that do not fit 16."""
    best = np.int64(1 << 40)
    for rig in range(10):
        for pair in range(5):
            for view in range(10):
                row = view * 10 + 2 * pair
                _portable_rows(query, rig * 10 + view, rows, 0, target, pair, weights, row, 0)
        for g in range(60):
            for d in range(10):
                total = np.int64(0)
                for i in range(10):
                    total += np.int64(weights[offsets[g, i] // ROW, 4 * d])
                best = min(best, total)
    return int(best)


@kernel
def _insert(index: Any, distance: Any, filled: int, target: int, value: int) -> int:
    """Put (value, target) in its place of the sorted lists; returns how many are filled."""
    k = len(index)
    place = filled
    while place > 0 and (
        distance[place - 1] > value or (distance[place - 1] == value and index[place - 1] > target)
    ):
        if place < k:
            index[place], distance[place] = index[place - 1], distance[place - 1]
        place -= 1
    if place < k:
        index[place], distance[place] = target, value
    return min(filled + 1, k)


@kernel
def visit(
    query: Any,
    rows: Any,
    order: Any,
    bound: Any,
    skip: int,
    offsets: Any,
    simd: bool,
    index: Any,
    distance: Any,
) -> int:
    """Nearest targets of one query; returns how many pairs were aligned.

    order (n,) targets by rising `bound` (n,); index and distance (k,) are filled.
    """
    weights, best = np.empty((100, LANES), np.uint16), np.empty(LANES, np.uint16)
    four = np.empty(4, np.int64)
    at, filled, aligned, k = 0, 0, 0, len(index)
    while at < len(order):
        count = 0
        while at < len(order) and count < 4:
            target = order[at]
            if filled == k and bound[target] > distance[k - 1]:
                at = len(order)
                break
            at += 1
            if target != skip:
                four[count] = target
                count += 1
        if count == 0:
            break
        for m in range(count, 4):
            four[m] = four[0]
        _four(query, rows, four, offsets, simd, weights, best)
        for m in range(count):
            value = SATURATED
            for lane in range(m, LANES, 4):
                value = min(value, int(best[lane]))
            if value == SATURATED:
                value = _full(query, rows, four[m], offsets, weights)
            filled = _insert(index, distance, filled, four[m], value)
        aligned += count
    return aligned


@kernel
def bounds(query: Any, query_totals: Any, sums: Any, totals: Any, out: Any) -> None:
    """Lower bounds of a block of queries against all targets.

    query (b, 10, 47, 16), query_totals (b, 10, 16), sums and totals as in Database, all uint16;
    out (b, 16 ceil(n / 16)) uint16.
    """
    best = np.empty(TARGETS, np.uint16)
    half = 5 * FEATURES * 32
    for block in range(len(sums)):
        for q in range(len(query)):
            for lane in range(TARGETS):
                best[lane] = SATURATED
            for d in range(10):
                rig = block * 10 + d
                for h in range(2):
                    bound_of(
                        query,
                        (2 * q + h) * half,
                        query_totals,
                        (2 * q + h) * 160,
                        sums,
                        rig * FEATURES * 32,
                        totals,
                        rig * 32,
                        best,
                    )
            for lane in range(TARGETS):
                out[q, TARGETS * block + lane] = best[lane]
