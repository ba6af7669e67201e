"""The outline that the Fourier bytes are taken from: trace, test for one part, grow and thin.

Section numbers refer to the steps of the 2003 program: trace the silhouette; if it is several
parts, grow it until it is one, thin the grown image back towards the silhouette and trace that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .jit import inlined, kernel
from .lfd_bits import (
    SIZE,
    WORDS,
    Image,
    after,
    area,
    before,
    below,
    bounds,
    grow_disc,
    grow_square,
    ones,
    pixel,
    row_ends,
    set_pixel,
)

LONGEST = 65536  # points of an outline; a longer one counts as none
_NONE, _ONE = np.uint64(0), np.uint64(1)

# Three probes (dx, dy, heading after the move) of the headings +y, +x, -y, -x.
_PROBES = np.array(
    [
        [[-1, 1, 3], [0, 1, 0], [1, 1, 0]],
        [[1, 1, 0], [1, 0, 1], [1, -1, 1]],
        [[1, -1, 1], [0, -1, 2], [-1, -1, 2]],
        [[-1, -1, 2], [-1, 0, 3], [-1, 1, 3]],
    ],
    np.int64,
)


@kernel()
def trace(image: Image, y0: int, mark: Image, xs: NDArray[np.int16], ys: NDArray[np.int16]) -> int:
    """Follow the outline from the first object pixel of row y0, the lowest that has one.

    Args:
        image:  silhouette, not empty.
        y0:     its lowest row.
        mark:   overwritten: the pixels on the outline.
        xs, ys: (LONGEST,) overwritten: the outline; the start stands first and last.

    Returns:
        Number of points, or -1 for a lone pixel and for an outline longer than LONGEST.
    """
    mark[:] = _NONE
    x, _ = row_ends(image, y0)
    start_x, start_y, y, heading = x, y0, y0, 0
    xs[0], ys[0], length = x, y, 1
    set_pixel(mark, y, x)
    touches = (
        pixel(image, y + 1, x - 1)
        and not pixel(image, y + 1, x)
        and (pixel(image, y + 1, x + 1) or pixel(image, y, x + 1))
    )
    while length < LONGEST:
        moved = False
        for _ in range(4):
            for probe in range(3):
                dx, dy = _PROBES[heading, probe, 0], _PROBES[heading, probe, 1]
                if pixel(image, y + dy, x + dx):
                    x, y, heading = x + dx, y + dy, _PROBES[heading, probe, 2]
                    moved = True
                    break
            if moved:
                break
            heading = (heading + 1) & 3
        if not moved:
            return -1
        xs[length], ys[length] = x, y
        length += 1
        set_pixel(mark, y, x)
        if x == start_x and y == start_y and not (touches and heading == 1):
            return length
    return -1


@kernel()
def is_one_part(image: Image, mark: Image, reach: Image) -> bool:
    """Whether more than 95 % of the object is marked or enclosed by marked pixels.

    `reach` is overwritten: unmarked pixels joined to the border of the image by 4-neighbour steps.
    """
    y0, y1, _, _ = bounds(mark)
    for y in range(SIZE):
        first, last = row_ends(mark, y)
        for word in range(WORDS):
            reach[y, word] = below(first - 64 * word) | ~below(last + 1 - 64 * word)
    changed = True
    while changed:
        changed = False
        for y in range(y0, y1 + 1):
            changed |= _spread(reach, mark, y - 1, y)
        for y in range(y1, y0 - 1, -1):
            changed |= _spread(reach, mark, y + 1, y)
    outside = 0
    for y in range(SIZE):
        for word in range(WORDS):
            outside += ones(image[y, word] & reach[y, word])
    total = area(image, 0, SIZE - 1)
    return total > 0 and (total - outside) / total > 0.95


@kernel()
def _spread(reach: Image, mark: Image, source: int, y: int) -> bool:
    """Let the reached pixels of row `source` flow into row y and along it."""
    fresh = False
    for word in range(WORDS):
        new = reach[source, word] & ~mark[y, word] & ~reach[y, word]
        fresh |= new != _NONE
        reach[y, word] |= new
    if not fresh:
        return False
    moving = True
    while moving:
        moving = False
        for word in range(WORDS):
            free = ~mark[y, word] & ~reach[y, word]
            wave = (before(reach, y, word) | after(reach, y, word)) & free
            while wave:
                moving = True
                reach[y, word] |= wave
                free &= ~wave
                wave = ((wave << _ONE) | (wave >> _ONE)) & free
    return True


@kernel()
def outline(
    silhouette: Image, work: NDArray[np.uint64], xs: NDArray[np.int16], ys: NDArray[np.int16]
) -> int:
    """Outline of a silhouette of any number of parts: length of the list in xs, ys, or -1.

    Args:
        silhouette: not empty.
        work:       (4, 256, 4) scratch images.
        xs, ys:     (LONGEST,) overwritten.
    """
    mark, reach, grown, other = work[0], work[1], work[2], work[3]
    y0, y1, x0, x1 = bounds(silhouette)
    length = trace(silhouette, y0, mark, xs, ys)
    if is_one_part(silhouette, mark, reach):
        return length
    grow_square(silhouette, y0, y1, grown)
    trace(grown, y0 - 1, mark, xs, ys)
    if not is_one_part(grown, mark, reach):
        grow_disc(grown, y0 - 1, y1 + 1, other)
        grown, other = other, grown
        trace(grown, y0 - 3, mark, xs, ys)
        if not is_one_part(grown, mark, reach):
            grown[:] = _NONE
            for y in range(y0, y1 + 1):
                for word in range(WORDS):
                    grown[y, word] = below(x1 + 1 - 64 * word) & ~below(x0 - 64 * word)
    thin(grown, silhouette, max(y0 - 3, 1), min(y1 + 3, SIZE - 2), other)
    return trace(grown, bounds(grown)[0], mark, xs, ys)


@kernel()
def thin(image: Image, keep: Image, y0: int, y1: int, drop: Image) -> None:
    """Remove pixels of `image` outside `keep` from its rim inwards, without tearing it.

    A round has four passes (neighbour below, above, left, right missing), each decided on the
    image as it stood at the start of the pass; rounds go on until one removes nothing.
    """
    changed = True
    while changed:
        changed = False
        for side in range(4):
            removed = False
            for y in range(y0, y1 + 1):
                for word in range(WORDS):
                    drop[y, word] = _NONE
                    open_pixels = image[y, word] & ~keep[y, word]
                    if open_pixels:
                        open_pixels &= ~_neighbour(image, y, word, side)
                    if open_pixels:
                        drop[y, word] = open_pixels & _removable(image, y, word)
                        removed |= drop[y, word] != _NONE
            if removed:
                changed = True
                for y in range(y0, y1 + 1):
                    for word in range(WORDS):
                        image[y, word] &= ~drop[y, word]


@inlined()
def _neighbour(image: Image, y: int, word: int, side: int) -> np.uint64:
    if side == 0:
        return image[y - 1, word]
    if side == 1:
        return image[y + 1, word]
    if side == 2:
        return before(image, y, word)
    return after(image, y, word)


@kernel()
def _removable(image: Image, y: int, word: int) -> np.uint64:
    """Pixels whose neighbourhood has at most one 4-connected piece and not exactly one pixel."""
    ring = (
        after(image, y, word), after(image, y - 1, word),
        image[y - 1, word], before(image, y - 1, word),
        before(image, y, word), before(image, y + 1, word),
        image[y + 1, word], after(image, y + 1, word),
    )  # fmt: skip
    piece, two_pieces, some, two = _NONE, _NONE, _NONE, _NONE
    for k in range(0, 8, 2):
        ends = ring[k] & ~(ring[k + 1] & ring[(k + 2) & 7])
        two_pieces |= piece & ends
        piece |= ends
    for k in range(8):
        two |= some & ring[k]
        some |= ring[k]
    return ~two_pieces & (two | ~some)
