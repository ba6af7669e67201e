"""Training as processes: killed, interrupted, spread over two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from accelerate.utils import is_deepspeed_available
from e2e.running import run, start
from unit.hy3dshape import tiny_training as tiny
from unit.hy3dshape.tiny_training import fresh_engine as fresh_engine
from unit.hy3dshape.tiny_training import numbers, same, train, weights

MAKERS = {"main.py": tiny.denoiser, "train_autoencoder.py": tiny.autoencoder}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def flags(path: Path, out: Path, *more: object) -> list[str]:
    return ["-c", str(path), "--output_dir", str(out), "--device", "cpu", *map(str, more)]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 90
    while not path.exists() and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.005)
    assert path.exists()


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Killed, then interrupted, then left alone."""
    path, out = tiny.denoiser(tmp_path), tmp_path / "out"
    steps = ("-st", 120, "--every_n_train_steps", 10, "--val_check_interval", 60, "-q")
    for number, step in ((signal.SIGKILL, 20), (signal.SIGINT, 50)):
        words = flags(path, out, *steps, "--ckpt_path", "auto")
        process = start("main.py", *words, stderr=subprocess.DEVNULL)
        wait_for(out / f"ckpt/ckpt-step={step:08d}.ckpt", process)
        os.killpg(process.pid, number)
        assert process.wait() == (130 if number == signal.SIGINT else -number)
        reached = sorted((out / "ckpt").glob("*.ckpt"))
        assert len(reached) < 12 and (reached[-1] / "optimizer.pt").is_file()
    resumed = run("main.py", *flags(path, out, *steps, "--ckpt_path", "auto"))
    assert resumed.code == 0 and json.loads(resumed.out)["step"] == 120
    whole = run("main.py", *flags(path, tmp_path / "whole", *steps))
    assert whole.code == 0, whole.err
    assert same(weights(out, 120), weights(tmp_path / "whole", 120))
    assert numbers(out) == numbers(tmp_path / "whole")


@pytest.mark.parametrize("script", list(MAKERS))
def test_two_processes_are_one_with_two_micro_batches(script: str, tmp_path: Path) -> None:
    """Seven shapes in batches of two: three batches an epoch, so epochs end within steps."""
    path = MAKERS[script](tmp_path)
    two = run(script, *flags(path, tmp_path / "two", "-ng", 2, "-q"))
    assert two.code == 0, two.err
    assert train(path, tmp_path / "one", "-u", 2) == 0
    for name in ("train/total_loss", "val/total_loss"):
        a, b = numbers(tmp_path / "two", name), numbers(tmp_path / "one", name)
        assert a == pytest.approx(b, rel=1e-4) and len(a) in (2, 6)
    found, expected = weights(tmp_path / "two", 6), weights(tmp_path / "one", 6)
    assert max(float((found[k] - expected[k]).abs().max()) for k in expected) < 2e-3
    assert "unused parameters" not in two.err


@pytest.mark.parametrize("engine", ["--fsdp", "--deepspeed", "--deepspeed2"])
def test_spread_training_goes_on_and_is_that_of_one_process(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With averaged weights, a callback that samples on the first process, and a stop."""
    if "deepspeed" in engine and not is_deepspeed_available():
        pytest.skip("deepspeed is not installed (see hy3dshape/README.md)")
    monkeypatch.delenv("ACCELERATE_USE_CPU")  # where Accelerate does not take DeepSpeed
    path = tiny.denoiser(tmp_path, ema_config={"ema_decay": 0.9})
    place = "hy3dshape.utils.trainings.mesh_log_callback.ConditionalMeshLogger"
    meshes = f"callbacks.m={{target: {place}, params: {{step_frequency: 2, octree_depth: 3}}}}"
    more = ("--ckpt_path", "auto", "--set", meshes)
    device = "cpu" if engine == "--fsdp" else "auto"
    for steps in (3, 6):
        words = flags(path, tmp_path / "spread", "-ng", 2, engine, "--device", device, "-st", steps)
        ended = run("main.py", *words, *more)
        assert ended.code == 0, ended.err
    assert train(path, tmp_path / "one", "-u", 2, *more) == 0
    for log in ("train/total_loss", "val/total_loss"):
        a, b = (numbers(tmp_path / name, log) for name in ("spread", "one"))
        assert a == pytest.approx(b, rel=1e-4) and len(a) in (2, 6)
    found, expected = (weights(tmp_path / name, 6) for name in ("spread", "one"))
    assert found.keys() == expected.keys() and any("model_ema" in key for key in found)
    assert max(float((found[k] - expected[k]).abs().max()) for k in expected) < 2e-3
    assert train(path, tmp_path / "spread", "-u", 2, "-st", 9, *more) == 1
    assert "go on with the engine that wrote it" in capsys.readouterr().err
