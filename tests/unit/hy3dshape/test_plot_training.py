"""Curves of runs: drawn from what the runs wrote, and refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import plot_training


def test_curves_of_two_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [{"step": i, "train/total_loss": 1 / i} for i in range(1, 9)]
        rows.append({"step": 8, "val/total_loss": 0.2})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name / "stats.jsonl").write_text(text)
    runs = ["--input", str(tmp_path / "a"), str(tmp_path / "b")]
    given = [*runs, "--output", str(tmp_path / "loss.png")]
    assert plot_training.main(given) == 0
    picture = Image.open(tmp_path / "loss.png").convert("RGB")
    assert picture.width > 2 * picture.height
    assert len(set(picture.get_flattened_data())) > 10
    assert plot_training.main([*given, "--metric", "iou"]) == 1
    assert "no train/iou; it has ['step', 'val/total_loss']" in capsys.readouterr().err
