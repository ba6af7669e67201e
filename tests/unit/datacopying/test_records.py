"""Readers: layouts, odd queries, categories, embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacopying.records import (
    read_categories,
    read_embeddings,
    read_retrieval,
    run_beside,
)


def near(distance: Any, name: str = "t1", **more: Any) -> dict[str, Any]:
    return {"model_id": name, "category_id": "chair", "distance": distance, **more}


def put(folder: Path, content: Any) -> Path:
    path = folder / "r.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_every_layout_gives_the_same_queries(tmp_path: Path) -> None:
    flat = {"a": near(3), "b": near(1.5, "t2")}
    layouts: list[dict[str, Any]] = [
        flat,
        {name: [entry] for name, entry in flat.items()},
        {"g": {name: [entry] for name, entry in flat.items()}},
        {"e": {}, "g": {"a": flat["a"]}, "h": {"b": flat["b"]}},
    ]
    for layout in layouts:
        found = read_retrieval(put(tmp_path, layout))
        assert [(q.id, q.distance, q.nearest_id) for q in found.queries] == [
            ("a", 3.0, "t1"),
            ("b", 1.5, "t2"),
        ]


def test_the_second_neighbour_and_categories_are_kept(tmp_path: Path) -> None:
    content = {"a": [near(2, query_category="lamp"), near(5)], "b": [near(2)]}
    a, b = read_retrieval(put(tmp_path, content)).queries
    assert (a.second, a.category, a.nearest_category) == (5.0, "lamp", "chair")
    assert (b.second, b.category) == (None, None)


def test_groups_are_categories_and_tell_equal_ids_apart(tmp_path: Path) -> None:
    content = {"lamp": {"a": near(1), "b": near(2)}, "bed": {"a": near(3)}}
    found = read_retrieval(put(tmp_path, content)).queries
    assert [(q.id, q.category) for q in found] == [
        ("lamp/a", "lamp"),
        ("b", "lamp"),
        ("bed/a", "bed"),
    ]


MISSING = [[], None, [None], [{"model_id": "t1"}], near(None), near(float("nan")), near("nan")]


@pytest.mark.parametrize("value", MISSING)
def test_a_missing_neighbour_is_refused_or_left_out(tmp_path: Path, value: Any) -> None:
    path = put(tmp_path, {"a": [near(1)], "gone": value})
    with pytest.raises(ValueError, match=r"r\.json: query 'gone' has .*1 of 2.*--missing drop"):
        read_retrieval(path)
    found = read_retrieval(path, "drop")
    assert len(found.queries) == 1
    assert [name for name, _ in found.dropped] == ["gone"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (near(-1), "distance is -1.0, expected >= 0"),
        (near(float("-inf")), "distance is -inf"),
        (near("far"), "distance is 'far', expected a number"),
        (near(True), "distance is True"),
        (near([1]), "distance is a list"),
        (near(10**400), "expected a number"),
        ([near(3), near(2)], "neighbour 2 is at 2.0, nearer than the first at 3.0"),
        ([near(1), near(float("nan"))], "neighbour 2 has NaN"),
        ([near(1), {"model_id": "t"}], "neighbour 2 has no distance"),
        ([near(1), 4], "neighbour 2: expected an object, found a number"),
        (5, "expected an object, found a number"),
        ("near", "expected an object, found text"),
        (near(1, name=["t"]), "model_id is a list"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_query_is_refused_even_when_dropping(tmp_path: Path, value: Any, said: str) -> None:
    path = put(tmp_path, {"ok": [near(1)], "odd": value})
    with pytest.raises(ValueError, match=r"r\.json: query 'odd'") as error:
        read_retrieval(path, "drop")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "empty"),
        ('{"g": {}}', "empty"),
        ("[]", "expected an object of queries, found a list"),
        ("3", "found a number"),
        ('{"a": ', "not JSON"),
        ("", "not JSON"),
        ('{"a": {"distance": 1}, "a": {"distance": 2}}', "the key 'a' stands twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"r.json: .*{said}"):
        read_retrieval(put(tmp_path, text))


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3)
KEYS = st.sampled_from(["distance", "model_id", "category_id", "a", ""])
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(content=ANY, missing=st.sampled_from(["error", "drop"]))
def test_any_json_is_read_or_refused_by_name(
    content: Any, missing: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = put(tmp_path_factory.getbasetemp(), content)
    try:
        found = read_retrieval(path, missing)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert (found.distances >= 0).all()


def test_dropping_everything_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all 2 were left out"):
        read_retrieval(put(tmp_path, {"a": [], "b": None}), "drop")


def test_failures_of_the_retrieval_count_as_missing(tmp_path: Path) -> None:
    path = put(tmp_path, {"a": near(1)})
    rows = [{"id": name, "stage": "retrieve", "error": "no lamp"} for name in ("a", "gone")]
    path.with_name("r.failures.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="query 'gone' has no neighbour: no lamp"):
        read_retrieval(path)
    assert read_retrieval(path, "drop").dropped == [("gone", "has no neighbour: no lamp")]


def test_a_run_record_is_optional(tmp_path: Path) -> None:
    path = put(tmp_path, {"a": near(1)})
    assert run_beside(path) is None
    path.with_name("r.run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"r\.run\.json: command: expected str"):
        run_beside(path)


def test_categories_of_shape_lists(tmp_path: Path) -> None:
    def shapes(name: str, *rows: dict[str, Any]) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"shapes": rows}))
        return path

    one = shapes("one.json", {"id": "a", "category": "bed"}, {"id": "b", "category": ""})
    two = shapes("two.json", {"id": "b", "category": "mug"}, {"id": "c"})
    assert read_categories([one, two]) == {"a": "bed", "b": "mug"}
    clash = shapes("clash.json", {"id": "a", "category": "car"})
    with pytest.raises(ValueError, match=r"clash\.json: 'a' is in category 'car', before in 'bed'"):
        read_categories([one, clash])
    with pytest.raises(ValueError, match=r"odd\.json: shapes\[0\]: expected an object"):
        read_categories([shapes("odd.json", {"category": "bed"})])
    with pytest.raises(ValueError, match="list under 'shapes'"):
        read_categories([put(tmp_path, [])])


def test_embeddings_of_any_known_key(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, ids=np.array(["a", "b"]), features=np.ones((2, 3), np.float32))
    rows, names = read_embeddings(path)
    assert (rows.dtype, rows.shape, names) == (np.float64, (2, 3), ["", ""])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"ids": np.array(["a"])}, "no feature array"),
        ({"X": np.ones(3)}, r"X: expected \(n, d\) float"),
        ({"X": np.ones((0, 3))}, "X: expected"),
        ({"X": np.array([["a"]])}, "X: expected"),
        ({"X": np.array([[1.0], [np.nan]])}, "row 1 is not finite"),
        ({"X": np.array([{}], object)}, "not a readable NPZ"),
        ({"X": np.ones((2, 2)), "categories": np.array(["a"])}, "categories: expected"),
    ],
)
def test_odd_embeddings_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"e.npz: .*{said}"):
        read_embeddings(path)


def test_a_text_is_no_embedding_file(tmp_path: Path) -> None:
    for content in (b"", b"hello", b"PK\x03\x04 torn"):
        path = tmp_path / "e.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"e\.npz: not a readable NPZ"):
            read_embeddings(path)
