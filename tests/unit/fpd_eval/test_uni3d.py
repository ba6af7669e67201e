"""Uni3D: grouping, checkpoints, and mistakes that must be noticed."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fpd_eval.embedders import uni3d_weights
from fpd_eval.embedders.grouping import farthest_points, neighbours
from fpd_eval.embedders.uni3d import VARIANTS, Shape, Uni3D
from fpd_eval.embedders.uni3d_weights import infer_variant, load_uni3d, read_state

GOLDEN = Path(__file__).parents[2] / "golden/uni3d"
STYLES = ("packed", "split", "gelu")


def shape_of(style: str) -> Shape:
    return Shape(**json.loads((GOLDEN / f"{style}.json").read_text()))


@pytest.fixture
def minis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variants are the models of the golden data, under their styles as names."""
    monkeypatch.setattr(uni3d_weights, "VARIANTS", {style: shape_of(style) for style in STYLES})


def weights(style: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"{style}.weights.safetensors")


def test_no_point_near_the_origin_is_picked() -> None:
    cloud = torch.tensor([[[0.5, 0, 0], [0.03, 0, 0], [0.4, 0, 0], [0, 0.02, 0.02]]])
    assert farthest_points(cloud, 4).tolist() == [[0, 2, 0, 0]]
    assert farthest_points(cloud * 0.01, 3).tolist() == [[0, 0, 0]]
    assert farthest_points(cloud, 3, near_origin=-1).tolist()[0][:2] == [0, 3]


def test_equal_distances_go_to_the_lowest_index() -> None:
    cloud = torch.tensor([[[1.0, 0, 0], [-1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]])
    assert farthest_points(cloud, 4).tolist() == [[0, 1, 3, 4]]


def test_groups_need_enough_points() -> None:
    cloud = torch.rand(1, 5, 3)
    with pytest.raises(ValueError, match="5 points; a group needs 6"):
        neighbours(cloud, cloud, 6)


@pytest.mark.parametrize(("name", "millions"), [("tiny", 5.3), ("small", 21.3), ("base", 85.1),
                                                ("large", 302.4), ("giant", 1010.0)])  # fmt: skip
def test_trunks_have_the_published_size(name: str, millions: float) -> None:
    with torch.device("meta"):
        blocks = Uni3D(VARIANTS[name]).visual.blocks
    assert sum(p.numel() for p in blocks.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_read_off_the_shapes(name: str) -> None:
    with torch.device("meta"):
        state = {f"point_encoder.{k}": v for k, v in Uni3D(VARIANTS[name]).state_dict().items()}
    assert infer_variant(Path("x.pt"), state) == name


@pytest.mark.parametrize("container", ["module", "state_dict", "model", ""])
@pytest.mark.parametrize("style", STYLES)
def test_containers(minis: None, tmp_path: Path, container: str, style: str) -> None:
    state = {f"module.{key}": value for key, value in weights(style).items()}
    torch.save({container: state, "epoch": 3} if container else state, tmp_path / "x.pt")
    name, model = load_uni3d(tmp_path / "x.pt", style)
    _, plain = load_uni3d(GOLDEN / f"{style}.weights.safetensors")
    assert name == style
    for key, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def broken(minis: None, tmp_path: Path, change: dict[str, Tensor | None]) -> str:
    """What loading says of the split weights after a change; None removes a key."""
    state = weights("split") | change
    path = tmp_path / "x.safetensors"
    save_file({key: value for key, value in state.items() if value is not None}, path)
    with pytest.raises(ValueError) as caught:
        load_uni3d(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


ENCODER = "point_encoder.encoder.first_conv.0.weight"


def test_every_key_counts(minis: None, tmp_path: Path) -> None:
    said = broken(minis, tmp_path, {"point_encoder.visual.fc_norm.weight": None})
    assert "1 keys missing: point_encoder.visual.fc_norm.weight" in said
    renamed = {ENCODER: None, "point_encoder.encoder.first.0.weight": torch.zeros(128, 6, 1)}
    said = broken(minis, tmp_path, renamed)
    assert f"missing: {ENCODER}" in said and "unknown: point_encoder.encoder.first.0" in said
    said = broken(minis, tmp_path, {ENCODER: torch.zeros(128, 3, 1)})
    assert f"{ENCODER} is (128, 3), not (128, 6)" in said
    nan = torch.full((48, 64), torch.nan)
    said = broken(minis, tmp_path, {"point_encoder.encoder2trans.weight": nan})
    assert "1 keys not finite: point_encoder.encoder2trans.weight" in said


def test_weights_of_another_variant(minis: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights of Uni3D-packed, not of --variant split"):
        load_uni3d(GOLDEN / "packed.weights.safetensors", "split")


def test_what_is_no_uni3d(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no variant of Uni3D: blocks packed, width 48, depth 3"):
        load_uni3d(GOLDEN / "packed.weights.safetensors")
    torch.save({"module": {"a": torch.zeros(2)}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"not a Uni3D checkpoint: no point_encoder.cls_token"):
        load_uni3d(tmp_path / "x.pt")
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(ValueError, match="no state dict"):
        load_uni3d(tmp_path / "x.pt")


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickles_are_not_run(tmp_path: Path) -> None:
    torch.save({"module": Hostile()}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: unsafe or damaged pickle"):
        read_state(tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match=r"y\.pt: "):
        read_state(tmp_path / "y.pt")
    (tmp_path / "z.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match=r"z.safetensors: damaged"):
        read_state(tmp_path / "z.safetensors")
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "absent.pt")


def test_the_order_of_points_after_the_first_does_not_matter() -> None:
    path = GOLDEN / "split.weights.safetensors"
    model = uni3d_weights.build(path, read_state(path), shape_of("split"))
    with np.load(GOLDEN / "split.npz") as arrays:
        points, colors = (torch.from_numpy(arrays[k][:1]) for k in ("points", "colors"))
    order = torch.cat([torch.tensor([0]), 1 + torch.randperm(511)])
    first, second = model(points, colors), model(points[:, order], colors[:, order])
    assert torch.allclose(first, second, atol=1e-5)


def test_a_mistake_in_the_last_norm_shows() -> None:
    """A test of the tolerance: a wrong epsilon moves the golden embedding above it."""
    path = GOLDEN / "gelu.weights.safetensors"
    shape = replace(shape_of("gelu"), layer_norm_eps=1e-5)
    model = uni3d_weights.build(path, read_state(path), shape)
    with np.load(GOLDEN / "gelu.npz") as arrays:
        points, colors = (torch.from_numpy(arrays[k]) for k in ("points", "colors"))
        want = torch.from_numpy(arrays["embedding"])
    unit = torch.nn.functional.normalize(model(points, colors), dim=-1)
    assert float((unit - want).abs().max()) > 2e-6
