"""Stages stand alone, every import is a pinned requirement, and --help loads nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from house.stages import BENCHMARKS, MODULES, ROOT, SCRIPTS, STAGES, imports

PACKAGE_OF = {
    "PIL": "pillow",
    "collada": "pycollada",
    "igl": "libigl",
    "mpl_toolkits": "matplotlib",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}
HEAVY = {"torch", "numba", "scipy", "trimesh", "matplotlib", "open3d", "embreex", "transformers"}
INNER = {stage.name.lower() for stage in STAGES}


def _pinned() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), lines
    return {re.split("==", line)[0].lower().replace("_", "-") for line in lines}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_stage_imports_no_other_stage(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].lower()
    assert not imports(path) & (INNER - {own})


def test_every_import_is_a_pinned_requirement() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    local = (
        INNER
        | {p.stem for p in SCRIPTS + tests}
        | {folder for p in tests for folder in p.relative_to(ROOT).parts[:-1]}
        | set(sys.stdlib_module_names)
    )
    used = {name for path in MODULES + BENCHMARKS + tests for name in imports(path)} - local
    missing = {PACKAGE_OF.get(n, n).lower().replace("_", "-") for n in used} - _pinned()
    assert not missing, f"not in requirements.txt: {missing}"


def test_nothing_imports_open3d_where_something_lighter_serves() -> None:
    assert not [p for p in MODULES if "open3d" in imports(p)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_help_loads_nothing_heavy(script: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(script.parent)!r})\n{code}",
         str(script)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not HEAVY & set(run.stderr.split())
