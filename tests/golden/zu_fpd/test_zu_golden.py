"""Z_U and C_T against the numbers of the reference programs (README.md here).

Cases come from every */zu_expected.json and */ct_expected.json of the golden folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacopying.cells import c_t
from datacopying.records import read_retrieval
from datacopying.zu import compare

CLOSE = 1e-12
KEYS = {
    "U": "u",
    "auc": "auc",
    "z_u": "z_u",
    "z_no_continuity": "z_no_continuity",
    "z_u_tie_corrected": "z_tie_corrected",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "folder" not in metafunc.fixturenames:
        return
    golden = metafunc.config.rootpath / metafunc.config.getoption("--golden")
    kind = "ct" if "place" in metafunc.fixturenames else "zu"
    found = []
    for path in sorted(golden.glob(f"*/{kind}_expected.json")):
        content = json.loads(path.read_text())
        if kind == "ct":
            found += [(path.parent, i) for i in range(len(content["c_t"]))]
        else:
            part = "cases" if "name" in metafunc.fixturenames else "irregular"
            found += [(path.parent, name) for name in content[part]]
    second = {"ct": "place"}.get(kind) or ("name" if "name" in metafunc.fixturenames else "odd")
    ids = [f"{folder.name}-{case}" for folder, case in found]
    metafunc.parametrize(("folder", second), found, ids=ids)


def expected(folder: Path, part: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "zu_expected.json").read_text())[part][name]
    return content


def check(gen: np.ndarray, test: np.ndarray, want: dict[str, Any]) -> None:
    got = compare(gen, test)
    assert (got.m, got.n) == (want["n_gen"], want["n_test"])
    for key, name in KEYS.items():
        value = getattr(got, name)
        assert value == (want[key] and pytest.approx(want[key], rel=CLOSE, abs=0)), key
    assert np.median(gen) == pytest.approx(want["median_gen"], rel=CLOSE)
    assert np.median(test) == pytest.approx(want["median_test"], rel=CLOSE)
    p = want.get(f"p_less_{got.p_method}")
    assert got.p_less == (p and pytest.approx(p, rel=1e-9))
    if "p_less_exact" in want:
        assert got.p_method == "exact"


def test_case(folder: Path, name: str) -> None:
    want = expected(folder, "cases", name)
    sides = [read_retrieval(folder / want[side]) for side in ("gen", "test")]
    layouts = [want["layout_gen"], want["layout_test"]]
    assert [side.layout for side in sides] == [layout.split("_")[0] for layout in layouts]
    check(sides[0].distances, sides[1].distances, want)


def test_irregular(folder: Path, odd: str) -> None:
    want = expected(folder, "irregular", odd)
    files = [folder / want[side] for side in ("gen", "test")]
    if want.get("expected") == "error: empty":
        with pytest.raises(ValueError, match="empty"):
            [read_retrieval(path, "drop") for path in files]
        return
    gen, test = (read_retrieval(path, "drop") for path in files)
    skipped = [want["skipped_gen"], want["skipped_test"]]
    assert [len(gen.dropped), len(test.dropped)] == skipped
    check(gen.distances, test.distances, want)
    for path, count in zip(files, skipped, strict=True):
        if not count:
            assert read_retrieval(path).dropped == []
            continue
        with pytest.raises(ValueError, match=f"{path.name}: query '.+' has ") as error:
            read_retrieval(path)
        assert read_retrieval(path, "drop").dropped[0][0] in str(error.value)


def test_cells(folder: Path, place: int) -> None:
    want = json.loads((folder / "ct_expected.json").read_text())
    with np.load(folder / "ct.npz", allow_pickle=False) as archive:
        train, test, gen = (archive[side] for side in ("train", "test", "gen"))
        labels = archive["train_cells"], archive["test_cells"], archive["gen_cells"]
    case = want["c_t"][place]
    got = c_t((train, test, gen), labels, case["tau"])
    assert got.c_t == pytest.approx(case["c_t"], rel=CLOSE)
    assert got.z_u_global == pytest.approx(want["z_u_global"], rel=CLOSE)
    assert [cell.z_u for cell in got.cells] == pytest.approx(want["z_u_cells"], rel=CLOSE)
    assert [int(cell.cell) for cell in got.cells if cell.used] == case["cells_used"]
    assert [cell.n_gen / len(gen) for cell in got.cells] == pytest.approx(want["gen_share"])
    assert [cell.n_test / len(test) for cell in got.cells] == pytest.approx(want["test_share"])


def test_this_folder_has_cases() -> None:
    """An empty parameter list would skip the tests above without a word."""
    here = Path(__file__).parent
    for name, key in (("zu", "cases"), ("zu", "irregular"), ("ct", "c_t")):
        assert json.loads((here / f"{name}_expected.json").read_text())[key]
