"""Guided sampling against the reference trajectories, through a whole model's checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from golden.hy3dshape.cases import Case, cases

from hy3dshape.models.conditioner import MultiConditioner
from hy3dshape.models.denoisers.dit import DiTPlain
from hy3dshape.pipelines import CustomFlowMatchingPipeline


@cases("trajectory_*")
def test_trajectory(case: Case) -> None:
    config: dict[str, Any] = case.info["config"]
    model = DiTPlain(**config["denoiser"])
    conditioner = MultiConditioner("class", config["num_classes"], model.context_dim or 0)
    for prefix, module in {"model.": model, "cond_stage_model.": conditioner}.items():
        part = {k.removeprefix(prefix): v for k, v in case.weights.items() if k.startswith(prefix)}
        module.load_state_dict(part)
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []
    pipeline = CustomFlowMatchingPipeline(
        None, model, conditioner=conditioner, z_scale_factor=config["z_scale_factor"]
    )
    options: dict[str, Any] = {
        "noise": case.inputs["noise"],
        "num_inference_steps": config["steps"],
        "guidance_scale": config["guidance_scale"],
        "output_type": "latent",
    }
    labels = case.inputs["labels"]
    final = pipeline(labels, callback=lambda i, t, v, x: steps.append((v, x)), **options)
    case.check("velocity", torch.stack([v for v, _ in steps]))
    case.check("x_after_step", torch.stack([x for _, x in steps]))
    case.check("final", final)
    assert torch.equal(pipeline(labels, **options), final), "the step of length 0 left out"
    assert model.training and conditioner.training, "modes as they were"
