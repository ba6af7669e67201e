"""npz_eval.py from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy.spatial.distance import cdist

import npz_eval
from fpd_eval import cache
from fpd_eval.frechet import frechet
from fpd_eval.metrics import METRICS

ROOT = Path(__file__).parents[3]
RUN, QUALITY = (
    json.loads((ROOT / f"formats/{name}.schema.json").read_text()) for name in ("run", "quality")
)
RNG = np.random.default_rng(1)
SETS = {
    "train": RNG.normal(size=(60, 8)),
    "gen": RNG.normal(size=(50, 8)) + 0.5,
    "test": RNG.normal(size=(30, 8)),
}
COUNTS = "(60 reference, 50 generated, 8 dimensions)"
FEW = ("--draws", "4")


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the kept statistics."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shape-memorization" / "statistics"


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    made = {name: tmp_path / f"{name}.npz" for name in SETS}
    for name, path in made.items():
        ids = [f"{name}{i}" for i in range(len(SETS[name]))]
        np.savez(path, embeddings=SETS[name], ids=ids)
    return {name: str(path) for name, path in made.items()}


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert npz_eval.main(argv) == 0
    return capsys.readouterr().out


def result(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    """By name of the value, after a look at the schema."""
    made = json.loads(out(capsys, *argv, "--json"))
    jsonschema.validate(made, QUALITY)
    return {row["name"]: row for row in made["metrics"]}


def test_first_line_is_the_distance_with_the_counts(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    want = frechet(SETS["train"], SETS["gen"]).distance
    lines = out(capsys, paths["train"], paths["gen"]).splitlines()
    assert lines[0] == f"FD = {want:.6f}  {COUNTS}"
    assert re.match(r"FD-infinity .+ 95 % interval .+ \(60 reference, 50 generated\)", lines[3])
    clipped = frechet(SETS["train"], SETS["gen"], 4.0).distance
    assert out(capsys, paths["train"], paths["gen"], "--eps", "4").splitlines()[:2] == [
        f"FD = {clipped:.6f}  {COUNTS}",
        f"FD without clipping = {want:.6f}  {COUNTS}",
    ]


def test_floor_compares_equal_numbers(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (paths["train"], paths["gen"], "--test", paths["test"], *FEW)
    got = result(capsys, *argv)["fd"]["equal_n"]
    assert got["n"] == 30 and got["of"] == "held-out"
    assert got["baseline"] == frechet(SETS["train"], SETS["test"]).distance
    assert got == result(capsys, *argv)["fd"]["equal_n"]
    other = result(capsys, *argv, "--seed", "1")["fd"]["equal_n"]
    assert other["generated"] != got["generated"] and other["baseline"] == got["baseline"]
    assert f"at n = 30: {got['generated']:.6g} generated, {got['baseline']:.6g} held-out" in out(
        capsys, *argv
    )


def test_every_metric_has_value_interval_n_and_baseline(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (paths["train"], paths["gen"], "--test", paths["test"], *FEW)
    got = result(capsys, *argv, "--metrics", "all")
    assert {row["metric"] for row in got.values()} == set(METRICS)
    assert list(got) == [name for metric in METRICS.values() for name in metric.names]
    for row in got.values():
        assert row["interval"][0] <= row["value"] <= row["interval"][1], row
        if row["name"] != "fd_infinity":  # 15 of the 30 rows are too few for it
            assert row["reason"] is None and row["equal_n"]
    alone = result(capsys, *argv, "--metrics", "kid")["kid"]
    assert alone == got["kid"]


def test_without_held_out_shapes_what_needs_them_says_so(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    got = result(capsys, paths["train"], paths["gen"], *FEW, "--metrics", "all")
    absent = {name for name, row in got.items() if row["value"] is None}
    assert absent == {"fld_gap", "one_nna", "cov", "mmd"}
    assert all("--test" in got[name]["reason"] for name in absent)
    assert npz_eval.main([paths["train"], paths["gen"], "--metrics", "one_nna"]) == 1
    assert "--metrics one_nna: needs held-out shapes (--test)" in capsys.readouterr().err


def test_constant_embeddings_give_values_or_reasons(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in paths.values():
        np.savez(path, embeddings=np.full((40, 8), 0.3))
    argv = (paths["train"], paths["gen"], "--test", paths["test"], *FEW)
    got = result(capsys, *argv, "--metrics", "all")
    assert {name: got[name]["value"] for name in ("fd", "authpct", "one_nna", "mmd")} == {
        "fd": 0, "authpct": 0, "one_nna": pytest.approx(39 / 79), "mmd": 0,
    }  # fmt: skip
    assert got["vendi"]["value"] == pytest.approx(1)
    assert got["fld_gap"]["reason"] == "all training rows are equal"


def test_interval_covers_the_truth_in_most_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """KID of equal distributions is 0 on average: 30 sets, 95 % intervals."""
    inside = 0
    for i in range(30):
        rng = np.random.default_rng([9, i])
        for name in ("a", "b"):
            np.save(tmp_path / f"{name}.npy", rng.normal(size=(200 if name == "a" else 60, 5)))
        row = result(capsys, str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--metrics", "kid")
        inside += row["kid"]["interval"][0] <= 0 <= row["kid"]["interval"][1]
    assert 25 <= inside <= 30


@pytest.mark.parametrize("how", ["standardise", "whiten"])
def test_normalised_by_training_statistics(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path, how: str
) -> None:
    """Per-dimension units cancel."""
    argv = (paths["train"], paths["gen"], "--normalise", how, "--stats", paths["train"], *FEW)
    want = out(capsys, *argv)
    for name, rows in SETS.items():
        np.savez(tmp_path / f"{name}.npz", embeddings=rows * np.arange(1, 9) + 5)
    assert out(capsys, *argv[:-4], "--train-stats", *argv[-3:]) == want


def test_whitening_few_rows_takes_a_ridge(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "few.npz", emb=SETS["train"][:6])
    argv = (paths["train"], paths["gen"], "--normalise", "whiten", "--stats", f"{tmp_path}/few.npz")
    assert npz_eval.main(argv) == 1
    assert (
        "6 rows fill 5 of 8 dimensions, whitening needs all or a ridge" in capsys.readouterr().err
    )
    got = result(capsys, *argv, "--ridge", "0.5", "--metrics", "fd")["fd"]["value"]
    covariance = np.cov(SETS["train"][:6].T, ddof=0) + 0.5 * np.eye(8)
    root = np.linalg.inv(np.linalg.cholesky(covariance)).T
    want = frechet(SETS["train"] @ root, SETS["gen"] @ root).distance
    assert got == pytest.approx(want, rel=1e-9)  # whitening by any root is equal up to a turn


def test_statistics_are_computed_once_and_found_by_content(
    paths: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cached: Path,
) -> None:
    argv = (paths["train"], paths["gen"], "--metrics", "fd", "--draws", "0")
    want = out(capsys, *argv)
    assert len(list(cached.iterdir())) == 1
    measured = []
    monkeypatch.setattr(cache, "gaussian", lambda rows: measured.append(len(rows)))
    renamed = Path(paths["train"]).rename(Path(paths["train"]).with_name("moved.npz"))
    assert out(capsys, str(renamed), *argv[1:]) == want
    assert measured == []
    monkeypatch.undo()
    np.savez(renamed, embeddings=SETS["train"] + 1)
    assert npz_eval.main([str(renamed), *argv[1:], "--cache", str(cached)]) == 0
    assert capsys.readouterr().out != want
    assert len(list(cached.iterdir())) == 2
    for entry in cached.iterdir():
        np.savez(entry, mean=np.zeros(3))
    assert npz_eval.main([str(renamed), *argv[1:], "--cache", str(cached)]) == 1
    assert "not the statistics of 60 rows of 8 numbers; remove it" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_warned_about(
    paths: dict[str, str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    argv = (paths["train"], paths["gen"], "--metrics", "fd", "--draws", "0")
    assert npz_eval.main([*argv, "--cache", str(tmp_path / "file" / "x")]) == 0
    assert "are not kept" in caplog.text


def test_given_distances_replace_euclidean_ones(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Euclidean distances from outside, as a matrix and as a retrieval result, rows or none."""
    names = [f"{name}{i}" for name, rows in SETS.items() for i in range(len(rows))]
    values = cdist(*[np.concatenate(list(SETS.values()))] * 2)
    np.savez(tmp_path / "d.npz", ids=names, distances=values)
    lists = {
        query: [
            {"model_id": n, "distance": d} for n, d in zip(names, row, strict=True) if n != query
        ]
        for query, row in zip(names, values.tolist(), strict=True)
    }
    (tmp_path / "d.json").write_text(json.dumps(lists))
    chosen = ("--metrics", "prdc,authpct,one_nna,cov_mmd", *FEW)
    argv = (paths["train"], paths["gen"], "--test", paths["test"], *chosen)
    want = result(capsys, *argv)
    for name in SETS:  # tables of descriptors: ids alone
        np.savez(paths[name], ids=[f"{name}{i}" for i in range(len(SETS[name]))], art=np.zeros(3))
    for kind in ("npz", "json"):
        got = result(capsys, *argv, "--distances", str(tmp_path / f"d.{kind}"))
        for name, row in want.items():
            assert got[name]["value"] == pytest.approx(row["value"], rel=1e-9), (kind, name)
    every = result(capsys, *argv[:4], *FEW, "--metrics", "all", "--distances", f"{tmp_path}/d.npz")
    assert every["fd"]["reason"] == "needs feature rows, and there are only distances"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"gen0": [{"model_id": "gen1", "distance": 1}]}, "no distances of 'train0', a shape of"),
        ({"a": {"distance": 1}}, "expected a retrieval result"),
        ({"a": [{"distance": 1}]}, "query 'a': expected model_id and distance"),
        ({"a": [{"model_id": "b", "distance": -1}]}, "expected 0 or more, finite"),
    ],
)
def test_unusable_distances_are_named(
    paths: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: Any,
    said: str,
) -> None:
    (tmp_path / "d.json").write_text(json.dumps(content))
    argv = (paths["train"], paths["gen"], "--distances", str(tmp_path / "d.json"))
    assert npz_eval.main([*argv, "--metrics", "prdc"]) == 1
    captured = capsys.readouterr().err
    assert said in captured and "d.json" in captured


def test_json_output_and_run_record(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "made" / "fd.json"
    argv = (paths["train"], paths["gen"], "--test", paths["test"], "--json", *FEW)
    made = json.loads(out(capsys, *argv, "--output", str(target)))
    assert made == json.loads(target.read_text())
    row = made["metrics"][0]
    parts = row["details"]
    traces = parts["trace_train"] + parts["trace_generated"] - 2 * parts["cross_term"]
    assert row["value"] == pytest.approx(parts["mean_term"] + traces)
    record = json.loads(target.with_suffix(".run.json").read_text())
    jsonschema.validate(record, RUN)
    assert set(record["inputs"]) == set(paths.values())
    assert record["counts"] == {"n_train": 60, "n_test": 30, "n_generated": 50}


def test_errors_are_one_line(paths: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(paths["gen"], embeddings=np.ones((4, 3)))
    train, gen = paths["train"], paths["gen"]
    white = (gen, gen, "--normalise", "whiten", "--stats", gen)
    for argv, said in (
        ((train, gen), f"{train} and {gen}: rows of 8 and 3 numbers; use one encoder"),
        ((train, train, "--test", gen), "rows of 8 and 3 numbers"),
        ((train, "absent.npz"), "absent.npz: No such file"),
        ((train, train, "--metrics", "fd,fid"), "--metrics fid: unknown; all, or some of fd,"),
        (white, f"{gen}: --normalise whiten: 4 rows fill 0 of 3 dimensions"),
    ):
        assert npz_eval.main(argv) == 1
        captured = capsys.readouterr()
        assert said in captured.err
        assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    "more",
    [
        ("--normalise", "whiten"),
        ("--stats", "a.npz"),
        ("--ridge", "1"),
        ("--eps", "-1"),
        ("--eps", "nan"),
        ("--seed", "-1"),
        ("--draws", "1"),
        ("--neighbours", "0"),
        ("--confidence", "1"),
        ("--output", "a.npz"),
    ],
)
def test_wrong_usage(more: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        npz_eval.main(("a.npz", "b.npz", *more))
    assert stop.value.code == 2
