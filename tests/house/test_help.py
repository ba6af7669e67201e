"""The --help text of every entry script equals its checked-in copy.

After a wanted change: python tests/house/test_help.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from house.stages import ROOT, SCRIPTS

TEXTS = Path(__file__).parent / "help"


def _help(script: Path) -> str:
    run = subprocess.run(
        [sys.executable, str(script), "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    return run.stdout


def _copy(script: Path) -> Path:
    return TEXTS / f"{script.relative_to(ROOT).as_posix().replace('/', '.')}.txt"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_help_text_is_the_one_checked_in(script: Path) -> None:
    assert _help(script) == _copy(script).read_text(encoding="utf-8")


def test_no_copy_without_its_script() -> None:
    assert {p.name for p in TEXTS.iterdir()} == {_copy(script).name for script in SCRIPTS}


if __name__ == "__main__":
    TEXTS.mkdir(exist_ok=True)
    for old in TEXTS.iterdir():
        old.unlink()
    for entry in SCRIPTS:
        _copy(entry).write_text(_help(entry), encoding="utf-8")
