"""Folders with a tiny model that samples: random weights, but a field that has a surface.

The head of the autoencoder is fitted, in closed form, to a sphere whose radius the latents move a
little; nothing is trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from hy3dshape import config
from hy3dshape.files import sha256

TOKENS, CHANNELS, WIDTH, CONTEXT = 16, 8, 64, 24
COMMON = {"octree_resolution": 16, "num_inference_steps": 3}
PACKAGE = "hy3dshape.models."


def condition(kind: str) -> dict[str, Any]:
    params: dict[str, Any] = {"type": kind, "text_embed_dim": CONTEXT}
    if kind == "class":
        params["num_classes"] = 3
    elif kind == "text":
        params |= {"tower": "sentence", "tower_path": "minilm", "text_embed_dim": 384}
    return {"target": PACKAGE + "conditioner.MultiConditioner", "params": params}


def tree_of(kind: str, **model: Any) -> dict[str, Any]:
    """Configuration of a model of a kind; `model` adds to its params."""
    length = {"class": 1, "image": 5}.get(kind, 77)
    cond = model.get("cond_stage_config") or condition(kind)
    width = cond["params"]["text_embed_dim"]
    params = {
        "scale_by_std": True,
        "first_stage_config": {
            "target": PACKAGE + "autoencoders.autoencoder.CustomShapeVAE",
            "params": {
                "model_depth": 1, "model_dim": WIDTH, "num_latents": TOKENS,
                "latent_dim": CHANNELS, "query_type": "learnable", "surface_size": 64,
            },
        },
        "cond_stage_config": cond,
        "denoiser_cfg": {
            "target": PACKAGE + "denoisers.dit.DiTPlain",
            "params": {
                "in_channels": CHANNELS, "max_seq_len": TOKENS, "hidden_size": 32, "depth": 3,
                "num_heads": 2, "context_dim": width, "text_len": length, "use_pos_emb": False,
                "num_moe_layers": 0,
            },
        },
        **model,
    }  # fmt: skip
    target = PACKAGE + "diffusion.flow_matching_sit.Diffuser"
    dataset = {"params": {"conditioning_type": "lvis" if kind == "class" else kind}}
    return {
        "sampling_common": dict(COMMON),
        "dataset": dataset,
        "model": {"target": target, "params": params},
    }


def build_state(tree: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of a whole checkpoint: `model.*`, `cond_stage_model.*`, `first_stage_model.*`."""
    torch.manual_seed(0)
    task = config.build(tree["model"], "model")
    nn.init.normal_(task.model.final_layer.linear.weight, std=0.05)
    task.z_scale_factor.fill_(0.5)
    _fit_sphere(task.first_stage_model.autoencoder)
    keep = ("model.", "cond_stage_model.embedder.embedding", "first_stage_model.", "z_scale")
    return {k: v for k, v in task.state_dict().items() if k.startswith(keep)}


@torch.no_grad()
def _fit_sphere(vae: Any) -> None:
    """Ridge regression of |p| - 0.65 on the features before the head, over a few latents."""
    vae.bottleneck.post_bottleneck_proj.weight.mul_(0.005)
    smooth = torch.zeros(51)
    smooth[[24, 32, 40]] = 1  # cos(pi x), of y and of z
    vae.point_embed.mlp.weight.mul_(4 * smooth)
    found: list[Tensor] = []
    hook = vae.to_outputs[0].register_forward_hook(lambda _m, _i, out: found.append(out))
    points = torch.rand(4, 1500, 3) * 2.02 - 1.01
    vae.decode(2 * torch.randn(4, TOKENS, CHANNELS))(points)
    hook.remove()
    features = torch.cat([found[0], torch.ones(4, 1500, 1)], dim=-1).flatten(0, 1).double()
    wanted = (points.norm(dim=-1) - 0.65).reshape(-1, 1).double()
    ridge = features.T @ features + 1e-3 * torch.eye(features.shape[1])
    solved = torch.linalg.solve(ridge, features.T @ wanted).float()
    vae.to_outputs[1].weight.copy_(solved[:-1].T)
    vae.to_outputs[1].bias.copy_(solved[-1])


def class_model(folder: Path) -> list[str]:
    """A class model with names, and without anything left to the device or to chance."""
    flags = write_model(folder, "class")
    (folder / "classes.json").write_text('["box", "chair", "cube"]')
    return flags


def write_model(folder: Path, kind: str = "class", **model: Any) -> list[str]:
    """Write configuration and weights as the small model has them; the flags that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    tree = tree_of(kind, **model)
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    state = build_state(tree)
    inner = "first_stage_model.autoencoder."
    vae = {k.removeprefix(inner): v for k, v in state.items() if k.startswith(inner)}
    save_file(vae, folder / "autoencoder.safetensors")
    rest = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    save_file(rest, folder / "model.safetensors")
    paths = {"--config": "config.yaml", "--ckpt": "model.safetensors"}
    flags = [word for flag, name in paths.items() for word in (flag, str(folder / name))]
    return [*flags, "--device", "cpu"]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every sample below a folder, by its name there."""
    kinds = (".glb", ".obj", ".ply", ".pt", ".png")
    found = sorted(p for p in folder.rglob("[!.]*") if p.suffix in kinds)
    return {p.relative_to(folder).as_posix(): sha256(p) for p in found}
