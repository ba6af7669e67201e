"""retrieve.py: its flags, records, resumption and refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

import retrieve
from retrieval.files import Journal
from retrieval.metrics import METRICS, Metric, Options, smallest
from retrieval.tables import Table, write_table

FORMATS = Path(__file__).parents[3] / "formats"
CATEGORIES = ("chair", "table", "")


def save(path: Path, ids: Sequence[str], seed: int = 0, **settings: Any) -> Path:
    """An LFD table of shapes near one of three bases; category by place."""
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(9).integers(3, 253, (3, 10, 10, 47))
    n = len(ids)
    pictures = base[np.arange(n) % 3] + rng.integers(-3, 4, (n, 10, 10, 47))
    pictures = pictures.astype(np.uint8)
    arrays = {
        "art": pictures[..., :35],
        "fd": pictures[..., 35:45],
        "cir": pictures[..., 45],
        "ecc": pictures[..., 46],
    }
    categories = [CATEGORIES[i % 3] for i in range(n)]
    write_table(path, "lfd", ids, categories, arrays, settings, [""] * n)
    return path


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    query = save(tmp_path / "q.npz", [f"q{i}" for i in range(7)], 1)
    return query, save(tmp_path / "t.npz", [f"t{i}" for i in range(30)], 2)


def run(output: Path, *arguments: object, query: object, database: object) -> int:
    """Run retrieve.py on the CPU; query and database are a path or a list of them."""
    argv: list[object] = ["-q", "--device", "cpu", "--output", output]
    for flag, value in (("--query", query), ("--database", database)):
        argv += [flag, *(value if isinstance(value, list) else [value])]
    return retrieve.main([str(a) for a in (*argv, *arguments)])


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    return dict(json.loads(path.read_text()))


def test_result_and_record(tmp_path: Path, tables: tuple[Path, Path], capsys: Any) -> None:
    output = tmp_path / "out" / "r.json"
    assert run(output, "--topk", 4, query=tables[0], database=tables[1]) == 0
    assert capsys.readouterr().out == (
        f"{output}: 7 queries, 30 database shapes, lfd, top 4 (0 without a neighbour)\n"
    )
    result, record = read(output), read(output.with_suffix(".run.json"))
    jsonschema.validate(result, json.loads((FORMATS / "retrieval.schema.json").read_text()))
    jsonschema.validate(record, json.loads((FORMATS / "run.schema.json").read_text()))
    assert list(result) == [f"q{i}" for i in range(7)]
    for i, rows in enumerate(result.values()):
        distances = [row["distance"] for row in rows]
        assert all(type(d) is int for d in distances) and distances == sorted(distances)
        assert {row["category_id"] for row in rows} == {CATEGORIES[i % 3]}
        assert all(int(row["model_id"][1:]) % 3 == i % 3 for row in rows)
    assert record["counts"] == {"queries": 7, "database": 30, "failed": 0}
    assert record["statistics"]["pairs"] == 210
    assert {p.name for p in output.parent.iterdir()} == {"r.json", "r.run.json"}


def test_same_bytes_whatever_the_way(tmp_path: Path, tables: tuple[Path, Path]) -> None:
    ways: tuple[tuple[object, ...], ...] = ((), ("--no-pruning",), ("--workers", 2))
    for i, way in enumerate(ways):
        run(tmp_path / f"{i}.json", "--topk", 9, *way, query=tables[0], database=tables[1])
    one = save(tmp_path / "a.npz", ["x"], 3)
    two = save(tmp_path / "b.npz", ["y"], 3)
    run(tmp_path / "parts.json", "--topk", 40, query=tables[0], database=[tables[1], two, one])
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    ids = [row["model_id"] for row in read(tmp_path / "parts.json")["q0"]]
    assert ids.index("y") + 1 == ids.index("x")  # equal shapes: the part given first leads


def test_exclude_self(tmp_path: Path, tables: tuple[Path, Path]) -> None:
    output = tmp_path / "r.json"
    run(output, query=tables[1], database=tables[1])
    assert all(rows[0]["model_id"] == name for name, rows in read(output).items())
    run(output, "--exclude-self", "--topk", 40, "--overwrite", query=tables[1], database=tables[1])
    for name, rows in read(output).items():
        assert {row["model_id"] for row in rows} == {f"t{i}" for i in range(30)} - {name}


def test_exclude_self_needs_common_ids(
    tmp_path: Path, tables: tuple[Path, Path], capsys: Any
) -> None:
    assert run(tmp_path / "r.json", "--exclude-self", query=tables[0], database=tables[1]) == 1
    assert "--exclude-self: no id of it is in" in capsys.readouterr().err


def test_a_query_without_neighbour_is_listed(tmp_path: Path) -> None:
    output, query = tmp_path / "r.json", save(tmp_path / "q.npz", ["a", "b", "c", "d"])
    database = save(tmp_path / "t.npz", ["a", "x"])
    flags = ("--by-category", "--exclude-self", "--topk", 3)
    assert run(output, *flags, query=query, database=database) == 3
    assert {q: [r["model_id"] for r in rows] for q, rows in read(output).items()} == {
        "b": ["x"],
        "d": ["a"],
    }
    failures = json.loads(output.with_suffix(".failures.json").read_text())
    jsonschema.validate(failures, json.loads((FORMATS / "failures.schema.json").read_text()))
    assert [(row["id"], row["error"]) for row in failures] == [
        ("a", "the database holds no other shape of category 'chair'"),
        ("c", "the query has no category"),
    ]
    assert run(output, *flags, query=query, database=database) == 3


def test_by_category_is_the_full_ranking_filtered(
    tmp_path: Path, tables: tuple[Path, Path]
) -> None:
    run(tmp_path / "a.json", "--topk", 30, query=tables[0], database=tables[1])
    code = run(
        tmp_path / "b.json", "--topk", 30, "--by-category", query=tables[0], database=tables[1]
    )
    whole, part = read(tmp_path / "a.json"), read(tmp_path / "b.json")
    assert code == 3 and list(part) == ["q0", "q1", "q3", "q4", "q6"]
    for i, name in ((i, f"q{i}") for i in (0, 1, 3, 4, 6)):
        assert part[name] == [r for r in whole[name] if r["category_id"] == CATEGORIES[i % 3]]


def test_finished_output_is_kept(tmp_path: Path, tables: tuple[Path, Path], capsys: Any) -> None:
    output = tmp_path / "r.json"
    run(output, query=tables[0], database=tables[1])
    before = output.stat().st_mtime_ns
    assert run(output, "--workers", 2, query=tables[0], database=tables[1]) == 0
    assert output.stat().st_mtime_ns == before and "done before" in capsys.readouterr().out
    assert run(output, "--topk", 2, query=tables[0], database=tables[1]) == 1
    assert "topk: there 1, here 2" in capsys.readouterr().err
    save(tables[0], ["other"])
    assert run(output, query=tables[0], database=tables[1]) == 1
    assert "query: there" in capsys.readouterr().err
    assert run(output, "--overwrite", query=tables[0], database=tables[1]) == 0
    assert list(read(output)) == ["other"]


def test_killed_run_goes_on(
    tmp_path: Path, tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def nearest(
        query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options
    ) -> Any:
        asked.append(len(query))
        if len(asked) == 3:
            raise KeyboardInterrupt
        places = [int(name[1:]) for name in query.ids]
        distance = np.abs(np.arange(len(database)) / 3 - np.array(places)[:, None])
        return smallest(distance, k, skip)

    monkeypatch.setattr("retrieval.lfd_distance.nearest", nearest)
    monkeypatch.setitem(METRICS, "lfd", Metric("lfd", "lfd", "lfd_distance:nearest", 2))
    flags = ("--topk", 3)
    assert run(tmp_path / "a.json", *flags, query=tables[0], database=tables[1]) == 130
    assert not (tmp_path / "a.json").exists()
    assert run(tmp_path / "a.json", *flags, query=tables[0], database=tables[1]) == 0
    assert asked == [2, 2, 2, 2, 1]
    assert run(tmp_path / "b.json", *flags, query=tables[0], database=tables[1]) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert not list(tmp_path.glob("*.journal"))


def test_journal_of_other_settings_is_refused(
    tmp_path: Path, tables: tuple[Path, Path], capsys: Any
) -> None:
    Journal(tmp_path / "r.json.journal", {"topk": 3})
    assert run(tmp_path / "r.json", query=tables[0], database=tables[1]) == 1
    assert "topk: there 3, here 1" in capsys.readouterr().err


def test_limit_takes_the_first_queries(tmp_path: Path, tables: tuple[Path, Path]) -> None:
    run(tmp_path / "r.json", "--limit", 2, query=tables[0], database=tables[1])
    assert list(read(tmp_path / "r.json")) == ["q0", "q1"]


def test_refusals(tmp_path: Path, tables: tuple[Path, Path], capsys: Any) -> None:
    other = save(tmp_path / "o.npz", ["a"], size=256)
    points = {"points": np.zeros((1, 4, 3), np.float32)}
    write_table(tmp_path / "p.npz", "points", ["a"], [""], points, {}, [""])
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    cases = (
        (other, "size: None and 256"),
        (tmp_path / "p.npz", "--metric lfd needs 'lfd'"),
        (tmp_path / "bad.npz", "bad.npz: the archive: unreadable"),
        (tmp_path / "none.npz", "none.npz: No such file"),
    )
    for database, message in cases:
        assert run(tmp_path / "r.json", query=tables[0], database=database) == 1
        line = capsys.readouterr().err
        assert message in line and line.count("\n") == 1
        assert not list(tmp_path.glob("r.json*"))
    (tmp_path / "x.json").write_text("{}")
    assert run(tmp_path / "x.json", query=tables[0], database=tables[1]) == 1
    assert "exists without x.run.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [("--topk", 0), ("--workers", -1), ("--limit", 0), ("--metric", "x")]
)
def test_wrong_usage(tmp_path: Path, tables: tuple[Path, Path], flags: tuple[object, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "r.json", *flags, query=tables[0], database=tables[1])
    assert stop.value.code == 2


def test_absent_gpu_is_an_error(tmp_path: Path, tables: tuple[Path, Path], capsys: Any) -> None:
    flags = ("--device", "cuda:99")
    assert run(tmp_path / "r.json", *flags, query=tables[0], database=tables[1]) == 1
    assert "--device cuda:99: not here" in capsys.readouterr().err


def test_every_metric_is_there() -> None:
    import importlib

    for name, metric in METRICS.items():
        module, function = metric.target.split(":")
        assert name == metric.name
        assert callable(getattr(importlib.import_module(f"retrieval.{module}"), function))
