"""Names in checkpoints and of outputs against the reference tool (README.md here)."""

from __future__ import annotations

from golden.hy3dshape.cases import Case, cases

from hy3dshape.output_plan import SUFFIXES, plan_direct, plan_table
from hy3dshape.utils.trainings.checkpoint_rules import (
    bare_key,
    loads_conditioner,
    part_of,
    resume_step,
)

PARTS = {"denoiser": "model.", "conditioner": "cond_stage_model."}


@cases("resume_step*")
def test_resume_step(case: Case) -> None:
    rows = case.info["cases"]
    assert [resume_step(row["path"]) for row in rows] == [row["step"] for row in rows]


@cases("policies*")
def test_policies(case: Case) -> None:
    told = case.info
    for name, expected in told["load"].items():
        quirk = name == "gobjaverse/auto"  # the released tool keeps a random class table there
        assert loads_conditioner(*name.split("/")) == (expected or quirk), name
    for key, expected in told["key_split"].items():
        state = {bare_key(key): 0}
        found = [f"{name}:{k}" for name, start in PARTS.items() for k in part_of(state, start)]
        assert found == ([] if expected is None else [expected]), key
    for key, expected in told["z_scale"].items():
        assert (bare_key(key) == "z_scale_factor") == (expected is not None), key


@cases("output_plan*")
def test_output_plan(case: Case) -> None:
    told = case.info
    for name, expected in told["plans"].items():
        mode, kind, form = name.split("/")
        suffix = SUFFIXES[form]
        if mode == "table":
            plan = plan_table(
                told["rows"], kind, suffix, told["class_mapping"], empty_caption="a 3d model"
            )
        else:
            value = expected[0][1]
            plan = plan_direct(kind, value, len(expected), suffix)
        assert [[p.index, p.condition, p.path] for p in plan] == expected, name
