"""eval.py: its inputs, lines, files and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

import eval as evaluation
from voxel_ldm.grids import pack, write_grids
from voxel_ldm.scores import EPSILON

SCHEMA = Path(__file__).parents[3] / "formats" / "run.schema.json"
R = 8


def grids(seed: int, n: int, r: int = R) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    made = (rng.random((n, r, r, r)) < 0.05).astype(np.uint8)
    made[:, 0, 0, 0] = 1
    return made


def save(path: Path, made: NDArray[Any], **settings: Any) -> Path:
    """An .npy of the array, or a table of it with ids s0, s1 ..."""
    if path.suffix == ".npy":
        np.save(path, made)
    else:
        ids = [f"s{i}" for i in range(len(made))]
        settings = {"resolution": made.shape[1], **settings}
        write_grids(path, ids, ["chair"] * len(ids), pack(made), settings)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folder with samples.npy and the references of chairs."""
    save(tmp_path / "samples.npy", grids(0, 7).astype(np.float32))
    save(tmp_path / "chair_voxels_test.npz", grids(1, 5))
    save(tmp_path / "chair_voxels_val.npy", grids(2, 4).astype(np.float32))
    return tmp_path


def run(data: Path, *flags: object) -> int:
    argv = ["chair", data / "samples.npy", "--dataset_path", data, "-q", "--threads", 1, *flags]
    return evaluation.main([str(a) for a in argv])


def refusal(capsys: Any, data: Path, *flags: object) -> str:
    assert run(data, *flags) == 1
    said: str = capsys.readouterr().err
    assert said.startswith("eval.py: ") and said.count("\n") == 1
    return said


def test_lines_say_how_many(data: Path, capsys: Any) -> None:
    assert run(data) == 0
    out, err = capsys.readouterr()
    assert err == ""
    names = [line.split(" = ")[0] for line in out.splitlines()]
    assert names == ["JSD", "JSD base 2", "MMD", "COV", "1-NNA", "precision", "recall", "F-score"]
    assert all("(7 generated, 9 reference shapes" in line for line in out.splitlines())


def test_values_are_those_of_the_formulas(data: Path, capsys: Any) -> None:
    """Everything from the arrays by brute force, the reference being test then val."""
    output = data / "out" / "matrix.npz"
    assert run(data, "--json", "--output", output) == 0
    result = json.loads(capsys.readouterr().out)
    gen, ref = grids(0, 7), np.concatenate([grids(1, 5), grids(2, 4)])
    cd = np.empty((7, 9))
    for i, a in enumerate(gen):
        for j, b in enumerate(ref):
            p, q = np.argwhere(a) / (R - 1), np.argwhere(b) / (R - 1)
            squared = ((p[:, None] - q[None]) ** 2).sum(2)
            cd[i, j] = squared.min(1).mean() + squared.min(0).mean()
    assert result["mmd"] == pytest.approx(cd.min(0).mean(), rel=1e-12)
    assert result["cov"] == len(set(cd.argmin(1))) / 9
    p, q = (x.sum(0) / x.sum() for x in (gen.astype(float), ref.astype(float)))
    m = (p + q) / 2
    both = [((a + EPSILON) * np.log((a + EPSILON) / (m + EPSILON))).sum() for a in (p, q)]
    assert result["jsd"] == pytest.approx(sum(both) / 2, rel=1e-10)
    assert (result["n_generated"], result["n_reference"], result["resolution"]) == (7, 9, R)

    with np.load(output, allow_pickle=False) as matrix:
        np.testing.assert_allclose(matrix["chamfer"], cd, rtol=1e-12)
        assert matrix["generated_ids"].tolist() == [f"samples_{i:04d}" for i in range(7)]
        assert matrix["reference_ids"][[0, 5]].tolist() == ["s0", "chair_voxels_val_0000"]
        side = (R - 1) ** 2
        there = matrix["sum_gen_to_ref"] / (matrix["generated_cells"][:, None] * side)
        back = matrix["sum_ref_to_gen"] / (matrix["reference_cells"][None] * side)
        np.testing.assert_allclose(there + back, cd, rtol=1e-12)
        assert matrix["sum_gen_to_ref"].dtype == np.int64
    record = json.loads((output.parent / "matrix.npz.run.json").read_text())
    jsonschema.validate(record, json.loads(SCHEMA.read_text()))
    assert record["counts"] == {"n_generated": 7, "n_reference": 9}
    assert record["result"]["mmd"] == result["mmd"] and len(record["inputs"]) == 3


def test_asked_metrics_alone_and_the_same_numbers(data: Path, capsys: Any) -> None:
    assert run(data, "--json") == 0
    everything = json.loads(capsys.readouterr().out)
    keys = {"jsd", "jsd_base2", "mmd", "cov", "one_nna", "precision"}
    for asked, wanted in (
        (["mmd", "cov"], {"mmd", "cov"}),
        (["jsd"], {"jsd"}),
        (["1nna"], {"one_nna"}),
        (["pr"], {"precision"}),
    ):
        assert run(data, "--json", "--metrics", *asked, "--threads", 3) == 0
        result = json.loads(capsys.readouterr().out)
        assert keys & result.keys() == wanted
        assert all(result[key] == everything[key] for key in wanted)


def test_same_bytes_again(data: Path) -> None:
    for name in ("a.npz", "b.npz"):
        assert run(data, "--output", data / name) == 0
    assert (data / "a.npz").read_bytes() == (data / "b.npz").read_bytes()


def test_equal_sets(data: Path, capsys: Any) -> None:
    save(data / "samples.npy", grids(1, 5))
    assert run(data, "--json", "--reference", data / "chair_voxels_test.npz") == 0
    result = json.loads(capsys.readouterr().out)
    keys = ("jsd", "mmd", "cov", "one_nna", "precision", "recall", "f_score")
    assert [result[key] for key in keys] == [0, 0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("r", [4, 7, 16])
def test_resolution_comes_from_the_data(tmp_path: Path, capsys: Any, r: int) -> None:
    """Opposite corners are sqrt 3 apart whatever the grid: 3 + 3."""
    low, high = np.zeros((2, 1, r, r, r), np.uint8)
    low[0, 0, 0, 0] = high[0, -1, -1, -1] = 1
    save(tmp_path / "samples.npy", low)
    reference = save(tmp_path / "ref.npy", high)
    assert run(tmp_path, "--reference", reference, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mmd"] == pytest.approx(6, rel=1e-15) and result["resolution"] == r
    assert result["one_nna"] is None and result["f_score"] is None
    assert run(tmp_path, "--reference", reference) == 0
    assert "1-NNA = undefined, too few shapes  (1 gen" in capsys.readouterr().out


def test_probabilities_need_a_threshold(data: Path, capsys: Any) -> None:
    """Taken as they are, every cell above 0 would be a point."""
    binary = grids(0, 7)
    soft = np.where(binary == 1, 0.6, 0.3).astype(np.float32)
    assert run(data, "--json") == 0
    expected = json.loads(capsys.readouterr().out)
    save(data / "samples.npy", soft)
    assert "--threshold" in refusal(capsys, data)
    assert run(data, "--json", "--threshold", 0.5) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("threshold") == 0.5 and expected.pop("threshold") is None
    assert result == expected


def test_empty_shapes_are_named(data: Path, capsys: Any) -> None:
    made = grids(0, 7)
    made[4] = 0
    save(data / "samples.npy", made)
    assert "samples.npy: shape samples_0004: no cell is occupied" in refusal(capsys, data)
    save(data / "samples.npy", grids(0, 7))
    reference = grids(1, 5)
    reference[2] = 0
    save(data / "chair_voxels_test.npz", reference)
    assert "chair_voxels_test.npz: shape s2: no cell" in refusal(capsys, data)


def test_bad_samples(data: Path, capsys: Any) -> None:
    path, good = data / "samples.npy", grids(0, 7)
    for bad, said in (
        (good * np.float32(np.nan), "NaN"),
        (good * 2, "values from 0 to 2"),
        (good[:, :, :4], r"(7, 8, 4, 8)"),
        (good.astype(complex), "expected numbers"),
        (good[:0], "expected a grid or more"),
    ):
        save(path, bad)
        assert said in refusal(capsys, data), said
    save(path, good)
    path.write_bytes(path.read_bytes()[:-9])
    assert "samples.npy: not a readable .npy" in refusal(capsys, data)


def test_sets_that_do_not_go_together(data: Path, capsys: Any) -> None:
    other = save(data / "other.npz", grids(1, 5, 2 * R))
    assert f"{R}^3 and {2 * R}^3" in refusal(capsys, data, "--reference", other)
    test = data / "chair_voxels_test.npz"
    assert f"{2 * R}^3 and {R}^3" in refusal(capsys, data, "--reference", test, other)
    solid = save(data / "solid.npz", grids(1, 5), mode="solid")
    surface = save(data / "surface.npz", grids(1, 5), mode="surface")
    said = refusal(capsys, data, "--reference", surface, solid)
    assert "mode 'solid' and 'surface'" in said
    assert run(data, "--reference", solid) == 0  # samples.npy does not say


def test_references_to_find(data: Path, capsys: Any) -> None:
    assert "give --reference" not in refusal(capsys, data, "--reference", data / "none.npy")
    (data / "chair_voxels_val.npy").rename(data / "away.npy")
    said = refusal(capsys, data)
    assert "chair_voxels_val: no .npz or .npy" in said and "--reference" in said
    for suffix in ("npy", "npz"):
        save(data / f"chair_voxels_val.{suffix}", grids(2, 4))
    assert "which? give --reference" in refusal(capsys, data)


def test_ids_stay_unique(data: Path, capsys: Any) -> None:
    """Both tables have s0, s1 ...; the same file twice would count its shapes twice."""
    test, val = data / "chair_voxels_test.npz", save(data / "val.npz", grids(2, 4))
    output = data / "m.npz"
    assert run(data, "--reference", test, val, "--output", output) == 0
    with np.load(output, allow_pickle=False) as matrix:
        assert matrix["reference_ids"][[0, 5]].tolist() == ["chair_voxels_test/s0", "val/s0"]
    assert "given twice" in refusal(capsys, data, "--reference", test, test)


@pytest.mark.parametrize(
    "flags",
    [
        ["--threshold", "1"],
        ["--k", "0"],
        ["--threads", "-1"],
        ["--metrics", "emd"],
        ["--output", "m.txt"],
        ["--output", "m.npz", "--metrics", "jsd"],
    ],
)
def test_wrong_usage(data: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(data, *flags)
    assert stop.value.code == 2


def test_no_output_over_an_input(data: Path) -> None:
    with pytest.raises(SystemExit):
        run(data, "--output", data / "chair_voxels_test.npz")
    with pytest.raises(SystemExit):
        evaluation.main(["chair", str(data / "chair_voxels_test.npz"), "--threshold", "0.5"])
