"""Both trainers: the loss falls, a killed run goes on to the same weights, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import autoencoder
import train_n
from voxel_ldm.checkpoints import load_autoencoder, load_denoiser, load_state
from voxel_ldm.data import read_set
from voxel_ldm.training import Options, Run, batches


def ae(sets: Path, out: Path, *more: Any) -> int:
    args = ["-c", sets / "tiny.yaml", "--dataset_path", sets, "--ckpt_path", out, "--device", "cpu"]
    return autoencoder.main([*map(str, [*args, *more])])


def ldm(sets: Path, weights: Path, out: Path, *more: Any) -> int:
    args = ["-c", sets / "tiny.yaml", "--dataset_path", sets, "--output", out, "--device", "cpu"]
    return train_n.main([*map(str, [*args, "--ae_ckpt_path", weights, *more])])


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]


def test_the_autoencoder_learns_two_kinds_of_boxes(sets: Path, tmp_path: Path) -> None:
    assert ae(sets, tmp_path, "--num_epochs", 60, "--lr", 0.01) == 0
    last = rows(tmp_path)[-1]
    assert last["val/iou"] > 0.6
    model = load_autoencoder(tmp_path / "autoencoder.safetensors")
    assert not model.training
    grids = read_set(sets, ["box", "plate"], "val").grids(np.arange(6))
    with torch.no_grad():
        found = model(grids) > 0
    both = (found & (grids > 0)).sum((1, 2, 3)) / (found | (grids > 0)).sum((1, 2, 3))
    assert both.mean().item() == pytest.approx(last["val/iou"], abs=1e-5)


@pytest.mark.parametrize("kind", ["autoencoder", "denoiser"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    kind: str, sets: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "often.yaml").write_text(f"base: {sets}/tiny.yaml\ntraining: {{save_every: 3}}\n")
    more = ["-c", tmp_path / "often.yaml"]

    def go(out: Path) -> int:
        if kind == "autoencoder":
            return ae(sets, out, *more)
        return ldm(sets, trained / "autoencoder.safetensors", out, "--use_cfg", *more)

    assert go(tmp_path / "whole") == 0
    step = Run._one_step

    def stopping(self: Run) -> Any:
        if self.done == 4:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_one_step", stopping)
        assert go(tmp_path / "parts") == 130
    assert torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["step"] == 3
    assert go(tmp_path / "parts") == 0
    name = f"{kind}.safetensors"
    whole, parts = (load_file(tmp_path / p / name) for p in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    assert [r["step"] for r in rows(tmp_path / "whole")] == [
        r["step"] for r in rows(tmp_path / "parts")
    ]


def test_other_settings_are_refused_and_nothing_is_lost(
    sets: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    before = (tmp_path / "run" / "state.pt").read_bytes()
    assert ae(sets, tmp_path / "run", "--lr", 0.5) == 1
    assert "training" in capsys.readouterr().err
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_the_denoiser_knows_its_latents_and_classes(sets: Path, trained: Path) -> None:
    model = load_denoiser(trained / "denoiser.safetensors", trained / "autoencoder.safetensors")
    assert model.classes == ["box", "plate"]
    assert model.label("plate") == 2
    with pytest.raises(ValueError, match="class 'chair': the model knows box, plate"):
        model.label("chair")
    encoder = load_autoencoder(trained / "autoencoder.safetensors")
    with torch.no_grad():
        latents = encoder.encode(read_set(sets, model.classes, "train").grids(np.arange(12)))
    scaled = (latents - model.latent_mean) / model.latent_std
    assert scaled.mean((0, 2, 3, 4)).abs().max() < 1e-5
    assert (scaled.std((0, 2, 3, 4)) - 1).abs().max() < 1e-4


def test_latents_of_another_autoencoder_are_refused(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes((trained / "autoencoder.safetensors").read_bytes() + b" ")
    with pytest.raises(ValueError, match="latents of another autoencoder"):
        load_denoiser(trained / "denoiser.safetensors", other)


def test_unconditional_training_never_sees_a_label(
    sets: Path, trained: Path, tmp_path: Path
) -> None:
    assert ldm(sets, trained / "autoencoder.safetensors", tmp_path) == 0
    assert load_denoiser(tmp_path / "denoiser.safetensors").network.classes is None


@pytest.mark.parametrize("damage", ["pickle", "cut", "kind"])
def test_weights_that_are_not_read(damage: str, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    whole = (trained / "autoencoder.safetensors").read_bytes()
    if damage == "pickle":
        torch.save(nn.Linear(2, 2), path)
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_bytes((trained / "denoiser.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"pickled checkpoints are not|'voxel denoiser'"):
        load_autoencoder(path)


def test_a_damaged_state_is_named(sets: Path, trained: Path, tmp_path: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    state = (trained / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(state[:-200])
    assert ae(sets, tmp_path) == 1
    assert "state.pt: not the state of a run, or damaged" in capsys.readouterr().err
    with pytest.raises(ValueError, match="damaged"):
        load_state(tmp_path / "state.pt", {})


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)

    def step(module: nn.Module, rows: np.ndarray, generator: torch.Generator) -> Any:
        return {"loss": module(torch.full((1, 1), float("inf"))).sum()}

    run = Run(model, step, 4, Options(tmp_path, 2, 2, 0.1, device="cpu", log_every=1), {}, None,
              lambda used: None)  # fmt: skip
    with pytest.raises(ValueError, match="step 1: the loss is"):
        run.run()


def test_no_data_is_an_error_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert autoencoder.main(["--dataset_path", str(tmp_path), "--device", "cpu"]) == 1
    assert "make them with load_data.py" in capsys.readouterr().err


def test_every_row_comes_once_an_epoch_and_processes_share_them() -> None:
    def first(start: int, stride: int, n: int) -> list[list[int]]:
        source = batches(10, 4, 7, start, stride)
        return [next(source).tolist() for _ in range(n)]

    one = first(0, 1, 6)
    assert all(len(b) == 4 for b in one)
    assert sorted({i for b in one[:3] for i in b}) == list(range(10))
    assert one[:3] != one[3:]
    assert first(0, 2, 3) == one[0::2]
    assert first(1, 2, 3) == one[1::2]
    assert first(4, 1, 2) == one[4:]


def test_rates_of_a_run(tmp_path: Path) -> None:
    options = Options(tmp_path, 100, 1, 0.1, warmup_steps=10, decay="cosine")
    assert options.rate(0) == pytest.approx(0.01)
    assert options.rate(50) == pytest.approx(0.05)
    assert options.rate(99) < 1e-4
