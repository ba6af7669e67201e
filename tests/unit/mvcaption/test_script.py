"""The script: by measurement and by a random Qwen3-VL; kills, shards, order, bad rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from unit.mvcaption.tiny_qwen3_vl import build

import caption_stats
import generate_multigranularity_captions as script
from mvcaption.vision import Vision, VisionOptions

LEVELS = ("phrase", "sentence", "paragraph")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    rows = []
    for name, size in {"cube": (1, 1, 1), "plank": (1, 0.1, 3), "post": (0.2, 2, 0.2)}.items():
        trimesh.creation.box(size).export(tmp_path / f"{name}.ply")
        rows.append({"id": name, "path": f"{name}.ply", "category": "wood",
                     "names": {"en": f"Oak {name}"}, "size": list(size)})  # fmt: skip
    rows[1]["size"] = [3, 0.1, 1]
    rows.append({"id": "torn", "path": "torn.ply", "category": "wood", "names": {"en": "Torn"}})
    (tmp_path / "torn.ply").write_text("ply")
    (tmp_path / "shapes.json").write_text(json.dumps({"shapes": rows}))
    return tmp_path


def by_facts(folder: Path, *flags: str, name: str = "c", code: int = 3) -> list[dict[str, str]]:
    argv = ["--backend", "metadata,geometry", "--input", str(folder / "shapes.json"),
            "--output_csv", str(folder / f"{name}.csv"), "-q", *flags]  # fmt: skip
    assert script.main(argv) == code
    path = folder / f"{name}.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


def tables(folder: Path, name: str = "c") -> dict[str, str]:
    return {level: (folder / f"{name}.{level}.csv").read_text() for level in LEVELS}


def test_three_tables_and_what_failed(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["model_uid"]: row for row in by_facts(shapes)}
    assert {uid for uid, row in rows.items() if row["status"] == "done"} == {
        "cube",
        "plank",
        "post",
    }
    assert rows["cube"]["phrase"] == "a cube-like cube"
    assert rows["post"]["backend"] == "metadata,geometry"
    assert "300 cm" not in rows["plank"]["paragraph"]
    sources = dict(json.loads(rows["post"]["raw"]))
    assert sources["post"] == "metadata"
    assert sources["tall"] == "geometry"
    found = tables(shapes)
    assert found["phrase"].splitlines()[:2] == [
        "model_uid,lvis_category,caption", "cube,wood,a cube-like cube"
    ]  # fmt: skip
    failures = json.loads((shapes / "c.csv.failures.json").read_text())
    assert [row["id"] for row in failures] == ["torn"]
    run = json.loads((shapes / "c.csv.run.json").read_text())
    assert run["counts"] == {"rows": 4, "done": 3, "failed": 1}
    assert run["distinct"]["phrase"]["distinct"] == 3
    said = capsys.readouterr().out
    assert "3 of 4 shapes (metadata,geometry, no vision model), 1 failed" in said
    assert "1 x size of the catalogue disagrees with the mesh" in said
    argv = [str(shapes / f"c.{level}.csv") for level in LEVELS]
    assert caption_stats.main(["--json", *argv]) == 0
    assert json.loads(capsys.readouterr().out)["c.sentence"]["rows"] == 3


def test_killed_sharded_and_shuffled_runs_give_the_same_tables(shapes: Path) -> None:
    by_facts(shapes)
    whole = tables(shapes)
    rows = shapes / "c.rows.jsonl"
    rows.write_bytes(rows.read_bytes()[:-150])  # killed in mid-write
    by_facts(shapes)
    assert tables(shapes) == whole
    for i in (1, 0, 2):
        by_facts(shapes, "--shard", f"{i}/3", name="s", code=0)
    by_facts(shapes, name="s")
    assert tables(shapes, "s") == whole
    index = json.loads((shapes / "shapes.json").read_text())
    index["shapes"].reverse()
    (shapes / "shapes.json").write_text(json.dumps(index))
    by_facts(shapes, "--workers", "2", name="r")
    for level in LEVELS:
        assert sorted(tables(shapes, "r")[level].splitlines()) == sorted(whole[level].splitlines())


def test_a_changed_mesh_is_measured_again(shapes: Path) -> None:
    before = by_facts(shapes)
    trimesh.creation.box((1, 3, 1)).export(shapes / "cube.ply")
    after = by_facts(shapes)
    assert after[0]["phrase"] == "a tall cube"
    assert after[1:] == before[1:]


def test_metadata_alone_needs_no_mesh(shapes: Path) -> None:
    (shapes / "cube.ply").unlink()
    argv = [
        "--backend",
        "metadata",
        "--input",
        str(shapes),
        "--output",
        str(shapes / "m.csv"),
        "-q",
    ]
    assert script.main(argv) == 0
    assert "a cube" in tables(shapes, "m")["phrase"]


@pytest.mark.parametrize(
    "argv",
    [[], ["--backend", "metadata"], ["--input", "x", "--metadata_csv", "y"], ["--input", "x"],
     ["--backend", "lexicon", "--input", "x"]],
)  # fmt: skip
def test_wrong_usage(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main([*argv, "--output", "o.csv"])
    assert stop.value.code == 2


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    build(folder)
    return folder


@pytest.fixture
def sprites(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["model_uid,lvis_category,view_path"]
    for i in range(4):
        pixels = rng.integers(0, 255, (12 * 32, 32, 3), np.uint8)
        Image.fromarray(pixels[:-1] if i == 2 else pixels).save(tmp_path / f"{i}.png")
        lines.append(f"u{i},thing,{i}.png")
    (tmp_path / "table.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return tmp_path


def by_model(folder: Path, model: Path, *flags: str, name: str = "v", code: int = 3) -> Any:
    table, output = folder / "table.csv", folder / f"{name}.csv"
    argv = ["--metadata_csv", str(table), "--output_csv", str(output), "-q", "--offline",
            "--model_id", str(model), "--device_map", "cpu", "--max-new-tokens", "8",
            "--retries", "2", *flags]  # fmt: skip
    assert script.main(argv) == code
    path = folder / f"{name}.rows.jsonl"
    return dict(map(json.loads, path.read_text().splitlines()[1:]))


def test_a_random_model_answers_noise_and_no_caption_is_made_up(
    sprites: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = by_model(sprites, model, "--fail-log", str(sprites / "log.tsv"))
    assert {row["status"] for row in found.values()} == {"failed"}
    assert "do not divide into 1 x 12 views" in found["u2"]["error"]
    assert all(found[u]["raw"] and found[u]["attempts"] == 2 for u in ("u0", "u1", "u3"))
    assert found["u0"]["views"] == [0, 3, 6, 9]
    assert tables(sprites, "v")["phrase"] == "model_uid,lvis_category,caption\n"
    assert "0 of 4 shapes" in capsys.readouterr().out
    assert [line.split("\t")[0] for line in (sprites / "log.tsv").read_text().splitlines()] == [
        "u0", "u1", "u2", "u3"
    ]  # fmt: skip
    by_model(sprites, model, "--skip_bad", "--limit", "1", name="w", code=0)
    drawn = by_model(sprites, model, "--split", "train", "--limit", "2", name="t")
    assert drawn["u1"]["views"] != [0, 3, 6, 9]
    by_model(sprites, model, "--seed", "7", code=1)
    assert "seed" in capsys.readouterr().err


def test_answers_do_not_depend_on_the_batch(sprites: Path, model: Path) -> None:
    alone = by_model(sprites, model, "--batch-size", "1", name="a")
    together = by_model(sprites, model, "--batch-size", "4", name="b")
    assert alone == together


def test_a_scripted_model_gives_the_tables(
    sprites: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The random model behind the whole path, its noise replaced by an answer."""
    text = json.dumps({
        "phrase": "a chair with four legs",
        "sentence": "A chair with a curved back and four thin legs.",
        "paragraph": "The chair has a square seat. Its back is tall and curved. "
        "Four thin legs stand at the corners of the seat.",
    })  # fmt: skip
    real = Vision.__call__

    def answer(self: Vision, batch: Any, tokens: int) -> list[str]:
        return [text for _ in real(self, batch, tokens)]

    monkeypatch.setattr(Vision, "__call__", answer)
    found = by_model(sprites, model)
    assert [row["status"] for row in found.values()].count("done") == 3
    written = tables(sprites, "v")
    assert written["phrase"].splitlines()[1] == "u0,thing,a chair with four legs"
    monkeypatch.setattr(Vision, "__init__", lambda *given: pytest.fail("asked again"))
    (sprites / "2.png").unlink()
    rows = sprites / "table.csv"
    rows.write_text("".join(line for line in rows.open() if "u2" not in line))
    by_model(sprites, model, code=0)
    assert tables(sprites, "v") == written


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("model_uid,path\nu,1.png\n", "no column for the view_path"),
        ("model_uid,view_path\nu,\n", "row 0 has no model_uid or no view_path"),
        ("model_uid,view_path\nu,1.png\nu,2.png\n", "two different rows"),
        ("u,1.png\n", "no header"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, problem: str
) -> None:
    (tmp_path / "t.csv").write_text(table)
    argv = ["--metadata_csv", str(tmp_path / "t.csv"), "--output", str(tmp_path / "o.csv"), "-q"]
    assert script.main(argv) == 1
    assert problem in capsys.readouterr().err


def test_a_model_that_is_not_there(sprites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sprites / "none").mkdir()
    argv = ["--metadata_csv", str(sprites / "table.csv"), "--output", str(sprites / "o.csv"), "-q"]
    assert script.main([*argv, "--model_id", str(sprites / "none"), "--offline"]) == 1
    assert "--backend metadata,geometry" in capsys.readouterr().err


def test_weights_that_are_missing_are_named(model: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(model, tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    weights.pop(next(name for name in weights if "visual" in name))
    save_file(weights, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="weights are missing"):
        Vision(VisionOptions(str(tmp_path / "m"), device_map="cpu"), "Say it.")


def test_every_picture_gets_its_tokens(model: Path) -> None:
    from mvcaption.inputs import make_inputs

    inputs = make_inputs(str(model), "qwen3_vl")
    small, large = Image.new("RGB", (32, 32), "white"), Image.new("RGB", (64, 64), "white")
    given = inputs([[small, large], [small]], "Say what it is.")
    tokens = given["mm_token_type_ids"].sum(dim=1).tolist()
    assert tokens == [1 + 4, 1]  # merged patches of 32 pixels
    assert given["image_grid_thw"].tolist() == [[1, 2, 2], [1, 4, 4], [1, 2, 2]]
    assert given["attention_mask"][1, 0] == 0  # padded on the left
    assert given["attention_mask"][:, -1].tolist() == [1, 1]
    text = inputs.tokenizer.decode(given["input_ids"][0])
    assert text.count("<|image_pad|>") == 5
    assert text.index("Say what it is.") > text.rindex("<|vision_end|>")
