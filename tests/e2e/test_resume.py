"""Killed runs go on to the same bytes; so do any number of workers and shards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from e2e.running import run, start

import extract_lfd
from retrieval.tables import write_table

COUNT = 24


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen meshes; the later, the more faces, so that a kill finds some work left."""
    folder = tmp_path_factory.mktemp("meshes")
    for i in range(COUNT):
        made = trimesh.creation.icosphere(2 if i < 4 else 5, radius=1 + i / 10)
        made.vertices *= 1 + np.sin((i + 2) * made.vertices) / 4
        made.export(folder / f"shape_{i:02d}.ply")
    return folder


@pytest.fixture(scope="module")
def whole(meshes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of an uninterrupted run in one process."""
    output = tmp_path_factory.mktemp("whole") / "x.npz"
    assert extract(meshes, output) == 0
    return output


def extract(meshes: Path, output: Path, *flags: object) -> int:
    """Exit code of an extraction in this process."""
    return extract_lfd.main([str(w) for w in ("--input", meshes, "--output", output, *flags)])


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def end_when(process: subprocess.Popen[bytes], ready: Callable[[], bool], how: int) -> None:
    """Send a signal to the whole process group as soon as `ready`."""
    deadline = time.monotonic() + 100
    while not ready():
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, how)
    process.wait(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_extraction_killed_in_the_middle_goes_on(
    workers: int, meshes: Path, whole: Path, tmp_path: Path, capsys: Any
) -> None:
    output, journal = tmp_path / "x.npz", tmp_path / "x.npz.journal"
    flags = ("--input", meshes, "--output", output, "--workers", workers)
    process = start("extract_lfd.py", *flags, stderr=subprocess.DEVNULL)
    end_when(process, lambda: lines(journal) >= 3, signal.SIGKILL)
    done = lines(journal) - 1
    assert process.returncode == -signal.SIGKILL
    assert 2 <= done < COUNT
    assert not output.exists()
    assert extract(meshes, output, "--workers", workers) == 0
    assert f"({done} reused, 0 failed)" in capsys.readouterr().out
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npz", "x.npz.run.json"]


def test_ctrl_c_leaves_what_was_done(meshes: Path, whole: Path, tmp_path: Path) -> None:
    output, journal = tmp_path / "x.npz", tmp_path / "x.npz.journal"
    flags = ("--input", meshes, "--output", output, "--workers", 2)
    with (tmp_path / "err").open("wb") as err:
        process = start("extract_lfd.py", *flags, stderr=err)
        end_when(process, lambda: lines(journal) >= 3, signal.SIGINT)
    assert process.returncode == 130
    assert (tmp_path / "err").read_text() == "extract_lfd.py: interrupted\n"
    assert extract(meshes, output) == 0
    assert output.read_bytes() == whole.read_bytes()


def test_shards_and_workers_give_the_same_bytes(
    meshes: Path, whole: Path, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "x.npz"
    for i in range(4):
        assert extract(meshes, output, "--shard", f"{i}/4") == 0
    assert extract(meshes, output) == 0
    assert f"{COUNT} shapes ({COUNT} reused, 0 failed)" in capsys.readouterr().out
    assert output.read_bytes() == whole.read_bytes()
    two = tmp_path / "two.npz"
    assert extract(meshes, two, "--workers", 2) == 0
    assert two.read_bytes() == whole.read_bytes()


def test_a_damaged_journal_is_named(meshes: Path, tmp_path: Path, capsys: Any) -> None:
    journal = tmp_path / "x.npz.journal"
    journal.write_bytes(b"\0" * 100 + b"\n")
    assert extract(meshes, tmp_path / "x.npz", "--limit", 2) == 1
    error = capsys.readouterr().err
    assert f"{journal}: damaged; remove it or use --overwrite" in error
    assert extract(meshes, tmp_path / "x.npz", "--limit", 2, "--overwrite") == 0


def test_retrieval_killed_in_the_middle_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for name, count in (("query", 9000), ("database", 3000)):
        rows = {"embeddings": rng.random((count, 16), dtype=np.float32)}
        ids = [f"{name}_{i}" for i in range(count)]
        blank = [""] * count
        write_table(tmp_path / f"{name}.npz", "embedding", ids, blank, rows, {}, blank)
    flags = ["--query", tmp_path / "query.npz", "--database", tmp_path / "database.npz"]
    flags += ["--metric", "l2", "--topk", 3, "--output"]
    output, journal = tmp_path / "r.json", tmp_path / "r.json.journal"
    process = start("retrieve.py", *flags, output, stderr=subprocess.DEVNULL)
    end_when(process, lambda: lines(journal) >= 2, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not output.exists()
    assert run("retrieve.py", *flags, output).code == 0
    assert run("retrieve.py", *flags, tmp_path / "fresh.json").code == 0
    assert output.read_bytes() == (tmp_path / "fresh.json").read_bytes()
    assert not journal.exists()
