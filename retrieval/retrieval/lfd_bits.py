"""Silhouettes as bit rows: (256, 4) uint64, bit x % 64 of word x // 64 in row y; y = 0 is the bottom.

Objects keep 14 pixels away from the rim (a unit box stays within 111 pixels of the middle, growing
adds 3), so neighbours of object pixels always exist.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

SIZE, WORDS = 256, 4
Image = NDArray[np.uint64]

_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
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


@njit(cache=True, nogil=True, inline="always")
def highest(word: np.uint64) -> int:
    return 63 - _above(word)


@njit(cache=True, nogil=True, inline="always")
def pixel(image: Image, y: int, x: int) -> bool:
    return (image[y, x >> 6] >> np.uint64(x & 63)) & _ONE != np.uint64(0)


@njit(cache=True, nogil=True, inline="always")
def set_pixel(image: Image, y: int, x: int) -> None:
    image[y, x >> 6] |= _ONE << np.uint64(x & 63)


@njit(cache=True, nogil=True)
def set_span(row: NDArray[np.uint64], start: int, stop: int) -> None:
    """Set the pixels start <= x < stop of one row; start < stop."""
    first, last = start >> 6, (stop - 1) >> 6
    head = _ALL << np.uint64(start & 63)
    tail = _ALL >> np.uint64(63 - ((stop - 1) & 63))
    if first == last:
        row[first] |= head & tail
    else:
        row[first] |= head
        for word in range(first + 1, last):
            row[word] = _ALL
        row[last] |= tail


@njit(cache=True, nogil=True, inline="always")
def from_left(row: NDArray[np.uint64], word: int) -> np.uint64:
    """Word of the row moved by +1 in x: bit x tells of pixel x - 1."""
    low = row[word - 1] >> _63 if word > 0 else np.uint64(0)
    return (row[word] << _ONE) | low


@njit(cache=True, nogil=True, inline="always")
def from_right(row: NDArray[np.uint64], word: int) -> np.uint64:
    """Word of the row moved by -1 in x: bit x tells of pixel x + 1."""
    high = row[word + 1] << _63 if word < WORDS - 1 else np.uint64(0)
    return (row[word] >> _ONE) | high


@njit(cache=True, nogil=True)
def row_ends(row: NDArray[np.uint64]) -> tuple[int, int]:
    """First and last x of a row, (256, -1) when it is empty."""
    first, last = SIZE, -1
    for word in range(WORDS):
        if row[word]:
            if first == SIZE:
                first = 64 * word + lowest(row[word])
            last = 64 * word + highest(row[word])
    return first, last


@njit(cache=True, nogil=True)
def bounds(image: Image) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) of the object pixels, ends included; y1 < y0 when there are none."""
    y0, y1, x0, x1 = SIZE, -1, SIZE, -1
    for y in range(SIZE):
        first, last = row_ends(image[y])
        if last >= 0:
            y0 = min(y0, y)
            y1 = y
            x0, x1 = min(x0, first), max(x1, last)
    return y0, y1, x0, x1


@njit(cache=True, nogil=True)
def area(image: Image, y0: int, y1: int) -> int:
    """Number of object pixels in the rows y0 to y1."""
    total = 0
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            total += ones(image[y, word])
    return total


@njit(cache=True, nogil=True)
def rim(image: Image, y0: int, y1: int) -> int:
    """Number of object pixels with a background pixel among their eight neighbours."""
    total = 0
    column = np.empty(WORDS, np.uint64)
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            column[word] = image[y - 1, word] & image[y, word] & image[y + 1, word]
        for word in range(WORDS):
            inner = column[word] & from_left(column, word) & from_right(column, word)
            total += ones(image[y, word] & ~inner)
    return total


@njit(cache=True, nogil=True)
def grow_square(image: Image, y0: int, y1: int, grown: Image) -> None:
    """Grow by the 3 x 3 square; rows y0 to y1 hold the object. `grown` is overwritten."""
    grown[:] = np.uint64(0)
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            wide = image[y, word] | from_left(image[y], word) | from_right(image[y], word)
            for near in range(y - 1, y + 2):
                grown[near, word] |= wide


@njit(cache=True, nogil=True)
def grow_disc(image: Image, y0: int, y1: int, grown: Image) -> None:
    """Grow by the 5 x 5 square without its corners; rows y0 to y1 hold the object."""
    grown[:] = np.uint64(0)
    three = np.empty(WORDS, np.uint64)
    for y in range(y0, y1 + 1):
        for word in range(WORDS):
            three[word] = image[y, word] | from_left(image[y], word) | from_right(image[y], word)
        for word in range(WORDS):
            five = three[word] | from_left(three, word) | from_right(three, word)
            grown[y - 2, word] |= three[word]
            grown[y + 2, word] |= three[word]
            for near in range(y - 1, y + 2):
                grown[near, word] |= five
