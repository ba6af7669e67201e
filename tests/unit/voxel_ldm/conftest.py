"""Two tiny sets of boxes, and both models trained on them for a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxel_ldm.grids import pack, write_grids

R = 16
CONFIG = """
autoencoder: {channels: [4, 8], latent_channels: 2}
network: {width: 32, multipliers: [1, 2], blocks: 1, attention: [1]}
schedule: {steps: 20, prediction: v}
training: {epochs: 2, batch_size: 4}
"""


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of {box,plate}_voxels_{train,val}.npz of 16^3, and `tiny.yaml`."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for category, tall in (("box", 8), ("plate", 2)):
        for split, n in (("train", 6), ("val", 3)):
            grids = np.zeros((n, R, R, R), np.uint8)
            for grid in grids:
                x, z = rng.integers(1, 5, 2)
                grid[x : x + 9, 2 : 2 + tall, z : z + 9] = 1
            ids = [f"{category}_{split}_{i}" for i in range(n)]
            path = folder / f"{category}_voxels_{split}.npz"
            write_grids(path, ids, [category] * n, pack(grids), {"resolution": R})
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="session")
def trained(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with autoencoder.safetensors and denoiser.safetensors."""
    import autoencoder
    import train_n

    out, same = (
        tmp_path_factory.mktemp("trained"),
        ["-c", sets / "tiny.yaml", "--dataset_path", sets],
    )
    args = [*same, "--device", "cpu"]
    weights = out / "autoencoder.safetensors"
    assert autoencoder.main([*map(str, args), "--ckpt_path", str(out)]) == 0
    more = ["--use_cfg", "--ae_ckpt_path", weights, "--output", out / "ldm"]
    assert train_n.main([*map(str, [*args, *more])]) == 0
    (out / "ldm" / "denoiser.safetensors").rename(out / "denoiser.safetensors")
    return out
