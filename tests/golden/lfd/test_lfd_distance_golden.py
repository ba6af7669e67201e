"""Distances and permutations against the numbers of the reference program (README.md here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.lfd_distance import images, lower_bounds, nearest, prepare, rig_sums
from retrieval.metrics import Options
from retrieval.permutations import view_permutations
from retrieval.tables import Table


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per file of the golden folder (--golden DIR, default tests/golden)."""
    if "path" in metafunc.fixturenames:
        folder = metafunc.config.getoption("--golden", default=None) or "tests/golden"
        files = sorted((metafunc.config.rootpath / folder / "lfd").glob("*.npz"))
        assert files, f"{folder}/lfd: no golden files"
        metafunc.parametrize("path", files, ids=lambda path: path.stem)


def load(path: Path) -> tuple[Table, dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as archive:
        golden = {key: archive[key] for key in archive.files}
    names = [str(name) for name in golden["names"]]
    arrays = {key: golden[key] for key in ("art", "fd", "cir", "ecc")}
    return Table("lfd", names, [""] * len(names), arrays, {}, [""] * len(names)), golden


def test_matrix_is_equal(path: Path) -> None:
    table, golden = load(path)
    n = len(table)
    for pruning in (False, True):
        none = np.full(n, -1)
        index, distance = nearest(table, table, n, none, Options("cpu", pruning=pruning))
        matrix = np.empty((n, n), np.int64)
        np.put_along_axis(matrix, index, distance, axis=1)
        np.testing.assert_array_equal(matrix, golden["lfd"])


def test_bound_never_exceeds_the_distance_and_is_worth_it(path: Path) -> None:
    table, golden = load(path)
    bound = lower_bounds(rig_sums(images(table)), prepare(table))
    assert (bound <= golden["lfd"]).all()
    assert bound.sum() > 0.6 * golden["lfd"].sum()


def test_permutations_are_the_reference_set(path: Path) -> None:
    golden = load(path)[1]["permutations"]
    np.testing.assert_array_equal(view_permutations(), sorted(golden.tolist()))
