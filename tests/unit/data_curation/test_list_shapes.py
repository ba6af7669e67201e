"""Listing: flat, ShapeNet and Objaverse folders, and joining several shapes.json."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import trimesh

import list_shapes
from data_curation import shapes_index
from data_curation.meshes import list_meshes

BAD = Path(__file__).parents[3] / "formats" / "examples" / "bad"


def mesh(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.box().export(path)
    return path


def run(output: Path, *flags: object) -> int:
    return list_shapes.main(["--output", str(output), "-q", "--input", *map(str, flags)])


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(path.read_text())["shapes"]}


def test_flat_folder_takes_its_first_folder_as_category(tmp_path: Path) -> None:
    mesh(tmp_path / "in/chairs/a.obj")
    mesh(tmp_path / "in/b.ply")
    out = tmp_path / "lists/shapes.json"
    assert run(out, tmp_path / "in") == 0
    rows = rows_of(out)
    assert {k: (r["path"], r["category"]) for k, r in rows.items()} == {
        "chairs/a": ("../in/chairs/a.obj", "chairs"),
        "b": ("../in/b.ply", ""),
    }
    assert all(item.path.is_file() for item in list_meshes(out))


def test_shapenet_layout_gives_synset_and_english_name(tmp_path: Path) -> None:
    for synset, model in (("03001627", "1a6f"), ("02691156", "10155"), ("99999999", "z")):
        mesh(tmp_path / f"sn/{synset}/{model}/models/model_normalized.obj")
    out = tmp_path / "sn/shapes.json"
    assert run(out, tmp_path / "sn") == 0
    rows = rows_of(out)
    assert rows["03001627-1a6f"]["category"] == "03001627"
    assert rows["03001627-1a6f"]["categories"] == {"en": "chair"}
    assert rows["02691156-10155"]["names"] == {"en": "airplane"}
    assert "names" not in rows["99999999-z"]
    assert rows["99999999-z"]["path"] == "99999999/z/models/model_normalized.obj"


def test_shapenet_demanded_of_another_folder_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh(tmp_path / "in/a.obj")
    assert run(tmp_path / "s.json", tmp_path / "in", "--layout", "shapenet") == 1
    assert "a.obj: not in ShapeNet layout" in capsys.readouterr().err


@pytest.mark.parametrize("packed", [False, True])
def test_objaverse_layout_takes_categories_from_lvis(tmp_path: Path, packed: bool) -> None:
    one, two, three = ("0" * 31 + x for x in "abc")
    mesh(tmp_path / f"glbs/000-023/{one}.glb")
    mesh(tmp_path / f"glbs/000-024/{two}.glb")
    mesh(tmp_path / f"glbs/000-024/{three}.glb")
    table = json.dumps({"Band_Aid": [one], "mug": [two, "f" * 32]}).encode()
    labels = tmp_path / ("lvis.json.gz" if packed else "lvis.json")
    labels.write_bytes(gzip.compress(table) if packed else table)
    out = tmp_path / "shapes.json"
    assert run(out, tmp_path / "glbs", "--annotations", labels) == 0
    rows = rows_of(out)
    assert [rows[x]["category"] for x in (one, two, three)] == ["Band_Aid", "mug", ""]
    assert rows[one]["names"] == {"en": "Band Aid"}
    assert rows[two]["path"] == f"glbs/000-024/{two}.glb"


def test_damaged_annotations_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh(tmp_path / "g/a.glb")
    whole = gzip.compress(b'{"mug": ["a"]}')
    cases = {
        "cut.json.gz": whole[:-6],
        "plain.json.gz": b"{}",
        "text.json.gz": gzip.compress(b"mug"),
        "list.json": b"[1]",
        "number.json": b'{"mug": 3}',
        "both.json": b'{"mug": ["a"], "cup": ["a"]}',
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        assert run(tmp_path / "s.json", tmp_path / "g", "--annotations", tmp_path / name) == 1
        assert name in capsys.readouterr().err
    assert not (tmp_path / "s.json").exists()


def test_joining_rewrites_paths_and_names_both_owners_of_an_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        mesh(tmp_path / f"{name}/{name}.obj")
        row = {"id": name, "path": f"{name}.obj", "category": "x", "tags": {"en": ["t"]}}
        shapes_index.write_index(tmp_path / f"{name}/shapes.json", [row])
    out = tmp_path / "all.json"
    assert run(out, tmp_path / "a", tmp_path / "b/shapes.json") == 0
    rows = rows_of(out)
    assert rows["b"] == {"id": "b", "path": "b/b.obj", "category": "x", "tags": {"en": ["t"]}}
    assert run(out, tmp_path / "a", tmp_path / "b", "--limit", "1") == 0
    assert list(rows_of(out)) == ["a"]
    mesh(tmp_path / "c/a.obj")
    shapes_index.write_index(tmp_path / "c/shapes.json", [{"id": "a", "path": "a.obj"}])
    assert run(out, tmp_path / "a", tmp_path / "c") == 1
    message = capsys.readouterr().err
    assert "'a'" in message and "a/shapes.json" in message and "c/shapes.json" in message


def test_parts_of_a_sharded_run_are_joined_only_when_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in range(2):
        mesh(tmp_path / f"s{part}.obj")
        row = {"id": f"s{part}", "path": f"s{part}.obj", "category": ""}
        shapes_index.write_index(tmp_path / f"shapes.{part}-of-3.json", [row])
    out = tmp_path / "shapes.json"
    assert run(out, tmp_path) == 1
    assert "--shard 2/3" in capsys.readouterr().err
    shapes_index.write_index(tmp_path / "shapes.2-of-3.json", [])
    assert run(out, tmp_path) == 0
    assert list(rows_of(out)) == ["s0", "s1"]
    row = {"id": "s2", "path": "s1.obj", "category": ""}
    shapes_index.write_index(tmp_path / "shapes.2-of-3.json", [row])
    assert run(out, tmp_path) == 0  # joined again, not read back
    assert list(rows_of(out)) == ["s0", "s1", "s2"]


def test_a_listed_mesh_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes_index.write_index(tmp_path / "shapes.json", [{"id": "a", "path": "gone.obj"}])
    assert run(tmp_path / "out.json", tmp_path) == 1
    assert "gone.obj" in capsys.readouterr().err


@pytest.mark.parametrize(
    "defect",
    [
        "missing_path",
        "missing_id",
        "empty_id",
        "number_as_id",
        "escaping_id",
        "absolute_id",
        "control_character_in_id",
        "null_path",
        "empty_path",
        "number_as_category",
        "list",
        "no_shapes",
        "shapes_object",
        "text_as_row",
    ],
)
def test_the_reader_refuses_by_name(defect: str) -> None:
    path = BAD / f"shapes.{defect}.json"
    with pytest.raises(ValueError, match=path.name):
        shapes_index.read_index(path)


def test_an_id_twice_in_one_index_is_refused(tmp_path: Path) -> None:
    row = {"id": "a", "path": "a.obj"}
    shapes_index.write_index(tmp_path / "shapes.json", [row, row])
    with pytest.raises(ValueError, match=r"shapes\[1\]: id 'a' comes twice"):
        shapes_index.read_index(tmp_path / "shapes.json")


def named(folder: Path, **names: str | None) -> Path:
    """A shapes.json of boxes: English name by id, None for a shape without names."""
    rows: list[dict[str, Any]] = []
    for name, text in names.items():
        mesh(folder / f"{name}.ply")
        row = {"id": name, "path": f"{name}.ply", "category": "Living room"}
        rows.append(row if text is None else {**row, "names": {"en": text}})
    shapes_index.write_index(folder / "shapes.json", rows)
    return folder


def test_words_of_names_become_categories(tmp_path: Path) -> None:
    source = named(
        tmp_path / "in", a="Bar chair with cushion", b="ARMCHAIR", c="Desk lamp", d="Desk",
        e="Sofa 2 seats", f="Table on trestles", g="Table fan", h=None, i="with", j="Chair, red",
    )  # fmt: skip
    out = tmp_path / "kinds.json"
    words = ("chair=chair,armchair", "table=table,Desk", "sofa=sofa")
    assert run(out, source, "--category-words", *words) == 0
    found = {name: row["category"] for name, row in rows_of(out).items()}
    assert found == {"a": "chair", "b": "chair", "d": "table", "e": "sofa", "f": "table",
                     "j": "chair"}  # fmt: skip
    assert (tmp_path / rows_of(out)["a"]["path"]).is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("chair",), "--category-words chair: expected CATEGORY=WORD,WORD,..."),
        (("chair=bar chair",), "expected CATEGORY=WORD,WORD,..."),
        (("chair=chair", "seat=chair"), "'chair' stands twice"),
        (("bed=bed",), "no shape of 1 has a name headed by bed"),
    ],
)
def test_category_words_that_are_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = named(tmp_path / "in", a="Chair")
    assert run(tmp_path / "kinds.json", source, "--category-words", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "kinds.json").exists()
