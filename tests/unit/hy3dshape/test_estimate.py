"""Costs that --dry-run tells: the table of the specification, and what torch counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import main as entry
from hy3dshape.models.autoencoders.flops import Work
from hy3dshape.models.autoencoders.losses import LossWeights, sdf_losses
from hy3dshape.models.autoencoders.vecset import VecSetAutoEncoder
from hy3dshape.models.denoisers.dit import DiTPlain
from hy3dshape.models.denoisers.flops import saved_numbers

CONFIGS = Path(__file__).parents[3] / "hy3dshape" / "configs"
# parameters, of these at work on one token, GFLOP of an evaluation with a text of 77 tokens:
# figures of the released models, counted once with torch's own counter
RELEASED = [
    ("Size/Small", 80_941_600, 68_343_328, 151.3),
    ("Baseline", 310_780_960, 260_418_592, 547.7),
    ("Size/Large", 1_477_369_888, 1_275_981_856, 2629.9),
]


def told(name: str, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert entry.main(["-c", str(CONFIGS / f"{name}.yaml"), "--dry-run", *flags]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("name", "parameters", "active", "gflop"), RELEASED)
def test_sizes_of_the_released_denoisers(
    name: str, parameters: int, active: int, gflop: float, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found = told(name, capsys, "-ng", "4")
    assert found["parameters"]["denoiser"] == parameters
    assert found["parameters"]["active_per_token"] == active
    assert found["gflop_per_evaluation"] == gflop
    step = 3 * gflop * found["batch"]["samples_per_step"] / 1000
    assert found["training_tflop_per_step"] == pytest.approx(step, rel=1e-3)
    hours = step * 1e12 * 500_000 / (0.4 * 989e12) / 3600
    assert found["gpu_hours"] == pytest.approx(hours, rel=1e-3)
    memory = found["memory_gib_per_device"]
    assert memory["adam"] == pytest.approx(8 * parameters / 2**30, abs=0.01)
    assert found["config"]["training"]["num_gpus"] == found["batch"]["devices"] == 4
    assert not Path("outputs").exists()


def test_class_table_is_trained_with_the_denoiser(capsys: pytest.CaptureFixture[str]) -> None:
    found = told("Conditioning/LVIS-16-Category", capsys)["parameters"]
    assert found["trained"] - found["denoiser"] == found["class_table"] == 17 * 512


def test_full_autoencoder(capsys: pytest.CaptureFixture[str]) -> None:
    found = told("Autoencoder/vecsetx", capsys)
    assert found["parameters"]["trained"] == 424_109_153
    with torch.device("meta"):
        model = VecSetAutoEncoder(24, 1024, 1024, 32)
    assert Work(model, 8192, 1).field() / 1e6 == pytest.approx(8.5, abs=0.05)
    stack = 24 * 1024 * (32 * 1024**2 + 4 * 1024 * 1024)
    assert stack / 1e12 == pytest.approx(0.93, abs=0.01)
    assert found["gflop_per_evaluation"] > stack / 1e9


class Counter(TorchDispatchMode):
    """FLOPs by torch's own formulas; its FlopCounterMode refuses gradients of gradients."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def test_autoencoder_costs_what_torch_counts() -> None:
    torch.manual_seed(0)
    model = VecSetAutoEncoder(2, 128, 32, 8, head_dim=32)
    torch.nn.init.normal_(model.to_outputs[1].weight)
    batch = {"surface": torch.rand(1, 256, 3)}
    for kind in ("vol", "near"):
        batch |= {kind: torch.rand(1, 256, 3), f"{kind}_sdf": torch.rand(1, 256)}
    work = Work(model, 256, 768)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), Counter() as counter:
        model.decode(model.encode(batch["surface"])[0])(torch.rand(1, 768, 3))
    assert counter.total == work.forward()
    for weight in (0.0, 1e-3):
        with sdpa_kernel(SDPBackend.MATH), Counter() as counter:
            sdf_losses(model, batch, LossWeights(eikonal=weight))["loss"].backward()
        assert counter.total == pytest.approx(work.training(weight > 0), rel=0.05)
        kept = _kept(model, lambda w=weight: sdf_losses(model, batch, LossWeights(eikonal=w)))
        assert kept == pytest.approx(work.saved_numbers(weight > 0), rel=0.15)


@pytest.mark.parametrize("experts", [0, 2])
def test_activations_are_what_autograd_keeps(experts: int) -> None:
    torch.manual_seed(0)
    model = DiTPlain(
        in_channels=8, hidden_size=64, depth=4, num_heads=4, context_dim=32, qk_norm=True,
        use_pos_emb=False, num_moe_layers=experts, num_experts=4, max_seq_len=128,
    )  # fmt: skip
    x, t, context = torch.rand(2, 128, 8), torch.rand(2), torch.rand(2, 20, 32)
    kept = _kept(model, lambda: model(x, t, {"main": context}))
    assert kept / 2 == pytest.approx(saved_numbers(model, 128, 20), rel=0.18)


def _kept(model: torch.nn.Module, call: Any) -> float:
    """Numbers that autograd keeps in a forward pass, weights aside."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        if value.untyped_storage().data_ptr() not in own:
            seen[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        found = call()
    del found
    return sum(value.untyped_storage().nbytes() for value in seen.values()) / 4
