"""What the house tests look at: stages, their entry scripts and modules."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGES = sorted(
    p for p in ROOT.iterdir() if p.is_dir() and (p / p.name.lower() / "__init__.py").is_file()
)
SCRIPTS = sorted(p for stage in STAGES for p in stage.glob("*.py"))
MODULES = sorted(p for stage in STAGES for p in stage.rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Top names of all absolute imports of a file, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names
