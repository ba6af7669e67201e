"""Planned outputs: conditions that cannot be used, and names that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hy3dshape.data.class_ids import class_number, ids_of, read_class_ids
from hy3dshape.output_plan import plan_table, require_usable


def test_an_unknown_class_and_an_empty_caption_are_refused() -> None:
    rows = [{"model_uid": "a", "lvis_category": "chair"}, {"model_uid": "b", "lvis_category": "x"}]
    plan = plan_table(rows, "lvis", class_ids={"chair": 0})
    with pytest.raises(ValueError, match=r"t\.csv: 1 of 2 rows .*: row 1 \(b\): unknown class 'x'"):
        require_usable(plan, rows, "t.csv")
    rows = [{"model_uid": "", "caption": " "}]
    with pytest.raises(ValueError, match=r"row 0 \(no uid\): no condition"):
        require_usable(plan_table(rows, "text", caption_column="caption"), rows, "t.csv")


@pytest.mark.parametrize("uid", ["../a", "a/b", "/etc/x", "a\\b"])
def test_a_uid_cannot_leave_the_folder(uid: str) -> None:
    with pytest.raises(ValueError, match=r"row 0: model_uid .* is no file name"):
        plan_table([{"model_uid": uid}], "uncond")


def test_two_rows_for_one_file() -> None:
    with pytest.raises(ValueError, match=r"rows 0 and 1 both make a\.glb"):
        plan_table([{"model_uid": "a"}] * 2, "uncond")


def test_classes_by_name_or_id(tmp_path: Path) -> None:
    ids = ids_of(["toy", "box", "toy"])
    assert ids == {"box": 0, "toy": 1}
    assert class_number("toy", ids) == class_number("1", ids) == 1
    with pytest.raises(ValueError, match="unknown class 'tyo', did you mean 'toy'"):
        class_number("tyo", ids)
    with pytest.raises(ValueError, match="unknown class '7'; known: box, toy"):
        class_number("7", ids)


@pytest.mark.parametrize(
    "text", ['{"a": "0"}', '{"a": -1}', '{"a": true}', "3", '{"a": 0, "b": 0}']
)
def test_a_wrong_class_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"classes\.json: "):
        read_class_ids(path)
    path.write_text('["x", "y"]')
    assert read_class_ids(path) == {"x": 0, "y": 1}
