"""Further metrics against numbers from other programs and the formulas (README.md here).

Cases come from every */extra_expected.json of the golden folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpd_eval.kernels import kid, vendi
from fpd_eval.neighbours import authpct, coverage_mmd, nearest, one_nna, prdc
from fpd_eval.samples import Sample

CLOSE = {"rel": 1e-9, "abs": 1e-12}
GRAM = {"rel": 1e-7, "abs": 1e-9}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "folder" in metafunc.fixturenames:
        golden = metafunc.config.rootpath / metafunc.config.getoption("--golden")
        found = sorted(path.parent for path in golden.glob("*/extra_expected.json"))
        metafunc.parametrize("folder", found, ids=[path.name for path in found])


def read(folder: Path) -> tuple[dict[str, Any], Sample, Sample, Sample]:
    want = json.loads((folder / "extra_expected.json").read_text())
    with np.load(folder / "extra.npz", allow_pickle=False) as archive:
        train, test, gen = (Sample(archive[side]) for side in ("train", "test", "gen"))
    return want, train, test, gen


def test_metrics(folder: Path) -> None:
    want, train, test, gen = read(folder)
    assert authpct(train, gen) == pytest.approx(want["authpct"], **CLOSE)
    assert prdc(train, gen, 5) == pytest.approx(want["prdc_k5"], **CLOSE)
    assert vendi(gen) == pytest.approx(want["vendi_q1_linear"], **GRAM)
    assert kid(train, gen) == pytest.approx(want["kid_unbiased_full_train_gen"], **GRAM)
    assert kid(test, gen) == pytest.approx(want["kid_unbiased_full_test_gen"], **GRAM)
    sets = want["distance_set_metrics_test_gen"]
    expected = {"cov": sets["coverage"], "mmd": sets["mmd"]}
    assert coverage_mmd(test, gen) == pytest.approx(expected, **CLOSE)
    assert one_nna(test, gen) == pytest.approx(sets["one_nna"], **CLOSE)


def test_nearest_training_row_of_each_sample(folder: Path) -> None:
    want, train, _, gen = read(folder)
    distance, place = nearest(gen, train)
    own = train.radius(1)[place]
    for i, row in enumerate(want["per_sample_first10"]):
        assert place[i] == row["nn"]
        assert distance[i] == pytest.approx(row["d_gen"], **CLOSE)
        assert own[i] == pytest.approx(row["d_train_nn"], **CLOSE)
        assert (distance[i] > own[i]) == row["authentic"]


def test_this_folder_has_cases() -> None:
    """An empty parameter list would skip the tests above without a word."""
    assert (Path(__file__).parent / "extra_expected.json").exists()
