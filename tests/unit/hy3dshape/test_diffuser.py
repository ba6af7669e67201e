"""The diffusion model as a whole: configuration, loss, scale, average of weights, checkpoints."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hy3dshape import config
from hy3dshape.models.diffusion.ema import LitEma, averaged_checkpoint
from hy3dshape.models.diffusion.flow_matching_sit import Diffuser

MODELS = "hy3dshape.models."
CONFIG: dict[str, Any] = {
    "denoiser_cfg": {
        "target": MODELS + "denoisers.dit.DiTPlain",
        "params": {
            "in_channels": 4,
            "hidden_size": 32,
            "depth": 2,
            "num_heads": 2,
            "context_dim": 24,
            "use_pos_emb": False,
            "num_moe_layers": 1,
            "num_experts": 3,
            "max_seq_len": 6,
        },
    },
    "cond_stage_config": {
        "target": MODELS + "conditioner.MultiConditioner",
        "params": {"type": "class", "num_classes": 3, "text_embed_dim": 24},
    },
    "scheduler_cfg": {
        "transport": {
            "target": MODELS + "diffusion.transport.create_transport",
            "params": {"path_type": "Linear", "prediction": "velocity"},
        },
        "sampler": {
            "target": MODELS + "diffusion.transport.Sampler",
            "params": {},
            "ode_params": {"sampling_method": "euler", "num_steps": 50},
        },
    },
    "optimizer_cfg": {
        "optimizer": {"target": "torch.optim.AdamW", "params": {"weight_decay": 0.01}},
        "scheduler": {
            "target": "hy3dshape.utils.trainings.lr_scheduler.LambdaWarmUpCosineFactorScheduler",
            "params": {"warm_up_steps": 2, "f_start": 0.0, "f_min": 0.1, "f_max": 1.0},
        },
        "train_image_encoder": True,
        "image_encoder_lr_multiply": 0.1,
    },
    "pipeline_cfg": {
        "target": "hy3dshape.pipelines.CustomFlowMatchingPipeline",
        "params": {"pipeline_output": "latent"},
    },
    "scale_by_std": True,
}
AUTOENCODER = {
    "target": MODELS + "autoencoders.autoencoder.CustomShapeVAE",
    "params": {"model_depth": 1, "model_dim": 64, "num_latents": 6, "latent_dim": 4},
}


def make(seed: int = 0, **changes: Any) -> Diffuser:
    torch.manual_seed(seed)
    node = {
        "target": MODELS + "diffusion.flow_matching_sit.Diffuser",
        "params": {**copy.deepcopy(CONFIG), **changes},
    }
    found = config.build(node, "model")
    assert isinstance(found, Diffuser)
    nn.init.normal_(found.model.final_layer.linear.weight, std=0.2)
    return found


def batch(seed: int = 0) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    return {"latents": 3 * torch.randn(4, 6, 4, generator=draw), "conditioning": [0, 1, 2, 0]}


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_loss_is_that_of_its_generator_and_its_parts_add_up() -> None:
    model = make()
    loss, logs = model(batch(), draw())
    assert torch.equal(model(batch(), draw())[0], loss)
    assert not torch.equal(model(batch(), draw(1))[0], loss)
    assert set(logs) == {"simple", "balance"}
    assert logs["balance"] > 0
    assert loss.item() == pytest.approx((logs["simple"] + logs["balance"]).item())
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_accumulation_divides_the_balance_loss_too() -> None:
    """Two micro-batches, each loss halved: the mean of their gradients, balance included."""
    model, halves = make(), [batch(1), batch(2)]
    model.begin(halves)
    gate = model.model.blocks[1].ff.gate.weight
    grads = [torch.autograd.grad(model(b, draw())[0], gate)[0] for b in halves]
    for b in halves:
        (model(b, draw())[0] / 2).backward()
    assert torch.allclose(gate.grad, (grads[0] + grads[1]) / 2, atol=1e-7)


def test_scale_is_set_once_from_the_first_batch() -> None:
    model = make()
    model.eval()(batch(), draw())
    assert model.z_scale_factor.item() == 1
    model.train()(batch(), draw())
    first = model.z_scale_factor.item()
    assert first == pytest.approx(1 / batch()["latents"].std().item())
    model({**batch(), "latents": batch(1)["latents"] * 9}, draw())
    assert model.z_scale_factor.item() == first
    assert model.state_dict()["z_scale_factor"].shape == ()


def test_scale_of_two_processes_is_that_of_two_micro_batches() -> None:
    both, ranks = make(), [make(), make()]
    both.begin([batch(1), batch(2)])
    alone = [(1 / batch(s)["latents"].std()).item() for s in (1, 2)]
    for rank in ranks:
        rank.begin([batch(1)], mean=lambda value: torch.tensor(sum(alone) / 2))
        assert rank.z_scale_factor.item() == pytest.approx(both.z_scale_factor.item())


def test_scale_stays_when_it_is_not_to_be_set_or_was_loaded() -> None:
    fixed = make(scale_by_std=False, z_scale_factor=0.5)
    fixed(batch(), draw())
    assert fixed.z_scale_factor.item() == 0.5
    assert "z_scale_factor" not in fixed.state_dict()
    trained, fresh = make(), make(1)
    trained(batch(), draw())
    fresh.load_slim(trained.slim_state(), "x.ckpt")
    fresh.begin([{**batch(), "latents": 100 * batch()["latents"]}])
    assert torch.equal(fresh.z_scale_factor, trained.z_scale_factor)
    with pytest.raises(ValueError, match="no finite spread"):
        make().begin([{**batch(), "latents": torch.ones(4, 6, 4)}])


def test_surfaces_are_encoded_and_the_autoencoder_is_frozen() -> None:
    model = make(first_stage_config=AUTOENCODER)
    surface = torch.nn.functional.normalize(torch.randn(4, 40, 3), dim=-1)
    loss, _ = model({"surface": surface, "conditioning": [0, 1, 2, 0]}, draw())
    loss.backward()
    assert all(p.grad is None for p in model.first_stage_model.parameters())
    assert not model.train().first_stage_model.training
    assert any(k.startswith("first_stage_model.autoencoder.") for k in model.state_dict())
    assert not any(k.startswith("first_stage_model.") for k in model.slim_state())


def test_batches_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="holds \\['conditioning'\\]; expected 'latents'"):
        make()({"conditioning": [0]})
    with pytest.raises(ValueError, match=r"latents are \(5, 4\).* say \(6, 4\)"):
        make()({**batch(), "latents": torch.randn(4, 5, 4)})
    with pytest.raises(ValueError, match="no 'conditioning'; it holds \\['latents'\\]"):
        make()({"latents": batch()["latents"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_config": {"rank": 4}}, "lora_config: there is no such feature"),
        ({"image_processor_cfg": {}}, "image_processor_cfg: there is no such feature"),
        ({"ema_config": {"decay": 1}}, "unknown key 'decay', did you mean 'ema_decay'"),
        ({"ema_config": {"ema_model": "Ema"}}, "'Ema'; known"),
        ({"optimizer_cfg": {"optimiser": {}}}, "did you mean 'optimizer'"),
        ({"ignored_keys": []}, "did you mean 'ignore_keys'"),
        (
            {
                "scheduler_cfg": {
                    "transport": {
                        "target": MODELS + "diffusion.transport.create_transport",
                        "params": {"matched_channels": 3},
                    }
                },
                "denoiser_cfg": {
                    "target": MODELS + "denoisers.dit.DiTPlain",
                    "params": {"hidden_size": 16, "num_heads": 2, "depth": 1, "use_pos_emb": True},
                },
            },
            "matched_channels needs a denoiser of sets",
        ),
    ],
)
def test_wrong_configuration(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_parameter_groups() -> None:
    model = make()
    denoiser, table = model.optimizer(1e-3).param_groups
    assert len(denoiser["params"]) == len(list(model.model.parameters()))
    assert (denoiser["lr"], denoiser["weight_decay"]) == (1e-3, 0.01)
    assert table["params"][0] is model.cond_stage_model.embedder.embedding.weight
    assert (table["lr"], table["weight_decay"]) == (pytest.approx(1e-4), 0.05)
    cfg = {**CONFIG["optimizer_cfg"], "image_encoder_lr": 7e-5}
    assert make(optimizer_cfg=cfg).parameter_groups(1e-3)[1]["lr"] == 7e-5
    cfg = {k: v for k, v in cfg.items() if k != "train_image_encoder"}
    frozen = make(optimizer_cfg=cfg)
    assert len(frozen.parameter_groups(1e-3)) == 1
    assert not any(p.requires_grad for p in frozen.cond_stage_model.parameters())


def test_learning_rate_and_missing_optimizer() -> None:
    factor = make().lr_factor(10)
    assert [factor(0), factor(2), factor(10)] == pytest.approx([0, 1, 0.1])
    bare = make(optimizer_cfg=None)
    assert bare.lr_factor(10)(5) == 1
    with pytest.raises(ValueError, match="optimizer: missing; training needs it"):
        bare.optimizer(1e-3)


def train(model: Diffuser, steps: int) -> list[float]:
    optimizer, losses = model.optimizer(2e-3), []
    for step in range(steps):
        loss, _ = model.train()(batch(), draw(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.after_step()
        losses.append(loss.item())
    return losses


def test_training_lowers_the_loss_and_samples_follow_the_data() -> None:
    """One latent per class; after training a class gives latents near its own."""
    model = make(scale_by_std=False)
    model.model.train()
    centres = torch.tensor([-2.0, 0.0, 2.0])
    labels = [0, 1, 2] * 4
    data = {"latents": centres[labels][:, None, None].expand(-1, 6, 4), "conditioning": labels}
    optimizer = torch.optim.AdamW(model.parameters(), 6e-3)
    for step in range(100):
        loss, _ = model.train()(data, draw(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model.sample_latents([0, 1, 2], num_inference_steps=20, guidance_scale=1.0)
    assert torch.allclose(found.mean(dim=(1, 2)), centres, atol=0.5)


def test_average_of_weights_is_its_closed_form() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    ema, expected = LitEma(layer, decay=0.5), 0.0
    for n in range(1, 12):
        nn.init.constant_(layer.weight, float(n))
        ema.update(layer)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert ema.state_dict()["weight"].item() == pytest.approx(expected)
    assert int(ema.num_updates) == 11


def test_average_keeps_small_updates_of_half_precision_weights() -> None:
    layer = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.constant_(layer.weight, 1.0)
    ema = LitEma(layer, decay=0.999)
    ema.num_updates.fill_(100_000)
    nn.init.constant_(layer.weight, 1.0078125)  # one step of bfloat16 further
    ema.update(layer)
    assert ema.get_buffer("weight").item() == pytest.approx(1 + 0.0078125e-3, abs=1e-7)


def test_average_is_saved_by_name_and_used_in_sampling_only_inside_its_scope() -> None:
    model = make(ema_config={"ema_model": "LitEma", "ema_decay": 0.9})
    train(model, 3)
    own = {k: v.clone() for k, v in model.model.state_dict().items()}
    state = model.state_dict()
    assert "model_ema.blocks_____0_____attn1_____to_q_____weight" in state
    found = averaged_checkpoint(state)
    assert not any(k.startswith("model_ema.") for k in found)
    averaged = {k.removeprefix("model."): v for k, v in found.items() if k.startswith("model.")}
    assert set(averaged) == set(own)
    with model.ema_scope():
        inside = model.model.state_dict()
        assert all(torch.equal(inside[k], averaged[k]) for k in own)
    assert all(torch.equal(v, own[k]) for k, v in model.model.state_dict().items())
    found = model.sample_latents([0], num_inference_steps=3)
    model.ema_inference = False
    assert not torch.equal(model.sample_latents([0], num_inference_steps=3), found)
    with pytest.raises(RuntimeError, match="stop"), model.ema_scope():
        raise RuntimeError("stop")
    assert all(torch.equal(v, own[k]) for k, v in model.model.state_dict().items())


def sd(model: Diffuser) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(v, b[k]) for k, v in a.items())


def test_checkpoints_slim_whole_and_with_launchers_prefixes() -> None:
    ema = {"ema_config": {"ema_decay": 0.9}, "first_stage_config": AUTOENCODER}
    trained = make(**ema)
    train(trained, 2)
    whole, slim = sd(trained), trained.slim_state()
    assert 0 < len(slim) < len(whole)
    for state in (whole, {f"_forward_module.{k}": v for k, v in whole.items()}):
        fresh = make(1, **ema)
        fresh.load_weights(state, "x.ckpt")
        assert same(sd(fresh), whole)
    fresh = make(1, **ema)
    kept = sd(fresh)
    fresh.load_slim(slim, "x.ckpt")
    for key, value in sd(fresh).items():
        expected = kept[key] if key.startswith("first_stage_model.") else whole[key]
        assert torch.equal(value, expected)
    plain = make(1)  # neither autoencoder nor average: their weights are not its own
    plain.load_weights(whole, "x.ckpt")
    assert all(torch.equal(v, whole[k]) for k, v in plain.state_dict().items())


def test_average_starts_from_weights_that_come_without_one() -> None:
    trained, averaged = make(), make(1, ema_config={"ema_decay": 0.9})
    train(averaged, 2)
    averaged.load_weights(sd(trained), "x.ckpt")
    assert averaged.model_ema is not None and int(averaged.model_ema.num_updates) == 0
    key = "final_layer_____linear_____weight"
    expected = trained.model.final_layer.linear.weight
    assert torch.equal(averaged.model_ema.get_buffer(key), expected)


def test_checkpoints_that_do_not_fit_name_the_keys() -> None:
    state = sd(make())
    del state["model.x_embedder.bias"]
    state["model.extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"x\.ckpt.*missing: model\.x_embed.*: model\.extra"):
        make().load_weights(state, "x.ckpt")
    with pytest.raises(ValueError, match=r"embedding\.weight"):
        no_table = {k: v for k, v in sd(make()).items() if not k.startswith("cond_stage_model.")}
        make().load_weights(no_table, "x.ckpt")


def test_ckpt_path_and_ignore_keys(tmp_path: Any) -> None:
    trained = make()
    train(trained, 1)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "last.ckpt")
    place = str(tmp_path / "last.ckpt")
    node = {
        "target": MODELS + "diffusion.flow_matching_sit.Diffuser",
        "params": {**CONFIG, "ckpt_path": place},
    }
    assert same(config.build(node).state_dict(), trained.state_dict())
    node["params"] = {**node["params"], "ignore_keys": ["model.x_embedder", "cond_stage_model"]}
    torch.manual_seed(7)
    found = config.build(node).state_dict()
    for key, value in trained.state_dict().items():
        ignored = key.startswith(("model.x_embedder", "cond_stage_model"))
        assert torch.equal(found[key], value) is not ignored


def test_a_model_without_condition() -> None:
    node = copy.deepcopy(CONFIG["denoiser_cfg"])
    node["params"]["context_dim"] = None
    for conditioner in (None, {**CONFIG["cond_stage_config"], "params": {"type": "uncond"}}):
        model = make(denoiser_cfg=node, cond_stage_config=conditioner)
        loss, _ = model({"latents": batch()["latents"]}, draw())
        assert loss.isfinite()
        assert model.sample_latents(indices=[0, 1], num_inference_steps=2).shape == (2, 6, 4)


def test_compiling_is_done_when_asked_for() -> None:
    for wanted in (True, False):
        model, calls = make(torch_compile=wanted), list[bool]()
        model.model.compile = lambda calls=calls: calls.append(True)
        model.compile_denoiser()
        assert bool(calls) is wanted
