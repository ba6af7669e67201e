"""From made shapes to generated ones, each script as a process, with tiny models on the CPU.

Two steps teach a model nothing, so its samples stay latents; test_small_model.py has meshes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from e2e.running import ROOT, run
from unit.hy3dshape import tiny_training as tiny
from unit.hy3dshape.tiny_training import numbers, weights

COUNT = 6
FEW = ("--volume-points", 2000, "--near-points", 2000, "--surface-points", 512)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def done(script: str, *words: object) -> str:
    """What a script printed; it has to end well."""
    found = run(script, *words)
    assert found.code == 0, f"{script}: {found.err}"
    return found.out


def autoencoder(folder: Path) -> Path:
    """Configuration of an autoencoder for the samples in `folder`/sdf."""
    data = {"mode": "raw", "batch_size": 3, "num_workers": 0, "dataset_folder": str(folder / "sdf"),
            "surface_size": 64, "sdf_sampling": True, "return_sdf": True, "num_vol_samples": 64,
            "num_near_samples": 64, "augmentation": "none"}  # fmt: skip
    params = {"first_stage_config": tiny.AUTOENCODER, "optimizer_cfg": tiny.OPTIMIZER,
              "num_vol_samples": 64, "eikonal_weight": 0.0}  # fmt: skip
    place = folder / "autoencoder"
    place.mkdir()
    return tiny.write(place, "autoencoders.task.AutoencoderTask", params, data)


def denoiser(folder: Path) -> Path:
    """Configuration of a denoiser for classes, over `folder`/latents and `folder`/train.csv."""
    condition = {"type": "class", "num_classes": COUNT, "text_embed_dim": 24}
    params: dict[str, Any] = {
        "scale_by_std": True,
        "first_stage_config": tiny.AUTOENCODER,
        "cond_stage_config": {"target": tiny.MODELS + "conditioner.MultiConditioner",
                              "params": condition},
        "denoiser_cfg": {"target": tiny.MODELS + "denoisers.dit.DiTPlain",
                         "params": tiny.DENOISER},
        "optimizer_cfg": {**tiny.OPTIMIZER, "train_image_encoder": True},
    }  # fmt: skip
    data = {"mode": "latent", "batch_size": 3, "num_workers": 0, "conditioning_type": "lvis",
            "train_latent_folder": str(folder / "latents"),
            "train_csv_path": str(folder / "train.csv")}  # fmt: skip
    place = folder / "denoiser"
    place.mkdir()
    return tiny.write(place, "diffusion.flow_matching_sit.Diffuser", params, data)


def test_from_shapes_to_samples(tmp_path: Path) -> None:
    shapes, quiet = tmp_path / "shapes", "-q"
    done("make_shapes.py", "--output", shapes, "--count", COUNT, quiet)
    said = done("prepare_sdf.py", "--input", shapes, "--output", tmp_path / "sdf", *FEW, quiet)
    assert f"{COUNT} shapes" in said
    first, cpu = autoencoder(tmp_path), ("--device", "cpu", quiet)
    done("train_autoencoder.py", "-c", first, "--output_dir", tmp_path / "a", "-st", 2, *cpu)
    done("encode_latents.py", "--input", tmp_path / "sdf", "--output", tmp_path / "latents",
         "-c", first, "--ckpt", tmp_path / "a/ckpt", *cpu)  # fmt: skip
    done("make_table.py", "--input", shapes / "shapes.json", "--output", tmp_path / "train.csv")
    second = denoiser(tmp_path)
    told = done("main.py", "-c", second, "--output_dir", tmp_path / "d", "-st", 2, *cpu)
    assert json.loads(told)["step"] == 2
    model = ("-c", second, "--ckpt", tmp_path / "d/ckpt", "--autoencoder", tmp_path / "a/ckpt")
    how = ("--steps", 3, "--output_type", "pt", "--class_id", 2, "--num_samples", 2)
    done("inference.py", *model, *how, "--out_dir", tmp_path / "out", *cpu)
    samples = [f"class_2/sample_{i:07d}.pt" for i in range(2)]
    files = [tmp_path / "out" / name for name in samples]
    files += sorted((tmp_path / "latents").glob("*.pt"))
    assert len(files) == 2 + COUNT
    for latent in [torch.load(path, weights_only=True) for path in files]:
        assert latent.shape == (tiny.TOKENS, tiny.CHANNELS) and 0.3 < latent.std() < 3


def test_launcher_of_many_gpus_on_two_cpu_processes(tmp_path: Path) -> None:
    path, out = tiny.denoiser(tmp_path), tmp_path / "out"
    folder = Path(sys.executable).parent  # its `python` is this one
    environment = {**os.environ, "GPUS": "2", "PATH": f"{folder}:{os.environ['PATH']}"}
    script = ROOT / "scripts" / "train_multi_gpu.sh"
    words = ["bash", str(script), str(path), str(out), "--device", "cpu", "-st", "2", "-q"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    state = json.loads((out / "ckpt/ckpt-step=00000002.ckpt/state.json").read_text())
    assert state["world"] == 2 and list(numbers(out)) == [1, 2]
    assert weights(out, 2)
    assert yaml.safe_load((out / "config.yaml").read_text())["training"]["num_gpus"] == 2
