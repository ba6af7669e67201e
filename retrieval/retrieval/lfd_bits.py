"""Silhouettes as bit rows: (256, 4) uint64, bit x % 64 of word x // 64 of row y, row 0 lowest.

Objects keep 14 pixels away from the rim (a unit box stays within 111 pixels of the middle, growing
adds 3), so neighbours of object pixels always exist.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from .jit import inlined, kernel

SIZE, WORDS = 256, 4
Image = NDArray[np.uint64]

_NONE, _ONE, _ALL = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)
_63 = np.uint64(63)


def _count_intrinsic(name: str, takes_flag: bool) -> Any:
    """uint64 -> int64 from the LLVM bit-counting intrinsic `name`."""

    def typed(_context: Any, x: Any) -> Any:
        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            word, flag = ir.IntType(64), ir.IntType(1)
            kinds = [word, flag] if takes_flag else [word]
            function = builder.module.declare_intrinsic(name, [word], ir.FunctionType(word, kinds))
            extra = [ir.Constant(flag, 0)] if takes_flag else []
            return builder.call(function, [args[0], *extra])

        return types.int64(types.uint64), generate

    return intrinsic(typed)


ones = _count_intrinsic("llvm.ctpop", False)  # bits set
lowest = _count_intrinsic("llvm.cttz", True)  # place of the lowest bit set, 64 for 0
_above = _count_intrinsic("llvm.ctlz", True)  # zeros above the highest bit set, 64 for 0


@inlined()
def highest(word: np.uint64) -> int:
    return 63 - _above(word)


@inlined()
def pixel(image: Image, y: int, x: int) -> bool:
    return (image[y, x >> 6] >> np.uint64(x & 63)) & _ONE != _NONE


@inlined()
def set_pixel(image: Image, y: int, x: int) -> None:
    image[y, x >> 6] |= _ONE << np.uint64(x & 63)


@inlined()
def before(image: Image, y: int, word: int) -> np.uint64:
    """Word of a row moved by +1 in x: bit x tells of pixel x - 1."""
    low = image[y, word - 1] >> _63 if word > 0 else _NONE
    return (image[y, word] << _ONE) | low


@inlined()
def after(image: Image, y: int, word: int) -> np.uint64:
    """Word of a row moved by -1 in x: bit x tells of pixel x + 1."""
    high = image[y, word + 1] << _63 if word < WORDS - 1 else _NONE
    return (image[y, word] >> _ONE) | high


@kernel()
def row_ends(image: Image, y: int) -> tuple[int, int]:
    """First and last x of a row, (256, -1) when it is empty."""
    first, last = SIZE, -1
    for word in range(WORDS):
        if image[y, word]:
            if first == SIZE:
                first = 64 * word + lowest(image[y, word])
            last = 64 * word + highest(image[y, word])
    return first, last


@kernel()
def runs(image: Image, y: int, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> int:
    """Number of runs of object pixels in a row, a word at a time: starts <= x < stops, (128,)."""
    count = 0
    for word in range(WORDS):
        bits = image[y, word]
        while bits:
            start = lowest(bits)
            stop = lowest(~(bits | below(start)))
            starts[count], stops[count] = 64 * word + start, 64 * word + stop
            count += 1
            bits = bits & ~below(stop)
    return count


@inlined()
def below(count: int) -> np.uint64:
    """Word whose lowest `count` bits are set, `count` clipped to 0..64."""
    if count <= 0:
        return _NONE
    return _ALL >> np.uint64(64 - min(count, 64))


@kernel()
def bounds(image: Image) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) of the object pixels, ends included; (256, -1, 256, -1) without any."""
    y0, y1, x0, x1 = SIZE, -1, SIZE, -1
    for y in range(SIZE):
        first, last = row_ends(image, y)
        if last >= 0:
            y0 = min(y0, y)
            y1 = y
            x0, x1 = min(x0, first), max(x1, last)
    return y0, y1, x0, x1


@kernel()
def area(image: Image, y0: int, y1: int) -> int:
    """Number of object pixels in the rows y0 to y1."""
    total = 0
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            total += ones(image[y, word])
    return total


@kernel()
def rim(image: Image, y0: int, y1: int) -> int:
    """Number of object pixels with a background pixel among their eight neighbours."""
    total = 0
    column = np.empty((1, WORDS), np.uint64)
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            column[0, word] = image[y - 1, word] & image[y, word] & image[y + 1, word]
        for word in range(WORDS):
            inner = column[0, word] & before(column, 0, word) & after(column, 0, word)
            total += ones(image[y, word] & ~inner)
    return total


@kernel()
def grow_square(image: Image, y0: int, y1: int, grown: Image) -> None:
    """Grow by the 3 x 3 square; rows y0 to y1 hold the object. `grown` is overwritten."""
    grown[:] = _NONE
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            wide = image[y, word] | before(image, y, word) | after(image, y, word)
            for near in range(y - 1, y + 2):
                grown[near, word] |= wide


@kernel()
def grow_disc(image: Image, y0: int, y1: int, grown: Image) -> None:
    """Grow by the 5 x 5 square without its corners; rows y0 to y1 hold the object."""
    grown[:] = _NONE
    three = np.empty((1, WORDS), np.uint64)
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            three[0, word] = image[y, word] | before(image, y, word) | after(image, y, word)
        for word in range(WORDS):
            five = three[0, word] | before(three, 0, word) | after(three, 0, word)
            grown[y - 2, word] |= three[0, word]
            grown[y + 2, word] |= three[0, word]
            for near in range(y - 1, y + 2):
                grown[near, word] |= five
