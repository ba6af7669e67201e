"""export_model.py: averaged weights, matrices in half precision, everything loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import export_model
from hy3dshape.models.autoencoders.vecset import VecSetAutoEncoder
from hy3dshape.weights import load_strict


def _export(ckpt: Path, *flags: str) -> dict[str, torch.Tensor]:
    output = ckpt.parent / "out.safetensors"
    assert export_model.main(["--ckpt", str(ckpt), "--output", str(output), *flags]) == 0
    return load_file(output)


def test_an_autoencoder_loads_again_with_its_exact_frequencies(tmp_path: Path) -> None:
    model = VecSetAutoEncoder(1, 64, 8, 4)
    save_file(model.state_dict(), tmp_path / "ae.safetensors")
    found = _export(tmp_path / "ae.safetensors")
    assert torch.equal(found["point_embed.basis"], model.point_embed.basis)
    assert found["point_embed.mlp.weight"].dtype == torch.float16
    assert found["point_embed.mlp.bias"].dtype == torch.float32
    load_strict(VecSetAutoEncoder(1, 64, 8, 4), found, "exported")


@pytest.mark.parametrize(("flags", "expected"), [((), 2.0), (("--no-ema",), 1.0)])
def test_averages_take_the_place_of_the_weights(
    tmp_path: Path, flags: tuple[str, ...], expected: float
) -> None:
    state = {
        "model.a.weight": torch.full((2, 2), 1.0),
        "model_ema.a_____weight": torch.full((2, 2), 2.0),
        "model_ema.decay": torch.tensor(0.9),
        "model_ema.num_updates": torch.tensor(3),
        "z_scale_factor": torch.tensor(1.1),
    }
    folder = tmp_path / "run" / "ckpt" / "ckpt-step=00000003.ckpt"
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    found = _export(tmp_path / "run", *flags)
    assert set(found) == {"model.a.weight", "z_scale_factor"}
    assert found["model.a.weight"].unique().item() == expected
    assert found["z_scale_factor"].item() == pytest.approx(1.1)
