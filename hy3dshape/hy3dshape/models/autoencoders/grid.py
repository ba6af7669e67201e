"""Values of a signed distance field on a grid, dense or only near the surface.

Coarse to fine: a cell is split where the sign changes or where a corner is nearer to the surface
than BAND cell diagonals. For a true distance field 0.5 is exact; 0.6 leaves room for 20 % error.
A sign change at the rim of the refined cells pulls in the cell behind it, so that the surface is
closed whatever the field. Cells outside keep the sign, not the value, of their coarse corners.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)
BAND = 0.6
COARSEST = 32  # resolution evaluated everywhere

Query = Callable[[Tensor], Tensor]  # (n, 3) float32 to (n,)
_CORNERS = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
_SIDES = [  # step to the neighbour, and the corners (rows of _CORNERS) of the shared side
    (axis, step, _CORNERS[:, axis] == max(step, 0)) for axis in range(3) for step in (-1, 1)
]


class Grid:
    """Values at the (r + 1)^3 vertices of a cube, in the order x, y, z.

    Attributes:
        values: (r + 1, r + 1, r + 1) float32; see `known`.
        known: bool of the same shape: evaluated, not filled in with a value of the right sign.
    """

    def __init__(self, query: Query, bounds: float, resolution: int, device: torch.device) -> None:
        self.query, self.bounds, self.resolution, self.device = query, bounds, resolution, device
        shape = (resolution + 1,) * 3
        self.values = torch.zeros(shape, device=device)
        self.known = torch.zeros(shape, dtype=torch.bool, device=device)

    @property
    def queried(self) -> float:
        """Share of the vertices that were evaluated."""
        return self.known.float().mean().item()

    def evaluate(self, flat: Tensor) -> None:
        """Query the vertices of these flat indices."""
        n = self.resolution + 1
        index = torch.stack([flat // (n * n), flat // n % n, flat % n], dim=-1)
        axis = torch.linspace(-self.bounds, self.bounds, n, device=self.device)
        self.values.view(-1)[flat] = self.query(axis[index]).float()
        self.known.view(-1)[flat] = True

    def corners(self, cells: Tensor) -> Tensor:
        """(k, 3) cells to (k, 8) flat vertex indices."""
        n = self.resolution + 1
        index = cells[:, None] + _CORNERS.to(cells)
        return (index[..., 0] * n + index[..., 1]) * n + index[..., 2]


def evaluate_dense(query: Query, bounds: float, resolution: int, device: torch.device) -> Grid:
    """Evaluate every vertex."""
    grid = Grid(query, bounds, resolution, device)
    grid.evaluate(torch.arange(grid.values.numel(), device=device))
    return grid


def evaluate_band(query: Query, bounds: float, resolution: int, device: torch.device) -> Grid:
    """Evaluate vertices near the surface, from a coarse grid to the fine one.

    Args:
        query: signed distance in the unit of `bounds`.
        bounds: half the side of the cube.
        resolution: cells an axis. It is halved while even and at least 2 x COARSEST; an odd one
            is evaluated densely.
        device: of points and values.
    """
    levels = [resolution]
    while levels[0] % 2 == 0 and levels[0] >= 2 * COARSEST:
        levels.insert(0, levels[0] // 2)
    if levels[0] >= 4 * COARSEST:
        log.warning("resolution %d can be halved to %d only: all of its %d^3 points are evaluated",
                    resolution, levels[0], levels[0] + 1)  # fmt: skip
    grid = evaluate_dense(query, bounds, levels[0], device)
    r = levels[0]
    cells = torch.cartesian_prod(*[torch.arange(r, device=device)] * 3)
    for _ in levels[1:]:
        grid, cells = _refine(grid, cells)
    return grid


def _refine(coarse: Grid, cells: Tensor) -> tuple[Grid, Tensor]:
    """Split those of the `cells` that may hold surface; the finer grid and its cells."""
    fine = Grid(coarse.query, coarse.bounds, 2 * coarse.resolution, coarse.device)
    nearest = torch.arange(fine.resolution + 1, device=coarse.device) // 2
    fine.values = coarse.values[nearest][:, nearest][:, :, nearest]
    fine.known[::2, ::2, ::2] = coarse.known
    values = coarse.values.view(-1)[coarse.corners(cells)]  # (k, 8)
    diagonal = math.sqrt(3) * 2 * coarse.bounds / coarse.resolution
    near = values.abs().amin(dim=1) <= BAND * diagonal
    kept = cells[near | _changes(values)]
    children = (2 * kept[:, None] + _CORNERS.to(kept)).reshape(-1, 3)
    taken = torch.zeros((fine.resolution,) * 3, dtype=torch.bool, device=coarse.device)
    found = [children]
    while len(found[-1]):
        new = found[-1]
        taken[new[:, 0], new[:, 1], new[:, 2]] = True
        flat = fine.corners(new).unique()
        fine.evaluate(flat[~fine.known.view(-1)[flat]])
        found.append(_behind_the_rim(fine, new, taken))
    return fine, torch.cat(found)


def _changes(values: Tensor) -> Tensor:
    inside = values < 0
    return inside.any(dim=1) & ~inside.all(dim=1)


def _behind_the_rim(grid: Grid, cells: Tensor, taken: Tensor) -> Tensor:
    """Cells not `taken` that share with one of `cells` a side on which the sign changes."""
    values = grid.values.view(-1)[grid.corners(cells)]
    found = []
    for axis, step, side in _SIDES:
        behind = cells[_changes(values[:, side.to(values.device)])].clone()
        behind[:, axis] += step
        behind = behind[(behind[:, axis] >= 0) & (behind[:, axis] < grid.resolution)]
        found.append(behind[~taken[behind[:, 0], behind[:, 1], behind[:, 2]]])
    return torch.cat(found).unique(dim=0)
