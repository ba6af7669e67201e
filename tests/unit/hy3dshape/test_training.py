"""Training runs of tiny models: what they write, how they go on, what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from unit.hy3dshape import tiny_training as tiny
from unit.hy3dshape.tiny_training import fresh_engine as fresh_engine
from unit.hy3dshape.tiny_training import numbers, same, train, weights

import main as entry
from hy3dshape import checkpoints, config
from hy3dshape.training import Trainer, leaves

Made = Callable[..., Path]
MAKERS = {"denoiser": tiny.denoiser, "autoencoder": tiny.autoencoder}


@pytest.fixture(scope="module", params=list(MAKERS))
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of either task."""
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.denoiser(tmp_path_factory.mktemp("denoiser"))


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after a step."""

    def hit(run: Trainer) -> None:
        if run.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_call_back", hit)


def test_three_and_three_steps_are_six(
    either: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(either, tmp_path / "six") == 0
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert train(either, tmp_path / "three") == 130
    assert [p.name for p in (tmp_path / "three/ckpt").glob("*.ckpt")] == ["ckpt-step=00000003.ckpt"]
    assert max(numbers(tmp_path / "three")) == 4
    assert train(either, tmp_path / "three", "--ckpt_path", "auto") == 0
    assert same(weights(tmp_path / "six", 6), weights(tmp_path / "three", 6))
    assert numbers(tmp_path / "six") == numbers(tmp_path / "three")
    for name in ("lr_abs", "val/total_loss"):
        assert numbers(tmp_path / "six", name) == numbers(tmp_path / "three", name)


def test_a_checkpoint_that_was_being_written_is_none(denoiser: Path, tmp_path: Path) -> None:
    draft = checkpoints.draft(tmp_path, 3)
    draft.mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(b"half")
    assert checkpoints.newest(tmp_path) is None
    assert train(denoiser, tmp_path, "--ckpt_path", "auto", "-st", 3) == 0
    assert not draft.exists()


def test_only_the_newest_checkpoint_keeps_the_optimizer(denoiser: Path, tmp_path: Path) -> None:
    assert train(denoiser, tmp_path) == 0
    files = {p.relative_to(tmp_path / "ckpt").as_posix() for p in tmp_path.glob("ckpt/*/*")}
    old, new = "ckpt-step=00000003.ckpt", "ckpt-step=00000006.ckpt"
    kept = ["model.safetensors", "state.json"]
    assert files == {f"{old}/{n}" for n in kept} | {f"{new}/{n}" for n in [*kept, "optimizer.pt"]}
    assert train(denoiser, tmp_path, "--ckpt_path", tmp_path / "ckpt" / old) == 1


def test_best_checkpoint_is_noted(denoiser: Path, tmp_path: Path) -> None:
    assert train(denoiser, tmp_path, "-st", 9, "-lr", 1e-3) == 0
    values = numbers(tmp_path, "val/total_loss")
    best = json.loads((tmp_path / "ckpt/best.json").read_text())
    step = min(values, key=values.__getitem__)
    assert best == {"checkpoint": f"ckpt-step={step:08d}.ckpt", "monitor": "val/total_loss",
                    "value": values[step], "measured_at_step": step}  # fmt: skip


def test_flags_go_before_the_file_and_the_file_before_defaults(
    denoiser: Path, tmp_path: Path
) -> None:
    flags = ("-st", 2, "-s", 5, "--set", "training.base_lr=3e-3")
    assert train(denoiser, tmp_path, *flags, "--set", "dataset.params.seed=9") == 0
    told = yaml.safe_load((tmp_path / "config.yaml").read_text())
    training = told["training"]
    assert (training["steps"], training["base_lr"], training["gradient_clip_val"]) == (2, 3e-3, 1.0)
    assert training["amp_type"] == "16" and training["seed"] == told["dataset"]["params"]["seed"]
    assert training["seed"] == 5


@pytest.mark.parametrize(
    ("flags", "seed"),
    [((), 0), (("--set", "dataset.params.seed=9"), 9), (("--set", "training.seed=4"), 4)],
)
def test_seed_of_the_data(
    flags: tuple[str, ...], seed: int, denoiser: Path, tmp_path: Path
) -> None:
    assert train(denoiser, tmp_path, "-st", 1, *flags) == 0
    told = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert told["dataset"]["params"]["seed"] == seed


def test_seed_changes_the_run(denoiser: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert train(denoiser, tmp_path / name, "-st", 1, "-s", seed) == 0
    a, b, c = (numbers(tmp_path / name) for name in "abc")
    assert a == b != c


def test_mixed_precision(either: Path, tmp_path: Path) -> None:
    assert train(either, tmp_path / "a", "-st", 2) == 0
    assert train(either, tmp_path / "b", "-st", 2, "-a", "--amp_type", "bf16") == 0
    a, b = numbers(tmp_path / "a"), numbers(tmp_path / "b")
    assert list(a.values()) == pytest.approx(list(b.values()), rel=0.05)
    full, mixed = (weights(tmp_path / name, 2) for name in "ab")
    assert not same(full, mixed) and all(v.dtype == torch.float32 for v in mixed.values())


def test_slim_checkpoint_is_of_the_reference_layout(denoiser: Path, tmp_path: Path) -> None:
    assert train(denoiser, tmp_path, "-st", 1) == 0
    found = weights(tmp_path, 1)
    inner = {k for k in found if k.startswith("model.")}
    assert found.keys() - inner == {"z_scale_factor", "cond_stage_model.embedder.embedding.weight"}
    fresh = config.build(yaml.safe_load(denoiser.read_text())["model"], "model")
    assert inner == {f"model.{k}" for k in fresh.model.state_dict()}
    state = json.loads((tmp_path / "ckpt/ckpt-step=00000001.ckpt/state.json").read_text())
    assert state["step"] == 1 and state["conditions"]["class_ids"] == {"box": 0, "chair": 1}
    assert state["conditions"]["conditioner"]["num_classes"] == 2
    assert train(denoiser, tmp_path / "on", "--init_ckpt", tmp_path / "ckpt", "-st", 1) == 0


def test_weights_alone_start_a_run_at_the_step_of_their_name(
    denoiser: Path, tmp_path: Path
) -> None:
    assert train(denoiser, tmp_path / "a") == 0
    last = tmp_path / "a/ckpt/ckpt-step=00000003.ckpt"
    assert train(denoiser, tmp_path / "b", "--init_ckpt", last, "-st", 4) == 0
    assert list(numbers(tmp_path / "b")) == [4]


def test_average_of_weights_is_kept_and_validates(tmp_path: Path) -> None:
    ema = {"ema_decay": 0.5, "ema_inference": True}
    path = tiny.denoiser(tmp_path, ema_config=ema)
    assert train(path, tmp_path / "a", "-st", 3) == 0
    unused = ("--set", "model.params.ema_config.ema_inference=false")
    assert train(path, tmp_path / "b", "-st", 3, *unused) == 0
    a, b = weights(tmp_path / "a", 3), weights(tmp_path / "b", 3)
    assert same(a, b) and int(a["model_ema.num_updates"]) == 3
    name = "x_embedder.weight"
    assert not torch.equal(a[f"model.{name}"], a[f"model_ema.{name.replace('.', '_____')}"])
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    ours, theirs = (numbers(tmp_path / n, "val/total_loss") for n in "ab")
    assert ours != theirs


def test_two_shapes_are_learnt(tmp_path: Path) -> None:
    path = tiny.autoencoder(tmp_path, shapes=2, eikonal_weight=0.0, near_weight=1.0)
    flags = ("-st", 200, "-lr", 3e-3, "--log_every_n_steps", 20, "--every_n_train_steps", 200)
    upright = ("--set", "dataset.params.augmentation=none", "--limit_val_batches", 0)
    assert train(path, tmp_path / "out", *flags, *upright) == 0
    error = numbers(tmp_path / "out", "train/loss_vol")
    assert error[200] < 0.6 * error[20]


ANOTHER = "holds ckpt-step=00000001.ckpt of an earlier run; --ckpt_path auto goes on with it"


@pytest.fixture(scope="module")
def finished(denoiser: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of a run of one step."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert train(denoiser, out, "-st", 1) == 0
    return out


def test_a_run_leaves_its_record(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["settings"]["training"]["steps"] == 1
    assert record["counts"] == {"steps": 1}
    assert record["last"]["train/total_loss"] > 0


def test_how_it_is_sampled_may_change_in_a_run(denoiser: Path, finished: Path) -> None:
    more = ("--ckpt_path", "auto", "--set", "sampling_common.steps=7")
    assert train(denoiser, finished, "-st", 1, *more) == 0


def test_more_processes_than_gpus(
    denoiser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    words = ["-c", denoiser, "--output_dir", tmp_path, "--device", "auto", "-ng", 3]
    assert entry.main([str(word) for word in words]) == 1
    assert "--num_gpus 3: 2 are there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), ANOTHER),
        (("--init_ckpt", "nowhere"), ANOTHER),
        (("--ckpt_path", "nowhere"), "nowhere: no such checkpoint"),
        (("--ckpt_path", "{out}"), "the folder of a run; its newest checkpoint is"),
        (("--ckpt_path", "{out}/ckpt"), "no state.json in it, so there is no run to go on with"),
        (("--ckpt_path", "{out}/config.yaml"), "its weights alone can be had by --init_ckpt"),
        (("--ckpt_path", "auto", "--init_ckpt", "x"), "exclude each other"),
        (("--ckpt_path", "auto", "-s", "1", "--set", "dataset.params.batch_size=3"),
         "other settings: dataset.params.batch_size 2, now 3; seed 0, now 1"),
        (("--ckpt_path", "auto", "-u", "2"), "processes x update_every 1, now 2"),
        (("--ckpt_path", "auto", "--set", "model.params.denoiser_cfg.params.depth=3"),
         "model.params.denoiser_cfg.params.depth 2, now 3"),
        (("--monitor", "val/nonsense", "--output_dir", "{new}"),
         "monitor: nothing logs 'val/nonsense'; known: train/total_loss, train/simple"),
        (("--set", "model.params.hiden=3"), "model.params: unknown key 'hiden'"),
        (("--set", "modelparams"), "'modelparams': expected key.path=value"),
        (("--set", "model.params.denoiser_cfg.params.max_seq_len=5", "--output_dir", "{new}"),
         r"latents are (6, 4); max_seq_len and in_channels of the denoiser say (5, 4)"),
        (("--set", "dataset.params.batch_size=9", "--output_dir", "{new}"),
         "7 items fill no batch of 9; lower batch_size"),
        (("--set", "trainig.steps=9"), "unknown key 'trainig', did you mean 'training'?"),
        (("--set", "callbacks=[1]"), "callbacks: expected keys and values, found [1]"),
        (("--set", "dataset=null"), "dataset: expected a section with target: and params:"),
        (("-nn", "2"), "--num_nodes 2: set MASTER_ADDR"),
        (("--deepspeed", "--output_dir", "{new}"), "--deepspeed: the package is missing"),
        (("--fsdp", "--output_dir", "{new}"), "--fsdp: spreads weights over two processes or more"),
        (("--fsdp", "--deepspeed"), "fsdp and deepspeed exclude each other"),
        (("--fsdp", "--gradient_clip_algorithm", "value"), "under fsdp norm alone works"),
        (("-a", "--output_dir", "{new}"), "--amp_type 16 needs a GPU"),
        (("-lr", "1e38", "--output_dir", "{new}"), "the loss is nan; lower base_lr"),
    ],
)  # fmt: skip
def test_refused(
    flags: tuple[str, ...], message: str, denoiser: Path, finished: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = [word.format(out=finished, new=tmp_path / "new") for word in flags]
    assert train(denoiser, finished, *words) == 1
    assert message in capsys.readouterr().err


def test_free_settings_may_change(denoiser: Path, tmp_path: Path) -> None:
    assert train(denoiser, tmp_path, "-st", 1) == 0
    settings = ("num_workers=1", "test_csv_path=nowhere.csv")
    more = [word for each in settings for word in ("--set", f"dataset.params.{each}")]
    more += ["--set", "training.log_every_n_steps=2"]
    assert train(denoiser, tmp_path, "-st", 2, "--ckpt_path", "auto", *more) == 0


def test_two_processes_can_go_on_as_one_with_two_micro_batches(
    denoiser: Path, tmp_path: Path
) -> None:
    assert train(denoiser, tmp_path, "-st", 1, "-u", 2) == 0
    path = tmp_path / "ckpt/ckpt-step=00000001.ckpt/state.json"
    state = json.loads(path.read_text())
    assert (state["world"], state["settings"]["update_every"]) == (1, 2)
    state["world"], state["settings"]["update_every"] = 2, 1
    path.write_text(json.dumps(state))
    assert train(denoiser, tmp_path, "-st", 2, "-u", 2, "--ckpt_path", "auto") == 0


def test_other_classes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny.denoiser(tmp_path)
    assert train(path, tmp_path / "out", "-st", 1) == 0
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace("box", "zebra"))
    for name in ("val.csv",):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("box", "zebra"))
    assert train(path, tmp_path / "out", "-st", 2, "--ckpt_path", "auto") == 1
    assert "conditions.class_ids.box 0, now None" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("optimizer.pt", "optimizer.pt: damaged"),
        ("model.safetensors", "model.safetensors: damaged"),
        ("state.json", "state.json: not JSON"),
    ],
)
def test_damaged_checkpoint(
    file: str, message: str, denoiser: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(denoiser, tmp_path, "-st", 1) == 0
    path = tmp_path / "ckpt/ckpt-step=00000001.ckpt" / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert train(denoiser, tmp_path, "-st", 2, "--ckpt_path", "auto") == 1
    assert message in capsys.readouterr().err


def test_leaves() -> None:
    tree: dict[str, Any] = {"a": {"b": 1, "c": {}}, "d": [{"e": 2}]}
    assert leaves(tree) == {"a.b": 1, "a.c": {}, "d": [{"e": 2}]}
