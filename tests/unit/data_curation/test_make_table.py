"""make_table.py: one caption a shape, of the level that was asked for."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import make_table


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "id": f"{name}_{i}", "path": f"{name}_{i}.ply", "category": name,
            "names": {"en": name},
            "captions": {"phrase": f"a red {name}", "sentence": f'A red {name}, "{i}" m high.'},
        }
        for name in ("chair", "armchair")
        for i in range(20)
    ]  # fmt: skip
    (tmp_path / "shapes.json").write_text(json.dumps({"shapes": rows}))
    return tmp_path / "shapes.json"


def _captions(shapes: Path, *flags: str) -> dict[str, str]:
    output = shapes.parent / "out.csv"
    assert make_table.main(["--input", str(shapes), "--output", str(output), *flags]) == 0
    with output.open(newline="") as file:
        return {row["model_uid"]: row["caption"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("level", "expected"),
    [("name", "an armchair"), ("phrase", "a red armchair"),
     ("sentence", 'A red armchair, "3" m high.')],
)  # fmt: skip
def test_levels(shapes: Path, level: str, expected: str) -> None:
    found = _captions(shapes, "--caption", level)
    assert len(found) == 40
    assert found["armchair_3"] == expected


def test_mixed_draws_a_level_by_seed_and_id(shapes: Path) -> None:
    found = _captions(shapes, "--caption", "mixed")
    assert found == _captions(shapes, "--caption", "mixed")
    assert found != _captions(shapes, "--caption", "mixed", "--seed", "1")
    assert {"a chair", "a red chair"} < {c for u, c in found.items() if u.startswith("chair")}


def test_a_shape_without_captions_is_named(
    shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = json.loads(shapes.read_text())
    del tree["shapes"][3]["captions"]["phrase"]
    shapes.write_text(json.dumps(tree))
    output = shapes.parent / "out.csv"
    assert make_table.main(["--input", str(shapes), "--output", str(output)]) == 1
    assert "'chair_3' has no phrase caption" in capsys.readouterr().err
    assert not output.exists()
