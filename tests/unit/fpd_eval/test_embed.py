"""embed.py from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
import trimesh
from fpd_eval_parts import model_folder, rendered
from safetensors.torch import load_file, save_file

import embed
import npz_eval
from fpd_eval.embedders import uni3d_weights
from fpd_eval.embedders.uni3d import Shape
from fpd_eval.tables import read_part

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/uni3d"
RUN = json.loads((ROOT / "formats/run.schema.json").read_text())
WEIGHTS = GOLDEN / "split.weights.safetensors"
UNI3D = ["--weights", str(WEIGHTS), "--points", "256", "--device", "cpu"]
D2A3 = ["--encoder", "d2a3", "--points", "3000"]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    folder = tmp_path / "shapes"
    for i, category in enumerate(["box", "rod", "box", "rod", "box"]):
        mesh = trimesh.creation.box((1, 1 + i / 3, 1 if category == "box" else 6))
        (folder / category).mkdir(parents=True, exist_ok=True)
        mesh.export(folder / category / f"{i}.ply")
    return folder


@pytest.fixture(autouse=True)
def minis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variants of Uni3D are the small models of the golden data."""
    made = {
        name: Shape(**json.loads((GOLDEN / f"{style}.json").read_text()))
        for name, style in {"tiny": "packed", "base": "split", "giant": "gelu"}.items()
    }
    monkeypatch.setattr(uni3d_weights, "VARIANTS", made)


def run(shapes: Path, output: Path, *flags: str) -> int:
    return embed.main(["--input", str(shapes), "--output", str(output), "-q", *flags])


def test_uni3d_rows_are_unit_and_the_record_names_their_making(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "e.npz"
    assert run(shapes, output, *UNI3D, "--variant", "base") == 0
    assert capsys.readouterr().out == f"{output}: 5 shapes (0 reused, 0 failed)\n"
    table = read_part(output)
    rows = table.arrays["embeddings"]
    assert table.ids == ["box/0", "box/2", "box/4", "rod/1", "rod/3"]
    assert rows.shape == (5, 32) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    record = json.loads(Path(f"{output}.run.json").read_text())
    jsonschema.validate(record, RUN)
    wanted = {"encoder": "uni3d-base", "points": 256, "color_fill": 0.0, "center": "mean",
              "use_colors": False, "dtype": "float32", "seed": 0}  # fmt: skip
    assert wanted.items() <= record["settings"].items() and table.settings.items() >= wanted.items()
    assert record["inputs"] == {str(WEIGHTS): record["settings"]["weights"]}
    assert "torch" in record["versions"]


@pytest.mark.parametrize("flags", [UNI3D, D2A3], ids=["uni3d", "d2a3"])
def test_batch_shards_and_order_give_the_same_rows(
    shapes: Path, tmp_path: Path, flags: list[str]
) -> None:
    whole, one, parts = (tmp_path / name for name in ("w.npz", "o.npz", "p.npz"))
    assert run(shapes, whole, *flags) == 0
    assert run(shapes, one, *flags, "--batch-size", "1") == 0
    for i in (1, 0):
        assert run(shapes, parts, *flags, "--shard", f"{i}/2") == 0
    assert run(shapes, parts, *flags) == 0
    assert whole.read_bytes() == one.read_bytes() == parts.read_bytes()
    backwards = tmp_path / "list.txt"
    names = read_part(whole).ids
    backwards.write_text("".join(f"shapes/{name}.ply\n" for name in names[::-1]))
    assert run(backwards, tmp_path / "b.npz", *flags) == 0
    turned, rows = (read_part(p).arrays["embeddings"] for p in (tmp_path / "b.npz", whole))
    np.testing.assert_array_equal(turned[::-1], rows)


def test_workers_do_not_matter(shapes: Path, tmp_path: Path) -> None:
    assert run(shapes, tmp_path / "a.npz", *D2A3) == 0
    assert run(shapes, tmp_path / "b.npz", *D2A3, "--workers", "2") == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("flag", "value"), [("--color-fill", "0.4"), ("--center", "bbox"), ("--points", "300")]
)
def test_settings_change_the_rows_and_are_not_mixed(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    first, other = tmp_path / "a.npz", tmp_path / "b.npz"
    assert run(shapes, first, *UNI3D) == 0
    assert run(shapes, other, *UNI3D, flag, value) == 0
    a, b = (read_part(path).arrays["embeddings"] for path in (first, other))
    assert np.abs(a - b).max() > 1e-4
    assert run(shapes, first, *UNI3D, flag, value) == 1
    assert f"{flag[2:].replace('-', '_')}: there" in capsys.readouterr().err
    assert run(shapes, first, *UNI3D, flag, value, "--overwrite") == 0
    assert first.read_bytes() == other.read_bytes()


def test_other_weights_do_not_continue_a_table(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shapes, tmp_path / "a.npz", *UNI3D) == 0
    assert run(shapes, tmp_path / "a.npz", "--weights", str(GOLDEN / "gelu.weights.safetensors"),
               "--points", "256") == 1  # fmt: skip
    error = capsys.readouterr().err
    assert "encoder: there 'uni3d-base', here 'uni3d-giant'" in error and "weights: there" in error


@pytest.mark.parametrize("flags", [
    ["--encoder", "uni3d"],
    ["--encoder", "views"],
    ["--weights", str(WEIGHTS), "--variant", "giant"],
    ["--weights", str(ROOT / "README.md")],
    ["--weights", "absent.pt"],
    ["--encoder", "pointnet", "--weights", str(WEIGHTS)],
    ["--encoder", "pointnet", "--points", "100"],
    [*UNI3D[:2], "--device", "cuda:77"],
])  # fmt: skip
def test_refused_with_one_line(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert run(shapes, tmp_path / "e.npz", *flags) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("embed.py: ")
    assert captured.err.count("\n") == 1 and not list(tmp_path.glob("e.npz*"))


@pytest.mark.parametrize("flags", [
    ["--encoder", "d2a3", "--variant", "tiny"],
    ["--encoder", "pointnet", "--color-fill", "0.4"],
    ["--encoder", "views", "--use-colors"],
    ["--color-fill", "2"],
    ["--points", "0"],
    ["--seed", "-1"],
])  # fmt: skip
def test_wrong_usage(shapes: Path, tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(shapes, tmp_path / "e.npz", *flags)
    assert stop.value.code == 2


def test_a_bad_mesh_costs_its_row(shapes: Path, tmp_path: Path) -> None:
    (shapes / "box/2.ply").write_text("no mesh")
    (shapes / "rod/flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    assert run(shapes, tmp_path / "e.npz", *UNI3D) == 3
    failures = json.loads((tmp_path / "e.npz.failures.json").read_text())
    assert [row["id"] for row in failures] == ["box/2", "rod/flat"]
    assert read_part(tmp_path / "e.npz").ids == ["box/0", "box/4", "rod/1", "rod/3"]
    trimesh.creation.box().export(shapes / "box/2.ply")
    (shapes / "rod/flat.obj").unlink()
    assert run(shapes, tmp_path / "e.npz", *UNI3D) == 0
    assert not (tmp_path / "e.npz.failures.json").exists()


def changed(tmp_path: Path, **factors: float) -> list[str]:
    """Flags with weights whose output layer is multiplied."""
    state = {key: value.float() for key, value in load_file(WEIGHTS).items()}
    for name, factor in factors.items():
        state[f"point_encoder.trans2embed.{name}"] *= factor
    save_file(state, tmp_path / "changed.safetensors")
    return ["--weights", str(tmp_path / "changed.safetensors"), "--points", "256"]


def test_rows_that_are_not_finite_are_failures(shapes: Path, tmp_path: Path) -> None:
    assert run(shapes, tmp_path / "e.npz", *changed(tmp_path, weight=3e38)) == 1
    failures = json.loads((tmp_path / "e.npz.failures.json").read_text())
    assert len(failures) == 5 and "the embedding is" in failures[0]["error"]
    assert not (tmp_path / "e.npz").exists()


def test_constant_embeddings_are_an_error(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = changed(tmp_path, weight=0.0)
    for _ in range(2):
        assert run(shapes, tmp_path / "e.npz", *flags) == 1
        assert "all 5 rows are equal though the shapes differ" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_compared(
    shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str
) -> None:
    assert run(shapes, tmp_path / "a.npz", *UNI3D) == 0
    assert run(shapes, tmp_path / "b.npz", *UNI3D, "--dtype", dtype) == 0
    said = next(r.getMessage() for r in caplog.records if "cosine" in r.getMessage())
    assert said.startswith(f"trunk in torch.{dtype}: cosine to float32 ")
    a, b = (read_part(tmp_path / n).arrays["embeddings"] for n in ("a.npz", "b.npz"))
    cosines = (a.astype(float) * b).sum(1)
    assert cosines.min() > 0.99 and np.abs(a - b).max() > 0
    least = float(said.split(" on average, ")[1].split()[0])
    assert least == pytest.approx(cosines.min(), abs=2e-6)


def test_the_table_is_read_by_npz_eval(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("e.npz", "f.npz")]
    for seed, name in enumerate(names):
        assert run(shapes, Path(name), *D2A3, "--seed", str(seed)) == 0
    capsys.readouterr()
    assert npz_eval.main([*names, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dimensions"] == 128


def test_killed_and_resumed_gives_the_same_bytes(shapes: Path, tmp_path: Path) -> None:
    for i in range(7):
        trimesh.creation.box((1, 1, 2 + i)).export(shapes / f"more{i}.ply")
    flags = ["--encoder", "d2a3", "--points", "400000", "--batch-size", "1"]
    output, journal = tmp_path / "e.npz", tmp_path / "e.npz.journal"
    argv = [sys.executable, str(ROOT / "fpd_eval/embed.py"), "--input", str(shapes)]
    process = subprocess.Popen([*argv, "--output", str(output), "-q", *flags])
    deadline = time.time() + 60
    while time.time() < deadline and process.poll() is None:
        if journal.exists() and len(journal.read_text().splitlines()) >= 3:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(journal.read_text().splitlines()) - 1
    assert 0 < done < 12 and not output.exists()
    assert run(shapes, output, *flags) == 0
    assert run(shapes, tmp_path / "f.npz", *flags) == 0
    assert output.read_bytes() == (tmp_path / "f.npz").read_bytes()
    assert not journal.exists()


def test_views(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "bb"):
        rendered(tmp_path / "r", name)
    folder = model_folder(tmp_path / "m", "dinov2")
    flags = ["--encoder", "views", "--weights", str(folder), "--device", "cpu"]
    assert run(tmp_path / "r", tmp_path / "e.npz", *flags) == 0
    table = read_part(tmp_path / "e.npz")
    assert table.ids == ["a", "bb"] and table.arrays["embeddings"].shape == (2, 16)
    assert table.settings["encoder"] == "views-dinov2"
    assert sorted(table.settings["weights"]) == [
        "config.json", "model.safetensors", "preprocessor_config.json"
    ]  # fmt: skip


@pytest.mark.gpu
def test_a_gpu_gives_the_rows_of_the_cpu(shapes: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rows: dict[str, Any] = {}
    for device in ("cpu", "cuda"):
        assert run(shapes, tmp_path / f"{device}.npz", *UNI3D[:4], "--device", device) == 0
        rows[device] = read_part(tmp_path / f"{device}.npz").arrays["embeddings"]
    assert np.abs(rows["cpu"] - rows["cuda"]).max() < 1e-5
