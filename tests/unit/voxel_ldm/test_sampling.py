"""Sampling and score distillation as scripts: files, resume, classes, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

import sampling_n
import sds
from voxel_ldm import drawing
from voxel_ldm.grids import read_grids
from voxel_ldm.meshing import mesh_of


def models(trained: Path) -> list[str]:
    denoiser, autoencoder = (str(trained / f"{n}.safetensors") for n in ("denoiser", "autoencoder"))
    return ["--ldm_ckpt_path", denoiser, "--ae_ckpt_path", autoencoder, "--device", "cpu"]


def draw(trained: Path, out: Path, *more: Any) -> int:
    args = ["--save_dir", out, "--num_samples", 5, "--batch_size", 2, "--scheduler", "ddim",
            "--steps", 4, "--threshold", 0.2]  # fmt: skip
    return sampling_n.main([*models(trained), *map(str, [*args, *more])])


def test_every_class_gets_grids_that_the_evaluation_reads(trained: Path, tmp_path: Path) -> None:
    assert draw(trained, tmp_path, "--meshes", "none") == 0
    for name in ("box", "plate"):
        grids = read_grids(tmp_path / f"{name}.npy")
        assert (len(grids), grids.resolution) == (5, 16)
    made = json.loads((tmp_path / "box.npy.run.json").read_text())
    assert made["settings"]["guidance_scale"] == 2.0
    assert not list(tmp_path.glob(".*"))


def test_probabilities_and_another_batch_are_the_same_samples(
    trained: Path, tmp_path: Path
) -> None:
    soft = ("--probabilities", "--meshes", "none", "--class-name", "plate")
    assert draw(trained, tmp_path / "a", *soft) == 0
    assert draw(trained, tmp_path / "b", *soft, "--batch_size", 5) == 0
    a, b = (np.load(tmp_path / p / "plate.npy") for p in "ab")
    assert a.dtype == np.float32
    assert np.allclose(a, b, atol=1e-5)
    assert draw(trained, tmp_path / "c", "--meshes", "none", "--class-name", "plate") == 0
    assert np.array_equal(np.load(tmp_path / "c" / "plate.npy"), a > 0.2)
    with pytest.raises(ValueError, match="threshold"):
        read_grids(tmp_path / "a" / "plate.npy")


def test_a_stopped_sampling_goes_on_with_the_batch_it_lacks(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--meshes", "none", "--class-name", "box")
    assert draw(trained, tmp_path / "whole", *more) == 0
    calls, decode = [], drawing.decode

    def stopping(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(*args)

    with monkeypatch.context() as patched:
        patched.setattr(drawing, "decode", stopping)
        assert draw(trained, tmp_path / "parts", *more) == 130
    assert not (tmp_path / "parts" / "box.npy").exists()
    monkeypatch.setattr(drawing, "decode", lambda *args: calls.append(1) or decode(*args))
    assert draw(trained, tmp_path / "parts", *more) == 0
    assert len(calls) == 4  # two before the stop, the one it broke, that one again
    whole, parts = ((tmp_path / p / "box.npy").read_bytes() for p in ("whole", "parts"))
    assert whole == parts
    assert draw(trained, tmp_path / "parts", *more) == 0
    assert len(calls) == 4


def test_samples_of_other_settings_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--meshes", "none", "--class-name", "box")
    assert draw(trained, tmp_path, *more) == 0
    before = (tmp_path / "box.npy").read_bytes()
    assert draw(trained, tmp_path, *more, "--guidance_scale", 5) == 1
    assert "guidance_scale: there 2.0, here 5.0" in capsys.readouterr().err
    assert (tmp_path / "box.npy").read_bytes() == before
    assert draw(trained, tmp_path, *more, "--guidance_scale", 5, "--overwrite") == 0


def test_the_references_scale_is_one_less(trained: Path, tmp_path: Path) -> None:
    more = ("--meshes", "none", "--class-name", "box", "--probabilities")
    assert draw(trained, tmp_path / "s", *more, "--guidance_scale", 8.5) == 0
    assert draw(trained, tmp_path / "w", *more, "--use_cfg", "--cfg_scale", 7.5) == 0
    s, w = (np.load(tmp_path / p / "box.npy") for p in "sw")
    assert np.array_equal(s, w)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--class-name", "chair"), "class 'chair': the model knows box, plate"),
        (("--guidance_scale", 1, "--cfg_scale", 1), "two names of one thing"),
        (("--steps", 21), "21 steps: expected 1 to 20, as trained"),
        (("--threshold", 1), "--threshold 1.0"),
        (("--num_samples", 0), "--num_samples 0"),
        (("--ldm_ckpt_path", "nowhere.safetensors"), "nowhere.safetensors: no such file"),
    ],
)
def test_what_is_refused(
    flags: tuple[Any, ...], message: str, trained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert draw(trained, tmp_path / "out", *flags) == 1
    assert message in capsys.readouterr().err


def test_a_sample_without_a_surface_is_a_failure_of_its_own(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = drawing.decode

    def one_empty(*args: Any) -> Any:
        made = np.zeros_like(decode(*args))
        made[1:, 4:12, 4:12, 4:12] = 1
        return made

    monkeypatch.setattr(drawing, "decode", one_empty)
    assert draw(trained, tmp_path, "--class-name", "box", "--num_samples", 2) == 3
    (failed,) = json.loads((tmp_path / "box.npy.failures.json").read_text())
    assert failed["id"] == "box_0000"
    assert [p.name for p in (tmp_path / "box").iterdir()] == ["box_0001.ply"]
    mesh = trimesh.load(tmp_path / "box" / "box_0001.ply")
    assert mesh.is_watertight
    assert mesh.volume > 0


def test_distillation_writes_the_same_files(trained: Path, tmp_path: Path) -> None:
    args = ["--save_dir", tmp_path, "--num_samples", 2, "--step", 3, "--class-name", "plate",
            "--meshes", "none"]  # fmt: skip
    assert sds.main([*models(trained), *map(str, args)]) == 0
    assert np.load(tmp_path / "plate.npy").shape == (2, 16, 16, 16)
    assert json.loads((tmp_path / "plate.npy.run.json").read_text())["settings"]["steps"] == 3


@pytest.mark.parametrize("smoothing", [0.0, 0.7])
def test_meshes_are_closed_outward_and_in_place(smoothing: float) -> None:
    grid = np.zeros((12, 12, 12))
    grid[0:6, 2:10, 3:9] = 1  # to the border of the grid
    mesh = trimesh.Trimesh(*mesh_of(grid, 0.5, smoothing))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(6 * 8 * 6 * (2 / 11) ** 3, rel=0.15)
    centre = np.array([2.5, 5.5, 5.5]) * 2 / 11 - 1
    assert np.allclose(mesh.bounds.mean(0), centre, atol=1e-2)
    with pytest.raises(ValueError, match=r"no surface: the largest probability is 0\.2"):
        mesh_of(np.full((8, 8, 8), 0.2))


def test_an_array_that_is_not_from_here_is_left_alone(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "box.npy", np.ones(3))
    before = (tmp_path / "box.npy").read_bytes()
    assert draw(trained, tmp_path, "--class-name", "box") == 1
    assert "box.npy: is there without a box.npy.run.json" in capsys.readouterr().err
    assert (tmp_path / "box.npy").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["box.npy"]


def solid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample becomes a block, so that all have a surface."""
    decode = drawing.decode

    def block(*args: Any) -> np.ndarray:
        made = np.zeros_like(decode(*args))
        made[:, 4:12, 4:12, 4:12] = 1
        return made

    monkeypatch.setattr(drawing, "decode", block)


def test_overwriting_removes_the_meshes_that_were_made_and_no_other_file(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solid(monkeypatch)
    one = ("--class-name", "box")
    assert draw(trained, tmp_path, *one) == 0
    folder = tmp_path / "box"
    for name in ("box.ply", "notes.txt", ".box_0001.abc_12.ply"):
        (folder / name).write_text("x")
    assert draw(trained, tmp_path, *one, "--num_samples", 2, "--meshes", "glb", "--overwrite") == 0
    left = {p.name for p in folder.iterdir()}
    assert left == {"box_0000.glb", "box_0001.glb", "box.ply", "notes.txt"}


def test_an_interrupted_overwriting_goes_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --overwrite; what was there before is not taken for what was asked for."""
    one = ("--class-name", "box", "--meshes", "none")
    other = (*one, "--guidance_scale", 1, "--probabilities")
    assert draw(trained, tmp_path / "whole", *other) == 0
    assert draw(trained, tmp_path / "parts", *one) == 0
    put, calls = drawing._Partial.put, []

    def stopping(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        put(*args)

    with monkeypatch.context() as patched:
        patched.setattr(drawing._Partial, "put", stopping)
        assert draw(trained, tmp_path / "parts", *other, "--overwrite") == 130
    assert draw(trained, tmp_path / "parts", *one) == 1  # other settings than those of the rest
    monkeypatch.setattr(drawing._Partial, "put", lambda *a: calls.append(1) or put(*a))
    assert draw(trained, tmp_path / "parts", *other) == 0
    assert len(calls) == 2 + 2
    whole, parts = ((tmp_path / p / "box.npy").read_bytes() for p in ("whole", "parts"))
    assert whole == parts


def test_failures_are_told_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "decode", lambda *args: np.zeros((2, 16, 16, 16), np.float32))
    for _ in range(2):
        assert draw(trained, tmp_path, "--class-name", "box", "--num_samples", 2) == 3
    assert len(json.loads((tmp_path / "box.npy.failures.json").read_text())) == 2


def test_a_full_disk_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(drawing._Partial, "begin", lambda self: self.path.symlink_to("/dev/full"))
    assert draw(trained, tmp_path, "--class-name", "box", "--meshes", "none") == 1
    assert capsys.readouterr().err.endswith(".box.partial.npy: No space left on device\n")


@pytest.mark.parametrize("seed", [-1, 1 << 31])
def test_seeds_out_of_range(seed: int, trained: Path, tmp_path: Path,
                            capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert draw(trained, tmp_path, "--seed", seed) == 1
    assert f"--seed {seed}: expected" in capsys.readouterr().err
