"""encode_latents.py: names, turns, resume, failures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import yaml
from safetensors.torch import save_file

import encode_latents
import evaluate_autoencoder
from hy3dshape.encoding import Turns, list_clouds, read_cloud
from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE

PARAMS = {
    "model_depth": 1, "model_dim": 64, "surface_size": 128, "num_latents": 16, "latent_dim": 4,
}  # fmt: skip


@pytest.fixture
def autoencoder(tmp_path: Path) -> list[str]:
    """Flags that name a tiny random autoencoder."""
    torch.manual_seed(0)
    torch.save(CustomShapeVAE(**PARAMS).autoencoder.state_dict(), tmp_path / "ae.pt")
    node = {
        "target": "hy3dshape.models.autoencoders.autoencoder.CustomShapeVAE",
        "params": PARAMS,
    }
    tree = {"model": {"params": {"first_stage_config": node}}}
    (tmp_path / "ae.yaml").write_text(yaml.safe_dump(tree))
    return ["--config", str(tmp_path / "ae.yaml"), "--ckpt", str(tmp_path / "ae.pt")]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    folder = tmp_path / "sdf"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        points = rng.normal(size=(200, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        np.savez(folder / f"{name}.npz", surface_points=(points * [1, 0.5, 0.2]).astype(np.float32))
    return folder


def _encode(samples: Path, output: Path, *flags: str) -> int:
    return encode_latents.main(["--input", str(samples), "--output", str(output), *flags])


def _read(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=True)


def test_batches_and_shards_change_nothing(
    autoencoder: list[str], samples: Path, tmp_path: Path
) -> None:
    assert _encode(samples, tmp_path / "one", *autoencoder, "--batch-size", "1") == 0
    for shard in ("0/2", "1/2"):
        assert _encode(samples, tmp_path / "two", *autoencoder, "--shard", shard) == 0
    for name in "abc":
        one, two = _read(tmp_path / "one" / f"{name}.pt"), _read(tmp_path / "two" / f"{name}.pt")
        assert one.shape == (16, 4)
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


def test_fewer_latents_are_the_first_of_many(
    autoencoder: list[str], samples: Path, tmp_path: Path
) -> None:
    for count in (16, 40):
        flags = [*autoencoder, "--num-latents", str(count)]
        assert _encode(samples, tmp_path / str(count), *flags) == 0
    many = _read(tmp_path / "40" / "a.pt")
    assert many.shape == (40, 4)
    torch.testing.assert_close(many[:16], _read(tmp_path / "16" / "a.pt"), atol=1e-5, rtol=0)


def test_yaw_copies_are_encoded_clouds_turned_about_the_up_axis(
    autoencoder: list[str], samples: Path, tmp_path: Path
) -> None:
    assert _encode(samples, tmp_path / "plain", *autoencoder) == 0
    assert _encode(samples, tmp_path / "yaw", *autoencoder, "--aug-yaw", "4") == 0
    names = sorted(p.name for p in (tmp_path / "yaw").glob("a*.pt"))
    assert names == [f"a_aug{n}.pt" for n in range(4)]
    plain, copies = _read(tmp_path / "plain" / "a.pt"), [_read(tmp_path / "yaw" / n) for n in names]
    torch.testing.assert_close(copies[0], plain, atol=1e-5, rtol=0)
    assert (copies[1] - plain).abs().max() > 0.1
    quarter = Turns("yaw", 4, "y").matrix("a", 1) @ np.array([0, 1, 0], np.float32)
    np.testing.assert_allclose(quarter, [0, 1, 0], atol=1e-6)


def test_weights_beside_the_configuration_need_no_flag(
    autoencoder: list[str], samples: Path, tmp_path: Path
) -> None:
    node = {"model": {"params": {"first_stage_config": {"params": {"pretrained": {
        "ckpt_path": "ae.pt"}}}}}, "base": "ae.yaml"}  # fmt: skip
    (tmp_path / "named.yaml").write_text(yaml.safe_dump(node))
    assert _encode(samples, tmp_path / "a", *autoencoder) == 0
    assert _encode(samples, tmp_path / "b", "--config", str(tmp_path / "named.yaml")) == 0
    assert torch.equal(_read(tmp_path / "a/a.pt"), _read(tmp_path / "b/a.pt"))


@pytest.mark.parametrize("up", ["y", "z"])
def test_turns_are_rotations(up: str) -> None:
    for turns in (Turns("yaw", 5, up), Turns("free", 5, up, seed=3)):
        for n in range(5):
            matrix = turns.matrix("uid", n).astype(float)
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
            assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(turns.matrix("uid", 0), np.eye(3), atol=1e-7)


def test_what_exists_is_kept_and_other_settings_are_refused(
    autoencoder: list[str], samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert _encode(samples, output, *autoencoder, "--limit", "1") == 0
    before = (output / "a.pt").stat().st_mtime_ns
    assert _encode(samples, output, *autoencoder) == 0
    assert "2 encoded, 1 existed" in capsys.readouterr().out
    assert (output / "a.pt").stat().st_mtime_ns == before
    assert _encode(samples, output, *autoencoder, "--num-latents", "8") == 1
    assert "num_latents: there 16, here 8" in capsys.readouterr().err


def test_latents_of_weights_that_have_been_replaced_are_not_taken_over(
    autoencoder: list[str], samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = tmp_path / "autoencoder.safetensors"
    state = torch.load(tmp_path / "ae.pt", weights_only=True)
    save_file(state, beside)
    assert _encode(samples, tmp_path / "out", *autoencoder[:2]) == 0
    save_file({k: v + 1 for k, v in state.items()}, beside)
    assert _encode(samples, tmp_path / "out", *autoencoder[:2]) == 1
    assert "weights: there" in capsys.readouterr().err


def test_a_broken_cloud_is_recorded_and_the_rest_encoded(
    autoencoder: list[str], samples: Path, tmp_path: Path
) -> None:
    (samples / "b.npz").write_bytes(b"no archive")
    assert _encode(samples, tmp_path / "out", *autoencoder) == 3
    assert sorted(p.name for p in (tmp_path / "out").glob("*.pt")) == ["a.pt", "c.pt"]
    assert "b.npz" in (tmp_path / "out" / "failures.json").read_text()


def test_a_share_keeps_the_failures_of_the_others(
    autoencoder: list[str], samples: Path, tmp_path: Path
) -> None:
    (samples / "a.npz").write_bytes(b"no archive")
    output = tmp_path / "out"
    assert _encode(samples, output, *autoencoder, "--shard", "0/2") == 3
    assert _encode(samples, output, *autoencoder, "--shard", "1/2") == 0
    assert "a.npz" in (output / "latents.0-of-2.failures.json").read_text()


def test_other_weights_of_one_folder_are_refused(
    autoencoder: list[str], samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ckpt"
    folder.mkdir()
    state = _read(tmp_path / "ae.pt")
    flags = [*autoencoder[:2], "--ckpt", str(folder)]
    torch.save(state, folder / "a.pt")
    assert _encode(samples, tmp_path / "out", *flags) == 0
    torch.save({k: v + 1 for k, v in state.items()}, folder / "b.pt")
    assert _encode(samples, tmp_path / "out", *flags) == 1
    assert "weights: there" in capsys.readouterr().err


def test_a_list_of_another_form_is_named(
    autoencoder: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shapes.json").write_text('[{"id": "a"}]')
    assert _encode(tmp_path / "shapes.json", tmp_path / "out", *autoencoder) == 1
    assert "shapes.json: no list 'shapes'" in capsys.readouterr().err


def test_folders_are_part_of_ids_and_lying_meshes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "chairs").mkdir()
    (tmp_path / "chairs" / "001.npz").touch()
    assert list(list_clouds(tmp_path)) == ["chairs/001"]
    listed = {"shapes": [{"id": "a", "path": "a.obj", "up": "z"}]}
    (tmp_path / "shapes.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match=r"a and 0 others do not stand along y .* prepare_sdf"):
        list_clouds(tmp_path / "shapes.json")


def test_a_mesh_is_sampled_in_the_unit_sphere(tmp_path: Path) -> None:
    trimesh.creation.box((4, 2, 1)).apply_translation((5, 5, 5)).export(tmp_path / "box.ply")
    cloud = read_cloud("box", tmp_path / "box.ply", 4000)
    assert cloud.shape == (4000, 3)
    half = np.array([4, 2, 1]) / np.sqrt(21)
    np.testing.assert_allclose(np.abs(cloud).max(axis=0), half, atol=1e-3)
    np.testing.assert_array_equal(cloud, read_cloud("box", tmp_path / "box.ply", 4000))
    assert (tmp_path / "box.ply").exists()


def test_a_config_without_autoencoder_says_so(
    autoencoder: list[str], samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ae.yaml").write_text("model: {params: {}}")
    assert _encode(samples, tmp_path / "out", *autoencoder) == 1
    assert "no model.params.first_stage_config" in capsys.readouterr().err


def test_reconstruction_is_measured_against_the_samples(
    autoencoder: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (500, 3)).astype(np.float32)
    surface = (0.6 * points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    distance = np.linalg.norm(points, axis=1).astype(np.float32) - np.float32(0.6)
    folder = tmp_path / "sdf"
    folder.mkdir()
    np.savez(
        folder / "ball.npz", surface_points=surface, vol_points=points, vol_sdf=distance,
        near_points=surface, near_sdf=np.zeros(500, np.float32),
    )  # fmt: skip
    flags = ["--input", str(folder), *autoencoder, "--output", str(tmp_path / "iou.json")]
    assert evaluate_autoencoder.main(flags) == 0
    assert "(1 shapes)" in capsys.readouterr().out
    found = json.loads((tmp_path / "iou.json").read_text())
    assert found["shapes"][0]["id"] == "ball"
    assert found["iou_mean"] == 0  # the head of a new model is zero: outside everywhere
    assert found["near_error"] == found["surface_error"] == 0
