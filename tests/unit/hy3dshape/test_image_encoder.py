"""FLUX's image autoencoder through diffusers, on a tiny random one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from hy3dshape.models.autoencoders.image_encoder import FluxVAE, to_grid, to_tokens

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX's layout (16 channels, no quantisation layers), one level of four channels."""
    path = tmp_path_factory.mktemp("flux")
    torch.manual_seed(0)
    AutoencoderKL(
        latent_channels=16, block_out_channels=(4, 4), norm_num_groups=2, shift_factor=0.1159,
        scaling_factor=0.3611, use_quant_conv=False, use_post_quant_conv=False,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(path / "vae")  # fmt: skip
    return path


def test_latents_are_shifted_and_scaled(folder: Path) -> None:
    vae = FluxVAE(str(folder), dtype="fp32")  # a pipeline's folder: its `vae` is found
    inner = AutoencoderKL.from_pretrained(folder / "vae")
    z = inner.encode(IMAGES * 2 - 1).latent_dist.mode()
    latents = vae.encode(IMAGES)
    assert latents.shape == (2, 16, 8, 8)
    assert torch.allclose(latents, (z - 0.1159) * 0.3611, atol=1e-6)
    expected = (inner.decode(z).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(vae.decode(latents), expected, atol=1e-5)
    assert torch.equal(vae.decode(to_tokens(latents)), vae.decode(latents))


def test_sampling_the_posterior_follows_its_generator(folder: Path) -> None:
    vae = FluxVAE(str(folder / "vae"), dtype="fp32")
    first, again, other = (
        vae.encode(IMAGES, True, torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_tokens_are_rows_of_the_image() -> None:
    latents = torch.arange(2 * 16 * 32 * 32.0).reshape(2, 16, 32, 32)
    tokens = to_tokens(latents)
    assert tokens.shape == (2, 1024, 16)
    assert torch.equal(tokens[1, 5 * 32 + 7], latents[1, :, 5, 7])
    assert torch.equal(to_grid(tokens), latents)
    with pytest.raises(ValueError, match="1000 tokens do not fill a square"):
        to_grid(tokens[:, :1000])


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, torch.bfloat16),
        ({"dtype": "fp32"}, torch.float32),
        ({"enforce_fp32": True}, torch.float32),
    ],
)
def test_precision(options: dict[str, object], expected: torch.dtype, folder: Path) -> None:
    vae = FluxVAE(str(folder), **options)
    assert {p.dtype for p in vae.parameters()} == {expected}
    with torch.autocast("cpu", torch.bfloat16):
        latents = vae.encode(IMAGES)
        images = vae.decode(latents)
    assert latents.dtype == images.dtype == torch.float32
    exact = FluxVAE(str(folder), dtype="fp32").encode(IMAGES)
    assert torch.allclose(latents, exact, atol=0 if expected == torch.float32 else 0.02)


def test_frozen_or_not(folder: Path) -> None:
    vae = FluxVAE(str(folder))
    vae.train()
    assert not any(m.training for m in vae.modules())
    assert not any(p.requires_grad for p in vae.parameters())
    free = FluxVAE(str(folder), freeze=False).train()
    assert free.vae.training and all(p.requires_grad for p in free.parameters())


def test_wrong_arguments(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype 'int8'; expected one of bf16, fp16, fp32"):
        FluxVAE(str(folder), dtype="int8")
    with pytest.raises(ValueError, match=r"expected \(b, 3, h, w\)"):
        FluxVAE(str(folder)).encode(torch.zeros(1, 4, 16, 16))
    with pytest.raises(ValueError, match=r"nowhere: no such folder; download FLUX's `vae` folder"):
        FluxVAE(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"cannot load AutoencoderKL: .*; download FLUX's"):
        FluxVAE(str(tmp_path))


def test_missing_weights_are_an_error(folder: Path, tmp_path: Path) -> None:
    name = "diffusion_pytorch_model.safetensors"
    state = load_file(folder / "vae" / name)
    del state["decoder.conv_out.weight"]
    save_file(state, tmp_path / name)
    (tmp_path / "config.json").write_text((folder / "vae" / "config.json").read_text())
    with pytest.raises(ValueError, match=r"1 weights are missing, as \['decoder.conv_out.weight'"):
        FluxVAE(str(tmp_path))
