"""Commands in the READMEs exist and take the flags shown; those on data in the repository run."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from house.stages import ROOT

READMES = sorted(p for p in ROOT.glob("**/README.md") if ".venv" not in p.parts)


def _commands() -> list[tuple[str, str]]:
    """(readme, command) of every line of a ```bash block, continued lines joined."""
    found = []
    for readme in READMES:
        for block in re.findall(r"```bash\n(.*?)```", readme.read_text(encoding="utf-8"), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    found.append((str(readme.relative_to(ROOT)), line.strip()))
    return found


COMMANDS = _commands()


@functools.cache
def _help(script: str) -> str:
    argv = [sys.executable, script, "--help"] if script.endswith(".py") else ["bash", script, "-h"]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    return run.stdout + run.stderr


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 8


@pytest.mark.parametrize(("readme", "command"), COMMANDS)
def test_command_exists_and_takes_its_flags(readme: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    scripts = [w for w in words if re.search(r"\.(py|sh)$", w)]
    for script in scripts:
        place = ROOT / script if (ROOT / script).exists() else (ROOT / readme).parent / script
        assert place.exists(), f"{readme}: {script} does not exist"
    flags = [w.split("=")[0] for w in words if w.startswith("--")]
    if flags and scripts:
        known = "".join(_help(script) for script in scripts)
        missing = [flag for flag in flags if not re.search(rf"{flag}\b", known)]
        assert not missing, f"{readme}: {scripts} do not take {missing}"


@pytest.mark.parametrize(
    ("readme", "command"),
    [c for c in COMMANDS if c[1].startswith("python ") and "tests/golden" in c[1]],
)
def test_command_on_golden_data_runs(readme: str, command: str, tmp_path: Path) -> None:
    argv = [sys.executable, *shlex.split(command, comments=True)[1:]]
    argv = [
        str(tmp_path / Path(w).name) if a == "--output" else w
        for a, w in zip(["", *argv[:-1]], argv, strict=True)
    ]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first = run.stdout.splitlines()[0]
    assert first in (ROOT / readme).read_text(encoding="utf-8"), f"README does not show: {first}"
