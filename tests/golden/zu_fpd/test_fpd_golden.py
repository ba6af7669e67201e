"""Frechet distance against the reference program and the formula (README.md here).

Cases come from every */fpd_expected.json of the golden folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fpd_eval.frechet import frechet, standardiser, whitener
from fpd_eval.records import read_features

EXACT = {"abs": 1e-8, "rel": 1e-9}
CLIPPED = {"abs": 1e-6, "rel": 0}
PARTS = ("mean_term", "trace_ref", "trace_gen", "cross_term")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "want" not in metafunc.fixturenames:
        return
    golden = metafunc.config.rootpath / metafunc.config.getoption("--golden")
    mapped = "how" in metafunc.fixturenames
    found, ids = [], []
    for path in sorted(golden.glob("*/fpd_expected.json")):
        for name, case in json.loads(path.read_text()).items():
            if ("train" in case) == mapped:
                found.append((path.parent, case))
                ids.append(f"{path.parent.name}-{name}")
    metafunc.parametrize(("folder", "want"), found, ids=ids)


def test_case(folder: Path, want: dict[str, Any]) -> None:
    ref, gen = (read_features(folder / want[side]) for side in ("ref", "gen"))
    if "fpd_exact" not in want:
        with pytest.raises(ValueError, match=r"found \(\d+, \d+\) and \(\d+, \d+\)"):
            frechet(ref.rows, gen.rows)
        return
    assert (*ref.rows.shape, len(gen.rows)) == (want["n_ref"], want["dim"], want["n_gen"])
    got = frechet(ref.rows, gen.rows)
    assert got.distance == pytest.approx(want["fpd_exact"], **EXACT)
    for part in PARTS:
        assert part not in want or getattr(got, part) == pytest.approx(want[part], **EXACT), part
    for key, eps in (("fpd", 1e-12), ("fpd_eps0", 0.0)):
        if key in want:
            assert frechet(ref.rows, gen.rows, eps).distance == pytest.approx(want[key], **CLIPPED)
    for features, side in ((ref, "key_ref"), (gen, "key_gen")):
        if features.key and want.get(side):
            assert features.key == want[side]


@pytest.mark.parametrize("how", ["whitened", "standardised"])
def test_normalised(folder: Path, want: dict[str, Any], how: str) -> None:
    train, ref, gen = (read_features(folder / want[s]).rows for s in ("train", "ref", "gen"))
    change = {"whitened": whitener, "standardised": standardiser}[how](train)
    for eps in (0.0, 1e-12):
        got = frechet(change(ref), change(gen), eps).distance
        assert got == pytest.approx(want[f"fpd_{how}"], abs=1e-7, rel=0)


def test_this_folder_has_cases() -> None:
    """An empty parameter list would skip the tests above without a word."""
    cases = json.loads((Path(__file__).parent / "fpd_expected.json").read_text()).values()
    assert {"train" in case for case in cases} == {True, False}
