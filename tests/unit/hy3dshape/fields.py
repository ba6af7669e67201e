"""Signed distance fields with a closed form, (n, 3) -> (n,), negative inside."""

from __future__ import annotations

import torch
from torch import Tensor


def sphere(p: Tensor) -> Tensor:
    return p.norm(dim=1) - 0.8


def torus(p: Tensor) -> Tensor:
    ring = torch.stack([p[:, :2].norm(dim=1) - 0.6, p[:, 2]], dim=1)
    return ring.norm(dim=1) - 0.25


def box(p: Tensor, centre: tuple[float, ...], half: tuple[float, ...]) -> Tensor:
    q = (p - p.new_tensor(centre)).abs() - p.new_tensor(half)
    return q.clamp(min=0).norm(dim=1) + q.amax(dim=1).clamp(max=0)


def plate(p: Tensor) -> Tensor:
    return box(p, (0.0, 0.003, 0.0), (0.7, 0.008, 0.7))


def chair(p: Tensor) -> Tensor:
    parts = [box(p, (0, 0, 0), (0.4, 0.03, 0.4)), box(p, (0, 0.4, -0.38), (0.4, 0.4, 0.02))]
    parts += [
        box(p, (x, -0.35, z), (0.02, 0.35, 0.02)) for x in (-0.371, 0.371) for z in (-0.371, 0.371)
    ]
    return torch.stack(parts).amin(dim=0)


def wires(p: Tensor) -> Tensor:
    parts = []
    for axis in range(3):
        for shift in (-0.503, 0.011, 0.517):
            across = p[:, [i for i in range(3) if i != axis]] - p.new_tensor([shift, 0.307])
            beyond = (p[:, axis].abs() - 0.8).clamp(min=0)
            parts.append(torch.stack([across.norm(dim=1), beyond], 1).norm(dim=1) - 0.01)
    return torch.stack(parts).amin(dim=0)


def gyroid(p: Tensor) -> Tensor:
    q = p * 7.0
    s, c = q.sin(), q.cos()
    value = (s * c.roll(-1, dims=1)).sum(dim=1)
    shell = value.abs() / (7.0 * 1.6) - 0.02  # a lower bound of the distance near the shell
    return torch.maximum(shell, p.norm(dim=1) - 0.95)


FIELDS = {f.__name__: f for f in (sphere, torus, plate, chair, wires, gyroid)}
TABLE = {  # percent of the vertices that the band queries, by resolution
    "sphere": {128: 15.6, 256: 7.6},
    "torus": {128: 12.0, 256: 5.6},
    "plate": {128: 5.9, 256: 2.3},
    "chair": {128: 7.0, 256: 3.4},
    "wires": {128: 5.0, 256: 1.4},
    "gyroid": {128: 44.5, 256: 29.7},
}
