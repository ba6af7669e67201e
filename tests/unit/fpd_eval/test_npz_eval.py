"""npz_eval.py from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import npz_eval
from fpd_eval.frechet import frechet

ROOT = Path(__file__).parents[3]
RUN = json.loads((ROOT / "formats/run.schema.json").read_text())
RNG = np.random.default_rng(1)
SETS = {
    "train": RNG.normal(size=(60, 8)),
    "gen": RNG.normal(size=(50, 8)) + 0.5,
    "test": RNG.normal(size=(30, 8)),
}
COUNTS = "(60 reference, 50 generated, 8 dimensions)"


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    made = {name: tmp_path / f"{name}.npz" for name in SETS}
    for name, path in made.items():
        np.savez(path, embeddings=SETS[name])
    return {name: str(path) for name, path in made.items()}


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert npz_eval.main(argv) == 0
    return capsys.readouterr().out


def test_one_line_with_the_counts(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    want = frechet(SETS["train"], SETS["gen"]).distance
    assert out(capsys, paths["train"], paths["gen"]) == f"FD = {want:.6f}  {COUNTS}\n"


def test_clipped_number_comes_with_the_exact_one(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    exact = frechet(SETS["train"], SETS["gen"]).distance
    lines = out(capsys, paths["train"], paths["gen"], "--eps", "4").splitlines()
    clipped = frechet(SETS["train"], SETS["gen"], 4.0).distance
    assert lines == [
        f"FD = {clipped:.6f}  {COUNTS}",
        f"FD without clipping = {exact:.6f}  {COUNTS}",
    ]


def test_floor_compares_equal_numbers(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (paths["train"], paths["gen"], "--floor", paths["test"])
    lines = out(capsys, *argv).splitlines()
    floor = frechet(SETS["train"], SETS["test"]).distance
    assert re.fullmatch(r"FD at equal n = .+  \(60 reference, 30 of 50 generated, .+", lines[1])
    assert lines[2] == f"floor = {floor:.6f}  (60 reference, 30 test, 8 dimensions)"
    assert out(capsys, *argv).splitlines() == lines
    assert out(capsys, *argv, "--seed", "1").splitlines()[1] != lines[1]
    swapped = out(capsys, paths["train"], paths["test"], "--floor", paths["gen"]).splitlines()
    assert len(swapped) == 2
    assert swapped[1].endswith("(60 reference, 30 of 50 test, 8 dimensions)")


@pytest.mark.parametrize("how", ["standardise", "whiten"])
def test_normalised_by_training_statistics(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path, how: str
) -> None:
    """Per-dimension units cancel."""
    argv = (paths["train"], paths["gen"], "--normalise", how, "--stats", paths["train"])
    want = out(capsys, *argv)
    for name, rows in SETS.items():
        np.savez(tmp_path / f"{name}.npz", embeddings=rows * np.arange(1, 9) + 5)
    assert out(capsys, *argv[:-2], "--train-stats", argv[-1]) == want


def test_json_output_and_run_record(
    paths: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "made" / "fd.json"
    argv = (
        paths["train"],
        paths["gen"],
        "--floor",
        paths["test"],
        "--json",
        "--output",
        str(target),
    )
    result = json.loads(out(capsys, *argv))
    assert result == json.loads(target.read_text())
    parts = result["mean_term"] + result["trace_reference"] + result["trace_generated"]
    assert result["fd"] == pytest.approx(parts - 2 * result["cross_term"])
    assert (result["floor"]["n"], result["floor"]["n_test"]) == (30, 30)
    record = json.loads(target.with_suffix(".run.json").read_text())
    jsonschema.validate(record, RUN)
    assert set(record["inputs"]) == set(paths.values())
    assert record["counts"] == {"n_reference": 60, "n_generated": 50}


def test_errors_are_one_line(paths: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(paths["gen"], embeddings=np.ones((4, 3)))
    train, gen = paths["train"], paths["gen"]
    white = (gen, gen, "--normalise", "whiten", "--stats", gen)
    for argv, said in (
        ((train, gen), f"{train} and {gen}: rows of 8 and 3 numbers; use one encoder"),
        ((train, train, "--floor", gen), "rows of 8 and 3 numbers"),
        ((train, "absent.npz"), "absent.npz: No such file"),
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
        ("--eps", "-1"),
        ("--eps", "nan"),
        ("--seed", "-1"),
        ("--output", "a.npz"),
    ],
)
def test_wrong_usage(more: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        npz_eval.main(("a.npz", "b.npz", *more))
    assert stop.value.code == 2
