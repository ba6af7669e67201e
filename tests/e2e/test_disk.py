"""A full disk, a read-only folder and a limit on file sizes are reported as such; nothing is lost.

Permission bits do not bind root, so the disk is a small tmpfs where one may be mounted, and a
failing write where not.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from e2e.running import run

import datacopying_test
from retrieval.files import Journal, replacing, write_json
from retrieval.tables import write_table

FULL, READ_ONLY = "No space left on device", "Read-only file system"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"this user may not mount a tmpfs: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    folder = tmp_path / "meshes"
    folder.mkdir()
    for i in range(3):
        trimesh.creation.icosphere(1, radius=i + 1).export(folder / f"shape_{i}.ply")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def write_lfd(path: Path, count: int) -> Path:
    rng = np.random.default_rng(3)
    shapes = {"art": (10, 10, 35), "fd": (10, 10, 10), "cir": (10, 10), "ecc": (10, 10)}
    arrays = {k: rng.integers(0, 256, (count, *v), np.uint8) for k, v in shapes.items()}
    ids, blank = [f"s{i}" for i in range(count)], [""] * count
    write_table(path, "lfd", ids, blank, arrays, {}, blank)
    return path


def test_points_on_a_full_disk(disk: Path, meshes: Path) -> None:
    flags = ("--input", meshes, "--output", disk / "p.npz")
    assert run("sample_points.py", *flags, "--points", 500).code == 0
    before = (disk / "p.npz").read_bytes()
    ended = run("sample_points.py", *flags, "--points", 100_000, "--overwrite")
    assert ended.code == 1
    assert str(disk) in ended.err
    assert FULL in ended.err
    assert ended.err.count("\n") == 1
    assert (disk / "p.npz").read_bytes() == before
    assert not [name for name in names(disk) if name.startswith(".")]


def test_the_last_file_on_a_full_disk(disk: Path, meshes: Path) -> None:
    """Rows fit, the table made of them does not; with room again the run goes on."""
    flags = ("--input", meshes, "--output", disk / "p.npz", "--points", 5000)
    ended = run("sample_points.py", *flags)
    assert ended.code == 1, ended.out
    assert f"{disk / 'p.npz'}: {FULL}" in ended.err
    assert names(disk) == ["p.npz.journal", "p.npz.rows"]
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert "(3 reused, 0 failed)" in run("sample_points.py", *flags).out


def test_a_retrieval_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    table = write_lfd(tmp_path / "a.npz", 300)
    output = disk / "r.json"
    output.write_text("an earlier result")
    flags = ("--query", table, "--database", table, "--topk", 20, "--output", output)
    ended = run("retrieve.py", *flags, "--overwrite")
    assert ended.code == 1, ended.out
    assert str(disk) in ended.err
    assert FULL in ended.err
    assert output.read_text() == "an earlier result"


@pytest.mark.parametrize("script", ["extract_lfd.py", "render_views.py", "list_shapes.py"])
def test_a_read_only_output(script: str, disk: Path, meshes: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    output = {"extract_lfd.py": "x.npz", "render_views.py": "views", "list_shapes.py": "s.json"}
    small = ("--views", 1, "--size", 16) if script == "render_views.py" else ()
    ended = run(script, "--input", meshes, "--output", disk / output[script], *small)
    assert ended.code == 1, ended.out
    assert str(disk) in ended.err
    assert READ_ONLY in ended.err
    assert "Traceback" not in ended.err


def test_a_limit_on_the_size_of_files(meshes: Path, tmp_path: Path) -> None:
    flags = ("--input", meshes, "--output", tmp_path / "p.npz", "--points", 500)
    assert run("sample_points.py", *flags).code == 0
    before = (tmp_path / "p.npz").read_bytes()
    more = ("--input", meshes, "--output", tmp_path / "p.npz", "--points", 9000, "--overwrite")
    ended = run("sample_points.py", *more, largest_file=150_000)
    assert ended.code == 1, ended.out
    assert "File too large" in ended.err
    assert str(tmp_path / "p.npz") in ended.err
    assert (tmp_path / "p.npz").read_bytes() == before
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_any_failing_write_names_the_output(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"an": "earlier result"})
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, "as the system says")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="as the system says") as caught:
        write_json(path, {"a": "later one"})
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.json"]


def test_a_rename_that_fails_names_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, READ_ONLY, str(self))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError) as caught, replacing(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"x")
    assert caught.value.filename == str(tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_journal_that_cannot_grow_is_named(disk: Path) -> None:
    journal = Journal(disk / "x.journal", {})
    with pytest.raises(OSError, match=FULL) as caught:
        for i in range(100):
            journal.add(str(i), "x" * 10_000)
    assert caught.value.filename == str(disk / "x.journal")
    with contextlib.suppress(OSError):
        journal._handle.close()
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    reopened = Journal(disk / "x.journal", {})
    rest = reopened.done
    reopened.finish()
    assert 0 < len(rest) < 100
    assert all(value == "x" * 10_000 for value in rest.values())


def test_the_verdict_on_a_full_disk(disk: Path, tmp_path: Path, capsys: Any) -> None:
    rows = {f"q{i}": [{"model_id": "t", "category_id": "", "distance": i}] for i in range(3000)}
    write_json(tmp_path / "r.json", rows)
    output = disk / "o.json"
    output.write_text("an earlier result")
    flags = ["--bootstrap", "0", "--output", str(output)]
    assert datacopying_test.main([str(tmp_path / "r.json")] * 2 + flags) == 1
    error = capsys.readouterr().err
    assert FULL in error
    assert str(disk) in error
    assert output.read_text() == "an earlier result"
    assert not [name for name in names(disk) if name.startswith(".")]
