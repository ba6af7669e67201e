"""One row per mesh: order, resumption after a kill, reuse, shards, failures."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from batch_work import first_bytes, interrupted

from retrieval.batch import Built, build_table, part_path
from retrieval.meshes import Item
from retrieval.tables import read_table

ROOT = Path(__file__).parents[3]
SETTINGS = {"points": 4}


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    made = []
    for i in range(9):
        path = tmp_path / f"m{i}.obj"
        path.write_bytes(np.random.default_rng([7, i]).integers(0, 256, 12, np.uint8).tobytes())
        made.append(Item(f"chair/{i}", path, "chair"))
    return made


def build(items: list[Item], output: Path, **more: object) -> Built:
    work = more.pop("work", first_bytes)
    return build_table(items, work, "points", SETTINGS, output, quiet=True, **more)


def test_rows_stand_in_list_order_and_workers_do_not_matter(items, tmp_path):
    one = build(items, tmp_path / "a_points.npz")
    two = build(items, tmp_path / "b_points.npz", workers=2)
    assert (one.code, one.rows, two.rows) == (0, 9, 9)
    assert one.output.read_bytes() == two.output.read_bytes()
    table = read_table([one.output])
    assert table.ids == [item.id for item in items]
    expected = np.frombuffer(items[3].path.read_bytes(), np.uint8).reshape(4, 3)
    np.testing.assert_array_equal(table.arrays["points"][3], expected)
    record = json.loads((tmp_path / "a_points.npz.run.json").read_text())
    assert record["counts"] == {"items": 9, "rows": 9, "failed": 0}
    assert record["settings"] == {"kind": "points", "points": 4}


def test_four_shards_give_the_bytes_of_one_run(items, tmp_path):
    build(items, tmp_path / "whole.npz")
    output = tmp_path / "parts.npz"
    log = tmp_path / "log"
    for i in range(4):
        part = build(items[i::4], output, shard=f"{i}/4")
        assert part.output == part_path(output, f"{i}/4") == tmp_path / f"parts.{i}-of-4.npz"
    assert sorted(read_table([output]).ids) == [item.id for item in items]
    joined = build(items, output, work=functools.partial(first_bytes, log=log))
    assert joined.reused == 9
    assert not log.exists()
    assert output.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_only_new_and_changed_meshes_are_computed(items, tmp_path):
    output, log = tmp_path / "x.npz", tmp_path / "log"
    work = functools.partial(first_bytes, log=log)
    build(items[:6], output)
    items[2].path.write_bytes(b"another mesh")
    assert build(items, output, work=work).reused == 5
    assert log.read_text().split() == ["chair/2", "chair/6", "chair/7", "chair/8"]
    build(items, tmp_path / "fresh.npz")
    assert output.read_bytes() == (tmp_path / "fresh.npz").read_bytes()


def test_a_complete_table_is_left_alone(items, tmp_path):
    output = tmp_path / "x.npz"
    build(items, output)
    before = output.stat()
    assert build(items, output).reused == 9
    assert output.stat().st_ino == before.st_ino
    recategorised = [item._replace(category="seat") for item in items]
    assert build(recategorised, output).reused == 9
    assert read_table([output]).categories == ["seat"] * 9


def test_a_bad_mesh_costs_its_row_alone(items, tmp_path):
    output = tmp_path / "x.npz"
    items[1].path.write_bytes(b"bad mesh")
    items[4].path.unlink()
    built = build(items, output)
    assert (built.code, built.rows, built.failed) == (3, 7, 2)
    failures = json.loads((tmp_path / "x.npz.failures.json").read_text())
    assert [row["id"] for row in failures] == ["chair/1", "chair/4"]
    assert "a bad mesh" in failures[0]["error"]
    items[1].path.write_bytes(b"repaired mesh")
    items[4].path.write_bytes(b"found it again")
    assert build(items, output).code == 0
    assert not (tmp_path / "x.npz.failures.json").exists()
    assert read_table([output]).ids == [item.id for item in items]


def test_nothing_is_written_when_all_fail(items, tmp_path):
    for item in items:
        item.path.write_bytes(b"bad")
    built = build(items, tmp_path / "x.npz")
    assert (built.code, built.rows) == (1, 0)
    assert not (tmp_path / "x.npz").exists()
    assert len(json.loads((tmp_path / "x.npz.failures.json").read_text())) == 9


def test_other_settings_are_refused_unless_overwritten(items, tmp_path):
    output = tmp_path / "x.npz"
    build(items, output)
    with pytest.raises(ValueError, match=r"points: there 4, here 5"):
        build_table(items, first_bytes, "points", {"points": 5}, output, quiet=True)
    build_table(items, first_bytes, "points", {"points": 5}, output, quiet=True, overwrite=True)
    assert read_table([output]).settings == {"points": 5}


def test_rows_made_of_batches(items, tmp_path):
    seen = []

    def then(rows):
        seen.append(len(rows))
        sums = [int(row["points"].sum()) for row in rows]
        return [
            {"points": row["points"] + 1} if s % 2 else "even"
            for row, s in zip(rows, sums, strict=True)
        ]

    built = build(items, tmp_path / "x.npz", then=then, batch_size=4)
    assert seen == [4, 4, 1]
    build(items, tmp_path / "plain.npz")
    plain, made = (read_table([tmp_path / name]) for name in ("plain.npz", "x.npz"))
    odd = [i for i, row in enumerate(plain.arrays["points"]) if int(row.sum()) % 2]
    assert 0 < len(odd) < 9 and (built.rows, built.failed) == (len(odd), 9 - len(odd))
    np.testing.assert_array_equal(made.arrays["points"], plain.arrays["points"][odd] + 1)
    failures = json.loads((tmp_path / "x.npz.failures.json").read_text())
    assert {row["error"] for row in failures} == {"even"}


def test_no_items_and_a_wrong_suffix_are_refused(items, tmp_path):
    with pytest.raises(ValueError, match="fewer than shards"):
        build([], tmp_path / "x.npz", shard="3/4")
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        build(items, tmp_path / "x.txt")


KILLED = """
import functools, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {stage!r}]
from batch_work import first_bytes
from retrieval.batch import build_table
from retrieval.meshes import Item
items = [Item(f"chair/{{i}}", Path({folder!r}) / f"m{{i}}.obj", "chair") for i in range(9)]
work = functools.partial(first_bytes, log=Path({folder!r}) / "log", pause=0.2)
build_table(items, work, "points", {{"points": 4}}, Path({folder!r}) / "x.npz")
"""


def test_a_killed_run_goes_on_and_gives_the_same_bytes(items, tmp_path):
    code = KILLED.format(
        tests=str(ROOT / "tests"), stage=str(ROOT / "retrieval"), folder=str(tmp_path)
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    log, journal = tmp_path / "log", tmp_path / "x.npz.journal"
    deadline = time.time() + 60
    while time.time() < deadline:
        if journal.exists() and len(journal.read_text().splitlines()) >= 4:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(journal.read_text().splitlines()) - 1
    assert 3 <= done < 9
    assert not (tmp_path / "x.npz").exists()
    with (tmp_path / "x.npz.rows").open("ab") as handle:
        handle.write(b"half a row")  # what a kill in mid-write leaves
    log.unlink()
    built = build(items, tmp_path / "x.npz", work=functools.partial(first_bytes, log=log))
    assert built.reused == done
    assert len(log.read_text().split()) == 9 - done
    build(items, tmp_path / "fresh.npz")
    assert built.output.read_bytes() == (tmp_path / "fresh.npz").read_bytes()
    assert [p.name for p in tmp_path.glob("x.npz.*")] == ["x.npz.run.json"]


def test_rows_lost_from_an_unfinished_table_are_computed_again(items, tmp_path):
    output = tmp_path / "x.npz"
    with pytest.raises(KeyboardInterrupt):
        build(items, output, work=interrupted)
    (tmp_path / "x.npz.rows").write_bytes(b"")
    assert build(items, output).reused == 0
    assert len(read_table([output])) == 9
