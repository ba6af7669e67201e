"""Shapes chosen by label, nested subsets, tables for the trainers and the check before training."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import check_tables
import make_table
import split_dataset
from data_curation import selection
from data_curation.csv_tables import check_captions, read_table

SIZES = {"chair": 12, "table": 8, "vase": 4, "": 2}


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    rows = []
    for category, count in SIZES.items():
        for i in range(count):
            name = f"{category or 'thing'}{i}"
            (tmp_path / f"{name}.obj").write_text(f"# {name}\n")
            rows.append({
                "id": name, "path": f"{name}.obj", "category": category,
                "creator": "A. Maker" if i < 2 else f"maker {i}",
                "names": {"en": f"Old {category}" if i < 2 else name},
                "captions": {"phrase": f"a {category} number {i}"},
            })  # fmt: skip
    (tmp_path / "shapes.json").write_text(json.dumps({"shapes": rows}))
    return tmp_path


def split(folder: Path, *flags: str, code: int = 0) -> dict[str, set[str]]:
    argv = ["--input", str(folder), "--output", str(folder / "out"), "--ratios", "2,1,1", *flags]
    assert split_dataset.main(argv) == code
    found = {}
    for path in (folder / "out").glob("*.json"):
        table = json.loads(path.read_text())
        if "shapes" in table:
            found[path.stem] = {row["id"] for row in table["shapes"]}
    return found


def test_subsets_are_nested_and_in_train(shapes: Path) -> None:
    sides = split(shapes, "--sizes", "2,5,9")
    assert [len(sides[f"train_{n}"]) for n in (2, 5, 9)] == [2, 5, 9]
    assert sides["train_2"] < sides["train_5"] < sides["train_9"] < sides["train"]
    again = split(shapes, "--sizes", "4,5")
    assert again["train_5"] == sides["train_5"]
    assert again["train_4"] > again["train_2"]


NAMES = st.text("abcd", max_size=4)


@given(st.sets(NAMES, max_size=20), NAMES, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_further_name_changes_the_order_of_no_others(
    names: set[str], more: str, seed: int
) -> None:
    before = selection.permutation(names, seed)
    after = selection.permutation(names | {more}, seed)
    assert [name for name in after if name in names] == before


@pytest.mark.parametrize("sizes", ["0", "1000", "a", "", "-1", "2;3"])
def test_sizes_that_are_refused(
    shapes: Path, sizes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if sizes:
        split(shapes, "--sizes", sizes, code=1)
        assert "--sizes" in capsys.readouterr().err


def test_shapes_of_one_maker_and_name_stay_together(shapes: Path) -> None:
    for seed in range(8):
        sides = split(shapes, "--same-author-and-name", "--seed", str(seed))
        for side in ("train", "val", "test"):
            assert ("chair0" in sides[side]) == ("chair1" in sides[side])
            assert ("vase0" in sides[side]) == ("vase1" in sides[side])
    alone = [split(shapes, "--seed", str(seed)) for seed in range(8)]
    assert any(("chair0" in s["train"]) != ("chair1" in s["train"]) for s in alone)


def test_labels_choose_shapes_and_classes(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"chair{i},{'stool' if i % 3 else 'armchair'}" for i in range(12)]
    lines += [f"vase{i},Urn" for i in range(2)]
    (shapes / "labels.csv").write_text("uid,label\n" + "\n".join(lines) + "\n")
    sides = split(shapes, "--labels", str(shapes / "labels.csv"))
    assert len(sides["train"] | sides["val"] | sides["test"]) == 14
    assert json.loads((shapes / "out" / "classes.json").read_text()) == {
        "Urn": 0, "armchair": 1, "stool": 2
    }  # fmt: skip
    assert "14 of 26 shapes, of 3 classes" in capsys.readouterr().out
    top = split(shapes, "--labels", str(shapes / "labels.csv"), "--top", "2")
    assert len(top["train"] | top["val"] | top["test"]) == 12
    ids = json.loads((shapes / "out" / "classes.json").read_text())
    assert ids == {"armchair": 0, "stool": 1}


def test_top_leaves_out_shapes_without_a_category(shapes: Path) -> None:
    sides = split(shapes, "--top", "3")
    assert len(sides["train"] | sides["val"] | sides["test"]) == 24
    split(shapes, "--top", "4", code=1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("uid,label\nnone,chair\n", "1 uids are not in the set, first 'none'"),
        ("uid,label\nchair0,a\nchair0,b\n", "'chair0' is 'a' and 'b'"),
        ("uid,caption\nchair0,a\n", "no column for the label"),
        ("uid,label\n", "no rows"),
    ],
)
def test_labels_that_are_refused(
    shapes: Path, content: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (shapes / "labels.csv").write_text(content)
    split(shapes, "--labels", str(shapes / "labels.csv"), code=1)
    assert problem in capsys.readouterr().err


def test_a_class_list_is_kept_and_others_are_errors(
    shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = {"box": 0, "chair": 1, "table": 2, "vase": 3}
    (shapes / "wide.json").write_text(json.dumps(ids))
    split(shapes, "--top", "3", "--classes", str(shapes / "wide.json"))
    assert json.loads((shapes / "out" / "classes.json").read_text()) == ids
    (shapes / "narrow.json").write_text('["chair", "vase"]')
    split(shapes, "--top", "3", "--classes", str(shapes / "narrow.json"), code=1)
    assert "'table'" in capsys.readouterr().err


def tables(folder: Path, *flags: str) -> dict[str, Path]:
    split(folder, "--top", "3")
    found = {}
    for side in ("train", "val", "test"):
        found[side] = folder / f"{side}.csv"
        argv = ["--input", str(folder / "out" / f"{side}.json"), "--output", str(found[side])]
        assert make_table.main([*argv, *flags]) == 0
    return found


def check(paths: dict[str, Path], *flags: str) -> int:
    argv = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return check_tables.main([*argv, *flags])


def test_tables_of_a_split_pass_the_check(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = shapes / "out" / "classes.json"
    views = shapes / "views"
    for category, count in SIZES.items():
        for i in range(count):
            folder = views / f"{category or 'thing'}{i}"
            folder.mkdir(parents=True)
            (folder / "sprite_v12.png").touch()
            (folder / "views.json").write_text('{"sprite": "sprite_v12.png"}')
    paths = tables(shapes, "--views", str(views), "--caption-column", "cap3d_caption")
    with paths["val"].open() as file:
        row = next(csv.DictReader(file))
    assert list(row) == ["model_uid", "lvis_category", "cap3d_caption", "view_path"]
    assert row["view_path"] == f"views/{row['model_uid']}/sprite_v12.png"
    assert check(paths, "--classes", str(names)) == 0
    assert "disjoint, 3 classes" in capsys.readouterr().out
    (views / row["model_uid"] / "sprite_v12.png").unlink()
    assert check(paths) == 1
    assert "1 of" in capsys.readouterr().err


def test_captions_of_another_table(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = shapes / "captions.csv"
    given.write_text('model_uid,lvis_category,caption\r\nchair3,chair,"one, two"\r\n')
    argv = ["--input", str(shapes / "shapes.json"), "--output", str(shapes / "t.csv"),
            "--captions", str(given)]  # fmt: skip
    assert make_table.main(argv) == 1
    assert "25 of 26 shapes have no caption" in capsys.readouterr().err
    assert make_table.main([*argv, "--skip-missing"]) == 0
    assert (shapes / "t.csv").read_text() == (
        'model_uid,lvis_category,caption\nchair3,chair,"one, two"\n'
    )
    given.write_text("model_uid,caption\nchair3,a\nchair3,b\n")
    assert make_table.main(argv) == 1
    assert "two captions for 'chair3'" in capsys.readouterr().err


def edited(paths: dict[str, Path], side: str, old: str, new: str) -> None:
    text = paths[side].read_text()
    assert old in text
    paths[side].write_text(text.replace(old, new, 1))


def test_what_the_check_stops(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stops(problem: str) -> None:
        assert check(paths) == 1
        assert problem in capsys.readouterr().err

    paths = tables(shapes)
    first = {side: next(csv.DictReader(p.open()))["model_uid"] for side, p in paths.items()}
    edited(paths, "test", first["test"], first["val"])
    stops(f"'{first['val']}' is in val too")
    paths = tables(shapes)
    line = paths["train"].read_text().splitlines()[1]
    paths["train"].write_text(paths["train"].read_text() + line + "\n")
    stops("is twice")
    paths = tables(shapes)
    edited(paths, "val", ",chair,", ",throne,")
    stops("'throne'")
    paths = tables(shapes)
    rows = read_table(paths["train"]).rows
    table = "".join(f"{row['model_uid']},{row['lvis_category']},a 3d model\n" for row in rows)
    paths["train"].write_text("model_uid,lvis_category,caption\n" + table)
    stops(f"{len(rows)} of {len(rows)} captions are 'a 3d model'; wrong column?")
    assert check(paths, "--allow-constant") == 0
    paths["train"].write_text("model_uid,lvis_category,text\n" + table)
    stops("no column for the caption")
    paths["train"].write_text("model_uid,lvis_category,caption\n")
    stops("no rows")


def test_constant_captions() -> None:
    check_captions("t", ["a", "a", "b", "c"])
    check_captions("t", ["a"])
    for captions in (["a", "a"], ["a", "a", "b"], ["a", ""]):
        with pytest.raises(ValueError, match="caption"):
            check_captions("t", captions)


def test_a_constant_table_is_not_written(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table: Any = json.loads((shapes / "shapes.json").read_text())
    for row in table["shapes"]:
        row["captions"]["phrase"] = "a thing"
    (shapes / "shapes.json").write_text(json.dumps(table))
    argv = ["--input", str(shapes / "shapes.json"), "--output", str(shapes / "t.csv")]
    assert make_table.main(argv) == 1
    assert "26 of 26 captions are 'a thing'" in capsys.readouterr().err
    assert not (shapes / "t.csv").exists()
    assert make_table.main([*argv, "--allow-constant"]) == 0
