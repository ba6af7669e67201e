"""JSON of every wrong kind, as a retrieval result and as a list of shapes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from e2e import malformed
from e2e.running import ROOT, run

import datacopying_test
import extract_lfd
import list_shapes
import render_views
import sample_points
import split_dataset

RESULT = '{"q": [{"model_id": "t", "category_id": "c", "distance": 2.5}]}'
EXAMPLES = sorted((ROOT / "formats" / "examples" / "bad").glob("retrieval.*.json"))
TEXTS = malformed.bad_json()
SHAPES = {**TEXTS, **malformed.bad_shapes()}
READERS = {
    "extract_lfd.py": (extract_lfd.main, "x.npz"),
    "sample_points.py": (sample_points.main, "x.npz"),
    "render_views.py": (render_views.main, "views"),
    "list_shapes.py": (list_shapes.main, "out/shapes.json"),
    "split_dataset.py": (split_dataset.main, "split"),
}


def refused(code: int, capsys: Any, path: Path, says: str) -> None:
    """The script ended with code 1 and one line that names the file and says what is wrong."""
    caught = capsys.readouterr()
    assert code == 1, caught
    assert caught.err.count("\n") == 1, caught.err
    assert str(path) in caught.err
    assert re.search(says, caught.err), caught.err
    assert len(caught.err) < 1000


@pytest.mark.parametrize("side", ["gen", "test"])
@pytest.mark.parametrize("name", [*TEXTS, *(path.stem for path in EXAMPLES)])
def test_a_bad_result_is_refused(name: str, side: str, tmp_path: Path, capsys: Any) -> None:
    bad, good, output = tmp_path / "bad.json", tmp_path / "good.json", tmp_path / "o.json"
    example = {path.stem: path.read_bytes() for path in EXAMPLES}
    bad.write_bytes(example[name] if name in example else TEXTS[name].data)
    good.write_text(RESULT)
    output.write_text("an earlier result")
    order = [bad, good] if side == "gen" else [good, bad]
    code = datacopying_test.main([*map(str, order), "--output", str(output)])
    refused(code, capsys, bad, ".")
    assert output.read_text() == "an earlier result"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("script", READERS)
@pytest.mark.parametrize("name", SHAPES)
def test_a_bad_list_of_shapes_is_refused(
    name: str, script: str, tmp_path: Path, capsys: Any
) -> None:
    main, output = READERS[script]
    bad = tmp_path / "shapes.json"
    bad.write_bytes(SHAPES[name].data)
    (tmp_path / "a.obj").write_bytes(malformed.good_meshes()["good_obj.obj"])
    code = main(["--input", str(bad), "--output", str(tmp_path / output)])
    if (script, name) == ("list_shapes.py", "no_shapes"):
        assert code == 0  # an empty list is a list
        return
    refused(code, capsys, bad, SHAPES[name].says)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.obj", "shapes.json"]


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", malformed.GARBAGE, "é.obj\n".encode("latin-1")], ids=str
)
def test_a_bad_text_list_is_refused(text: bytes, tmp_path: Path, capsys: Any) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(text)
    code = extract_lfd.main(["--input", str(listed), "--output", str(tmp_path / "x.npz")])
    refused(code, capsys, listed, "no meshes|not a text list")


def test_what_is_missing_from_a_list_is_named_and_the_rest_done(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_bytes(malformed.good_meshes()["good_obj.obj"])
    (tmp_path / "list.txt").write_text("a.obj\nnone.obj\nlist.txt\n")
    output = tmp_path / "p.npz"
    ended = run("sample_points.py", "--input", tmp_path / "list.txt", "--output", output)
    assert ended.code == 3, ended.err
    assert "No such file or directory: '" + str(tmp_path / "none.obj") in ended.err
    assert "unknown mesh format '.txt'" in ended.err
    assert "1 shapes (0 reused, 2 failed)" in ended.out
