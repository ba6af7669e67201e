"""Distances of the tree against libigl's, and the grid of the shell against all exact distances."""

from __future__ import annotations

from typing import Any

import igl
import numpy as np
import pytest
import trimesh

from data_curation.nearest import Nearest
from data_curation.nearest_kernels import WIDTH
from data_curation.shell import banded
from data_curation.signed import SignedMesh

BOX = trimesh.creation.box((2, 1, 0.5))


def soup(count: int, seed: int) -> tuple[Any, Any]:
    """Triangles of sides from a thousandth to two, needles among them; (n, 3), (count, 3)."""
    rng = np.random.default_rng(seed)
    sides = rng.normal(size=(count, 3, 3)) * 10 ** rng.uniform(-3, 0, (count, 1, 1))
    sides[::3, 2] = sides[::3, 1] * 0.4 + 1e-6  # needles
    corners = rng.uniform(-1, 1, (count, 1, 3)) + sides
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def places(vertices: Any, count: int, seed: int) -> Any:
    """Points far away, near, on vertices and on edges."""
    rng = np.random.default_rng(seed)
    near = vertices[rng.integers(len(vertices), size=count)]
    middle = (vertices[rng.integers(len(vertices) // 3, size=count) * 3] + near) / 2
    spread = [rng.normal(size=(count, 3)) * size for size in (100, 1, 0.01)]
    return np.concatenate([*spread, near, near + spread[2], middle])


@pytest.mark.parametrize("count", [1, 2, WIDTH, WIDTH + 1, WIDTH**2 + 1, 700])
def test_distances_are_those_of_libigl(count: int) -> None:
    vertices, faces = soup(count, count)
    points = places(vertices, 300, count)
    squared, _, _ = igl.point_mesh_squared_distance(points, vertices, faces)
    found = Nearest(vertices, faces).distance(points)
    np.testing.assert_allclose(found, np.sqrt(squared), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mesh", [BOX, trimesh.creation.annulus(0.5, 1, 0.3), None])
def test_signs_are_those_of_libigl(mesh: Any) -> None:
    if mesh is None:  # sharp and deep: a point may be nearest to a corner, an edge or a face
        mesh = trimesh.creation.icosphere(2)
        mesh.vertices *= np.random.default_rng(0).uniform(0.4, 1.6, (len(mesh.vertices), 1))
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, np.int64)
    points = np.random.default_rng(1).uniform(-1.5, 1.5, (4000, 3))
    kind = igl.SIGNED_DISTANCE_TYPE_WINDING_NUMBER
    expected = igl.signed_distance(points, vertices, faces, kind)[0]
    np.testing.assert_allclose(Nearest(vertices, faces).signed(points), expected, atol=1e-12)


def test_faces_without_area_are_left_out() -> None:
    vertices = np.concatenate([BOX.vertices, [[9.0, 0.0, 0.0]]])
    faces = np.concatenate([BOX.faces, [[0, 0, 8], [8, 8, 8]]])
    points = np.random.default_rng(2).normal(size=(500, 3))
    plain = Nearest(np.array(BOX.vertices), np.array(BOX.faces)).signed(points)
    np.testing.assert_array_equal(Nearest(vertices, faces).signed(points), plain)


@pytest.mark.parametrize("count", [1, 40, 300])
def test_the_band_has_all_exact_distances(count: int) -> None:
    """No grid point within two steps is left out, whatever way blocks were chosen."""
    vertices, faces = soup(count, 5)
    distances, origin, step, resolution = banded(SignedMesh(vertices, faces), 32)
    grid = np.stack(np.meshgrid(*map(np.arange, distances.shape), indexing="ij"), axis=-1)
    points = origin + step * grid.reshape(-1, 3)
    squared, _, _ = igl.point_mesh_squared_distance(points, vertices, faces)
    exact = np.sqrt(squared).reshape(distances.shape) / step
    assert resolution == 32
    assert 0.01 < (exact <= 2).mean() < 0.99
    np.testing.assert_allclose(distances[exact <= 2], exact[exact <= 2], rtol=1e-6, atol=1e-6)
    assert distances[exact > 2].min() >= 2


def test_a_mesh_with_too_many_points_gets_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_curation.shell.MAX_POINTS", 5000)
    mesh = SignedMesh(np.array(BOX.vertices), np.array(BOX.faces))
    distances, _, step, resolution = banded(mesh, 64)
    assert resolution < 64
    assert step == pytest.approx(2 / resolution)
    assert (distances < 2).sum() < 5000
