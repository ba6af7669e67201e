"""Stages share no code, so some small modules stand in several of them: they must stay equal."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = (
    "cli.py", "files.py", "pool.py", "meshes.py", "batch.py", "tables.py", "upright.py",
    "words.py", "csv_tables.py", "rowstore.py", "answers.py", "simplify.py",
)  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_the_same_text_in_every_stage(name: str) -> None:
    found = [p for p in ROOT.glob(f"*/*/{name}") if p.parent.parent.name.lower() == p.parent.name]
    assert len(found) > 1
    assert len({p.read_text() for p in found}) == 1, f"these differ: {found}"
