"""The whole audit by its shell script: planted copies are found, on a machine without Open3D."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _environment(blocked: Path) -> dict[str, str]:
    """This Python as the active environment, and an open3d that cannot be imported."""
    blocked.mkdir(exist_ok=True)
    (blocked / "open3d.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": path, "PYTHONPATH": str(blocked)}


def _python(script: str, *words: object) -> None:
    argv = [sys.executable, str(ROOT / script), "-q", *map(str, words)]
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 12 test shapes; 12 generated, of which 3 are disguised training shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    for name, count, seed in (("train", 24, 1), ("test", 12, 2), ("fresh", 9, 3)):
        _python("data_curation/make_shapes.py", "--output", folder / name, "--count", count,
                "--seed", seed)  # fmt: skip
    _python("data_curation/disguise_shapes.py", "--input", folder / "train", "--output",
            folder / "copies", "--disguise", "noise,decimate", "--pick", "one", "--strength", 0.3,
            "--count", 3, "--neutral-ids")  # fmt: skip
    lists = (folder / "fresh/shapes.json", folder / "copies/shapes.json")
    joined = folder / "generated/shapes.json"
    _python("data_curation/list_shapes.py", "--input", *lists, "--output", joined)
    return folder


def _evaluate(shapes: Path, output: Path, *more: str) -> list[str]:
    argv = ["bash", str(ROOT / "scripts/evaluate.sh"), "--output", str(output)]
    for name in ("generated", "train", "test"):
        argv += [f"--{name}", str(shapes / name)]
    return [*argv, "--pairs", "3", "--workers", "1", *more]


@pytest.fixture(scope="module")
def audit(shapes: Path) -> tuple[Path, str]:
    """Folder and stdout of one undisturbed audit."""
    output = shapes / "audit"
    run = subprocess.run(
        _evaluate(shapes, output), env=_environment(shapes / "no"), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return output, run.stdout


def test_the_planted_copies_come_first_with_their_sources(
    shapes: Path, audit: tuple[Path, str]
) -> None:
    copies = json.loads((shapes / "copies/shapes.json").read_text())["shapes"]
    sources = {row["id"]: row["copied_from"] for row in copies}
    samples = json.loads((audit[0] / "result.json").read_text())["samples"]
    assert {row["id"]: row["nearest_id"] for row in samples[:3]} == sources
    assert all(row["flagged"] for row in samples[:3])


def test_verdict_and_report_are_announced(audit: tuple[Path, str]) -> None:
    output, stdout = audit
    assert stdout.startswith("Z_U = ") and "12 generated, 12 test shapes" in stdout
    assert stdout.rstrip().endswith(f"report: {output / 'report.html'}")


def test_report_needs_no_network(audit: tuple[Path, str]) -> None:
    page = (audit[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") >= 6
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|url\([\"']?(https?:)?//|<script", page)


def test_second_run_skips_what_is_done(shapes: Path, audit: tuple[Path, str]) -> None:
    kept = [*audit[0].glob("*.npz"), *audit[0].glob("*.neighbours.json")]
    kept += audit[0].glob("renders/*/*/views.json")
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert len(before) >= 3 + 2 + 6
    subprocess.run(
        _evaluate(shapes, audit[0], "--encoder", "none"),
        env=_environment(shapes / "no"),
        check=True,
        capture_output=True,
    )
    assert before == {path: path.stat().st_mtime_ns for path in kept}


def test_killed_audit_resumes_to_the_same_files(shapes: Path, audit: tuple[Path, str]) -> None:
    output = shapes / "killed"
    environment = _environment(shapes / "no")
    argv = _evaluate(shapes, output, "--encoder", "none")
    run = subprocess.Popen(
        argv, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        if (output / "train.lfd.npz").exists():
            break
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (output / "report.html").exists()
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    for name in ("train.lfd.npz", "generated.lfd.npz", "generated.neighbours.json"):
        assert (output / name).read_bytes() == (audit[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--generated is missing"),
        (["--bogus", "1"], "unknown flag --bogus"),
        (["--generated"], "--generated needs a value"),
        (["--generated", "a", "--train", "b", "--test", "c", "--output", "d"], "a: not found"),
    ],
)
def test_wrong_usage_exits_2(words: list[str], message: str, tmp_path: Path) -> None:
    run = subprocess.run(
        ["bash", str(ROOT / "scripts/evaluate.sh"), *words],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2 and message in run.stderr
