"""The light field descriptor on meshes whose answer can be told without the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from retrieval.lfd import describe
from retrieval.lfd_art import GRID, QUARTER, _in_order, fold, tables
from retrieval.lfd_bits import area, bounds, grow_square, pixel, rim, set_pixel
from retrieval.lfd_cameras import projections
from retrieval.lfd_outline import LONGEST, _removable, is_one_part, outline, trace
from retrieval.lfd_raster import CHUNK, silhouettes

KEYS = ("art", "fd", "cir", "ecc")
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float64)
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def _image(*pixels: tuple[int, int]) -> NDArray[np.uint64]:
    image = np.zeros((256, 4), np.uint64)
    for y, x in pixels:
        set_pixel(image, y, x)
    return image


def _slow_silhouette(vertices: NDArray[np.float64], faces: NDArray[np.int64], view: int):
    """Coverage with Python integers straight from the rule, one pixel at a time."""
    used = vertices[np.unique(faces)]
    low, high = used.min(0), used.max(0)
    points = ((vertices - (low + high) / 2) * (1.0 / (high - low).max())).astype(np.float32)
    f32 = np.float32
    sx, sy, sz, tx, ux, uy, uz, ty = projections()[view]
    corners = []
    for x, y, z in points:
        u = ((x * sx + y * sy) + z * sz) + tx
        v = ((x * ux + y * uy) + z * uz) + ty
        px = np.rint(((u * f32(128) + f32(128)) - f32(0.5)) * f32(256))
        py = np.rint(((-(v * f32(128)) + f32(128)) - f32(0.5)) * f32(256))
        corners.append((int(px), int(py)))
    image = np.zeros((256, 256), bool)
    for face in faces:
        (xa, ya), (xb, yb), (xc, yc) = sorted((corners[i] for i in face), key=lambda p: p[1])
        for row in range(math.floor(ya / 256) + 1, yc // 256 + 1):
            level = 256 * row
            # x of an edge at this row as a fraction (numerator, positive denominator)
            long = (xa * (yc - ya) + (level - ya) * (xc - xa), yc - ya)
            if level <= yb:
                short = (xa * (yb - ya) + (level - ya) * (xb - xa), yb - ya)
            else:
                short = (xb * (yc - yb) + (level - yb) * (xc - xb), yc - yb)
            first, last = sorted(-(-n // (256 * d)) for n, d in (long, short))
            image[255 - row, first:last] = True
    return image


def _unpack(image: NDArray[np.uint64]) -> NDArray[np.bool_]:
    bits = np.unpackbits(image.view(np.uint8), bitorder="little")
    return bits.reshape(256, 256).astype(bool)


@pytest.mark.parametrize("seed", range(4))
def test_silhouettes_follow_the_coverage_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = (0.003, 0.02, 0.1, 1.0)  # both ways of drawing, and triangles that need both
    centres = rng.uniform(-1, 1, (120, 1, 3))
    offsets = rng.normal(size=(120, 3, 3)) * rng.choice(sizes, (120, 1, 1))
    vertices = (centres + offsets).reshape(-1, 3)
    if seed == 3:
        vertices = np.round(vertices * 32) / 32  # many edges on pixel centres
    faces = np.arange(len(vertices)).reshape(-1, 3)
    images = silhouettes(vertices, faces)
    for view in (0, 37, 50, 99):
        assert np.array_equal(_unpack(images[view]), _slow_silhouette(vertices, faces, view))


def test_chunks_of_a_large_mesh_draw_what_one_piece_draws() -> None:
    sphere = trimesh.creation.icosphere(5)
    assert len(sphere.faces) > 2 * CHUNK
    order = np.random.default_rng(0).permutation(len(sphere.faces))
    one = silhouettes(sphere.vertices, sphere.faces)
    assert np.array_equal(one, silhouettes(sphere.vertices, sphere.faces[order]))


def test_position_scale_and_winding_do_not_matter() -> None:
    mesh = trimesh.creation.annulus(0.3, 0.5, 0.25)
    plain = describe(mesh.vertices, mesh.faces)
    moved = describe(mesh.vertices * 4 + [8, -16, 2], mesh.faces[:, ::-1])
    assert all(np.array_equal(plain[key], moved[key]) for key in KEYS)


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int)),
        (SQUARE, np.zeros((0, 3), int)),
        (SQUARE * 0, TWO),
        (SQUARE * [1, 0, 0], TWO),
        (SQUARE, np.array([[1, 1, 1]])),
    ],
    ids=["empty", "no faces", "one point", "one line", "one corner"],
)
def test_what_cannot_be_drawn_is_all_zero(vertices: NDArray, faces: NDArray) -> None:
    assert not any(describe(vertices, faces)[key].any() for key in KEYS)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (SQUARE[:, :2], TWO, "expected shape"),
        (SQUARE, TWO[:, :2], "expected shape"),
        (SQUARE, TWO + 3, "outside 0..3"),
        (SQUARE, TWO - 1, "outside 0..3"),
        (np.where(SQUARE == 1, np.nan, SQUARE), TWO, "not finite"),
        (np.where(SQUARE == 1, np.inf, SQUARE), TWO, "not finite"),
        ((SQUARE - 0.5) * 1.7e308 * 2, TWO, "beyond"),
    ],
)
def test_bad_arrays_are_refused(vertices: NDArray, faces: NDArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe(vertices, faces)


def test_a_vertex_of_no_face_may_be_anything() -> None:
    plain = describe(SQUARE, TWO)
    more = describe(np.vstack([SQUARE, [[np.nan, 0, 1e300]]]), TWO)
    assert all(np.array_equal(plain[key], more[key]) for key in KEYS)


def test_specks_do_not_crash() -> None:
    # two tiny triangles far apart: the reference program dies on some of these
    vertices = np.vstack([SQUARE[:3] * 1e-3, SQUARE[:3] * 1e-3 + 1])
    found = describe(vertices, np.arange(6).reshape(2, 3))
    assert found["art"].shape == (10, 10, 35)


def test_bit_rows_count_and_grow() -> None:
    image = _image((100, 63), (100, 64), (101, 64))
    assert bounds(image) == (100, 101, 63, 64)
    assert area(image, 100, 101) == 3
    assert rim(image, 100, 101) == 3
    grown = np.empty_like(image)
    grow_square(image, 100, 101, grown)
    assert area(grown, 0, 255) == 14 + 1
    assert pixel(grown, 102, 65) and not pixel(grown, 102, 62)


def test_outline_of_a_block_holds_its_start_twice() -> None:
    block = _image(*((y, x) for y in range(50, 60) for x in range(62, 82)))
    xs, ys = np.empty(LONGEST, np.int16), np.empty(LONGEST, np.int16)
    work = np.empty((4, 256, 4), np.uint64)
    length = outline(block, work, xs, ys)
    assert length == 2 * (10 + 20) - 4 + 1
    assert (xs[0], ys[0]) == (xs[length - 1], ys[length - 1]) == (62, 50)


def test_lone_pixel_has_no_outline() -> None:
    image, mark = _image((90, 90)), np.empty((256, 4), np.uint64)
    points = np.empty((2, LONGEST), np.int16)
    assert trace(image, 90, mark, points[0], points[1]) == -1


def test_one_part_means_95_percent_enclosed() -> None:
    ring = [(y, x) for y in range(50, 70) for x in range(50, 70)]
    xs, ys = np.empty(LONGEST, np.int16), np.empty(LONGEST, np.int16)
    mark, reach = np.empty((256, 4), np.uint64), np.empty((256, 4), np.uint64)
    for speck, expected in ((20, True), (22, False)):  # 400 / 420 and 400 / 422
        image = _image(*ring, *((100, 100 + i) for i in range(speck)))
        trace(image, 50, mark, xs, ys)
        assert is_one_part(image, mark, reach) == expected


def test_removable_table_has_125_entries() -> None:
    ring = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    count = 0
    for code in range(256):
        near = [(100 + dy, 100 + dx) for k, (dy, dx) in enumerate(ring) if code >> k & 1]
        word = _removable(_image((100, 100), *near), 100, 1)
        count += int(word >> np.uint64(100 - 64)) & 1
    assert count == 125


@pytest.mark.parametrize("scale", [0.45, 0.5, 1.0, 3.7, 0.0])
def test_region_moments_equal_the_sum_pixel_by_pixel(scale: float) -> None:
    rng = np.random.default_rng(7)
    half = int(min(100, 49 / scale)) if scale else 5
    solid = rng.random((2 * half + 1, 2 * half + 1)) < 0.9
    y, x = np.nonzero(solid & (np.hypot(*np.indices(solid.shape) - half) <= half))
    image = _image(*zip(y + 128 - half, x + 128 - half, strict=True))
    y0, y1, x0, x1 = bounds(image)
    box = np.array([y0, y1, x0, x1])
    full, quarter = tables()
    grid, folded = np.zeros((2, GRID + 1, GRID)), np.empty((4, QUARTER * QUARTER))
    fold(image, box, scale, grid, folded)
    expected = _in_order(image, box, scale, len(y), full).reshape(12, 3)
    even = np.hypot(quarter[0] @ folded[0], quarter[1] @ folded[1]).reshape(6, 3)
    odd = np.hypot(quarter[2] @ folded[2], quarter[3] @ folded[3]).reshape(6, 3)
    assert np.abs(even / len(y) - expected[0::2]).max() < 1e-12
    assert np.abs(odd / len(y) - expected[1::2]).max() < 1e-12
