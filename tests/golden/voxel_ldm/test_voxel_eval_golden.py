"""Distances and scores of voxel grids against the numbers of the reference (README.md here).

Cases come from every voxel_ldm/*.npz of the golden folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxel_ldm.chamfer import chamfer, distance_sums, find_cells
from voxel_ldm.scores import coverage, js_divergence, minimum_matching_distance

Case = dict[str, np.ndarray]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    golden = metafunc.config.rootpath / metafunc.config.getoption("--golden")
    found, ids = [], []
    for path in sorted(golden.glob("voxel_ldm/*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
        names = [key.removesuffix("_res") for key in content if key.endswith("_res")]
        for name in names:
            own = {k.removeprefix(f"{name}_"): v for k, v in content.items() if k.startswith(name)}
            found.append(own)
            ids.append(f"{path.stem}-{name}")
    metafunc.parametrize("case", found, ids=ids)


def test_case(case: Case) -> None:
    r = int(case["res"])
    gen, ref = find_cells(case["gen"], r), find_cells(case["ref"], r)
    forward, backward = distance_sums(gen, ref), distance_sums(ref, gen)
    np.testing.assert_array_equal(forward, case["sum_gen_to_ref"])
    np.testing.assert_array_equal(backward.T, case["sum_ref_to_gen"])
    cd = chamfer(forward, backward, gen, ref)
    np.testing.assert_allclose(cd, case["cd"], rtol=1e-12, atol=0)
    assert minimum_matching_distance(cd) == pytest.approx(float(case["mmd"]), rel=1e-12, abs=0)
    share, matched = coverage(cd)
    assert share == float(case["cov_exact"])
    assert share == pytest.approx(float(case["cov"]), rel=1e-6)
    np.testing.assert_array_equal(matched, case["matched"])
    jsd = js_divergence(gen.occupancy(), ref.occupancy())
    assert jsd == pytest.approx(float(case["jsd64"]), rel=1e-10, abs=0)
    assert jsd == pytest.approx(float(case["jsd"]), rel=1e-5, abs=0)


def test_this_folder_has_cases() -> None:
    """An empty parameter list would skip the test above without a word."""
    with np.load(Path(__file__).parent / "voxel_eval.npz", allow_pickle=False) as archive:
        assert sum(key.endswith("_res") for key in archive.files) == 5
