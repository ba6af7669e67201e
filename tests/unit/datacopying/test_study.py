"""The study of known copies on points of a plane, where all distances are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from datacopying import often, study, study_text
from datacopying.excess import flag_rule

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(300, 6))
TRAIN[1] = TRAIN[0] + 1e-4  # near-duplicates
SETS = {
    "test": RNG.normal(size=(120, 6)),
    "held_out": RNG.normal(size=(110, 6)),
    "copies": TRAIN[:60] + RNG.normal(scale=0.01, size=(60, 6)),
}
SHARES = (0.0, 0.1, 0.5)


def write(path: Path, query: tuple[str, Any], base: tuple[list[str], Any], topk: int) -> None:
    """A retrieval result without the query itself."""
    names = [f"{query[0]}{i}" for i in range(len(query[1]))] if query[0] else base[0]
    found = {}
    for name, row in zip(names, cdist(query[1], base[1]), strict=True):
        order = [i for i in np.argsort(row, kind="stable") if base[0][i] != name][:topk]
        found[name] = [{"model_id": base[0][i], "distance": float(row[i])} for i in order]
    path.write_text(json.dumps(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    train = [f"train{i}" for i in range(300)], TRAIN
    for side, rows in SETS.items():
        write(made / f"{side}.l2.json", (side, rows), train, 1)
    write(made / "train.l2.json", ("", TRAIN), train, 5)
    among = [f"{s}{i}" for s, rows in SETS.items() for i in range(len(rows))]
    write(made / "among.l2.json", ("", np.concatenate(list(SETS.values()))),
          (among, np.concatenate(list(SETS.values()))), 100)  # fmt: skip
    copies = [{"id": f"copies{i}", "copied_from": f"train{i}"} for i in range(60)]
    (made / "copies").mkdir()
    (made / "copies" / "shapes.json").write_text(json.dumps({"shapes": copies}))
    return made


def setting(folder: Path) -> study.Setting:
    return study.Setting(folder, repeats=3, quantile=0.02, bootstrap=50, seed=0)


def test_planted_copies_are_counted(folder: Path) -> None:
    found = study.of_metric("l2", SHARES, setting(folder))
    rows = found["rows"]
    assert [(r["planted"], r["generated"]) for r in rows] == [(0, 110), (11, 110), (55, 110)]
    assert [r["planted_flagged"] for r in rows] == [0, 11, 55]
    for row in rows:
        honest = row["generated"] - row["planted"]
        want = (row["planted"] + row["honest_flagged"]) / 110 - found["false_positive_rate"]
        assert row["excess"] == pytest.approx(want)
        assert row["honest_flagged"] <= 0.06 * honest
        assert row["excess_interval"][0] <= row["excess"] <= row["excess_interval"][1]
    assert rows[0]["z_u"] > rows[1]["z_u"] > rows[2]["z_u"]
    assert rows[0]["authpct"] - rows[2]["authpct"] > 20
    assert abs(rows[0]["one_nna"] - rows[2]["one_nna"]) < 0.1
    assert found["n"] == {"train": 300, "test": 120, "held_out": 110, "copies": 60}


def test_a_larger_share_only_replaces_more(folder: Path) -> None:
    measured = study.read_measured(folder, "l2")
    few, many = (study.mixture(measured, s, np.random.default_rng(1)) for s in (0.1, 0.5))
    assert set(few.planted) < set(many.planted) and set(many.honest) < set(few.honest)
    assert few.test == many.test and len(few.generated) == len(many.generated) == len(few.test)
    with pytest.raises(ValueError, match="66 copies, have 60"):
        study.mixture(measured, 0.6, np.random.default_rng(1))


def test_copies_of_twins_lead_to_either(folder: Path) -> None:
    measured = study.read_measured(folder, "l2")
    rule = flag_rule(np.array([q.distance for q in measured.nearest["test"].values()]), 0.02)
    found = study.sources(measured, {f"copies{i}": f"train{i}" for i in range(60)}, rule)
    twins = found["with_near_duplicate"]
    assert twins["copies"] == twins["source"] + twins["near_duplicate"] + twins["elsewhere"]
    assert twins["copies"] >= 2 and found["training_with_near_duplicate"] >= 2
    assert found["without"] == {
        "copies": 60 - twins["copies"], "flagged": 60 - twins["copies"],
        "source": 60 - twins["copies"], "near_duplicate": 0, "elsewhere": 0,
    }  # fmt: skip
    assert found["charged_once"] + 2 * found["charged_more"] == 60


def test_one_nna_equals_the_matrix(folder: Path) -> None:
    measured = study.read_measured(folder, "l2")
    mixed = study.mixture(measured, 0.5, np.random.default_rng(2))
    names = [*mixed.generated, *mixed.test]
    rows = np.array([
        SETS[side][int(name.removeprefix(side))]
        for name in names for side in SETS if name.startswith(side)
    ])  # fmt: skip
    values = cdist(rows, rows)
    np.fill_diagonal(values, np.inf)
    own = np.arange(220) < 110
    want = (own[values.argmin(axis=1)] == own).mean()
    assert study.one_nna(measured.among, mixed.generated, mixed.test) == want
    with pytest.raises(ValueError, match="no shape of its mixture among 1 listed"):
        study.one_nna({"a": [("x", 1.0)], "b": [("a", 1.0)]}, ["a"], ["b"])


def test_text_shows_every_share(folder: Path) -> None:
    result = {"metrics": {"embeddings": study.of_metric("l2", SHARES, setting(folder))}}
    beside = [{"copies": s, "fd": 1.5, "kid": 0.25} for s in SHARES]
    lines = study_text.text({**result, "quality": beside, "often": {}})
    rows = [line for line in lines if line.startswith("| embeddings")]
    assert [row.split("|")[2].strip() for row in rows] == ["0%", "10%", "50%"]
    assert all("| 1.5 | 0.25 |" in row for row in rows)
    assert any("300 training, 120 test, 110 held-out shapes, 60 copies" in line for line in lines)


def test_how_often_is_told_from_an_even_chance(folder: Path) -> None:
    """Thirty pairs of near-duplicates among 100 shapes, a copy of each shape, little moved."""
    rng = np.random.default_rng(3)
    train = rng.normal(size=(100, 6))
    train[30:60] = train[:30] + 1e-3
    copies = train + rng.normal(scale=1e-5, size=train.shape)
    made = folder / "often"
    (made / "copies").mkdir(parents=True)
    names = [f"train{i}" for i in range(100)]
    for side, rows in {**SETS, "copies": copies}.items():
        write(made / f"{side}.l2.json", (side, rows), (names, train), 1)
    write(made / "train.l2.json", ("", train), (names, train), 5)
    write(made / "among.l2.json", ("copies", copies[:1]), (["x"], train[:1]), 1)
    entries = [{"id": f"copies{i}", "copied_from": f"train{i}"} for i in range(100)]
    (made / "copies" / "shapes.json").write_text(json.dumps({"shapes": entries}))

    even, twins = often.of_metric("l2", study.Setting(made, 20, 0.02, 0, 0))
    small = [sum(f["p"] < 0.05 for f in row["found"]) for row in (even, twins)]
    assert small[0] <= 4 and small[1] >= 12
    for row, extra in ((even, 0), (twins, 1)):
        totals = {g: [sum(s[g]["flagged"] for s in row[key]) for key in ("planted", "found")]
                  for g in study_text.GROUPS}  # fmt: skip
        assert sum(planted for planted, _ in totals.values()) == 20 * 100
        # honest shapes may be flagged as well
        assert all(planted <= found < planted + 20 * 8 for planted, found in totals.values())
        chance = {s["id"]: 1 + extra * s["near_duplicates"] for s in row["shapes"]}
        paired = {s["id"] for s in row["shapes"] if s["near_duplicates"]}
        assert paired >= set(names[:60])
        want = sum(chance[name] for name in paired) / sum(chance.values())
        assert totals["with_near_duplicate"][0] / 2000 == pytest.approx(want, abs=0.03)
        assert min(row["correlation"]) > 0.9
        assert sum(shape["planted"] for shape in row["shapes"]) == 100
    lines = study_text.text({"metrics": {}, "quality": None, "often": {"l2": [even, twins]}})
    assert lines[-2].startswith(f"| l2 | even | {len(paired)} / {100 - len(paired)} | ")
    assert lines[-1].endswith(f"| {small[1]} of 20 |")
