"""What can be measured on an upright mesh and put in words; nothing is guessed.

Lengths are in parts of the largest extent. A fact whose measurement is unsure is None, and what is
None is not said. Symmetries compare samples with their image: they hold when the mean distance is
below 2.5 times that between two independent samples, the sampling gap.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from .slices import CELLS, Depths, Floats, Ints, count_parts, filled_cells, openings, section

SAMPLES = 4096
BANDS = (0.01, 0.02, 0.03, 0.04)  # heights of the cuts above the floor, parts of the height
TURNS = (2, 3, 4, 5, 6, 8, 37)
VERSION = 2  # of the measurements, for runs that go on


@dataclass(frozen=True)
class Facts:
    """Measurements of one shape; None: not sure.

    Attributes:
        extents:     width x, height y, depth z, the largest 1.
        mirrors:     planes "left-right" and "front-back" that reflect the shape onto itself.
        turns:       order of its turns about the vertical: 0 none, 37 round; None: all turns fit
            within the sampling gap, but the outline from above is no circle.
        contacts:    places where it stands on the floor.
        base:        share of the footprint that one contact covers.
        plates:      (height, share of the area) of flat horizontal surfaces of over 15 %, from
            below.
        back, sides: whether mass above the seat-like plate stands along one end, along two sides.
        open_top:    whether it is hollow and open above, as a bowl.
        openings:    holes that one can look through from the front, the side, above.
        parts:       connected pieces of surface.
        holes:       genus, of a closed surface of one piece.
    """

    extents: tuple[float, float, float]
    mirrors: tuple[str, ...]
    turns: int | None
    contacts: int | None
    base: float | None
    plates: tuple[tuple[float, float], ...]
    back: bool | None
    sides: bool | None
    open_top: bool | None
    openings: tuple[int, int, int]
    parts: int
    holes: int | None


def measure(vertices: Floats, faces: Ints) -> Facts:
    """Measure an upright mesh: y up, z to the front.

    Raises:
        ValueError: no extent or no area.
    """
    points, faces = _placed(vertices, faces)
    extents = np.ptp(points, axis=0)
    normals, areas = _faces(points, faces)
    sample = _Samples(points, faces, areas)
    plates = _plates(points, faces, normals, areas, float(extents[1]))
    contacts, base = _contacts(points, faces, extents)
    back, sides = _above(sample.points, plates, extents)
    depths = Depths(points, faces)
    parts, holes = _pieces(points, faces)
    return Facts(
        extents=tuple(round(float(e), 4) for e in extents),  # type: ignore[arg-type]
        mirrors=sample.mirrors(),
        turns=_turns(sample, depths, extents),
        contacts=contacts,
        base=base,
        plates=plates,
        back=back,
        sides=sides,
        open_top=_open_top(depths, float(extents[1])),
        openings=_see_through(depths),
        parts=parts,
        holes=holes,
    )


def _placed(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """Used vertices with equal ones merged, on the floor, centred, largest extent 1."""
    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    size = float((high - low).max())
    if not 0 < size < np.inf:
        raise ValueError(f"a shape of extent {size:g} cannot be measured")
    centre = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    points = np.clip((vertices - centre) / size, -2, 2)  # unused vertices may lie anywhere
    grid = np.round((points + 2) * 2**18).astype(np.int64)  # steps of 4e-6, 21 bits an axis
    place = (grid[:, 0] << 42) | (grid[:, 1] << 21) | grid[:, 2]
    _, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    corners = inverse.reshape(-1)[faces]
    good = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    return points[first], corners[good]


def _faces(points: Floats, faces: Ints) -> tuple[Floats, Floats]:
    """Unit normals (m, 3) and areas (m,)."""
    a, b, c = points[faces].transpose(1, 0, 2)
    cross = np.cross(b - a, c - a)
    twice = np.linalg.norm(cross, axis=1)
    if not twice.sum() > 0:
        raise ValueError("a surface without area cannot be measured")
    return cross / np.maximum(twice, 1e-300)[:, None], twice / 2


class _Samples:
    """Two samples of the surface, uniform by area, drawn from the mesh's own bytes."""

    def __init__(self, points: Floats, faces: Ints, areas: Floats) -> None:
        from scipy.spatial import cKDTree

        digest = hashlib.sha256(points.tobytes() + faces.tobytes()).digest()
        rng = np.random.default_rng(list(np.frombuffer(digest, "<u4")))
        both = _draw(points, faces, areas, 2 * SAMPLES, rng)
        self.points, other = both[:SAMPLES], both[SAMPLES:]
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        self._tree = cKDTree(other - middle * [1, 0, 1])
        self._own = self.points - middle * [1, 0, 1]
        self.gap = self._distance(self._own)

    def _distance(self, points: Floats) -> float:
        return float(self._tree.query(points)[0].mean())

    def mirrors(self) -> tuple[str, ...]:
        planes = (("left-right", [-1, 1, 1]), ("front-back", [1, 1, -1]))
        return tuple(n for n, sign in planes if self._distance(self._own * sign) < 2.5 * self.gap)

    def turned(self, order: int) -> bool:
        """Whether a turn by 360 / order degrees about the vertical gives the same shape."""
        angle = 2 * np.pi / order
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        return self._distance(self._own @ turn) < 2.5 * self.gap


def _draw(points: Floats, faces: Ints, areas: Floats, count: int, rng: Any) -> Floats:
    a, b, c = points[faces].transpose(1, 0, 2)
    total = np.cumsum(areas)
    face = np.searchsorted(total, rng.random(count) * total[-1], side="right").clip(0, len(a) - 1)
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    found: Floats = (1 - root) * a[face] + root * (1 - along) * b[face] + root * along * c[face]
    return found


def _turns(sample: _Samples, depths: Depths, extents: Floats) -> int | None:
    """The largest order that holds. Above 2 the footprint must be as wide as deep, to a sixth."""
    if abs(extents[0] - extents[2]) > max(extents[0], extents[2]) / 6:
        return 2 if sample.turned(2) else 0
    held: list[int] = []
    for order in TURNS:  # a turn of order 6 holds only where those of 2 and 3 do
        if {d for d in TURNS if d < order and (order % d == 0 or order == TURNS[-1])} <= {*held}:
            held += [order] if sample.turned(order) else []
    if len(held) == len(TURNS):
        return TURNS[-1] if _circle(depths) else None
    return max([order for order in held if order != TURNS[-1]], default=0)


def _circle(depths: Depths) -> bool:
    """Whether the outline from above reaches equally far in 36 directions, to 7 %."""
    x, z = np.nonzero(np.isfinite(depths.first_hits(1, 1)))
    x, z = x - (x.min() + x.max()) / 2, z - (z.min() + z.max()) / 2
    sector = ((np.arctan2(z, x) + np.pi) / (2 * np.pi) * 36).astype(int) % 36
    reach = np.zeros(36)
    np.maximum.at(reach, sector, np.hypot(x, z))
    return bool(reach.min() > 0.93 * reach.max())


def _contacts(points: Floats, faces: Ints, extents: Floats) -> tuple[int | None, float | None]:
    """Number of contacts, if three of the four cuts agree; share of the footprint, if it is one."""
    side = float(max(extents[0], extents[2], 1e-9))
    low = points.min(axis=0)[[0, 2]]
    cuts = [filled_cells(section(points, faces, b * extents[1]), low, side) for b in BANDS]
    counts = [count_parts(cells) for cells in cuts]
    number, agree = Counter(counts).most_common(1)[0]
    if agree < 3 or number == 0:
        return None, None
    areas = [cells.sum() for cells, n in zip(cuts, counts, strict=True) if n == number]
    footprint = extents[0] * extents[2] / side**2 * CELLS**2
    share = float(np.median(areas)) / max(footprint, 1.0)
    return number, round(float(min(share, 1.0)), 3) if number == 1 else None


def _plates(
    points: Floats, faces: Ints, normals: Floats, areas: Floats, height: float
) -> tuple[tuple[float, float], ...]:
    """Peaks of the area of horizontal faces over the height, each over 15 % of the whole area."""
    flat = np.abs(normals[:, 1]) > 0.95
    if height < 0.05 or not flat.any():
        return ()
    level = points[faces[flat], 1].mean(axis=1) / height
    bins = np.histogram(level, 40, (0.0, 1.0), weights=areas[flat])[0] / areas.sum()
    found = []
    place = 0
    while place < len(bins):
        end = place
        while end < len(bins) and bins[end] > 0.01:
            end += 1
        share = bins[place:end].sum()
        if share > 0.15 and end - place <= 4:
            middle = float((bins[place:end] * (np.arange(place, end) + 0.5)).sum() / share / 40)
            found.append((round(middle, 3), round(float(share), 3)))
        place = end + 1
    return tuple(found)


def _above(
    sample: Floats, plates: tuple[tuple[float, float], ...], extents: Floats
) -> tuple[bool | None, bool | None]:
    """What stands above the highest plate between a fifth and three quarters of the height."""
    seats = [level for level, _ in plates if 0.2 < level < 0.75]
    if not seats:
        return None, None
    above = sample[sample[:, 1] > (seats[-1] + 0.08) * extents[1]]
    if len(above) < 40:
        return False, False
    place = above[:, [0, 2]] / extents[[0, 2]] + 0.5  # 0 to 1 from left and from behind
    ends = [float((place[:, 1] < 0.3).mean()), float((place[:, 1] > 0.7).mean())]
    sides = [float((place[:, 0] < 0.25).mean()), float((place[:, 0] > 0.75).mean())]
    back = max(ends) > 0.55 and min(ends) < 0.3
    middle = (place[:, 1] > 0.35) & (place[:, 1] < 0.85)  # in front of a back
    wings = [
        float(((place[:, 0] < 0.2) & middle).mean()),
        float(((place[:, 0] > 0.8) & middle).mean()),
    ]
    return back, min(wings) > 0.05 and min(sides) > 0.15


def _open_top(depths: Depths, height: float) -> bool | None:
    """Whether water from above would stand in it, a quarter of its height deep.

    The basin must cover a tenth of the outline seen from above.

    None when the rays from above leave gaps inside the outline.
    """
    from scipy import ndimage
    from skimage.morphology import reconstruction

    top = np.pad(depths.first_hits(1, 1), 1, constant_values=np.nan)
    seen = np.isfinite(top)
    outline = ndimage.binary_fill_holes(seen)
    if height < 0.02 or seen.sum() < 0.9 * outline.sum():
        return None
    ground = np.where(seen, top, -1.0)
    start = np.where(seen, ground.max(), -1.0)
    water = reconstruction(start, ground, method="erosion") - ground  # depth at each pixel
    basin = water > 0.25 * height
    return bool(basin.sum() > 0.1 * outline.sum())


def _see_through(depths: Depths) -> tuple[int, int, int]:
    front, side, above = (np.isfinite(depths.first_hits(axis, 1)) for axis in (2, 0, 1))
    return openings(front), openings(side), openings(above)


def _pieces(points: Floats, faces: Ints) -> tuple[int, int | None]:
    """Connected pieces; genus where every edge has two faces and there is one piece."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    ones = np.ones(len(edges), np.int8)
    shape = (len(points), len(points))
    label = connected_components(coo_matrix((ones, edges.T), shape), directed=False)[1]
    pieces = len(np.unique(label[faces[:, 0]]))
    unique, count = np.unique(edges[:, 0] * len(points) + edges[:, 1], return_counts=True)
    if pieces > 1 or not (count == 2).all():
        return pieces, None
    euler = len(np.unique(faces)) - len(unique) + len(faces)
    return pieces, (2 - euler) // 2 if euler <= 2 and euler % 2 == 0 else None
