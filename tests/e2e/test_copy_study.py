"""The study of known copies by its script, with distances of points and an encoder of this test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e.running import ROOT

SETS = ("train", "test", "held_out", "copies")


def run(script: str, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / script), "-q", *map(str, words)]
    made = subprocess.run(argv, capture_output=True, text=True)
    assert made.returncode == code, made.stderr[-2000:]
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("copy_study")
    for name, count, seed in (("train", 24, 1), ("test", 12, 2), ("held_out", 12, 3)):
        run("data_curation/make_shapes.py", "--output", made / name, "--count", count,
            "--seed", seed, "--families", "chair,vase,table")  # fmt: skip
    return made


def study(folder: Path, *more: object, code: int = 0) -> Any:
    where = [f"--{n.replace('_', '-')}={folder / n / 'shapes.json'}" for n in SETS[:3]]
    few = ("--metrics", "cd", "--points", 512, "--count", 6, "--disguise", "noise")
    how = ("--shares", "0,0.5", "--repeats", 2, "--quantile", 0.1, "--bootstrap", 20)
    return run("DataCopying/copy_study.py", *where, "--output", folder / "out", *few, *how, *more,
               code=code)  # fmt: skip


def embed(points: np.ndarray) -> np.ndarray:
    """(n, 12) shape distributions: histograms of the distances between points (D2)."""
    gaps = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1).reshape(len(points), -1)
    return np.stack([np.histogram(g, bins=12, range=(0, 2), density=True)[0] for g in gaps])


def test_planted_copies_show_where_they_should(folder: Path) -> None:
    first = study(folder)
    assert first.stdout.startswith("| metric | copies |")
    said = study(folder, "--embeddings", folder / "rows", code=1).stderr
    assert "not found; embed" in said
    (folder / "rows").mkdir()
    for name in SETS:
        with np.load(folder / "out" / f"{name}.points.npz") as table:
            np.savez(folder / "rows" / f"{name}.npz", ids=table["ids"],
                     embeddings=embed(table["points"]))  # fmt: skip
    result = json.loads(study(folder, "--embeddings", folder / "rows", "--json").stdout)
    assert result == json.loads((folder / "out" / "copy_study.json").read_text())
    assert set(result["metrics"]) == {"cd", "embeddings"}
    none, half = result["metrics"]["cd"]["rows"]
    assert (none["planted"], half["planted"]) == (0, 6)
    assert half["planted_flagged"] >= 4 and half["excess"] > none["excess"] + 0.2
    assert half["authpct"] < none["authpct"] and half["z_u"] < none["z_u"]
    assert [sorted(row) for row in result["quality"]] == [["copies", "fd", "kid"]] * 2
    assert all(row["fd"] > 0 for row in result["quality"])
    assert not list((folder / "out").glob("mixed.*"))
    record = json.loads((folder / "out" / "copy_study.run.json").read_text())
    assert record["counts"] == {"train": 24, "test": 12, "held_out": 12, "copies": 6}


def test_wrong_flags_are_said(folder: Path) -> None:
    assert "--metrics emd: expected lfd, cd or both" in study(
        folder, "--metrics", "emd", code=1
    ).stderr  # fmt: skip
    assert "--shares 1.5: expected 0 to 1" in study(folder, "--shares", "1.5", code=1).stderr
