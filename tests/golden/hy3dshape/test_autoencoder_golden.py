"""The autoencoder against the reference numbers; see README.md."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.hy3dshape.cases import Case, cases

from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE
from hy3dshape.models.autoencoders.bottleneck import BOTTLENECKS
from hy3dshape.models.autoencoders.grid import evaluate_dense
from hy3dshape.models.autoencoders.isosurface import extract_surface
from hy3dshape.models.autoencoders.losses import LossWeights, sdf_losses
from hy3dshape.models.autoencoders.sampling import farthest_points, take
from hy3dshape.models.autoencoders.vecset import PointEmbed, VecSetAutoEncoder
from hy3dshape.weights import load_strict


def _vae(case: Case, norm_eps: float, bottleneck_eps: float) -> CustomShapeVAE:
    names = ("model_depth", "model_dim", "surface_size", "num_latents", "latent_dim", "query_type")
    model = CustomShapeVAE(
        **{n: case.info["config"][n] for n in names},
        bottleneck=case.info["config"]["bottleneck"],
        norm_eps=norm_eps,
        bottleneck_eps=bottleneck_eps,
    )
    load_strict(model, case.weights, case.name)
    return model.eval()


@cases("fps*")
def test_farthest_points(case: Case) -> None:
    index = farthest_points(case.inputs["points"], case.info["config"]["m"])
    case.check("index", index)
    case.check("sampled", take(case.inputs["points"], index))


@cases("point_embed*")
def test_point_embedding(case: Case) -> None:
    embed = PointEmbed(case.info["config"]["dim"])
    load_strict(embed, case.weights, case.name)
    case.check("raw", embed.raw(case.inputs["points"]))
    case.check("embed", embed(case.inputs["points"]))


@cases("bottleneck_normalized*")
def test_normalized_bottleneck(case: Case) -> None:
    config = case.info["config"]
    for name, eps in (("z", config["eps"]), ("z_eps1e6", config["eps_alt"])):
        bottleneck = BOTTLENECKS["normalized"](config["dim"], config["latent_dim"], eps)
        load_strict(bottleneck, case.weights, case.name)
        case.check(name, bottleneck.pre(case.inputs["x"])[0])
    case.check("post", bottleneck.post(case.outputs["z"]))


@cases("bottleneck_kl*")
def test_gaussian_bottleneck(case: Case) -> None:
    config = case.info["config"]
    bottleneck = BOTTLENECKS["kl"](config["dim"], config["latent_dim"], 0.0).eval()
    load_strict(bottleneck, case.weights, case.name)
    mean, loss = bottleneck.pre(case.inputs["x"])
    case.check("mean", mean)
    case.check("kl_loss", loss)
    case.check("post", bottleneck.post(mean))


@cases("ae_*", without="ae_loss*")
@torch.no_grad()
def test_autoencoder_with_both_eps(case: Case) -> None:
    config, surface, queries = case.info["config"], case.inputs["surface"], case.inputs["queries"]
    if "fps_index" in case.inputs:
        index = farthest_points(surface, config["num_latents"])
        assert torch.equal(index, case.inputs["fps_index"])
    paper = _vae(case, config["norm_eps"], config["bottleneck_eps"])
    vecsetx = _vae(case, config["norm_eps_default"], config["bottleneck_eps_default"])
    for model, tail in ((paper, ""), (vecsetx, "_eps_default")):
        case.check(f"latents{tail}", model.encode(surface))
        case.check(f"sdf{tail}", model.decode(case.outputs[f"latents{tail}"])(queries))
    noise = case.inputs["latents_noise"]
    case.check("sdf_from_noise", paper.decode(noise)(queries))
    grids = paper.latents2grid(noise[:1], config["grid_bounds"], config["grid_resolution"])
    case.check("grid", grids[0].values[None])


@cases("ae_loss*")
def test_losses_and_exact_gradients(case: Case) -> None:
    config = case.info["config"]
    model = VecSetAutoEncoder(
        config["model_depth"], config["model_dim"], config["num_latents"], config["latent_dim"],
        norm_eps=config["norm_eps"], bottleneck_eps=config["bottleneck_eps"],
    )  # fmt: skip
    load_strict(model, case.weights, case.name)
    vol, labels = case.inputs["vol"], case.inputs["labels"]
    batch = {
        "surface": case.inputs["surface"],
        "vol": vol,
        "vol_sdf": labels[:, : config["n_vol"]],
        "near": case.inputs["near"],
        "near_sdf": labels[:, config["n_vol"] :],
    }
    weights = LossWeights(config["w_vol"], config["w_near"], config["w_surf"], config["w_eik"])
    found = sdf_losses(model, batch, weights)
    for name in ("pred", "loss_vol", "loss_near", "loss_surface", "loss_eikonal", "loss"):
        case.check(name, found[name])
    found["loss"].backward()
    case.check("grad_point_embed", model.point_embed.mlp.weight.grad)
    case.check("grad_out", model.to_outputs[1].weight.grad)
    case.check("grad_q0", model.layers[0][0].fn.to_q.weight.grad)


@cases("isosurface*")
def test_outward_faces(case: Case) -> None:
    config, tolerance = case.info["config"], case.info["tolerance"]
    grid = case.inputs["grid"].numpy()
    vertices, faces = extract_surface(grid, config["bounds"], config["level"])
    a, b, c = vertices[faces].transpose(1, 0, 2)
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert volume == pytest.approx(case.outputs["volume"].item(), rel=tolerance["volume_rel"])
    assert area == pytest.approx(case.outputs["area"].item(), rel=tolerance["area_rel"])
    expected = case.outputs["vertices"].numpy()
    assert len(vertices) == len(expected)
    gaps = np.abs(vertices[:, None] - expected[None]).max(axis=2).min(axis=1)
    assert gaps.max() <= tolerance["vertex_set_abs"]


@cases("state_dict_shapes*")
def test_full_size_keys_and_shapes(case: Case) -> None:
    expected = case.info
    with torch.device("meta"):
        model = CustomShapeVAE()
    found = {k: list(v.shape) for k, v in model.autoencoder.state_dict().items()}
    assert found == expected["autoencoder"]
    assert sum(v.numel() for v in model.state_dict().values()) == expected["counts"]["autoencoder"]


def test_a_dense_grid_has_its_corners_on_the_bounds() -> None:
    grid = evaluate_dense(lambda p: p[:, 0], 1.01, 4, torch.device("cpu"))
    assert grid.values[0, 0, 0].item() == pytest.approx(-1.01)
    assert grid.values[-1, 0, 0].item() == pytest.approx(1.01)
