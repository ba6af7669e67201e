"""What the reference does wrong, by its number in the list of its defects.

Defects without a test here have theirs with the code they concern.
"""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import autoencoder
import sampling_n
import sds
import train_n
from voxel_ldm import chamfer, diffusion, drawing
from voxel_ldm.checkpoints import load_state
from voxel_ldm.data import read_set
from voxel_ldm.devices import pick_device
from voxel_ldm.grids import pack, read_grids, write_grids
from voxel_ldm.models.autoencoder import VoxelAutoencoder
from voxel_ldm.recipes import _encode

STAGE = Path(sds.__file__).parent


def draw(script: ModuleType, trained: Path, out: Path, *more: Any) -> int:
    """Three plates by few steps, without meshes."""
    steps = "--steps" if script is sampling_n else "--step"
    files = [w for n in ("ldm", "ae") for w in (f"--{n}_ckpt_path", trained / names[n])]
    argv = [*files, "--save_dir", out, "--num_samples", 3, "--class-name", "plate", steps, 3,
            "--meshes", "none", "--device", "cpu", *more]  # fmt: skip
    return script.main([str(word) for word in argv])


names = {"ldm": "denoiser.safetensors", "ae": "autoencoder.safetensors"}
both = pytest.mark.parametrize("script", [sampling_n, sds], ids=["sampling_n", "sds"])


@both
def test_decoding_uses_the_stored_batch_statistics(
    script: ModuleType, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1: a sample does not depend on its batch, and decoding moves no running figure."""
    seen, decode = [], drawing.decode

    def noting(model: VoxelAutoencoder, denoiser: Any, latents: Tensor) -> np.ndarray:
        before = {k: v.clone() for k, v in model.state_dict().items()}
        made, alone = (decode(model, denoiser, part) for part in (latents, latents[:1]))
        still = all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        seen.append(still and np.allclose(made[:1], alone, atol=1e-5))
        return made

    monkeypatch.setattr(drawing, "decode", noting)
    assert draw(script, trained, tmp_path) == 0
    assert seen == [True]


@both
def test_class_and_guidance_are_those_asked_for(
    script: ModuleType, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 and 15: no built-in class, and one convention of guidance in both scripts."""
    seen, guided = set(), diffusion.guided

    def noting(network: Any, x: Tensor, t: Tensor, labels: Tensor, scale: float) -> Tensor:
        seen.add((*labels.tolist(), scale))
        return guided(network, x, t, labels, scale)

    monkeypatch.setattr(diffusion, "guided", noting)
    assert draw(script, trained, tmp_path, "--guidance_scale", 3) == 0
    assert seen == {(2, 2, 2, 3.0)}


def test_grids_of_another_resolution_are_not_cut_up(
    sets: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """7: neither trainer takes grids that its autoencoder is not for."""
    (tmp_path / "32.yaml").write_text(f"base: {sets}/tiny.yaml\nautoencoder: {{resolution: 32}}\n")
    argv = ["-c", tmp_path / "32.yaml", "--dataset_path", sets, "--ckpt_path", tmp_path / "a"]
    assert autoencoder.main([*map(str, argv), "--device", "cpu"]) == 1
    assert "resolution 32, but the grids" in capsys.readouterr().err
    grids = np.ones((4, 32, 32, 32), np.uint8)
    write_grids(tmp_path / "box_voxels_train.npz", list("abcd"), ["box"] * 4, pack(grids),
                {"resolution": 32})  # fmt: skip
    argv = ["-c", sets / "tiny.yaml", "--dataset_path", tmp_path, "--output", tmp_path / "b",
            "--ae_ckpt_path", trained / names["ae"], "--device", "cpu"]  # fmt: skip
    assert train_n.main([*map(str, argv)]) == 1
    assert "(4, 32, 32, 32), expected (b, R, R, R) of R = 16" in capsys.readouterr().err


def test_one_threshold_and_its_value_is_free(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10: occupied is above 0.5, in what is written and in what is read."""
    values = np.full((3, 16, 16, 16), 0.5, np.float32)
    values[:, 3] = np.nextafter(np.float32(0.5), np.float32(1))
    monkeypatch.setattr(drawing, "decode", lambda *args: values)
    assert draw(sampling_n, trained, tmp_path) == 0
    made = np.load(tmp_path / "plate.npy")
    np.save(tmp_path / "soft.npy", values)
    assert np.array_equal(made, read_grids(tmp_path / "soft.npy", 0.5).unpack(slice(None)))
    assert made[:, 3].all() and made.sum() == 3 * 16**2


def test_the_encoder_of_the_latents_gets_no_gradients(sets: Path) -> None:
    """14."""
    model = VoxelAutoencoder((4, 8), 2, 16).eval()
    latents, _ = _encode(model, read_set(sets, ["box"], "train"), np.arange(2))
    assert not latents.requires_grad


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """18."""
    torch.save({"settings": "{}", "model": nn.Linear(2, 2)}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt: not the state of a run"):
        load_state(tmp_path / "state.pt", {})


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """19: without CUDA the CPU is taken unless CUDA was asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="CUDA device 0 is not there, 0 are; use --device cpu"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="--device gpu: expected auto, cpu, cuda or cuda:N"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device("auto") == torch.device("cuda:1")


@pytest.mark.parametrize("loss", ["vsd", "pds"])
def test_losses_that_are_not_there_are_not_taken(loss: str) -> None:
    """22."""
    with pytest.raises(SystemExit) as stop:
        sds.main(["--loss_type", loss])
    assert stop.value.code == 2


def test_distillation_saves_where_it_is_told(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """23: after any number of steps, and nothing in the folder it runs in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert draw(sds, trained.resolve(), tmp_path / "there", "--step", 1) == 0
    assert not list(Path().iterdir())
    assert {p.name for p in (tmp_path / "there").iterdir()} == {
        "plate.npy", "plate.npy.run.json"
    }  # fmt: skip
    run = subprocess.run([sys.executable, STAGE / "sds/main.py", "--help"], capture_output=True)
    assert run.returncode == 0 and b"--save_dir" in run.stdout


def test_no_trajectory_is_kept() -> None:
    """27: of the latents on the way only the newest live."""
    seen: list[weakref.ref[Tensor]] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            assert sum(old() is not None for old in seen) <= 1
            seen.append(weakref.ref(x))
            return self.weight * x

    diffusion.sample(Net(), diffusion.Schedule(steps=20), None, [0], (2, 2, 2, 2), steps=20)
    assert len(seen) == 20


def test_a_run_leaves_a_handful_of_files(trained: Path) -> None:
    """28: one state, one file of weights, however many epochs."""
    assert {p.name for p in (trained / "ldm").iterdir()} == {"state.pt", "stats.jsonl", "run.json"}
    assert {p.name for p in trained.iterdir()} == {
        "state.pt", "stats.jsonl", "run.json", "ldm", *names.values()
    }  # fmt: skip


def test_a_transform_a_shape_and_not_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """29: 40 and 50 shapes take batches of 32 targets, not 2,000 pairs of trees."""
    calls, add_batch = [], chamfer.add_batch
    monkeypatch.setattr(chamfer, "add_batch", lambda *args: calls.append(1) or add_batch(*args))
    cells = np.random.default_rng(0).random((90, 4, 4, 4)) < 0.3
    cells[:, 0, 0, 0] = True
    first, second = (chamfer.find_cells(pack(part), 4) for part in (cells[:40], cells[40:]))
    chamfer.distance_sums(first, second)
    chamfer.distance_sums(second, first)
    assert len(calls) == 2 + 2
