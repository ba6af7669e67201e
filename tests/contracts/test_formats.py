"""Every good example validates, every bad one fails, and the readers refuse each bad one by name.

Found by name: formats/X.schema.json goes with formats/examples/{good,bad}/X.*.json.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from datacopying.files import write_failures, write_run

FORMATS = Path(__file__).parents[2] / "formats"
SCHEMAS = {path.name.split(".")[0]: path for path in sorted(FORMATS.glob("*.schema.json"))}
READERS = {
    "retrieval": "datacopying.records:read_retrieval",
    "run": "datacopying.records:read_run",
    "failures": "datacopying.records:read_failures",
}


def examples(kind: str, names: Any = SCHEMAS) -> list[Any]:
    found = sorted((FORMATS / "examples" / kind).glob("*.json"))
    return [pytest.param(p, id=p.stem) for p in found if p.name.split(".")[0] in names]


def strict(path: Path) -> Any:
    """Strict JSON: NaN and infinities, which Python reads and writes, are refused."""

    def refuse(name: str) -> None:
        raise ValueError(f"{path.name}: {name} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def validate(path: Path) -> None:
    schema = json.loads(SCHEMAS[path.name.split(".")[0]].read_text())
    jsonschema.Draft202012Validator(schema).validate(strict(path))


def read(path: Path) -> Any:
    module, function = READERS[path.name.split(".")[0]].split(":")
    return getattr(importlib.import_module(module), function)(path)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_has_examples_of_both_kinds(name: str) -> None:
    schema = json.loads(SCHEMAS[name].read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"]
    for kind in ("good", "bad"):
        assert examples(kind, {name}), f"formats/examples/{kind}/{name}.*.json: none"


def test_every_example_belongs_to_a_schema() -> None:
    found = {p.name.split(".")[0] for p in (FORMATS / "examples").glob("*/*.json")}
    assert found <= set(SCHEMAS)


@pytest.mark.parametrize("path", examples("good"))
def test_good_examples_validate(path: Path) -> None:
    validate(path)


@pytest.mark.parametrize("path", examples("bad"))
def test_bad_examples_fail(path: Path) -> None:
    with pytest.raises((ValueError, jsonschema.ValidationError)):
        validate(path)


def test_run_records_and_failure_lists_as_written_validate(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"x")
    write_run(tmp_path / "run.npz", {"seed": 0}, {"done": 1}, [tmp_path / "input"])
    write_failures(tmp_path / "failures.npz", [{"id": "a", "stage": "read", "error": "empty"}])
    (tmp_path / "run.npz.run.json").rename(tmp_path / "run.json")
    (tmp_path / "failures.npz.failures.json").rename(tmp_path / "failures.json")
    for path in (tmp_path / "run.json", tmp_path / "failures.json"):
        validate(path)
        read(path)


@pytest.mark.parametrize("path", examples("good", READERS))
def test_readers_take_good_examples(path: Path) -> None:
    read(path)


@pytest.mark.parametrize("path", examples("bad", READERS))
def test_readers_refuse_bad_examples_by_name(path: Path) -> None:
    with pytest.raises(ValueError, match=path.name.replace(".", r"\.")):
        read(path)
