"""The denoiser: every argument, cost in closed form, experts, training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hy3dshape.models.denoisers.dit import DiTPlain
from hy3dshape.models.denoisers.flops import active_parameters, evaluation_flops
from hy3dshape.models.denoisers.layers import (
    AttentionPooling,
    MoEFeedForward,
    balance_loss,
    positions_1d,
    positions_2d,
)

SMALL: dict[str, Any] = {
    "in_channels": 5,
    "hidden_size": 32,
    "depth": 4,
    "num_heads": 2,
    "context_dim": 24,
    "text_len": 6,
    "max_seq_len": 9,
    "grid_size": 3,
    "use_pos_emb": False,
    "num_moe_layers": 1,
    "num_experts": 4,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "cross-attention": {},
    "no context": {"context_dim": None},
    "concat": {"integration_mode": "concat"},
    "pooled": {"use_attention_pooling": True},
    "modulated": {"timested_modulate": True, "qkv_bias": False},
    "norms": {"qk_norm": True, "qk_norm_type": "layer", "norm_type": "rms"},
    "positions": {"use_pos_emb": True, "pos_emb_type": "2d"},
    "odd": {"depth": 5},
    "one block": {"depth": 1, "num_moe_layers": 6},
}


def make(**changes: Any) -> DiTPlain:
    """A small model whose last layer is not zero, so that outputs differ."""
    torch.manual_seed(0)
    model = DiTPlain(**{**SMALL, **changes})
    torch.nn.init.normal_(model.final_layer.linear.weight, std=0.1)
    return model


def batch(seed: int = 1, context: bool = True) -> tuple[Any, ...]:
    draw = torch.Generator().manual_seed(seed)
    x, t = torch.randn(2, 9, 5, generator=draw), torch.rand(2, generator=draw)
    return x, t, {"main": torch.randn(2, 6, 24, generator=draw)} if context else None


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_runs_and_every_weight_has_a_gradient(name: str) -> None:
    model = make(**VARIANTS[name])
    x, t, contexts = batch(context=model.context_dim is not None)
    v = model(x, t, contexts)
    assert v.shape == x.shape
    (v.square().mean() + model.auxiliary_loss()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_flops_are_those_that_torch_counts(name: str) -> None:
    model = make(**VARIANTS[name]).eval()
    x, t, contexts = batch(context=model.context_dim is not None)
    assert 2 * evaluation_flops(model, 9, 6 if contexts else 0) == count(model, x, t, contexts)
    assert 2 * evaluation_flops(model, 9) == count(model, x, t, None)


def count(model: DiTPlain, *inputs: Any) -> int:
    """FLOPs that torch counts; it knows the plain attention, not the fused one of the CPU."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(*inputs)
    return counter.get_total_flops()


def test_no_context_given_or_an_empty_one_is_unconditional() -> None:
    x, t, contexts = batch()
    for changes in ({}, {"integration_mode": "concat"}, {"use_attention_pooling": True}):
        model = make(**changes).eval()
        assert torch.equal(model(x, t), model(x, t, {}))
        assert not torch.allclose(model(x, t), model(x, t, contexts), atol=1e-4)


def test_odd_depth_leaves_the_middle_block_without_skip() -> None:
    keys = make(depth=5).state_dict()
    assert [i for i in range(5) if f"blocks.{i}.skip_linear.weight" in keys] == [3, 4]
    keys = make(depth=4).state_dict()
    assert [i for i in range(4) if f"blocks.{i}.skip_linear.weight" in keys] == [2, 3]


def test_the_set_is_unordered_without_positions_and_ordered_with() -> None:
    x, t, contexts = batch()
    order = torch.tensor([3, 1, 8, 0, 2, 7, 5, 6, 4])
    for positions in (False, True):
        model = make(use_pos_emb=positions).eval()
        moved = model(x[:, order], t, contexts)
        same = torch.allclose(moved, model(x, t, contexts)[:, order], atol=1e-5)
        assert same is not positions


def test_positions_in_two_dimensions_are_rows_of_columns() -> None:
    table, line = positions_2d(3, 32), positions_1d(3, 16)
    assert torch.equal(table[5], torch.cat([line[2], line[1]]))  # row 1, column 2


def test_pooling_is_that_of_torch_attention() -> None:
    torch.manual_seed(0)
    pool, context = AttentionPooling(6, 24, out=16), torch.randn(2, 6, 24)
    x = torch.cat([context.mean(1, keepdim=True), context], dim=1) + pool.positional_embedding
    x = x.transpose(0, 1)
    expected, _ = torch.nn.functional.multi_head_attention_forward(
        x[:1], x, x, 24, 8, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        None, None, False, 0.0, pool.c_proj.weight, pool.c_proj.bias,
        use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    assert torch.allclose(pool(context), expected[0], atol=1e-5)


def dense(moe: MoEFeedForward, x: torch.Tensor) -> torch.Tensor:
    """Every expert on every token, weighted by its score if it is among the best."""
    scores = (x @ moe.gate.weight.T).softmax(-1)
    kept = scores * (scores >= scores.topk(moe.top_k).values[..., -1:])
    outputs = torch.stack([expert(x) for expert in moe.experts], dim=-1)
    return moe.shared_experts(x) + (outputs * kept[..., None, :]).sum(-1)


@pytest.mark.parametrize("training", [True, False])
def test_experts_are_those_of_a_dense_evaluation_with_gradient(training: bool) -> None:
    torch.manual_seed(0)
    moe = MoEFeedForward(8, 5, 2, 16).train(training)
    x = torch.randn(3, 11, 8)
    assert torch.allclose(moe(x), dense(moe, x), atol=1e-6)
    found = torch.autograd.grad(moe(x).square().sum(), list(moe.parameters()))
    expected = torch.autograd.grad(dense(moe, x).square().sum(), list(moe.parameters()))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_an_idle_expert_has_a_zero_gradient_not_none() -> None:
    moe = MoEFeedForward(8, 4, 1, 16)
    moe(torch.randn(1, 1, 8)).sum().backward()
    gradients = [expert.net[2].weight.grad for expert in moe.experts]
    assert all(g is not None for g in gradients)
    assert sum(bool(g.any()) for g in gradients) == 1


def test_balance_loss_is_alpha_when_even_and_more_when_not() -> None:
    even = torch.full((8, 4), 0.25)
    chosen = torch.arange(8)[:, None] % 4
    assert balance_loss(even, chosen, 0.01).item() == pytest.approx(0.01)
    one = torch.eye(4)[torch.zeros(8, dtype=torch.long)]
    assert balance_loss(one, torch.zeros_like(chosen), 0.01).item() == pytest.approx(0.04)


def test_balance_loss_scales_with_the_loss() -> None:
    """Its part of the gate's gradient halves when the sum is halved (accumulation over 2)."""
    model = make()
    gates = [m.gate.weight for m in model.modules() if isinstance(m, MoEFeedForward)]
    model(*batch())
    whole = torch.autograd.grad(model.auxiliary_loss(), gates, retain_graph=True)
    half = torch.autograd.grad(model.auxiliary_loss() / 2, gates)
    assert whole[0].abs().max() > 0
    assert torch.allclose(half[0], whole[0] / 2)


def test_auxiliary_loss_is_zero_in_eval_mode_and_without_experts() -> None:
    for model in (make().eval(), make(num_moe_layers=0)):
        model(*batch())
        assert model.auxiliary_loss().item() == 0
    model = make(num_moe_layers=2)
    model(*batch())
    parts = [m.auxiliary for m in model.modules() if isinstance(m, MoEFeedForward)]
    assert model.auxiliary_loss().item() == pytest.approx(sum(p.item() for p in parts if p))


def test_autocast_keeps_the_routing_in_float32() -> None:
    moe = make(num_moe_layers=4).blocks[0].ff
    tokens = torch.randn(20, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = moe.scores(tokens)
        assert moe(tokens).dtype == torch.bfloat16
    assert torch.equal(inside, moe.scores(tokens))


def test_active_parameters_leave_out_idle_experts() -> None:
    model = make(num_experts=4, moe_top_k=1)
    expert = sum(p.numel() for p in model.blocks[3].ff.experts[0].parameters())
    assert active_parameters(model) == sum(p.numel() for p in model.parameters()) - 3 * expert


def test_over_fits_a_constant_flow() -> None:
    """Two samples, told apart by their context alone."""
    model = make(num_moe_layers=2, qk_norm=True)
    x, t, contexts = batch()
    target = torch.stack([torch.ones(9, 5), -torch.ones(9, 5)])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (model(x, t, contexts) - target).square().mean()
        optimizer.zero_grad()
        (loss + model.auxiliary_loss()).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "head size must be a multiple of 8"),
        ({"hidden_size": 512, "num_heads": 2}, "at most 128"),
        ({"depth": 0}, "depth 0"),
        ({"integration_mode": "film"}, "integration_mode 'film'"),
        ({"pos_emb_type": "3d"}, "pos_emb_type '3d'"),
        ({"context_dim": None, "use_attention_pooling": True}, "needs a context_dim"),
        ({"context_dim": 20, "use_attention_pooling": True}, "in eights, found 20"),
        ({"moe_top_k": 5}, "1 to num_experts = 4, found 5"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_wrong_inputs() -> None:
    x, t, contexts = batch()
    with pytest.raises(ValueError, match=r"latents \(2, 9, 4\), not \(b, n, 5\)"):
        make()(x[..., :4], t, contexts)
    with pytest.raises(ValueError, match=r"times \(1,\), not \(2,\)"):
        make()(x, t[:1], contexts)
    with pytest.raises(ValueError, match=r"context \(2, 6, 23\), not \(2, t, 24\)"):
        make()(x, t, {"main": contexts["main"][..., :23]})
    with pytest.raises(ValueError, match="without context_dim"):
        make(context_dim=None)(x, t, contexts)
    with pytest.raises(ValueError, match="9 tokens, positions for 4"):
        make(use_pos_emb=True, max_seq_len=4)(x, t, contexts)
    with pytest.raises(ValueError, match="context of 5 tokens, not text_len = 6"):
        make(use_attention_pooling=True)(x, t, {"main": contexts["main"][:, :5]})
