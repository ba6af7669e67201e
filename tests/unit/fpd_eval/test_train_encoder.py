"""train_encoder.py and check_encoder.py from the command line, on shapes of a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import trimesh

import check_encoder
import train_encoder
from fpd_eval import disturb, training
from fpd_eval.embedders import pointnet
from fpd_eval.tables import write_table

ROOT = Path(__file__).parents[3]
RUN = json.loads((ROOT / "formats/run.schema.json").read_text())


def clouds(path: Path, count: int, seed: int, names: tuple[str, ...] = ("ball", "rod")) -> str:
    """A table of balls and of rods."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 512, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    points[1::2] *= (0.1, 1, 0.1)
    categories = [names[i % 2] for i in range(count)]
    ids = [f"{seed}-{i}" for i in range(count)]
    settings = {"points": 512, "normalize": "unit-sphere", "seed": 0}
    arrays = {"points": points.astype(np.float32)}
    write_table(path, "points", ids, categories, arrays, settings, [""] * count)
    return str(path)


@pytest.fixture
def task(tmp_path: Path) -> list[str]:
    return ["--task", "made", clouds(tmp_path / "train.npz", 48, 0),
            clouds(tmp_path / "test.npz", 20, 1), "-q", "--batch-size", "8"]  # fmt: skip


def test_it_learns_and_goes_on_after_a_kill(
    task: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flags = [*task, "--epochs", "6", "--learning-rate", "0.005"]
    assert train_encoder.main([*flags, "--output", str(tmp_path / "whole")]) == 0
    said = "made: accuracy 1.0000  (20 test shapes, 2 classes, 48 training shapes)\n"
    assert capsys.readouterr().out == said
    before = (tmp_path / "whole/pointnet.safetensors").stat().st_mtime_ns
    assert train_encoder.main([*flags, "--output", str(tmp_path / "whole")]) == 0
    assert capsys.readouterr().out == said
    assert (tmp_path / "whole/pointnet.safetensors").stat().st_mtime_ns == before
    jsonschema.validate(json.loads((tmp_path / "whole/run.json").read_text()), RUN)
    real, calls = training.accuracy, []

    def killed(*args: object) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "accuracy", killed)
    assert train_encoder.main([*flags, "--output", str(tmp_path / "parts")]) == 130
    assert train_encoder.main([*task, "--epochs", "7", "--output", str(tmp_path / "parts")]) == 1
    assert "epochs: there 6, here 7" in capsys.readouterr().err
    assert train_encoder.main([*flags, "--output", str(tmp_path / "parts")]) == 0
    assert len(calls) == 7
    for name in ("pointnet.safetensors", "accuracy.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "parts/state.pt").exists()
    assert pointnet.load(tmp_path / "parts/pointnet.safetensors").tasks == {"made": ["ball", "rod"]}


def test_two_tasks_share_a_batch(task: list[str], tmp_path: Path) -> None:
    more = ["--task", "found", clouds(tmp_path / "f.npz", 10, 2, ("a", "b")),
            clouds(tmp_path / "g.npz", 6, 3, ("a", "c"))]  # fmt: skip
    output = ["--epochs", "1", "--output", str(tmp_path / "o")]
    assert train_encoder.main([*task, *more, *output]) == 1  # one category only is in both
    more[3] = clouds(tmp_path / "g.npz", 6, 3, ("a", "b"))
    assert train_encoder.main([*task, *more, *output]) == 0
    made = json.loads((tmp_path / "o/accuracy.json").read_text())["tasks"]
    assert (
        made["found"]["shapes"] == {"train": 10, "test": 6} and len(made["made"]["accuracy"]) == 1
    )


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, sides in {"rod": (1, 1, 8), "plate": (8, 8, 1), "cube": (4, 4, 4), "beam": (1, 3, 8),
                        "slab": (2, 5, 8)}.items():  # fmt: skip
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for i in range(6):
            mesh = trimesh.creation.box(sides * rng.uniform(0.9, 1.1, 3))
            mesh.export(tmp_path / f"shapes/{name}/{i}.ply")
    return tmp_path / "shapes"


def test_distances_of_d2a3(
    shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disturb, "NOISE", (0.0, 0.2, 0.5))
    monkeypatch.setattr(disturb, "PARTS", (0.0, 0.3))
    flags = ["--input", str(shapes), "--encoder", "d2a3", "--points", "1500", "-q"]
    output = ["--output", str(tmp_path / "c.json")]
    assert check_encoder.main([*flags, *output]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "FD of d2a3  (15 reference, 15 compared)"
    assert [line.split()[0] for line in said[1:]] == ["noise", "parts", "modes"]
    result = json.loads((tmp_path / "c.json").read_text())["distances"]
    assert result["noise"]["fd"][0] == result["parts"]["fd"][0] and result["parts"]["rises"]
    monkeypatch.setattr(disturb, "PARTS", (0.3, 0.0))
    assert check_encoder.main(flags) == 1
    assert "DOES NOT RISE" in capsys.readouterr().out
