"""Coarse-to-fine evaluation against the dense grid, on fields with a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from unit.hy3dshape.fields import FIELDS, TABLE, sphere, wires

from hy3dshape.models.autoencoders.grid import evaluate_band, evaluate_dense
from hy3dshape.models.autoencoders.isosurface import extract_surface, remove_floaters

CPU = torch.device("cpu")
BOUNDS = 1.01


def _surface_cells(values: Tensor) -> Tensor:
    n = values.shape[0] - 1
    corners = [
        (values < 0)[x : x + n, y : y + n, z : z + n]
        for x in (0, 1)
        for y in (0, 1)
        for z in (0, 1)
    ]
    inside = torch.stack(corners).sum(dim=0)
    return (inside > 0) & (inside < 8)


@pytest.mark.parametrize("name", FIELDS)
def test_the_band_finds_every_surface_cell_with_the_queries_of_the_table(name: str) -> None:
    band = evaluate_band(FIELDS[name], BOUNDS, 128, CPU)
    dense = evaluate_dense(FIELDS[name], BOUNDS, 128, CPU)
    assert torch.equal(_surface_cells(band.values), _surface_cells(dense.values))
    assert torch.equal(band.values[band.known], dense.values[band.known])
    assert 100 * band.queried <= TABLE[name][128] + 1
    assert dense.queried == 1


@pytest.mark.parametrize("name", FIELDS)
def test_share_of_the_queries_at_257_and_ten_times_fewer_for_typical_objects(name: str) -> None:
    queried = evaluate_band(FIELDS[name], BOUNDS, 256, CPU).queried
    print(f"{name}: {queried:.1%} of the vertices, table {TABLE[name][256]} %")
    assert 100 * queried <= TABLE[name][256] + 1
    assert queried < 0.1 or name == "gyroid"


@pytest.mark.parametrize(("name", "resolution"), [("plate", 256), ("wires", 192)])
def test_thin_parts_are_whole_on_fine_grids(name: str, resolution: int) -> None:
    """Parts much thinner than the cells of the coarsest level."""

    def parts(p: Tensor) -> Tensor:  # bounds the memory
        return torch.cat([FIELDS[name](part) for part in p.split(1 << 18)])

    band = evaluate_band(parts, BOUNDS, resolution, CPU)
    dense = evaluate_dense(parts, BOUNDS, resolution, CPU)
    assert torch.equal(_surface_cells(band.values), _surface_cells(dense.values))
    assert torch.equal(band.values[band.known], dense.values[band.known])


def test_a_field_that_is_no_distance_still_gives_a_closed_surface() -> None:
    def steep(p: Tensor) -> Tensor:  # far too large away from the surface
        return 9 * wires(p) + 0.02 * (40 * p).sin().prod(dim=1)

    grid = evaluate_band(steep, BOUNDS, 128, CPU)
    _, faces = extract_surface(grid.values.numpy(), BOUNDS)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


@pytest.mark.parametrize("resolution", [16, 33, 100, 128])
def test_any_resolution_gives_the_sphere(resolution: int) -> None:
    grid = evaluate_band(sphere, BOUNDS, resolution, CPU)
    assert grid.values.shape == (resolution + 1,) * 3
    vertices, faces = extract_surface(grid.values.numpy(), BOUNDS)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=60 / resolution**2)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.8, atol=2 / resolution**2)


def test_a_surface_that_leaves_the_grid_is_closed_at_its_walls() -> None:
    grid = evaluate_dense(lambda p: p[:, 0].abs() - 0.5, BOUNDS, 16, CPU)  # an endless slab
    vertices, faces = extract_surface(grid.values.numpy(), BOUNDS)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(4 * BOUNDS**2, rel=0.15)
    assert np.abs(vertices).max() <= BOUNDS + 2 * BOUNDS / 16


@pytest.mark.parametrize(
    ("value", "message"),
    [(1.0, "no inside"), (-1.0, "no outside"), (np.nan, "not finite")],
)
def test_a_field_without_surface_is_an_error(value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract_surface(np.full((5, 5, 5), value, np.float32), BOUNDS)


def test_floaters_go_and_the_rest_stays() -> None:
    def field(p: Tensor) -> Tensor:
        speck = (p - p.new_tensor([0.9, 0.9, 0.9])).norm(dim=1) - 0.03
        return torch.minimum(sphere(p), speck)

    mesh = extract_surface(evaluate_dense(field, BOUNDS, 64, CPU).values.numpy(), BOUNDS)
    vertices, faces = remove_floaters(mesh)
    assert 0 < len(mesh[1]) - len(faces) < 200
    assert np.linalg.norm(vertices, axis=1).max() < 0.85
    assert set(np.unique(faces)) == set(range(len(vertices)))
    assert len(remove_floaters(mesh, 0)[1]) == len(mesh[1])
    assert len(remove_floaters(mesh, 1)[1]) == len(faces)
    for kept, expected in zip(remove_floaters((vertices, faces)), (vertices, faces), strict=True):
        np.testing.assert_array_equal(kept, expected)
