"""YAML files of the trainers."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxel_ldm.settings import SECTIONS, read_config


def test_without_a_file_every_section_is_empty() -> None:
    assert read_config(None) == {name: {} for name in SECTIONS}


def test_a_file_says_what_differs_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("training: {lr: 1e-3, epochs: 5}\nnetwork: {width: 64}\n")
    (tmp_path / "own.yaml").write_text("base: base.yaml\ntraining: {epochs: 7}\n")
    found = read_config(tmp_path / "own.yaml")
    assert found["training"] == {"lr": 1e-3, "epochs": 7}
    assert found["network"] == {"width": 64}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {learning: 1}", r"own.yaml: training: unknown key 'learning'"),
        ("network: {widht: 32}", "did you mean 'width'"),
        ("netwrok: {width: 32}", "did you mean 'network'"),
        ("training: 5", "training: expected keys and values"),
        ("[1, 2]", "expected sections"),
        ("a: b: c", "not YAML"),
        ("training: {epochs: many}", "training: epochs: 'many': expected a number"),
        ("training: {batch_size: 1.5}", "batch_size: 1.5: expected a whole number"),
        ("training: {lr: true}", "lr: True: expected a number"),
        ("autoencoder: {channels: 5}", "channels: 5: expected whole numbers"),
        ("autoencoder: {channels: [4, x]}", "expected whole numbers"),
        ("schedule: {kind: 3}", "kind: 3: expected a text"),
    ],
)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / "own.yaml")


def test_yaml_of_numbers_and_no(tmp_path: Path) -> None:
    text = "training: {precision: no, batch_size: 1e1}\nnetwork: {attention: []}\n"
    (tmp_path / "own.yaml").write_text(text)
    found = read_config(tmp_path / "own.yaml")
    assert found["training"] == {"precision": "no", "batch_size": 10}
    assert found["network"] == {"attention": []}
