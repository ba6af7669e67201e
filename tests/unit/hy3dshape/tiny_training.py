"""Folders with tiny training sets, configurations of tiny models, and their training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file
from torch import Tensor

import main as entry

MODELS = "hy3dshape.models."
TOKENS, CHANNELS = 6, 4
COSINE = "hy3dshape.utils.trainings.lr_scheduler.LambdaWarmUpCosineFactorScheduler"
OPTIMIZER = {
    "optimizer": {"target": "torch.optim.AdamW", "params": {"weight_decay": 0.01}},
    "scheduler": {"target": COSINE, "params": {"warm_up_steps": 2, "f_min": 0.1}},
}
TRAINING = {
    "steps": 6, "base_lr": 1e-2, "gradient_clip_val": 1.0, "log_every_n_steps": 1,
    "every_n_train_steps": 3, "val_check_interval": 3, "limit_val_batches": 4,
}  # fmt: skip
AUTOENCODER = {
    "target": MODELS + "autoencoders.autoencoder.CustomShapeVAE",
    "params": {"model_depth": 1, "model_dim": 64, "num_latents": TOKENS, "latent_dim": CHANNELS,
               "surface_size": 64},
}  # fmt: skip
DENOISER = {
    "in_channels": CHANNELS, "max_seq_len": TOKENS, "hidden_size": 32, "depth": 2, "num_heads": 2,
    "context_dim": 24, "use_pos_emb": False, "num_moe_layers": 1, "num_experts": 3,
}  # fmt: skip


def write_latents(folder: Path, names: Sequence[str]) -> None:
    """Random latents by name, and their table beside them; two categories."""
    folder.mkdir(parents=True)
    rows = ["model_uid,lvis_category,caption"]
    for i, name in enumerate(names):
        generator = torch.Generator().manual_seed(i)
        torch.save(torch.randn(TOKENS, CHANNELS, generator=generator), folder / f"{name}.pt")
        rows.append(f"{name},{('box', 'chair')[i % 2]},a {name}")
    folder.with_suffix(".csv").write_text("\n".join(rows) + "\n")


def write_spheres(folder: Path, names: Sequence[str]) -> None:
    """Signed distance samples of spheres, each of another radius."""
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        rng = np.random.default_rng(i)
        radius = 0.5 + 0.1 * (i % 5)
        made = {}
        directions = rng.normal(size=(600, 3))
        surface = directions / np.linalg.norm(directions, axis=1, keepdims=True) * radius
        made["surface_points"] = surface[:200]
        made["near_points"] = surface[200:] + 0.02 * rng.normal(size=(400, 3))
        made["vol_points"] = rng.uniform(-1, 1, size=(800, 3))
        for kind in ("near", "vol"):
            made[f"{kind}_sdf"] = np.linalg.norm(made[f"{kind}_points"], axis=1) - radius
        arrays = {k: v.astype(np.float32) for k, v in made.items()}
        np.savez(folder / f"{name}.npz", **arrays)


def denoiser(folder: Path, shapes: int = 7, **model: Any) -> Path:
    """A class-conditioned denoiser on latents; the path of its configuration."""
    write_latents(folder / "train", [f"t{i}" for i in range(shapes)])
    write_latents(folder / "val", ["v0", "v1", "v2"])
    condition = {"type": "class", "num_classes": 2, "text_embed_dim": 24}
    params = {
        "scale_by_std": True,
        "first_stage_config": AUTOENCODER,
        "cond_stage_config": {"target": MODELS + "conditioner.MultiConditioner",
                              "params": condition},
        "denoiser_cfg": {"target": MODELS + "denoisers.dit.DiTPlain", "params": DENOISER},
        "optimizer_cfg": {**OPTIMIZER, "train_image_encoder": True},
        **model,
    }  # fmt: skip
    data = {
        "mode": "latent", "batch_size": 2, "num_workers": 0, "conditioning_type": "class",
        **{f"{s}_latent_folder": str(folder / s) for s in ("train", "val")},
        **{f"{s}_csv_path": str(folder / f"{s}.csv") for s in ("train", "val")},
    }  # fmt: skip
    return write(folder, "diffusion.flow_matching_sit.Diffuser", params, data)


def autoencoder(folder: Path, shapes: int = 7, **model: Any) -> Path:
    """An autoencoder on spheres; the path of its configuration."""
    write_spheres(folder / "train", [f"t{i}" for i in range(shapes)])
    write_spheres(folder / "val", ["v0", "v1", "v2"])
    params = {"first_stage_config": AUTOENCODER, "optimizer_cfg": OPTIMIZER, "num_vol_samples": 32}
    data = {
        "mode": "raw", "batch_size": 2, "num_workers": 0, "dataset_folder": str(folder / "train"),
        "val_dataset_folder": str(folder / "val"), "surface_size": 64, "sdf_sampling": True,
        "return_sdf": True, "num_vol_samples": 32, "num_near_samples": 32,
    }  # fmt: skip
    return write(folder, "autoencoders.task.AutoencoderTask", {**params, **model}, data)


def write(folder: Path, name: str, params: dict[str, Any], data: dict[str, Any]) -> Path:
    tree = {
        "training": TRAINING,
        "dataset": {"target": "hy3dshape.data.datamodule.UnifiedDataModule", "params": data},
        "model": {"target": MODELS + name, "params": params},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def weights(out: Path, step: int) -> dict[str, Tensor]:
    """What a checkpoint of a run holds."""
    return load_file(out / "ckpt" / f"ckpt-step={step:08d}.ckpt" / "model.safetensors")


def numbers(out: Path, name: str = "train/total_loss") -> dict[int, float]:
    """A log of a run by step."""
    rows = [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
    return {row["step"]: row[name] for row in rows if name in row}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def fresh_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accelerate keeps one state a process, and --device cpu is told to it by this variable."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


def train(path: Path, out: Path, *flags: object) -> int:
    """main.py in this process, which needs `fresh_engine`; its exit code."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    words = ["-c", path, "--output_dir", out, "--device", "cpu", "-q", *flags]
    return entry.main([str(word) for word in words])
