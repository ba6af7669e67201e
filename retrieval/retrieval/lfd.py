"""Light field descriptor of a mesh, byte for byte that of the 2003 program (feature version 1.8).

100 silhouettes (10 rigs of 10 views), 47 bytes each: 35 region moments, 10 Fourier coefficients of
the outline, circularity, eccentricity. Source: Chen, Tian, Shen, Ouhyoung, "On Visual Similarity
Based 3D Model Retrieval", Computer Graphics Forum 22(3), 2003.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .jit import kernel
from .lfd_art import GRID, QUARTER, RADIUS, art_bytes, farthest, fold
from .lfd_bits import SIZE, WORDS, Image, area, bounds, rim, runs
from .lfd_cameras import RIGS, VIEWS
from .lfd_outline import LONGEST, outline
from .lfd_raster import silhouettes

FOURIER = 10
_STRIDE = 32  # samples between exactly computed angles


def describe(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> dict[str, NDArray[np.uint8]]:
    """Light field descriptor of a triangle mesh.

    Args:
        vertices: (n, 3), any units; only those that a face refers to count.
        faces:    (m, 3) integers into `vertices`.

    Returns:
        uint8 arrays art (10, 10, 35), fd (10, 10, 10), cir (10, 10), ecc (10, 10), indices
        [rig][view][coefficient]; all zero where nothing can be drawn.

    Raises:
        ValueError: wrong shapes, an index out of range, a referenced vertex that is not finite.
    """
    vertices, faces = _checked(vertices, faces)
    images = silhouettes(vertices, faces)
    views = RIGS * VIEWS
    boxes = np.zeros((views, 4), np.int64)
    counts = np.zeros(views, np.int64)
    scales = np.zeros(views)
    folded = np.zeros((views, 4, QUARTER * QUARTER))
    small = np.zeros((views, FOURIER + 2), np.uint8)
    _describe_views(images, boxes, counts, scales, folded, small)
    return {
        "art": art_bytes(images, boxes, scales, counts, folded).reshape(RIGS, VIEWS, -1),
        "fd": small[:, :FOURIER].reshape(RIGS, VIEWS, FOURIER),
        "cir": small[:, FOURIER].reshape(RIGS, VIEWS),
        "ecc": small[:, FOURIER + 1].reshape(RIGS, VIEWS),
    }


def _checked(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    vertices = np.ascontiguousarray(vertices, np.float64)
    faces = np.ascontiguousarray(faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"vertices: expected shape (n, 3), found {vertices.shape}")
    if faces.size == 0:
        return vertices, faces.reshape(0, 3)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces: expected shape (m, 3), found {faces.shape}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces: vertex index outside 0..{len(vertices) - 1}")
    if not np.isfinite(vertices).all() and not np.isfinite(vertices[np.unique(faces)]).all():
        raise ValueError("vertices: a vertex that a face refers to is not finite")
    return vertices, faces


@kernel()
def _describe_views(
    images: NDArray[np.uint64],
    boxes: NDArray[np.int64],
    counts: NDArray[np.int64],
    scales: NDArray[np.float64],
    folded: NDArray[np.float64],
    small: NDArray[np.uint8],
) -> None:
    """Everything of all views but the final region moments; the last five arrays are filled."""
    work = np.empty((4, SIZE, WORDS), np.uint64)
    xs, ys = np.empty(LONGEST, np.int16), np.empty(LONGEST, np.int16)
    waves, samples = np.empty((4, LONGEST)), np.empty(LONGEST)
    grid = np.zeros((2, GRID + 1, GRID))
    for rig in range(RIGS):
        reach = 0.0
        for view in range(rig * VIEWS, (rig + 1) * VIEWS):
            image = images[view]
            y0, y1, x0, x1 = bounds(image)
            if y1 >= 0:
                for side, place in enumerate((y0, y1, x0, x1)):
                    boxes[view, side] = place
                counts[view] = area(image, y0, y1)
                reach = max(reach, farthest(image, boxes[view]))
        for view in range(rig * VIEWS, (rig + 1) * VIEWS):
            if counts[view] == 0:
                continue
            image, box = images[view], boxes[view]
            # only specks in all ten views: the program crashes; here they sit on the centre
            scales[view] = RADIUS / reach if reach > 0 else 0.0
            fold(image, box, scales[view], grid, folded[view])
            small[view, FOURIER] = _circularity(image, box, counts[view])
            small[view, FOURIER + 1] = _eccentricity(image, box, counts[view])
            length = outline(image, work, xs, ys)
            _fourier(xs, ys, length, box, samples, waves, small[view])


@kernel()
def _circularity(image: Image, box: NDArray[np.int64], count: int) -> int:
    edge = rim(image, box[0], box[1])
    if edge == 0:
        return 0
    return min(255, int(256 * min(1.0, (12.5663704 * count) / (edge * edge))))


@kernel()
def _eccentricity(image: Image, box: NDArray[np.int64], count: int) -> int:
    if count < 2:
        return 0
    xx, yy, xy = 0, 0, 0  # four times the central moments: exact integers
    starts, stops = np.empty(128, np.int64), np.empty(128, np.int64)
    for y in range(box[0], box[1] + 1):
        dy = 2 * y - (box[0] + box[1])
        for k in range(runs(image, y, starts, stops)):
            n = stops[k] - starts[k]
            middle = starts[k] + stops[k] - 1 - (box[2] + box[3])
            xx += n * middle * middle + (n * n * n - n) // 3
            yy += n * dy * dy
            xy += n * dy * middle
    i20, i02, i11 = xx / 4.0, yy / 4.0, xy / 4.0
    value = ((i20 - i02) * (i20 - i02) + 4 * (i11 * i11)) / ((i20 + i02) * (i20 + i02))
    return min(255, int(256 * min(1.0, value)))


@kernel()
def _fourier(
    xs: NDArray[np.int16],
    ys: NDArray[np.int16],
    length: int,
    box: NDArray[np.int64],
    samples: NDArray[np.float64],
    waves: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    """The ten Fourier bytes of the distances of an outline from the middle of the box."""
    if length < 8:
        return
    cx, cy = (box[2] + box[3]) / 2.0, (box[0] + box[1]) / 2.0
    total = 0.0
    for i in range(length):
        dx, dy = xs[i] - cx, ys[i] - cy
        samples[i] = math.sqrt(dx * dx + dy * dy)
        total += samples[i]
    _first_wave(length, waves)
    for m in range(1, min(FOURIER, length // 2) + 1):
        re, im = _project(samples, waves, length)
        out[m - 1] = min(255, int(512 * (math.sqrt(re * re + im * im) / total)))


@kernel()
def _first_wave(length: int, waves: NDArray[np.float64]) -> None:
    """Rows 0, 1 and 2, 3: cos and sin of 2 pi i / length, to 1e-15."""
    turn = 2 * math.pi / length
    for i in range(min(_STRIDE, length)):
        waves[0, i], waves[1, i] = math.cos(turn * i), math.sin(turn * i)
    for start in range(_STRIDE, length, _STRIDE):
        c, s = math.cos(turn * start), math.sin(turn * start)
        for i in range(min(_STRIDE, length - start)):
            waves[0, start + i] = c * waves[0, i] - s * waves[1, i]
            waves[1, start + i] = s * waves[0, i] + c * waves[1, i]
    for i in range(length):
        waves[2, i], waves[3, i] = waves[0, i], waves[1, i]


@kernel(fastmath=True)
def _project(
    samples: NDArray[np.float64], waves: NDArray[np.float64], length: int
) -> tuple[float, float]:
    """Sums of the samples against rows 2 and 3, which then turn on by rows 0 and 1."""
    re, im = 0.0, 0.0
    for i in range(length):
        c, s = waves[2, i], waves[3, i]
        re += samples[i] * c
        im += samples[i] * s
        waves[2, i] = c * waves[0, i] - s * waves[1, i]
        waves[3, i] = s * waves[0, i] + c * waves[1, i]
    return re, im
