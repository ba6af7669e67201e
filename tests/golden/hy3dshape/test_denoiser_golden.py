"""Denoiser against the reference cases: outputs, gradients, keys and counts of the full sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden.hy3dshape.cases import Case, cases

from hy3dshape.models.denoisers.dit import DiTPlain
from hy3dshape.models.denoisers.flops import active_parameters, evaluation_flops
from hy3dshape.models.denoisers.layers import MoEFeedForward, TimestepEmbedder, sinusoid

SIZES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 512, "depth": 12},
    "baseline": {"hidden_size": 1024, "depth": 12},
    "large": {"hidden_size": 2048, "depth": 16},
}
# Specification of the public checkpoints: parameters at work per token, GFLOP of an evaluation of
# one sample with a text of 77 tokens (given to 0.1).
ACTIVE = {"small": 68_343_328, "baseline": 260_418_592, "large": 1_275_981_856}
GFLOP = {"small": 151.3, "baseline": 547.7, "large": 2629.9}


def full_size(name: str) -> DiTPlain:
    with torch.device("meta"):
        return DiTPlain(
            **SIZES[name],
            in_channels=32,
            num_heads=16,
            context_dim=512,
            max_seq_len=1024,
            qk_norm=True,
            use_pos_emb=False,
            num_moe_layers=3,
            num_experts=4,
            moe_top_k=2,
        )


@cases("dit_*")
def test_transformer(case: Case) -> None:
    config: dict[str, Any] = case.info["config"]
    model = DiTPlain(**config)
    assert list(model.state_dict()) == list(case.weights)
    model.load_state_dict(case.weights)
    contexts = {"main": case.inputs["context"]} if "context" in case.inputs else None
    x, t = case.inputs["x"], case.inputs["t"]
    with torch.no_grad():
        case.check("v_train_mode", model.train()(x, t, contexts))
        v = model.eval()(x, t, contexts)
        case.check("v", v)
        if not config.get("use_attention_pooling"):
            case.check("v_first_half_tokens", model(x[:, : x.shape[1] // 2], t, contexts))


@cases("moe*")
def test_experts(case: Case) -> None:
    config = dict(case.info["config"])
    moe = MoEFeedForward(**config)
    moe.load_state_dict(case.weights)
    x = case.inputs["x"].requires_grad_()
    case.check("eval", moe.eval()(x))
    found = moe.train()(x)
    case.check("train", found)
    case.check("topk_weight_sorted", moe.scores(x.flatten(0, 1)).topk(moe.top_k).values)
    assert moe.auxiliary is not None
    case.check("aux_loss", moe.auxiliary)
    (found.square().mean() + moe.auxiliary).backward()
    gradients = {name: p.grad for name, p in moe.named_parameters()}
    assert x.grad is not None
    case.check("grad_x", x.grad)
    case.check("grad_gate", gradients["gate.weight"])
    case.check("grad_expert0", gradients["experts.0.net.0.proj.weight"])


@cases("timestep*")
def test_time(case: Case) -> None:
    width = case.info["config"]["hidden_size"]
    embedder = TimestepEmbedder(width)
    embedder.load_state_dict(case.weights)
    case.check("sinusoid", sinusoid(case.inputs["t"], width))
    case.check("emb", embedder(case.inputs["t"]))


@cases("state_dict_shapes*")
@pytest.mark.parametrize("size", SIZES)
def test_keys_and_counts_of_the_full_sizes(case: Case, size: str) -> None:
    reference = case.info
    model = full_size(size)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == reference[f"denoiser_{size}"]
    assert list(shapes) == list(reference[f"denoiser_{size}"]), "another order"
    assert sum(p.numel() for p in model.parameters()) == reference["counts"][f"denoiser_{size}"]
    assert active_parameters(model) == ACTIVE[size]
    assert evaluation_flops(model, 1024, 77) / 1e9 == pytest.approx(GFLOP[size], abs=0.05)
