"""What a training run costs, from its configuration alone: nothing is loaded or downloaded.

Models are built on `torch.device("meta")`, so that the largest can be asked about on a laptop.
A multiply-add counts 2 FLOPs; a training step counts three evaluations (forward, and twice that
backward). Source of the closed forms: `models/denoisers/flops.py`, `models/autoencoders/flops.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from . import config
from .models.autoencoders import flops as autoencoder_flops
from .models.autoencoders.local import LocalAutoEncoder
from .models.denoisers import flops as denoiser_flops
from .models.denoisers.dit import DiTPlain
from .training_options import Training

PEAK, UTILISATION = 989e12, 0.4  # FLOP/s of an H100 in bf16, dense, and the share assumed
PASSES = 3
KEPT_BYTES = {False: 4.4, True: 3.3}  # of a number kept for backward, by use_amp; measured
GIB = 2**30
Tree = Mapping[str, Any]


def estimate(tree: Tree, options: Training) -> dict[str, Any]:
    """Sizes and costs of the run that a configuration describes.

    Args:
        tree: a checked configuration with `model` and `dataset`.
        options: resolved ones of its training.

    Raises:
        ValueError: the model is neither a denoiser nor an autoencoder.
    """
    params = tree["model"]["params"]
    batch = int(tree["dataset"]["params"]["batch_size"])
    devices = options.num_gpus * options.num_nodes
    if "denoiser_cfg" in params:
        found = _denoiser(params, batch)
    elif "first_stage_config" in params:
        found = _autoencoder(params, tree["dataset"]["params"], batch)
    else:
        raise ValueError("model.params: no denoiser_cfg or first_stage_config to estimate")
    samples = batch * options.update_every * devices
    step = found.pop("training_flops_per_sample") * samples
    hours = step * options.steps / (PEAK * UTILISATION) / 3600
    trained, averaged = found["parameters"]["trained"], found.pop("averaged")
    activations = found.pop("activation_numbers") * KEPT_BYTES[options.use_amp]
    memory = {
        "weights": 4 * found["parameters"]["in_memory"],
        "gradients": 4 * trained,
        "adam": 8 * trained,
        "average": 4 * averaged,
        "activations": activations,
    }
    return {
        **found,
        "batch": {"per_device": batch, "devices": devices, "update_every": options.update_every,
                  "samples_per_step": samples},
        "training_tflop_per_step": round(step / 1e12, 3),
        "steps": options.steps,
        "gpu_hours": round(hours, 1),
        "gpu_hours_assume": f"{UTILISATION:.0%} of {PEAK / 1e12:.0f} TFLOP/s (H100, bf16, dense)",
        "memory_gib_per_device": {k: round(v / GIB, 2) for k, v in memory.items()}
        | {"total": round(sum(memory.values()) / GIB, 2)},
        "memory_assumes": "float32 weights, gradients and Adam states, whole on every device;"
        " activations as autograd keeps them, less under torch.compile; frozen text and image"
        " encoders not counted",
        "checkpoint_gib": {"weights": round(4 * (trained + averaged) / GIB, 2),
                           "optimizer": round(8 * trained / GIB, 2)},
        "config": {**tree, "training": options.as_dict()},
    }  # fmt: skip


def on_meta(node: Tree, where: str) -> Any:
    """The module of a node without numbers in it, and without the weights it names."""
    params = {k: v for k, v in (node.get("params") or {}).items() if k != "pretrained"}
    with torch.device("meta"):
        return config.build({**node, "params": params}, where)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _denoiser(params: Tree, batch: int) -> dict[str, Any]:
    model = on_meta(params["denoiser_cfg"], "model.params.denoiser_cfg")
    if not isinstance(model, DiTPlain):
        raise ValueError("model.params.denoiser_cfg: only DiTPlain can be estimated")
    total, tokens = count(model), model.max_seq_len
    table = _class_table(params)
    conditioned = model.context_dim is not None and "cond_stage_config" in params
    context = int(params["denoiser_cfg"]["params"].get("text_len", 77)) if conditioned else 0
    context = 1 if table else context
    flops = denoiser_flops.evaluation_flops(model, tokens, context)
    trains_table = bool((params.get("optimizer_cfg") or {}).get("train_image_encoder"))
    trained = total + (table if trains_table else 0)
    return {
        "parameters": {
            "denoiser": total,
            "active_per_token": denoiser_flops.active_parameters(model),
            "class_table": table,
            "trained": trained,
            "in_memory": total + table + _first_stage(params),
        },
        "averaged": total if params.get("ema_config") else 0,
        "tokens": {"latents": tokens, "channels": model.in_channels, "context": context},
        "gflop_per_evaluation": round(flops / 1e9, 1),
        "training_gflop_per_sample": round(PASSES * flops / 1e9, 1),
        "training_flops_per_sample": PASSES * flops,
        "activation_numbers": batch * denoiser_flops.saved_numbers(model, tokens, context),
    }


def _class_table(params: Tree) -> int:
    """Parameters of the conditioner's table of classes; 0 for an encoder of texts or images."""
    given = (params.get("cond_stage_config") or {}).get("params") or {}
    if given.get("type") != "class":
        return 0
    return (int(given["num_classes"]) + 1) * int(given.get("text_embed_dim", 512))


def _first_stage(params: Tree) -> int:
    """Parameters of the frozen shape autoencoder beside the denoiser; images' is not counted."""
    node = params.get("first_stage_config")
    if node is None or not str(node["target"]).endswith(".CustomShapeVAE"):
        return 0
    return count(on_meta(node, "model.params.first_stage_config"))


def _autoencoder(params: Tree, data: Tree, batch: int) -> dict[str, Any]:
    model = on_meta(params["first_stage_config"], "model.params.first_stage_config").autoencoder
    points = int(data.get("surface_size", 8192))
    queries = int(data.get("num_vol_samples", 1024)) + int(data.get("num_near_samples", 1024))
    if float(params.get("surface_weight", 1.0)) > 0:
        queries += points
    eikonal = float(params.get("eikonal_weight", 1e-3)) > 0
    if isinstance(model, LocalAutoEncoder):
        forward, saved = autoencoder_flops.measured(model, points, queries)
        training = PASSES * forward
    else:
        work = autoencoder_flops.Work(model, points, queries)
        forward, training = work.forward(), work.training(eikonal)
        saved = work.saved_numbers(eikonal)
    return {
        "parameters": {"autoencoder": count(model), "trained": count(model),
                       "in_memory": count(model)},
        "averaged": 0,
        "tokens": {"latents": model.num_latents, "points": points, "queries": queries},
        "gflop_per_evaluation": round(forward / 1e9, 1),
        "training_gflop_per_sample": round(training / 1e9, 1),
        "training_flops_per_sample": training,
        "activation_numbers": batch * saved,
    }  # fmt: skip
