"""Both trainers: the loss falls, a killed run goes on to the same weights, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import autoencoder
import train_n
from voxel_ldm.checkpoints import (
    load_autoencoder,
    load_denoiser,
    load_state,
    save_autoencoder,
)
from voxel_ldm.data import Set, categories_of, read_set
from voxel_ldm.grids import read_grids, write_grids, write_npy
from voxel_ldm.models.autoencoder import VoxelAutoencoder
from voxel_ldm.recipes import VALIDATED, _validated
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


def test_training_further_starts_from_the_weights_given(
    sets: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = trained / "autoencoder.safetensors", tmp_path / "further"
    assert ae(sets, out, "--start_from", start, "--num_epochs", 1, "--lr", 1e-9) == 0
    old, new = load_autoencoder(start), load_autoencoder(out / "autoencoder.safetensors")
    for (name, a), b in zip(old.named_parameters(), new.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7), name
    assert ae(sets, out, "--num_epochs", 1, "--lr", 1e-9) == 1  # another run than that
    assert "start: there" in capsys.readouterr().err
    small = tmp_path / "small.safetensors"
    sizes = {"channels": [4, 4], "latent_channels": 2, "resolution": 16}
    save_autoencoder(small, VoxelAutoencoder(**sizes), sizes)  # type: ignore[arg-type]
    assert ae(sets, tmp_path / "other", "--start_from", small) == 1
    assert "its sizes are others" in capsys.readouterr().err


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
    for same in (name, "stats.jsonl"):
        a, b = ((tmp_path / p / same).read_bytes() for p in ("whole", "parts"))
        assert a == b


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


def test_equal_weights_are_equal_bytes(trained: Path, tmp_path: Path) -> None:
    """A denoiser knows its autoencoder by the digest of the file; another order would lose it."""
    path = trained / "autoencoder.safetensors"
    model = load_autoencoder(path)
    config = {"channels": [4, 8], "latent_channels": 2, "resolution": 16}
    made = set()
    for _ in range(20):
        save_autoencoder(tmp_path / "x.safetensors", model, config)
        made.add((tmp_path / "x.safetensors").read_bytes())
    assert made == {path.read_bytes()}


def test_a_configuration_that_builds_nothing_is_named(trained: Path, tmp_path: Path) -> None:
    model = load_autoencoder(trained / "autoencoder.safetensors")
    for config, said in (({"sides": 3}, "builds no model"), ({"resolution": 18}, "multiple of 8")):
        save_autoencoder(tmp_path / "x.safetensors", model, config)
        with pytest.raises(ValueError, match=rf"x\.safetensors: .*{said}"):
            load_autoencoder(tmp_path / "x.safetensors")


def test_a_run_goes_on_with_its_seed_and_data_alone(
    sets: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(sets, tmp_path / "sets")
    assert ae(sets, tmp_path / "run", "--seed", 5) == 1
    assert "seed: there 0, here 5" in capsys.readouterr().err
    assert ae(tmp_path / "sets", tmp_path / "run") == 0  # the same grids elsewhere
    grids = read_grids(sets / "box_voxels_train.npz")
    path = tmp_path / "sets" / "box_voxels_train.npz"
    write_grids(path, grids.ids, grids.categories, grids.packed[::-1], grids.settings)
    assert ae(tmp_path / "sets", tmp_path / "run") == 1
    assert "data: there" in capsys.readouterr().err


def test_a_finished_run_tells_its_figures_again(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> tuple[str, Any, bytes]:
        assert ae(sets, tmp_path) == 0
        record = json.loads((tmp_path / "run.json").read_text())
        return capsys.readouterr().out, record["figures"], (tmp_path / "stats.jsonl").read_bytes()

    first = told()
    assert "val/iou" in first[0] and first == told()


@pytest.mark.parametrize("place", ["step", "export"])
def test_stopped_before_the_first_state(
    place: str, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures are told once, and a state is never there without its weights."""
    assert ae(sets, tmp_path / "whole") == 0
    (tmp_path / "often.yaml").write_text(f"base: {sets}/tiny.yaml\ntraining: {{log_every: 1}}\n")
    assert ae(sets, tmp_path / "whole_often", "-c", tmp_path / "often.yaml") == 0

    def stopping(*args: Any) -> Any:
        if place == "export" or args[0].done == 3:
            raise KeyboardInterrupt
        return step(*args)

    step = Run._one_step
    with monkeypatch.context() as patched:
        name = "voxel_ldm.recipes.save_autoencoder"
        patched.setattr(*((name,) if place == "export" else (Run, "_one_step")), stopping)
        assert ae(sets, tmp_path / "parts", "-c", tmp_path / "often.yaml") == 130
    assert not (tmp_path / "parts" / "state.pt").exists()
    assert ae(sets, tmp_path / "parts", "-c", tmp_path / "often.yaml") == 0
    for name in ("autoencoder.safetensors", "stats.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (
            tmp_path / "whole_often" / name
        ).read_bytes()
    whole = (tmp_path / "whole" / "autoencoder.safetensors").read_bytes()
    assert (tmp_path / "parts" / "autoencoder.safetensors").read_bytes() == whole


def test_loss_scaling_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 on CUDA; here the scaler alone, which works on a CPU as well."""

    class Scaling(accelerate.Accelerator):
        def __init__(self, **words: Any) -> None:
            super().__init__(**words)
            self.scaler = torch.amp.GradScaler("cpu", growth_interval=3)

    monkeypatch.setattr(accelerate, "Accelerator", Scaling)

    def step(module: nn.Module, rows: np.ndarray, generator: torch.Generator) -> Any:
        return {"loss": module(torch.randn(4, 1, generator=generator)).square().mean()}

    def scale(out: Path, steps: int) -> Any:
        torch.manual_seed(0)
        options = Options(out, steps, 2, 0.1, device="cpu", save_every=2)
        Run(nn.Linear(1, 1), step, 4, options, {}, None, lambda used: None).run()
        return torch.load(out / "state.pt", weights_only=True)["scaler"]

    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = scale(tmp_path / "whole", 8)
    scale(tmp_path / "parts", 4)
    assert scale(tmp_path / "parts", 8) == whole
    assert whole["scale"] == 2.0 ** (16 + 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--batch_size", 0), "batch_size 0: expected above 0"),
        (("--num_epochs", -1), "epochs -1: expected above 0"),
        (("--lr", "nan"), "lr nan: expected above 0"),
        (("--precision", "bf16"), "--precision bf16: PyTorch's gradients"),
        (("--device", "gpu"), "--device gpu: expected auto, cpu"),
        (("--device", "cuda:99"), "CUDA device 99 is not there"),
        (("--categories", "box", "box"), "box stands twice"),
        (("--categories", "chair"), "chair_voxels_train: no such set of grids"),
    ],
)
def test_what_is_refused(flags: tuple[Any, ...], message: str, sets: Path, tmp_path: Path,
                         capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert ae(sets, tmp_path / "out", *flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "state.pt").exists()


@pytest.mark.parametrize("line", ["decay: cosin", "log_every: 0", "ema_decay: 1", "save_every: 0"])
def test_recipes_that_are_refused(line: str, sets: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"base: {sets}/tiny.yaml\ntraining: {{{line}}}\n")
    assert ae(sets, tmp_path / "out", "-c", tmp_path / "own.yaml") == 1


def test_sets_are_the_same_whatever_their_files(sets: Path, tmp_path: Path) -> None:
    for path in sets.glob("*_train.npz"):
        grids = read_grids(path)
        write_npy(tmp_path / f"{path.stem}.npy", grids.ids, grids.categories, grids.packed,
                  grids.settings)  # fmt: skip
    names = categories_of(tmp_path, "train")
    mine, theirs = read_set(tmp_path, names, "train"), read_set(sets, names, "train")
    assert names == ["box", "plate"]
    assert torch.equal(mine.grids(np.arange(12)), theirs.grids(np.arange(12)))
    assert mine.digest() == theirs.digest()
    assert mine.labels.tolist() == [1] * 6 + [2] * 6


def test_sets_that_do_not_go_together(sets: Path, tmp_path: Path) -> None:
    for name, mode in (("box", "solid"), ("plate", "surface")):
        grids = read_grids(sets / f"{name}_voxels_train.npz")
        write_grids(tmp_path / f"{name}_voxels_train.npz", grids.ids, grids.categories,
                    grids.packed, {**grids.settings, "mode": mode})  # fmt: skip
    with pytest.raises(ValueError, match="grids made with mode solid and surface"):
        read_set(tmp_path, ["box", "plate"], "train")


def test_without_validation_of_every_category_there_is_none(
    sets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(sets, tmp_path / "sets")
    (tmp_path / "sets" / "plate_voxels_val.npz").unlink()
    assert ae(tmp_path / "sets", tmp_path / "out") == 0
    assert "no validation" in caplog.text and "plate_voxels_val" in caplog.text
    assert not any("val/iou" in row for row in rows(tmp_path / "out"))


def test_validation_takes_rows_of_every_category() -> None:
    many = Set([], np.repeat([1, 2, 3], [700, 20, 400]), 16)
    taken = _validated(many)
    assert len(set(taken)) == VALIDATED and set(many.labels[taken]) == {1, 2, 3}
    assert _validated(Set([], np.ones(7), 16)).tolist() == list(range(7))
