"""Training set of latents against the reference tool (README.md here)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from golden.hy3dshape.cases import Case, cases

from hy3dshape.data.datamodule import UnifiedDataModule
from hy3dshape.data.latents import group_latents


@cases("latent_dataset*")
def test_latent_dataset(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = case.info
    for name in told["files"]:
        (tmp_path / "latents" / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.zeros(2, 3), tmp_path / "latents" / name)
    with (tmp_path / told["table_path"]).open("w", newline="") as handle:
        writer = csv.DictWriter(handle, told["table"][0])
        writer.writeheader()
        writer.writerows(told["table"])
    monkeypatch.chdir(tmp_path)  # the file name depends on the table's path as it is written
    options: dict[str, Any] = {
        "train_latent_folder": "latents", "train_csv_path": told["table_path"],
        "subset_seed": told["seed"], "seed": 1, "empty_caption": "a 3d model",
    }  # fmt: skip
    whole = UnifiedDataModule("latent", 2, **options, conditioning_type="text")
    assert list(whole.train.uids) == told["all_models"]
    part = UnifiedDataModule(
        "latent", 2, **options, conditioning_type="text",
        max_dataset_size=told["max_dataset_size"], snapshot_dir="split",
    )  # fmt: skip
    assert list(part.train.uids) == told["subset"]
    assert [p.name for p in Path("split").glob("*.txt")] == told["snapshot_file"]
    captions = [part.train[0, i]["conditioning"] for i in range(len(part.train))]
    assert captions == [told["captions"][uid] for uid in told["subset"]]
    classes = UnifiedDataModule("latent", 2, **options, conditioning_type="lvis")
    assert classes.class_ids == told["class_ids"]
    groups = {k: [p.name for p in v] for k, v in group_latents(Path("latents")).items()}
    assert groups == {k: [Path(name).name for name in v] for k, v in told["groups"].items()}
