"""Colour of the points that camera rays hit. No I/O.

Light in clay and material pictures: a sky of evenly spread directional lights, each hidden where
the mesh stands between (so that folds and corners darken), and a lamp beside the viewer that
throws no shadow. Colours are linear until `to_bytes`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cameras import Floats, fibonacci
from .raycast import Caster, Floats32, Hits, Ints, lifted

SHADINGS = ("clay", "material", "normals")
SKY_LIGHTS = 24

_SKY, _LAMP, _GROUND = 0.6, 0.5, 0.35  # strength of sky and lamp; light from below over above
_LAMP_FROM = np.array([-0.42, 0.5, 0.76])  # right, up, back of the camera
CLAY = np.array([0.51, 0.56, 0.63], np.float32)  # linear


class Sky:
    """Directional lights all around, (lights, 3) unit directions; those from above are stronger."""

    def __init__(self, lights: int = SKY_LIGHTS) -> None:
        world = fibonacci(lights)
        above = (world[:, 1] + 1) / 2
        self.strengths = ((_GROUND + (1 - _GROUND) * above) * 4 / lights).astype(np.float32)
        self.directions = world.astype(np.float32)

    def light(
        self, caster: Caster, hits: Hits, normals: Floats32, part: int, parts: int
    ) -> Floats32:
        """(k,) light on each hit, as its normal (k, 3) takes it; about 1 under an open sky.

        Of the lights only part, part + parts, ... are asked: the subpixels share them out.
        """
        total = np.zeros(len(hits.pixels), np.float32)
        starts = lifted(hits)
        chosen = slice(part, None, parts)
        for towards, strength in zip(self.directions[chosen], self.strengths[chosen], strict=True):
            cosine = normals @ towards
            facing = np.flatnonzero(cosine > 0)
            hidden = caster.blocked(starts[facing], towards)
            seen = facing[~hidden]
            total[seen] += cosine[seen] * (strength * parts)
        return total


def turned(corners: Floats32, hits: Hits) -> Floats32:
    """(k, 3) normals at hits between those of the corners (m, 3, 3), turned to the camera."""
    mixed = np.einsum("kc,kci->ki", hits.bary, corners[hits.faces])
    mixed *= np.sign(np.einsum("ki,ki->k", mixed, hits.normals))[:, None]
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.where(length > 1e-3, mixed / np.maximum(length, np.float32(1e-3)), hits.normals)


def lit(colours: Floats32, sky: Floats32, normals: Floats32, axes: Floats) -> Floats32:
    """Linear colours (k, 3) or (3,) under the sky's light (k,) and a camera's lamp (3, 3)."""
    lamp = (_LAMP_FROM / np.linalg.norm(_LAMP_FROM)) @ axes
    facing = np.maximum(normals @ lamp.astype(np.float32), np.float32(0))
    return np.asarray(colours * (_SKY * sky + _LAMP * facing)[:, None], np.float32)


def raw_normals(normals: Floats32) -> Floats32:
    """(k, 3) the normal as colour: -1 ... 1 on each axis of the upright mesh becomes 0 ... 1."""
    return normals * np.float32(0.5) + np.float32(0.5)


def average(size: int, parts: list[tuple[Ints, Floats32]]) -> Floats32:
    """Mean of subpixels over a white ground; each part is (k,) pixels and (k, 3) colours."""
    picture = np.full((size * size, 3), len(parts), np.float32)
    for pixels, colours in parts:
        picture[pixels] += colours - np.float32(1)
    mean = np.clip(picture / np.float32(len(parts)), 0, 1)
    return mean.reshape(size, size, 3).astype(np.float32)


def to_bytes(picture: Floats32, linear: bool) -> NDArray[np.uint8]:
    """Colours 0 ... 1 as 8 bits; linear ones through the sRGB curve."""
    if linear:
        low, high = picture * 12.92, 1.055 * np.power(picture, 1 / 2.4) - 0.055
        picture = np.where(picture <= 0.0031308, low, high)
    return (picture * 255.0 + 0.5).astype(np.uint8)


def from_bytes(colours: NDArray[np.uint8]) -> Floats32:
    """sRGB bytes as linear colours 0 ... 1."""
    part = colours.astype(np.float32) / np.float32(255)
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4).astype("f4")
