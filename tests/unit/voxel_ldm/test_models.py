"""Autoencoder and UNet: sizes of the reference, shapes, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from voxel_ldm.models.autoencoder import (
    DepthToSpace,
    SpaceToDepth,
    VoxelAutoencoder,
    reconstruction,
)
from voxel_ldm.models.unet3d import Attention3D, UNet3D, timestep_embedding


def weights(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("built", "total", "latent"),
    [
        ({}, 490_361, (16, 8, 8, 8)),
        ({"channels": (12, 24, 48, 96)}, 1_961_465, (16, 4, 4, 4)),
        ({"halve_last": False}, 195_161, (16, 16, 16, 16)),
        ({"resolution": 128, "channels": (12, 24, 48, 96)}, 1_961_465, (16, 8, 8, 8)),
    ],
)
def test_autoencoders_of_the_reference(built: dict[str, Any], total: int, latent: tuple[int, ...]):
    model = VoxelAutoencoder(**built)
    assert weights(model) == total
    assert model.latent_shape == latent


def test_halves_of_the_autoencoder() -> None:
    model = VoxelAutoencoder()
    assert (weights(model.encoder), weights(model.decoder)) == (245_188, 245_173)


def test_full_size_unet_has_the_references_weights() -> None:
    with torch.device("meta"):
        assert weights(UNet3D()) == 201_323_344


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stem", [1, 2])
def test_a_batch_keeps_its_axis(batch: int, stem: int) -> None:
    model = VoxelAutoencoder((4, 8), 2, 16, stem).eval()
    grids = torch.randint(0, 2, (batch, 16, 16, 16), dtype=torch.uint8)
    latents = model.encode(grids)
    assert latents.shape == (batch, *model.latent_shape)
    assert model.decode(latents).shape == grids.shape


def test_another_resolution_is_refused() -> None:
    model = VoxelAutoencoder((4, 8), 2, 16)
    with pytest.raises(ValueError, match=r"\(2, 32, 32, 32\).*R = 16"):
        model.encode(torch.zeros(2, 32, 32, 32))
    with pytest.raises(ValueError, match=r"latents of shape \(2, 8, 8, 8\)"):
        model.decode(torch.zeros(2, 2, 8, 8, 8))
    with pytest.raises(ValueError, match="multiple of 4"):
        VoxelAutoencoder((4, 8), 2, 18)


def test_cells_become_channels_and_come_back() -> None:
    grid = torch.arange(2 * 4**3).reshape(2, 1, 4, 4, 4)
    blocks = SpaceToDepth(2)(grid)
    assert blocks.shape == (2, 8, 2, 2, 2)
    assert torch.equal(blocks[0, :, 1, 0, 1], grid[0, 0, 2:4, 0:2, 2:4].flatten())
    assert torch.equal(DepthToSpace(2)(blocks), grid)


def test_decoding_one_does_not_depend_on_the_others() -> None:
    """Batch statistics would make it so, and decoding would move them."""
    model = VoxelAutoencoder((4, 8), 2, 16).eval()
    latents = torch.randn(3, *model.latent_shape)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    alone, together = model.decode(latents[:1]), model.decode(latents)[:1]
    assert torch.allclose(alone, together, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_figures_of_a_reconstruction() -> None:
    truth = torch.zeros(1, 2, 2, 2)
    truth[0, 0] = 1  # 4 of 8
    logits = torch.full((1, 2, 2, 2), -9.0)
    logits[0, 0, 0] = logits[0, 1, 0] = 9.0  # 2 right, 2 wrong
    found = reconstruction(logits, truth)
    assert found["iou"] == pytest.approx(2 / 6)
    assert found["precision"] == pytest.approx(0.5)
    assert found["recall"] == pytest.approx(0.5)
    plain = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), truth)
    assert found["loss"] == pytest.approx(plain.item(), rel=1e-4)
    assert reconstruction(logits, truth, 10.0)["loss"] > found["loss"]


def test_times_are_cosines_then_sines() -> None:
    found = timestep_embedding(torch.tensor([0, 7]), 8)
    assert torch.allclose(found[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    assert found[1, 0] == pytest.approx(torch.tensor(7.0).cos().item(), abs=1e-6)
    assert found[1, 4] == pytest.approx(torch.tensor(7.0).sin().item(), abs=1e-6)
    assert found[1, 7] == pytest.approx(torch.tensor(7 * 10_000 ** (-3 / 4)).sin().item(), rel=1e-5)


def test_attention_is_that_of_the_specification() -> None:
    """softmax(q k) v without a scale; norm and activation after the sum."""
    layer, x = Attention3D(32), torch.randn(2, 32, 2, 2, 2)
    q, k, v = (f(x).flatten(2) for f in (layer.q, layer.k, layer.v))
    mixed = v @ (q.transpose(1, 2) @ k).softmax(-1).transpose(1, 2)
    wanted = layer.norm(x + layer.out(mixed.reshape(x.shape)))
    assert torch.allclose(layer(x), wanted * wanted.sigmoid(), atol=1e-5)


def small(**more: Any) -> UNet3D:
    built = {"channels": 2, "num_classes": 2, "width": 32, "multipliers": (1, 2), "blocks": 1}
    return UNet3D(**{**built, **more}).eval()


def test_the_tail_starts_as_nearly_nothing() -> None:
    out = small()(torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 500]), torch.tensor([0, 2]))
    assert out.shape == (2, 2, 4, 4, 4)
    assert out.abs().max() < 1e-3


def test_labels_and_class_table_go_together() -> None:
    x, t = torch.randn(1, 2, 4, 4, 4), torch.tensor([3])
    with pytest.raises(ValueError, match="2 classes needs labels"):
        small()(x, t)
    with pytest.raises(ValueError, match="0 classes needs no labels"):
        small(num_classes=0)(x, t, torch.tensor([1]))


def test_sides_that_cannot_be_halved_and_odd_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="side 3 cannot be halved"):
        small()(torch.randn(1, 2, 3, 3, 3), torch.tensor([3]), torch.tensor([1]))
    with pytest.raises(ValueError, match="width 40: expected a multiple of 32"):
        small(width=40)
