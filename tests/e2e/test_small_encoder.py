"""The encoder that ships: what it weighs, and that it tells new shapes apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from e2e.running import run

from fpd_eval.embedders import pointnet
from fpd_eval.embedders.clouds import sample_cloud
from fpd_eval.meshes import list_meshes
from fpd_eval.tables import read_part


def test_it_weighs_3_mb_at_most() -> None:
    assert pointnet.WEIGHTS.stat().st_size <= 3e6


def test_it_knows_the_families_of_new_shapes(tmp_path: Path) -> None:
    made = run("make_shapes.py", "--output", tmp_path / "shapes", "--count", 48, "--seed", 4321)
    assert made.code == 0, made.err
    output = tmp_path / "e.npz"
    flags = ("--encoder", "pointnet", "--device", "cpu")
    done = run("embed.py", "--input", tmp_path / "shapes", "--output", output, *flags)
    assert done.code == 0, done.err
    rows = read_part(output).arrays["embeddings"]
    assert rows.shape == (48, pointnet.WIDTH)

    model = pointnet.load(pointnet.WEIGHTS)
    right = 0
    for item, row in zip(list_meshes(tmp_path / "shapes"), rows, strict=True):
        cloud = sample_cloud(item, 2048, 0, "bbox", 0.0, False)["points"]
        embedding = model.embed(torch.from_numpy(cloud)[None])
        unit = torch.nn.functional.normalize(embedding, dim=-1)[0].numpy()
        np.testing.assert_allclose(unit, row, atol=1e-6)
        best = int(model.scores(embedding, "made").argmax())
        right += model.tasks["made"][best] == item.category
    assert right / 48 > 0.8  # chance: 0.06
