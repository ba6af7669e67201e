"""A training step, from a batch to new weights, passes through at most eight files.

Models of images keep no averaged weights here, as in the configuration that ships: ninth, ema.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image
from unit.hy3dshape import tiny_clip
from unit.hy3dshape import tiny_training as tiny
from unit.hy3dshape.test_training import fresh_engine  # noqa: F401

from hy3dshape import config
from hy3dshape.training import Trainer
from hy3dshape.training_options import Training

IMAGES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
CONDITIONS = {"text": ["a chair", "a text not seen before"], "image": IMAGES}
WIDTHS = {"class": 24, "text": tiny_clip.TEXT_WIDTH, "image": tiny_clip.IMAGE_WIDTH}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip.write(tmp_path_factory.mktemp("clip"))


def denoiser(kind: str, clip: Path, folder: Path) -> Path:
    """Configuration of a model with a condition of a kind and with experts."""
    condition: dict[str, Any] = {"type": kind, "text_embed_dim": WIDTHS[kind]}
    condition |= {"num_classes": 2} if kind == "class" else {"tower_path": str(clip)}
    target = tiny.MODELS + "conditioner.MultiConditioner"
    parts = {"cond_stage_config": {"target": target, "params": condition},
             "denoiser_cfg": {"target": tiny.MODELS + "denoisers.dit.DiTPlain",
                              "params": {**tiny.DENOISER, "context_dim": WIDTHS[kind]}},
             "optimizer_cfg": {**tiny.OPTIMIZER, "train_image_encoder": kind == "class"},
             "ema_config": None if kind == "image" else {"ema_decay": 0.5}}  # fmt: skip
    return tiny.denoiser(folder, **parts)


def files_of_a_step(path: Path, conditions: list[Any] | None, out: Path) -> set[str]:
    """Names of our files whose functions one step calls."""
    tree = config.load_config(path)
    task, data = (config.build(tree[name], name) for name in ("model", "dataset"))
    run = Trainer(task, data, Training(output_dir=str(out)), {})
    batch = next(data.train_batches())
    if conditions is not None:
        batch["conditioning"] = conditions
    task.begin([batch], lambda value: value)
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "/hy3dshape/hy3dshape/" in frame.f_code.co_filename:
            seen.add(Path(frame.f_code.co_filename).name)

    sys.setprofile(note)
    try:
        run._one_step(iter([batch]), 1.0)
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.usefixtures("fresh_engine")
@pytest.mark.parametrize("kind", ["class", "text", "image", "autoencoder"])
def test_a_step_passes_through_at_most_eight_files(kind: str, clip: Path, tmp_path: Path) -> None:
    whole = kind == "autoencoder"
    path = tiny.autoencoder(tmp_path) if whole else denoiser(kind, clip, tmp_path)
    seen = files_of_a_step(path, CONDITIONS.get(kind), tmp_path / "out")
    print(f"{kind}: {len(seen)} files: {', '.join(sorted(seen))}")
    core = {"losses.py", "vecset.py"} if whole else {"dit.py", "transport.py", "layers.py"}
    assert {"training.py", *core} <= seen and len(seen) <= 8
    assert ("ema.py" in seen) == (kind in ("class", "text"))
