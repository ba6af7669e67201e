"""datacopying_test.py and calibration.py from the command line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import calibration
import datacopying_test
from datacopying.bootstrap import bootstrap
from datacopying.simulation import nearest_distances

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "formats/zu_result.schema.json").read_text())


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    return json.loads(text, parse_constant=refuse)


def entries(side: str, distances: np.ndarray) -> dict[str, Any]:
    return {
        f"{side}{i:03d}": [
            {"model_id": f"t{i % 40}", "category_id": "ab"[i % 2], "distance": float(d)},
            {"model_id": "t99", "category_id": "a", "distance": float(2 * d)},
        ]
        for i, d in enumerate(distances)
    }


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """25 planted copies among 500, as two retrieval results."""
    sets = nearest_distances(25, np.random.default_rng(0))
    paths = tmp_path / "gen.json", tmp_path / "test.json"
    for path, distances in zip(paths, sets, strict=True):
        path.write_text(json.dumps(entries(path.stem, distances)))
    return str(paths[0]), str(paths[1])


def test_the_head_line_and_the_sentence(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert datacopying_test.main(pair) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Z_U = ")
    assert lines[0].endswith("  (500 generated, 500 test shapes)")
    assert " of 500 generated shapes (" in lines[1]


def test_the_result_is_strict_valid_and_finds_the_copies(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "result.json"
    assert datacopying_test.main([*pair, "--output", str(output), "--json"]) == 0
    result = strict(output.read_text())
    assert result == strict(capsys.readouterr().out)
    jsonschema.validate(result, SCHEMA)
    first = {row["id"] for row in result["samples"][:25]}
    assert first == {f"gen{i:03d}" for i in range(25)}
    assert result["verdict"]["finding"] == "copies"
    assert abs(result["excess"]["excess_share"] - 0.05) < 0.02
    assert result["categories"]["by"] == "nearest"
    assert {row["category"] for row in result["samples"]} == {None}
    low, high = result["excess"]["excess_interval"]
    assert low < 0.05 < high
    gen, test = (np.array(result["distances"][side]) for side in ("gen", "test"))
    share = bootstrap(gen, test, 5, 2000, 0).share
    assert [low, high] == pytest.approx(np.quantile(share, [0.025, 0.975]) - 5 / 501)
    with output.with_suffix(".csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["id"] for row in rows] == [row["id"] for row in result["samples"]]
    assert [float(row["distance"]) for row in rows] == result["distances"]["gen"]
    assert {row["flagged"] for row in rows} == {"true", "false"}
    record = strict(output.with_suffix(".run.json").read_text())
    assert set(record["inputs"]) == set(pair)
    assert record["counts"]["gen"] == 500
    jsonschema.validate(record, json.loads((ROOT / "formats/run.schema.json").read_text()))


def test_the_result_does_not_depend_on_the_order_of_queries(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> dict[str, Any]:
        assert datacopying_test.main([*pair, "--json"]) == 0
        result: dict[str, Any] = strict(capsys.readouterr().out)
        return {key: value for key, value in result.items() if key != "inputs"}

    first = run()
    for path in map(Path, pair):
        rows = list(json.loads(path.read_text()).items())
        path.write_text(json.dumps(dict(rows[::-1])))
    assert run() == first


def test_odd_sets_still_give_strict_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "equal": (np.ones(3), np.ones(4)),
        "infinite": (np.array([np.inf, 1, np.inf]), np.full(3, np.inf)),
        "zeros": (np.zeros(60), np.array([0.0, 0, *range(98)])),
        "one": (np.ones(1), np.zeros(1)),
    }
    for name, sets in cases.items():
        paths = [tmp_path / f"{name}.{side}.json" for side in ("gen", "test")]
        for path, distances in zip(paths, sets, strict=True):
            path.write_text(json.dumps(entries(path.stem, distances)))
        arguments = [*map(str, paths), "--json", "--bootstrap", "0"]
        assert datacopying_test.main(arguments) == 0
        result = strict(capsys.readouterr().out)
        jsonschema.validate(result, SCHEMA)
        assert result["notes"]["zu.z_u_interval"]
        nulls = {key for key, value in result["zu"].items() if value is None}
        assert {f"zu.{key}" for key in nulls} <= set(result["notes"])
        assert datacopying_test.main([*arguments[:2], "--bootstrap", "5"]) == 0
        capsys.readouterr()


def test_missing_neighbours_are_refused_or_counted(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(pair[1])
    path.write_text(json.dumps({"lost": [], **json.loads(path.read_text())}))
    assert datacopying_test.main(pair) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "test.json: query 'lost' has no neighbour (1 of 501 queries" in said
    assert datacopying_test.main([*pair, "--missing", "drop"]) == 0
    assert "left out       1 of 501 queries of " in capsys.readouterr().out


def test_results_of_two_metrics_are_warned_about(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for path, name in zip(pair, ("lfd", "cd"), strict=True):
        record: dict[str, Any] = {"command": "retrieve.py", "argv": [], "counts": {}, "inputs": {}}
        record |= {"settings": {"metric": name}, "versions": {"python": "3"}, "seconds": 0}
        Path(path).with_suffix(".run.json").write_text(json.dumps(record))
    assert datacopying_test.main([*pair, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    jsonschema.validate(result, SCHEMA)
    assert result["provenance"]["differences"] == ["metric: generated 'lfd', test 'cd'"]
    assert "do not belong together: metric" in caplog.text
    assert any("do not belong together" in line for line in result["verdict"]["warnings"])


def embeddings(folder: Path) -> list[str]:
    rng = np.random.default_rng(2)
    train = rng.normal(size=(120, 80)).astype(np.float32)
    flags = []
    for side, rows in {
        "train": train,
        "test": rng.normal(size=(60, 80)).astype(np.float32),
        "gen": train[:50] + np.float32(0.01),
    }.items():
        path = folder / f"{side}.npz"
        labels = np.array(["a", "b"])[np.arange(len(rows)) % 2]
        np.savez(path, ids=np.arange(len(rows)).astype(str), embeddings=rows, categories=labels)
        flags += [f"--{side}-embeddings", str(path)]
    return flags


def test_c_t_over_kmeans_cells_and_over_categories(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*pair, *embeddings(tmp_path), "--bootstrap", "0", "--json"]
    for cells, count in (("2", 2), ("categories", 2)):
        assert datacopying_test.main([*given, "--cells", cells, "--tau", "0"]) == 0
        result = json.loads(capsys.readouterr().out)
        jsonschema.validate(result, SCHEMA)
        found = result["c_t"]
        assert (len(found["cells"]), found["reduced_to"], found["n_gen"]) == (count, 64, 50)
        assert found["c_t"] < -4
    assert datacopying_test.main([*given, "--cells", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["c_t"]["tau"] == 20 / 50


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--quantile", "0"], "--quantile: 0: expected more than 0 and less than 1"),
        (["--confidence", "1"], "--confidence: 1: expected"),
        (["--bootstrap", "-1"], "--bootstrap"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--cells", "0"], "--cells: 0: expected a number from 1"),
        (["--gen-embeddings", "x.npz"], "C_T needs --train-embeddings"),
        (["--missing", "guess"], "--missing"),
    ],
)
def test_wrong_usage(
    pair: tuple[str, str], flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        datacopying_test.main([*pair, *flags])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_an_input_is_never_overwritten(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(pair[0]).read_bytes()
    with pytest.raises(SystemExit):
        datacopying_test.main([*pair, "--output", pair[0]])
    assert "must not be an input" in capsys.readouterr().err
    assert Path(pair[0]).read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--categories", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["--output", "/dev/null/r.json"], "/dev/null"),
    ],
)
def test_unusable_places(
    pair: tuple[str, str], flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert datacopying_test.main([*pair, *flags]) == 1
    assert said in capsys.readouterr().err


def test_embeddings_that_do_not_fit(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = embeddings(tmp_path)
    assert datacopying_test.main([*pair, *flags, "--cells", "999"]) == 1
    assert "999 cells: expected 1 to 120" in capsys.readouterr().err
    np.savez(tmp_path / "gen.npz", embeddings=np.ones((5, 7)))
    assert datacopying_test.main([*pair, *flags, "--cells", "categories"]) == 1
    assert "rows of [7, 80] numbers" in capsys.readouterr().err
    np.savez(tmp_path / "gen.npz", embeddings=np.ones((5, 80)))
    assert datacopying_test.main([*pair, *flags, "--cells", "categories"]) == 1
    assert "gen.npz: categories: row 0 has none" in capsys.readouterr().err


def test_help_and_imports_are_light() -> None:
    code = (
        "import sys; sys.path.insert(0, 'DataCopying'); import datacopying_test as d; "
        "import datacopying.result, datacopying.cells; "
        "print([m for m in ('torch', 'matplotlib', 'trimesh', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_calibration_table_sees_the_copies(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibration.main(["--repeats", "2", "--bootstrap", "100", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    tenth = next(row for row in rows if row["copies"] == 0.1)
    assert tenth["z_u"] > 1
    assert tenth["caught"] == 1
    assert all(abs(row["excess"] - row["copies"]) < 0.02 for row in rows)
    assert calibration.main(["--repeats", "1", "--bootstrap", "9"]) == 0
    assert capsys.readouterr().out.count("\n| ") == len(calibration.SHARES) + 1


def test_duplicated_training_shapes_are_copied_more(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The 25 copies lead to t0 to t24, which have near-duplicates; the others have none."""
    train = tmp_path / "train.json"
    other = {"model_id": "other", "category_id": ""}
    rows = {f"t{i}": [{**other, "distance": 1e-6 if i < 25 else 9.0}] for i in range(100)}
    train.write_text(json.dumps(rows))
    assert datacopying_test.main([*pair, "--json", "--train-neighbours", str(train)]) == 0
    result = strict(capsys.readouterr().out)
    jsonschema.validate(result, SCHEMA)
    found, flagged = result["duplicates"], result["excess"]["flagged"]
    groups = found["with_near_duplicate"], found["without"]
    assert [group["shapes"] for group in groups] == [25, 75] and found["p"] < 0.01
    assert sum(group["flagged"] for group in groups) == flagged and groups[0]["flagged"] >= 25
    near = {row["id"]: row["nearest_training"] for row in result["training_shapes"]}
    assert near["t24"] == 1e-6 and near["t25"] == 9.0
    assert datacopying_test.main([*pair, "--train-neighbours", str(train)]) == 0
    said = capsys.readouterr().out
    assert "duplicates     25 training shapes with a near-duplicate: " in said
    assert "; 1e-06 from another training shape" in said
    assert datacopying_test.main([*pair, "--train-neighbours", pair[0]]) == 1
    assert "has no neighbour among the training shapes" in capsys.readouterr().err
    train.write_text(json.dumps({"t0": [{"model_id": "t0", "category_id": "", "distance": 0}]}))
    assert datacopying_test.main([*pair, "--train-neighbours", str(train)]) == 1
    assert "'t0' is its own neighbour (1 of 1 are)" in capsys.readouterr().err
