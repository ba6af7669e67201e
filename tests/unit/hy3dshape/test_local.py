"""The autoencoder whose latents stand at points: what its latents and its field depend on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from torch import Tensor
from unit.hy3dshape.fields import sphere

import train_autoencoder as entry
from hy3dshape import config
from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE
from hy3dshape.models.autoencoders.local import NEAREST, POSITION_SCALE, LocalAutoEncoder
from hy3dshape.models.autoencoders.losses import LossWeights, occupancy_iou, sdf_losses
from hy3dshape.models.autoencoders.sampling import farthest_points, take
from hy3dshape.models.autoencoders.task import AutoencoderTask

CONFIG = Path(__file__).parents[3] / "hy3dshape" / "configs" / "Autoencoder" / "small.yaml"


def on_sphere(*shape: int) -> Tensor:
    points = torch.randn(*shape, 3)
    return 0.8 * points / points.norm(dim=-1, keepdim=True)


@pytest.fixture
def model() -> LocalAutoEncoder:
    torch.manual_seed(0)
    made = LocalAutoEncoder(1, 32, 16, 8, head_dim=16)
    torch.nn.init.normal_(made.to_outputs.weight)
    return made


def test_latents_are_farthest_points_and_normalised_features(model: LocalAutoEncoder) -> None:
    surface = on_sphere(2, 200)
    latents, loss = model.encode(surface)
    assert latents.shape == (2, 16, 8)
    assert torch.equal(loss, torch.zeros(2))
    at = take(surface, farthest_points(surface, 16))
    assert torch.equal(latents[..., :3], at * POSITION_SCALE)
    features = latents[..., 3:]
    assert features.mean(dim=-1).abs().max() < 1e-5
    assert features.var(dim=-1, correction=0).sub(1).abs().max() < 1e-3
    assert torch.equal(model.encode(surface, 7)[0], latents[:, :7])


def test_curved_planes_are_even_at_first_and_then_quadrics(model: LocalAutoEncoder) -> None:
    curved = LocalAutoEncoder(1, 32, 16, 8, head_dim=16, curved=True)
    assert curved.load_state_dict(model.state_dict(), strict=False).missing_keys == [
        "to_curves.weight", "to_curves.bias"
    ]  # fmt: skip
    latents, points = model.encode(on_sphere(2, 200))[0], torch.randn(2, 30, 3)
    assert torch.equal(curved.decode(latents)(points), model.decode(latents)(points))
    assert curved.to_curves is not None
    torch.nn.init.normal_(curved.to_curves.weight)
    seen = curved.decode(latents[:1, :1])  # one latent: its HEADS weights do not count
    with torch.no_grad():
        curved.together.weight.zero_()
        for linear in (curved.each, curved.together, curved.to_outputs):
            linear.bias.fill_(100 if linear is curved.each else 0)  # no rectifier at work
    line = torch.linspace(0, 0.3, 5)[:, None] * torch.tensor([1.0, -2.0, 0.5])
    values = seen((seen.at + line)[:1])[0].double()
    third = values.diff().diff().diff()
    assert third.abs().max() < 1e-3 * values.diff().diff().abs().max()


def test_a_latent_sees_its_surroundings_alone_and_not_their_order(model: LocalAutoEncoder) -> None:
    surface = on_sphere(1, 200)
    latents = model.encode(surface)[0]
    others = torch.cat([surface[:, :1], surface[:, 1:].flip(1)], dim=1)
    torch.testing.assert_close(model.encode(others)[0], latents)
    near = (surface - surface[:, :1]).norm(dim=-1) < 1.0
    moved = torch.where(near[..., None], surface, surface * 0.5)
    assert torch.equal(model.encode(moved)[0][:, 0], latents[:, 0])
    assert not torch.equal(model.encode(moved)[0], latents)


def test_field_is_one_whatever_the_order_of_latents_and_the_batch(model: LocalAutoEncoder) -> None:
    latents, points = model.encode(on_sphere(3, 200))[0], torch.rand(3, 50, 3) * 2 - 1
    found = model.decode(latents)(points)
    assert found.std() > 1e-3
    torch.testing.assert_close(model.decode(latents.flip(1))(points), found)
    torch.testing.assert_close(model.decode(latents).item(1)(points[1:2]), found[1:2])
    assert model.decode(latents[:, : NEAREST - 1])(points).isfinite().all()


def test_learns_a_sphere_and_gives_a_closed_mesh_back() -> None:
    torch.manual_seed(0)
    vae = CustomShapeVAE(
        1, 32, surface_size=256, num_latents=16, latent_dim=8, head_dim=16, architecture="local"
    )
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    weights = LossWeights(near=1, surface=0, eikonal=0, occupancy=1)
    for _ in range(150):
        batch = {"surface": on_sphere(4, 256)}
        batch["vol"], batch["near"] = torch.rand(4, 64, 3) * 2 - 1, on_sphere(4, 64) * 1.02
        for kind in ("vol", "near"):
            batch[f"{kind}_sdf"] = batch[kind].norm(dim=-1) - 0.8
        losses = sdf_losses(vae.autoencoder, batch, weights)
        assert losses["pred"].shape == (4, 128)
        assert "loss_surface" not in losses
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    points = torch.rand(4096, 3) * 2 - 1
    with torch.no_grad():
        latents = vae.encode(on_sphere(1, 256))
        assert occupancy_iou(vae.decode(latents)(points[None])[0], sphere(points)) > 0.9
        mesh = trimesh.Trimesh(*vae.latents2mesh(latents, resolution=32)[0])
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * torch.pi * 0.8**3, rel=0.1)


def test_training_draws_the_number_of_latents_and_may_leave_the_encoder() -> None:
    torch.manual_seed(0)
    node = config.load_config(CONFIG)["model"]["params"]
    node["first_stage_config"]["params"] |= {"model_dim": 32, "head_dim": 16, "num_latents": 16}
    task = AutoencoderTask(**node | {"latent_counts": [8], "freeze_encoder": True}).train()
    model = task.first_stage_model.autoencoder
    before = {k: v.clone() for k, v in model.state_dict().items()}
    points, labels = torch.rand(2, 512, 3), torch.rand(2, 512) - 0.5
    batch = {"surface": on_sphere(2, 64), "points": points, "labels": labels}
    torch.nn.init.normal_(before["to_outputs.weight"])
    model.load_state_dict(before)
    loss, _ = task(batch)
    parts = {"surface": batch["surface"], "vol": points[:, :256], "near": points[:, 256:],
             "vol_sdf": labels[:, :256], "near_sdf": labels[:, 256:]}  # fmt: skip
    weights = LossWeights(near=1, surface=0, eikonal=0, occupancy=1)
    assert torch.equal(loss, sdf_losses(model, parts, weights, 8)["loss"])
    assert not torch.equal(task.eval()(batch)[0], loss)
    noisy = AutoencoderTask(**node | {"latent_counts": [8], "latent_noise": [0.1]}).train()
    noisy.load_state_dict(task.state_dict())
    one, same, other = (noisy(batch, torch.Generator().manual_seed(s))[0] for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert len({loss.item(), one.item(), other.item()}) == 3
    assert torch.equal(noisy.eval()(batch)[0], task(batch)[0])
    optimizer = task.optimizer(1e-2)
    loss.backward()
    optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    latents = ("point_embed", "offset_embed", "patch", "pool", "encoder_ff", "to_latents")
    assert changed == {k for k in before if not k.startswith(latents)}


def test_noise_is_of_one_number_of_latents_each() -> None:
    node = config.load_config(CONFIG)["model"]["params"]
    with pytest.raises(ValueError, match="latent_noise: 1 numbers for 2 latent_counts"):
        AutoencoderTask(**node | {"latent_counts": [8, 16], "latent_noise": [0.1]})


def test_an_encoder_by_attention_is_not_frozen() -> None:
    node = config.load_config(CONFIG)["model"]["params"]
    small = {"architecture": "vecset", "model_dim": 32, "head_dim": 16, "model_depth": 1}
    node["first_stage_config"]["params"] |= small
    with pytest.raises(ValueError, match="freeze_encoder: needs an autoencoder of architecture"):
        AutoencoderTask(**node | {"freeze_encoder": True})


def test_a_compiled_field_has_no_eikonal_term() -> None:
    with pytest.raises(ValueError, match="torch_compile: needs eikonal_weight 0"):
        AutoencoderTask({}, {}, torch_compile=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"architecture": "octree"}, "architecture 'octree': expected 'vecset' or 'local'"),
        ({"bottleneck": "kl"}, "bottleneck normalized"),
        ({"query_type": "learnable"}, "query_type is point"),
        ({"latent_dim": 4}, "latent_dim 4: expected 3 of the position"),
    ],
)
def test_what_does_not_fit_is_said(more: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"architecture": "local", "latent_dim": 8} | more
    with pytest.raises(ValueError, match=message):
        CustomShapeVAE(1, 32, num_latents=16, head_dim=16, **given)
    with pytest.raises(ValueError, match="63 surface points: expected 64 or more"):
        LocalAutoEncoder(1, 32, 4, 8, head_dim=16).encode(torch.rand(1, 63, 3))


def test_dry_run_counts_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["-c", str(CONFIG), "--dry-run"]) == 0
    found = json.loads(capsys.readouterr().out)
    model = LocalAutoEncoder(2, 128, 128, 16, head_dim=32)
    assert found["parameters"]["trained"] == sum(p.numel() for p in model.parameters())
    assert found["tokens"] == {"latents": 128, "points": 2048, "queries": 1024}
    assert found["gflop_per_evaluation"] > 0.1


def test_refined_latents_lie_closer_and_stay_normalised(model: LocalAutoEncoder) -> None:
    surface = on_sphere(2, 200)
    latents = model.encode(surface)[0]
    refined = model.refine(latents, surface, 30)

    def off(z: Tensor) -> float:
        return model.decode(z)(surface).abs().mean().item()

    assert off(refined) < 0.9 * off(latents)
    assert torch.equal(refined[..., :3], latents[..., :3])
    assert refined[..., 3:].mean(dim=-1).abs().max() < 1e-5
    alone = model.refine(latents[:1], surface[:1], 30)
    torch.testing.assert_close(alone, refined[:1], atol=1e-3, rtol=0)
    vecset = CustomShapeVAE(model_depth=1, model_dim=64, num_latents=4, latent_dim=4)
    with pytest.raises(ValueError, match="refine: needs an autoencoder of architecture 'local'"):
        vecset.encode(surface, refine=1)
