"""Training options: flag > YAML > default, unknown keys refused."""

from __future__ import annotations

from typing import Any

import pytest

from hy3dshape.training_options import Training


def test_precedence() -> None:
    made = Training.resolve({"base_lr": "1e-4", "steps": 5e5}, {"base_lr": 2e-4, "fast": True})
    assert (made.base_lr, made.steps, made.fast, made.update_every) == (2e-4, 500_000, True, 1)


def test_a_yaml_number_is_a_precision() -> None:
    assert Training.resolve({"amp_type": 16}).amp_type == "16"


def test_scaled_learning_rate() -> None:
    made = Training(base_lr=1e-6, scale_lr=True, update_every=2, num_nodes=3, num_gpus=4)
    assert made.learning_rate(batch_size=5) == pytest.approx(1.2e-4)
    assert Training(base_lr=1e-6).learning_rate(64) == 1e-6


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"update_evry": 2}, "training: unknown key 'update_evry', did you mean 'update_every'"),
        ({"amp_type": "fp16"}, "training.amp_type: expected '16' or 'bf16' or '32'"),
        ({"steps": "many"}, "training.steps: expected a number"),
        ({"steps": 0}, "training.steps: expected 1 or more, found 0"),
        ({"base_lr": 0}, "training.base_lr: expected more than 0"),
        ({"gradient_clip_val": float("nan")}, "training.gradient_clip_val"),
        ([1], "training: expected a mapping"),
    ],
)
def test_wrong_options_are_named(section: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training.resolve(section)


def test_a_wrong_flag_is_named_as_one() -> None:
    with pytest.raises(ValueError, match="flags: unknown key 'nodes'"):
        Training.resolve({}, {"nodes": 2})
