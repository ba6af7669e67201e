"""Splits: disjoint, stratified, stable when shapes are added, twins on one side."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import split_dataset
from data_curation import shapes_index, splits
from data_curation.meshes import list_meshes

RATIOS = (0.8, 0.1, 0.1)


def singles(ids: list[str]) -> list[list[str]]:
    return [[name] for name in ids]


def of_one(count: int, seed: int = 0, ratios: tuple[float, ...] = RATIOS) -> dict[str, str]:
    ids = [f"x{k}" for k in range(count)]
    return splits.assign(singles(ids), dict.fromkeys(ids, "c"), ratios, seed)


@given(st.integers(1, 300), st.integers(0, 9), st.tuples(*[st.integers(0, 9)] * 3))
@settings(max_examples=60, deadline=None)
def test_single_shapes_get_floor_or_ceiling_of_their_ratio(
    count: int, seed: int, weights: tuple[int, int, int]
) -> None:
    if sum(weights) == 0:
        weights = (1, 0, 0)
    found = Counter(of_one(count, seed, weights).values())
    for name, weight in zip(splits.SPLITS, weights, strict=True):
        assert abs(found[name] - count * weight / sum(weights)) < 1 + 1e-9


def test_categories_of_one_shape_share_out_on_average() -> None:
    ids = [f"x{k}" for k in range(4000)]
    side = splits.assign(singles(ids), {name: name for name in ids}, RATIOS, 0)
    found = Counter(side.values())
    assert abs(found["train"] - 3200) < 4 * (4000 * 0.8 * 0.2) ** 0.5
    assert abs(found["test"] - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5


@pytest.mark.parametrize("count", [5, 40, 199])
def test_a_further_shape_moves_at_most_one_other_per_border(count: int) -> None:
    for seed in range(20):
        before, after = of_one(count, seed), of_one(count + 1, seed)
        assert sum(after[name] != side for name, side in before.items()) <= 2


def test_a_further_shape_leaves_other_categories_alone() -> None:
    ids = [f"x{k}" for k in range(200)]
    category = {name: name[-1] for name in ids}
    before = splits.assign(singles(ids), category, RATIOS, 0)
    after = splits.assign(singles([*ids, "new5"]), category | {"new5": "5"}, RATIOS, 0)
    assert all(after[name] == before[name] for name in ids if category[name] != "5")


def test_order_of_groups_does_not_matter_and_the_seed_does() -> None:
    ids = [f"x{k}" for k in range(50)]
    category = dict.fromkeys(ids, "c")
    one = splits.assign(singles(ids), category, RATIOS, 0)
    assert splits.assign(singles(ids[::-1]), category, RATIOS, 0) == one
    assert splits.assign(singles(ids), category, RATIOS, 1) != one


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_groups_are_the_components_networkx_finds(edges: list[tuple[int, int]]) -> None:
    networkx = pytest.importorskip("networkx")
    ids = [f"n{k:02d}" for k in range(26)]
    pairs = [(ids[a], ids[b]) for a, b in edges]
    graph = networkx.Graph()
    graph.add_nodes_from(ids)
    graph.add_edges_from(pairs)
    expected = sorted(sorted(part) for part in networkx.connected_components(graph))
    assert splits.groups_of(ids, pairs) == expected


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """40 shapes of two categories; s03 and s17 are the same file."""
    rows = []
    for k in range(40):
        name = f"s{k:02d}"
        (tmp_path / f"{name}.off").write_text("same" if k in (3, 17) else name)
        rows.append({"id": name, "path": f"{name}.off", "category": "ab"[k % 2], "size": [1, 1, 1]})
    shapes_index.write_index(tmp_path / "shapes.json", rows)
    return tmp_path


def run(folder: Path, *flags: object) -> int:
    output = folder / "split"
    return split_dataset.main(
        ["--input", str(folder), "--output", str(output), "-q", *map(str, flags)]
    )


def retrieval(folder: Path, table: Any) -> Path:
    path = folder / "self.json"
    path.write_text(json.dumps(table))
    return path


def row(name: str, distance: float) -> dict[str, Any]:
    return {"model_id": name, "category_id": "a", "distance": distance}


def test_the_files_are_usable_lists_that_partition_the_set(dataset: Path) -> None:
    assert run(dataset) == 0
    parts = {name: list_meshes(dataset / f"split/{name}.json") for name in splits.SPLITS}
    assert {name: len(items) for name, items in parts.items()} == {"train": 32, "val": 4, "test": 4}
    ids = [item.id for items in parts.values() for item in items]
    assert sorted(ids) == [f"s{k:02d}" for k in range(40)]
    assert all(item.path.is_file() for items in parts.values() for item in items)
    table = json.loads((dataset / "split/split.json").read_text())
    assert table["groups"] == [["s03", "s17"]]
    assert table["assignment"]["s03"] == table["assignment"]["s17"]
    assert shapes_index.read_index(dataset / "split/train.json")[0]["size"] == [1, 1, 1]


def test_chains_of_close_shapes_stay_together(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = {f"s{k:02d}": [row(f"s{k + 1:02d}", 4.0), row("s39", 5.0)] for k in range(20, 26)}
    path = retrieval(dataset, {"s00": [row("s39", 9.0)], **chain})
    for seed in range(6):
        assert run(dataset, "--retrieval", path, "--threshold", 5, "--seed", seed) == 0
        table = json.loads((dataset / "split/split.json").read_text())
        assert table["groups"] == [["s03", "s17"], [f"s{k}" for k in range(20, 27)]]
        assert len({table["assignment"][f"s{k}"] for k in range(20, 27)}) == 1
    said = capsys.readouterr().out
    assert "kept together: 2 groups of near-duplicates with 9 of 40 shapes" in said
    assert "without a query in the retrieval: 33 shapes" in said


def test_single_object_and_grouped_results_are_read() -> None:
    assert splits.neighbours_of({"q": row("a", 1)}, "f") == {"q": [("a", 1.0)]}
    assert splits.neighbours_of({"g": {"q": [row("a", 1)]}}, "f") == {"q": [("a", 1.0)]}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"s00": [row("alien", 1.0)]}, "'alien'"),
        ({"alien": []}, "'alien'"),
        ({"s00": [{"model_id": "s01"}]}, "'s00'"),
        ({"s00": [row("s01", -1.0)]}, "'s00'"),
        ({"s00": [row("s01", float("nan"))]}, "'s00'"),
        ({"s00": ["s01"]}, "'s00'"),
        ([1], "expected an object"),
        ({"g": {"s00": []}, "h": {"s00": []}}, "two groups"),
    ],
)
def test_a_retrieval_of_another_form_or_set_is_refused(
    dataset: Path, table: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, "--retrieval", retrieval(dataset, table), "--threshold", 5) == 1
    message = capsys.readouterr().err
    assert said in message and "self.json" in message
    assert not (dataset / "split").exists()


@pytest.mark.parametrize("ratios", ["0.5,0.5", "a,b,c", "-1,1,1", "0,0,0", "nan,1,1"])
def test_unusable_ratios_are_refused(dataset: Path, ratios: str) -> None:
    assert run(dataset, f"--ratios={ratios}") == 1


def test_threshold_and_retrieval_go_together(dataset: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        run(dataset, "--threshold", 3)
    assert stop.value.code == 2
