"""Recall of disguised copies: ranks, intervals, and the whole benchmark on a few shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh
from scipy.stats import binomtest

import benchmark_metrics
from retrieval.recall import rank, recall, wilson


def found(*rows: tuple[str, float]) -> list[dict[str, object]]:
    return [{"model_id": name, "distance": distance} for name, distance in rows]


def test_rank_counts_what_is_strictly_nearer():
    rows = found(("a", 0.0), ("b", 0.0), ("c", 1.0), ("d", 2.5), ("e", 2.5))
    assert [rank(rows, name) for name in "abcdex"] == [1, 1, 3, 4, 4, None]


def test_recall_counts_ranks_and_misses():
    share = recall([1, 1, 2, 5, 6, None], 5)
    assert share[:2] == (4, 6)
    assert recall([1, 1, 2, 5, 6, None], 1).hits == 2


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (57, 100), (100, 100), (3, 3), (0, 1)])
def test_wilson_interval_is_scipys(hits, n):
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 hits of 0"):
        wilson(0, 0)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    folder = tmp_path / "shapes"
    folder.mkdir()
    for i, height in enumerate((0.5, 1.2, 2.0, 3.0)):
        trimesh.creation.box((1, 1.5, height)).export(folder / f"box{i}.obj")
        trimesh.creation.torus(1, 0.1 + 0.12 * i).export(folder / f"ring{i}.ply")
    trimesh.creation.box((1, 1.5, 0.5)).export(folder / "twin.obj")  # of box0
    return folder


def run(shapes: Path, output: Path, *more: str) -> int:
    names = ["--input", str(shapes), "--output", str(output), "-q"]
    return benchmark_metrics.main([*names, "--points", "256", "--count", "9", *more])


def test_exact_copies_are_all_found_and_turned_ones_are_not(shapes, tmp_path, capfd):
    flags = ("--metrics", "cd,iou", "--disguises", "none,rotate_large")
    assert run(shapes, tmp_path / "out", *flags) == 0
    text = capfd.readouterr().out
    table = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    rows = {(row["metric"], row["disguise"]): row for row in table["rows"]}
    for metric in ("cd", "iou"):
        exact = rows[metric, "none"]
        assert (exact["n"], exact["recall_1"], exact["recall_5"]) == (9, 1, 1)
        assert rows[metric, "rotate_large"]["recall_1"] < 1
        assert rows[metric, "all"]["n"] == 18
    assert text.splitlines()[0] == "| disguise | n | cd | iou |"
    assert text.splitlines()[2].startswith("| none | 9 | 100 (70-100) / 100 | 100 ")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.npz")}
    assert run(shapes, tmp_path / "out", *flags) == 0
    assert capfd.readouterr().out == text
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.npz")}


def test_failed_shapes_are_left_out_and_reported(shapes, tmp_path, capfd):
    (shapes / "box1.obj").write_text("v 0 0 0\n")
    flags = ("--metrics", "iou", "--disguises", "none", "--json")
    assert run(shapes, tmp_path / "out", *flags) == 3
    assert {row["n"] for row in json.loads(capfd.readouterr().out)} == {8}


def test_wrong_use_ends_with_a_reason(shapes, tmp_path, capfd):
    assert run(shapes, tmp_path / "out", "--metrics", "l2") == 1
    assert "--metrics l2: unknown here; one of lfd, cd" in capfd.readouterr().err
    assert run(shapes, tmp_path / "out", "--metrics", "iou", "--disguises", "wig") == 1
    text = capfd.readouterr().err
    assert "--disguise wig: unknown" in text
    assert "disguise_shapes.py ended with exit code 1" in text
