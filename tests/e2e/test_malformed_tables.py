"""NPZ tables that are damaged or lie: retrieve.py names file and key, and writes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from e2e import malformed
from e2e.running import run

import datacopying_test
import retrieve

BAD = malformed.bad_tables()
EMBEDDING_ONLY = (
    "nan_row",
    "inf_row",
    "integer_rows",
    "one_dimension",
    "no_columns",
    "pickled_rows",
    "zip_of_text",
)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.npz"
    path.write_bytes(malformed.npz())
    return path


@pytest.mark.parametrize("side", ["query", "database"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused(
    name: str, side: str, good: Path, tmp_path: Path, capsys: Any
) -> None:
    bad, output = tmp_path / f"{name}.npz", tmp_path / "r.json"
    bad.write_bytes(BAD[name].data)
    output.write_bytes(b"an earlier result")
    sides = {"query": good, "database": good} | {side: bad}
    flags = [text for key, path in sides.items() for text in (f"--{key}", str(path))]
    more = ["--metric", "l2", "--output", str(output), "--overwrite"]
    assert retrieve.main([*flags, *more]) == 1
    error = capsys.readouterr().err
    assert error.startswith("retrieve.py: ")
    assert error.count("\n") == 1, error
    assert str(bad) in error
    assert re.search(BAD[name].says, error), error
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([bad.name, "good.npz", "r.json"])
    assert output.read_bytes() == b"an earlier result"


@pytest.mark.parametrize("name", EMBEDDING_ONLY)
def test_bad_embeddings_stop_the_test_of_cells(name: str, tmp_path: Path, capsys: Any) -> None:
    bad, good = tmp_path / "bad.npz", tmp_path / "good.npz"
    bad.write_bytes(BAD[name].data)
    good.write_bytes(malformed.npz())
    result = tmp_path / "r.json"
    result.write_text('{"a": [{"model_id": "t", "category_id": "", "distance": 1}]}')
    flags = ["--train-embeddings", good, "--test-embeddings", good, "--gen-embeddings", bad]
    assert datacopying_test.main([str(word) for word in (result, result, *flags)]) == 1
    error = capsys.readouterr().err
    assert str(bad) in error
    assert error.count("\n") == 1


def test_as_a_process(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(BAD["ten_billion_rows"].data)
    output = tmp_path / "r.json"
    flags = ("--metric", "l2", "--output", output)
    ended = run("retrieve.py", "--query", good, "--database", bad, *flags)
    assert (ended.code, ended.err.count("\n"), output.exists()) == (1, 1, False)
    assert ended.peak < 1024
    assert run("retrieve.py", "--query", good, "--database", good, *flags).code == 0


def test_usage_errors_have_their_own_code(good: Path, tmp_path: Path) -> None:
    ended = run("retrieve.py", "--query", good, "--database", good, "--metric", "likeness")
    assert ended.code == 2
    assert "Traceback" not in ended.err
