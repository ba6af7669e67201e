"""Names in checkpoints and of outputs against the reference tool (README.md here)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hy3dshape.output_plan import SUFFIXES, plan_direct, plan_table
from hy3dshape.utils.trainings.checkpoint_rules import (
    bare_key,
    loads_conditioner,
    part_of,
    resume_step,
)

PARTS = {"denoiser": "model.", "conditioner": "cond_stage_model."}


def read(golden: Path, name: str) -> dict[str, Any]:
    return json.loads((golden / "hy3dshape" / f"{name}.json").read_text())


def test_resume_step(golden: Path) -> None:
    cases = read(golden, "resume_step")["cases"]
    assert [resume_step(case["path"]) for case in cases] == [case["step"] for case in cases]


def test_policies(golden: Path) -> None:
    case = read(golden, "policies")
    for name, expected in case["load"].items():
        quirk = name == "gobjaverse/auto"  # the released tool keeps a random class table there
        assert loads_conditioner(*name.split("/")) == (expected or quirk), name
    for key, expected in case["key_split"].items():
        state = {bare_key(key): 0}
        found = [f"{name}:{k}" for name, start in PARTS.items() for k in part_of(state, start)]
        assert found == ([] if expected is None else [expected]), key
    for key, expected in case["z_scale"].items():
        assert (bare_key(key) == "z_scale_factor") == (expected is not None), key


def test_output_plan(golden: Path) -> None:
    case = read(golden, "output_plan")
    for name, expected in case["plans"].items():
        mode, kind, form = name.split("/")
        suffix = SUFFIXES[form]
        if mode == "table":
            plan = plan_table(
                case["rows"], kind, suffix, case["class_mapping"], empty_caption="a 3d model"
            )
        else:
            value = expected[0][1]
            plan = plan_direct(kind, value, len(expected), suffix)
        assert [[p.index, p.condition, p.path] for p in plan] == expected, name
