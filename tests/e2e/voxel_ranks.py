"""Started by torchrun: every process trains a small network and writes what it ends with.

Also what a single process has to do for the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from voxel_ldm.training import Options, Run, batches

COUNT, SIZE, STEPS, RATE, CLIP = 9, 3, 5, 0.05, 1.0


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def step(module: nn.Module, rows: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
    data = torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(len(rows), generator=generator)
    return {"loss": (module(data[rows])[:, 0] - data[rows].sum(1) - noise).square().mean()}


def alone() -> dict[str, Tensor]:
    """Both micro-batches of each step in this process; BatchNorm's figures of the first ones."""
    model = network().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    source = batches(COUNT, SIZE, 0, 0, 1)
    for number in range(2 * STEPS):
        kept = {name: value.clone() for name, value in model.named_buffers()}
        seed = int(np.random.SeedSequence([0, number]).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(seed >> 1)
        (step(model, next(source), generator)["loss"] / 2).backward()
        if number % 2:
            model.load_state_dict(kept, strict=False)
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return model.state_dict()


def main(folder: Path) -> None:
    options = Options(folder, STEPS, SIZE, RATE, gradient_clip=CLIP, ema_decay=0.9, device="cpu")
    run = Run(network(), step, COUNT, options, {}, None, lambda used: None)
    run.run()
    made = {"plain": run.plain.state_dict(), "averaged": run.used.state_dict()}
    torch.save(made, folder / f"{run.engine.process_index}-of-{run.engine.num_processes}.pt")
    run.engine.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
