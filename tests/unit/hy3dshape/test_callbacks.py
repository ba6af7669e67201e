"""Callbacks of training: what they write, and that they leave training alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from unit.hy3dshape import tiny_training as tiny
from unit.hy3dshape.test_training import fresh_engine, train  # noqa: F401
from unit.hy3dshape.tiny_training import numbers, same, weights

from hy3dshape.data.conditions import ConditionOptions
from hy3dshape.data.datamodule import UnifiedDataModule
from hy3dshape.models.autoencoders.isosurface import Mesh
from hy3dshape.utils.trainings.fpd_eval_callback import ModelEvalFPDCallback
from hy3dshape.utils.trainings.image_log_callback import ImageLogger, sheet
from hy3dshape.utils.trainings.mesh_log_callback import ConditionalMeshLogger
from hy3dshape.utils.trainings.previews import label, picture

ROOT = Path(__file__).parents[3]
PLACE = "hy3dshape.utils.trainings.mesh_log_callback.ConditionalMeshLogger"


def ball(radius: float = 0.8) -> Mesh:
    made = trimesh.creation.icosphere(3, radius)
    return np.asarray(made.vertices), np.asarray(made.faces)


class Spheres:
    """An autoencoder whose latents are radii; below 0 there is no shape."""

    def latents2mesh(self, latents: torch.Tensor, *grid: Any) -> list[Mesh]:
        if (radius := float(latents.mean())) < 0:
            raise ValueError("the field has no inside")
        return [ball(radius)]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(latents), 3, 8, 8) * latents.mean(dim=(1, 2))[:, None, None, None]


class Task:
    """A model that answers condition i with radius (i + 1) / 4, and -1 for the first."""

    first_stage_model = Spheres()
    cond_stage_model = SimpleNamespace(kind="text")

    def pipeline(self) -> None: ...

    def sample_latents(self, conditions: Any, **options: Any) -> torch.Tensor:
        numbers = options.get("indices", range(len(conditions)))
        return torch.stack([torch.full((6, 4), (i + 1) / 4 if i else -1.0) for i in numbers])


def fake_run(out: Path, step: int = 10) -> Any:
    batch = {"conditioning": ["a Chair, red", "b", "c"], "latents": torch.zeros(3, 6, 4)}
    data = SimpleNamespace(
        val_batches=lambda: iter([batch]), train_batches=lambda: iter([batch]),
        batches_an_epoch=lambda: 4, condition_options=lambda: ConditionOptions("text"),
    )  # fmt: skip
    logged: dict[str, float] = {}
    board = SimpleNamespace(add_image=lambda *args: logged.update(image=args[1].shape))
    stats = SimpleNamespace(add=lambda step, found: logged.update(found), board=board)
    options = SimpleNamespace(steps=100, update_every=1)
    return SimpleNamespace(out=out, step=step, task=Task(), data=data, options=options, world=1,
                           stats=stats, logged=logged)  # fmt: skip


def test_meshes_of_the_first_conditions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    call = ConditionalMeshLogger(step_frequency=5, num_samples=2, octree_depth=4)
    call(fake_run(tmp_path, 11), 11)
    assert not list(tmp_path.iterdir())
    call(fake_run(tmp_path), 10)
    folder = tmp_path / "log/visuals/val/gs-0000000010_e-000002_b-000002"
    assert {p.name for p in folder.iterdir()} == {"01_b.glb", "01_b.png"}
    assert "sample 0 has no mesh: the field has no inside" in caplog.text
    mesh = trimesh.load(folder / "01_b.glb", force="mesh")
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.02)


def test_a_picture_shows_the_lit_side() -> None:
    seen = picture(ball(), side=90)
    assert (seen[0, 0] == 255).all() and (seen[45, 45] < 255).any()
    area = (seen[..., 0] < 255).mean()
    assert area == pytest.approx(np.pi * (0.8 / 3) ** 2, rel=0.05)
    assert seen[35, 50, 0] > seen[60, 35, 0] + 30


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("A  Chair/..\\x", "a-chair-x"), (torch.tensor(3), "3"), ("!", "sample"), (object(), "sample"),
     ("x" * 2000, "x" * 40)],
)  # fmt: skip
def test_labels_are_file_names(condition: Any, expected: str) -> None:
    assert label(condition) == expected


def test_images(tmp_path: Path) -> None:
    ImageLogger(step_frequency=5, num_samples=3, nrow=2)(run := fake_run(tmp_path), 10)
    folder = tmp_path / "log/visuals_img/val/gs-0000000010_e-000002_b-000002"
    assert len(list(folder.iterdir())) == 4
    assert Image.open(folder / "sheet.png").size == (20, 20) and run.logged["image"] == (3, 20, 20)
    assert sheet(torch.zeros(3, 3, 8, 8), 2)[:, 12, 12].tolist() == [1, 1, 1]


def test_copies_are_measured_by_the_other_stages(tmp_path: Path) -> None:
    """The generator's balls are the training shapes; the held-out ones are long boxes."""
    for name, shapes in {
        "train": [trimesh.creation.icosphere(2), trimesh.creation.cylinder(0.5, 1.0)],
        "test": [trimesh.creation.box((1, 1, n)) for n in (2, 3, 5)],
    }.items():
        (tmp_path / name).mkdir()
        for i, mesh in enumerate(shapes):
            mesh.export(tmp_path / name / f"{i}.ply")
        stage("retrieval/extract_lfd.py", "--input", tmp_path / name, "--output",
              tmp_path / f"{name}.npz")  # fmt: skip
    stage("retrieval/retrieve.py", "--query", tmp_path / "test.npz", "--database",
          tmp_path / "train.npz", "--output", tmp_path / "test.json")  # fmt: skip
    rows = "".join(f"u{i},thing {i}\n" for i in range(5))
    (tmp_path / "test.csv").write_text(f"model_uid,caption\n{rows}")
    call = ModelEvalFPDCallback(
        test_csv=str(tmp_path / "test.csv"), n_eval=4, heavy_every_n_steps=10,
        train_lfd=str(tmp_path / "train.npz"), test_neighbours=str(tmp_path / "test.json"),
        device_batch_size=3,
    )  # fmt: skip
    call(run := fake_run(tmp_path), 10)
    found = {k.removeprefix("metrics/"): v for k, v in run.logged.items()}
    assert (found["samples"], found["failed"], found["flagged"]) == (3, 1, 3)
    assert found["auc"] == 0 and found["z_u"] < -1
    meshes = json.loads((tmp_path / "eval/step-00000010/meshes/shapes.json").read_text())
    assert [s["id"] for s in meshes["shapes"]] == [f"sample_{i:07d}" for i in (1, 2, 3)]


def test_distances_by_encoders_of_the_repository(tmp_path: Path) -> None:
    """Three balls, one to distributions of distances, against balls and against rods."""
    rows = "".join(f"u{i},thing {i}\n" for i in range(5))
    (tmp_path / "test.csv").write_text(f"model_uid,caption\n{rows}")
    encoders = {}
    for name, make in {
        "balls": lambda i: trimesh.creation.icosphere(radius=i + 1),
        "rods": lambda i: trimesh.creation.box((1, 1, 10 + i)),
    }.items():
        for i in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            make(i).export(tmp_path / name / f"{i}.ply")
        rows_of = tmp_path / f"{name}.npz"
        stage(
            "fpd_eval/embed.py",
            "--input",
            tmp_path / name,
            "--output",
            rows_of,
            "--encoder",
            "d2a3",
        )
        encoders[name] = {"encoder": "d2a3", "reference": str(rows_of)}
    call = ModelEvalFPDCallback(str(tmp_path / "test.csv"), n_eval=4, heavy_every_n_steps=10,
                                encoders=encoders)  # fmt: skip
    call(run := fake_run(tmp_path), 10)
    assert 0 <= run.logged["metrics/fpd_balls"] < 0.02 < 0.2 < run.logged["metrics/fpd_rods"]


def test_images_of_a_table_are_one_view_of_their_strip(tmp_path: Path) -> None:
    strip = np.repeat(np.arange(4, dtype=np.uint8), 8)[:, None, None].repeat(8, 1).repeat(3, 2)
    Image.fromarray(strip).save(tmp_path / "s.png")
    (tmp_path / "test.csv").write_text("model_uid,view_path\nu,s.png\n")
    data = UnifiedDataModule("latent", 1, train_latent_folder="x", conditioning_type="image",
                             image_views=4)  # fmt: skip
    call = ModelEvalFPDCallback(str(tmp_path / "test.csv"), condition_type="image")
    ((uid, view),) = call._conditions(SimpleNamespace(data=data))
    assert uid == "u" and view.size == (8, 8) and view.getpixel((0, 0)) == (2, 2, 2)


def stage(script: str, *words: object) -> None:
    subprocess.run([sys.executable, ROOT / script, *map(str, words), "-q"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def test_evaluation_runs_scripts_of_the_repository_alone() -> None:
    with pytest.raises(ValueError, match="encoders: x: expected encoder, reference and perhaps we"):
        ModelEvalFPDCallback("t.csv", encoders={"x": {"script": "/bin/sh", "reference": "r.npz"}})
    with pytest.raises(ValueError, match="train_lfd and test_neighbours: give both or neither"):
        ModelEvalFPDCallback("t.csv", train_lfd="x")


@pytest.mark.usefixtures("fresh_engine")
def test_a_callback_that_fails_is_counted_and_changes_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tiny.denoiser(tmp_path)
    assert train(path, tmp_path / "plain", "-st", 3) == 0
    node = f"{{target: {PLACE}, params: {{step_frequency: 1, octree_depth: 3, bounds: [1]}}}}"
    assert train(path, tmp_path / "a", "-st", 3, "--set", f"callbacks.m={node}") == 0
    assert same(weights(tmp_path / "plain", 3), weights(tmp_path / "a", 3))
    capsys.readouterr()

    def fail(*args: Any) -> None:
        torch.rand(1)
        raise RuntimeError("no")

    monkeypatch.setattr(ConditionalMeshLogger, "__call__", fail)
    assert train(path, tmp_path / "b", "-st", 3, "--set", f"callbacks.m={node}") == 3
    assert json.loads(capsys.readouterr().out)["callback_errors"] == 3
    assert "step 2: ConditionalMeshLogger failed" in caplog.text and "Traceback" in caplog.text
    assert same(weights(tmp_path / "plain", 3), weights(tmp_path / "b", 3))
    assert numbers(tmp_path / "plain") == numbers(tmp_path / "b")


UNCONDITIONAL = (
    "model.params.cond_stage_config=null", "dataset.params.conditioning_type=uncond",
    "model.params.optimizer_cfg.train_image_encoder=false",
)  # fmt: skip


@pytest.mark.parametrize(("make", "more"), [(tiny.autoencoder, ()), (tiny.denoiser, UNCONDITIONAL)])
@pytest.mark.usefixtures("fresh_engine")
def test_reconstructions_and_samples_without_condition(
    make: Callable[[Path], Path], more: tuple[str, ...], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Heads start at zero, so their fields have no surface, and that is no error."""
    path, params = make(tmp_path), "{step_frequency: 1, octree_depth: 3, num_inference_steps: 2}"
    node = f"callbacks.m={{target: {PLACE}, params: {params}}}"
    flags = [word for setting in (node, *more) for word in ("--set", setting)]
    assert train(path, tmp_path / "out", "-st", 1, *flags, "-lr", 1e-9) == 0
    assert "step 1: sample 1 has no mesh" in caplog.text


def test_wrong_bounds_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="bounds"):
        ConditionalMeshLogger(5, bounds=[1, 2])
