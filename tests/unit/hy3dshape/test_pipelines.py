"""Sampling: noise per item, guidance, modes, arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hy3dshape.models.conditioner import MultiConditioner
from hy3dshape.models.denoisers.dit import DiTPlain
from hy3dshape.models.diffusion.transport import create_transport
from hy3dshape.pipelines import CustomFlowMatchingPipeline, half_side, item_noise
from hy3dshape.schedulers import EulerSchedule

LABELS = [0, 2, 1, 2]


def make(**parts: Any) -> CustomFlowMatchingPipeline:
    torch.manual_seed(0)
    model = DiTPlain(4, 32, 3, 2, 24, use_pos_emb=False, num_moe_layers=1, max_seq_len=6)
    nn.init.normal_(model.final_layer.linear.weight, std=0.2)
    given = {"vae": None, "conditioner": MultiConditioner("class", 3, 24), **parts}
    return CustomFlowMatchingPipeline(model=model, pipeline_output="latent", **given)


def run(pipeline: CustomFlowMatchingPipeline, conditions: Any, **options: Any) -> Tensor:
    found: Tensor = pipeline(conditions, **{"num_inference_steps": 4, **options})
    return found


def test_batch_and_order_do_not_change_a_sample() -> None:
    pipeline = make()
    four = run(pipeline, LABELS, seed=3, guidance_scale=2.0)
    for i, label in enumerate(LABELS):
        alone = run(pipeline, [label], indices=[i], seed=3, guidance_scale=2.0)
        assert torch.allclose(alone[0], four[i], atol=1e-5)
    backwards = run(pipeline, LABELS[::-1], indices=[3, 2, 1, 0], seed=3, guidance_scale=2.0)
    assert torch.allclose(backwards.flip(0), four, atol=1e-5)


def test_noise_is_that_of_its_seed_and_item() -> None:
    noise = item_noise(0, [0, 1, 7], (5, 3))
    assert torch.equal(item_noise(0, [7], (5, 3))[0], noise[2])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(item_noise(1, [0], (5, 3))[0], noise[0])
    # (seed, item) pairs do not meet: seed 0 item 1 is not seed 1 item 0
    assert not torch.equal(item_noise(1, [0], (5, 3))[0], noise[1])
    many = item_noise(5, range(2000), (4,))
    assert abs(many.mean().item()) < 0.03
    assert many.std().item() == pytest.approx(1, abs=0.03)


def test_guidance_one_is_conditional_and_zero_is_unconditional() -> None:
    pipeline = make()
    x, t = item_noise(0, [0, 1], (6, 4)), torch.rand(2)
    cond, null = pipeline._contexts([0, 1], 2)
    v_cond, v_null = pipeline.model(x, t, cond), pipeline.model(x, t, null)
    for weight in (0.0, 0.5, 1.0, 7.5):
        found = pipeline.guided(x, t, cond, null, weight)
        assert torch.allclose(found, v_null + weight * (v_cond - v_null), atol=1e-5)
    assert torch.equal(
        run(pipeline, [0, 1], guidance_scale=0.0), run(pipeline, None, indices=[0, 1])
    )


def test_guidance_of_zero_and_one_costs_one_evaluation_a_step() -> None:
    pipeline, sizes = make(), list[int]()
    pipeline.model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    for weight in (0.0, 1.0, 2.0):
        run(pipeline, [0], guidance_scale=weight)
    assert sizes == [1] * 6 + [2] * 3  # 4 evaluations, of which the last moves nothing


def test_guidance_interval() -> None:
    pipeline = make()
    plain, guided = (run(pipeline, [1], guidance_scale=w) for w in (1.0, 4.0))
    options = {"guidance_scale": 4.0}
    assert torch.equal(run(pipeline, [1], guidance_interval=(0, 1), **options), guided)
    assert torch.equal(run(pipeline, [1], guidance_interval=(2, 3), **options), plain)
    some = run(pipeline, [1], guidance_interval=(0.2, 0.5), **options)
    assert not torch.equal(some, plain) and not torch.equal(some, guided)


def test_model_without_condition_ignores_guidance() -> None:
    torch.manual_seed(0)
    model = DiTPlain(4, 32, 2, 2, use_pos_emb=False, num_moe_layers=0, max_seq_len=6)
    for conditioner in (None, MultiConditioner("uncond")):
        pipeline = CustomFlowMatchingPipeline(None, model, conditioner=conditioner)
        options: dict[str, Any] = {"indices": [0], "output_type": "latent"}
        one = run(pipeline, None, guidance_scale=1.0, **options)
        assert torch.equal(run(pipeline, None, guidance_scale=9.0, **options), one)


def test_types_and_modes_stay_as_they_are() -> None:
    pipeline = make()
    pipeline.model.bfloat16().train()
    pipeline.model.blocks[1].eval()
    latents = run(pipeline, [0])
    assert latents.dtype == torch.float32
    assert {p.dtype for p in pipeline.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in pipeline.conditioner.parameters()} == {torch.float32}
    assert pipeline.model.training and pipeline.conditioner.training
    assert not pipeline.model.blocks[1].training


def test_training_mode_does_not_drop_conditions() -> None:
    pipeline = make(conditioner=MultiConditioner("class", 3, 24, p_uncond=1.0))
    null = run(pipeline, None, indices=[0], guidance_scale=1.0)
    assert not torch.allclose(run(pipeline, [0], guidance_scale=1.0), null, atol=1e-5)


def test_noise_prediction_is_integrated_as_velocity() -> None:
    """Data at 0: x_t = sigma x0, so the noise is x / sigma and every path ends at 0."""

    class Zero(nn.Module):
        max_seq_len, in_channels = 6, 4

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor, t: Tensor, contexts: Any) -> Tensor:
            return x / (1 - t)[:, None, None]

    pipeline = CustomFlowMatchingPipeline(
        None, Zero(), EulerSchedule("exact"), transport=create_transport("Linear", "noise")
    )
    found = pipeline(indices=[0, 1], num_inference_steps=50, output_type="latent")
    assert found.abs().max() < 0.01


class Vae(nn.Module):
    """Hands back what it is called with."""

    def latents2mesh(self, latents: Tensor, **options: Any) -> Any:
        return latents, options

    def decode(self, latents: Tensor) -> Tensor:
        return latents.flatten(1)


def test_meshes_and_images_get_unscaled_latents_and_all_options() -> None:
    pipeline = make(vae=Vae(), z_scale_factor=2.0)
    latents = run(pipeline, [0])
    assert torch.allclose(run(make(z_scale_factor=1.0), [0]), 2 * latents, atol=1e-5)
    cube = [-1.01, -1.01, -1.01, 1.01, 1.01, 1.01]
    found, options = pipeline(
        [0], num_inference_steps=4, output_type="mesh", bounds=cube, octree_depth=5,
        mc_level=0.1, num_chunks=77, decode="dense",
    )  # fmt: skip
    assert torch.equal(found, latents)
    assert options == {
        "bounds": 1.01, "resolution": 32, "level": 0.1, "num_chunks": 77, "decode": "dense"
    }  # fmt: skip
    _, options = pipeline([0], num_inference_steps=1, output_type="mesh", octree_resolution=100)
    assert options["resolution"] == 100 and options["bounds"] == 1.01
    assert run(pipeline, [0], output_type="image").shape == (1, 24)


def test_wrong_arguments() -> None:
    pipeline, wrong = make(), {"output_type": "mesh"}
    with pytest.raises(ValueError, match="'mesh' needs an autoencoder"):
        run(pipeline, [0], **wrong)
    for scale in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a number >= 0"):
            run(pipeline, [0], guidance_scale=scale)
    with pytest.raises(ValueError, match="how many samples"):
        run(pipeline, None)
    with pytest.raises(ValueError, match="indices is empty"):
        run(pipeline, None, indices=[])
    with pytest.raises(ValueError, match="2 conditions for 1 samples"):
        run(pipeline, [0, 1], indices=[0])
    with pytest.raises(ValueError, match="without a conditioner"):
        run(make(conditioner=None), [0])
    for bounds in (0, -1, [], [-1, -1, -1, 1, 1], [-1, -1, -1, 1, 1, 2]):
        with pytest.raises(ValueError, match="expected a half side"):
            half_side(bounds)
    name: Any = "glb"
    with pytest.raises(ValueError, match="pipeline_output 'glb'"):
        CustomFlowMatchingPipeline(None, nn.Identity(), pipeline_output=name)
