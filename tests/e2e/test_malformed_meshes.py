"""One folder of good and malformed meshes: every script names each bad one and does the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from e2e import malformed
from e2e.running import Run, run

from extract_lfd import describe_item
from retrieval.meshes import Item, list_meshes, load_arrays
from retrieval.tables import read_table
from sample_points import sample

GOOD, BAD = malformed.good_meshes(), malformed.bad_meshes()
ODD = {"broken_link": "No such file", "caf%E9": "empty file"}  # made by `folder`, id to refusal
COUNT = Counter(Path(name).stem for name in [*GOOD, *BAD])
OUTPUT = {
    "extract_lfd.py": "x_lfd.npz",
    "sample_points.py": "x_points.npz",
    "voxelize.py": "x_voxels.npz",
    "render_views.py": "views",
}
FLAGS = {"render_views.py": ("--views", 2, "--size", 24, "--samples", 1)}
MEMORY = 1024  # MiB; headers here promise hundreds of GiB


def id_of(name: str) -> str:
    return name if COUNT[Path(name).stem] > 1 else Path(name).stem


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("malformed") / "meshes"
    made.mkdir()
    for name, data in GOOD.items():
        (made / name).write_bytes(data)
    for name, case in BAD.items():
        (made / name).write_bytes(case.data)
    (made / "a_folder.obj").mkdir()
    (made / "a_folder.obj" / "notes.txt").write_text("not a mesh")
    (made / "broken_link.obj").symlink_to("nowhere.obj")
    Path(os.fsdecode(bytes(made / "caf") + b"\xe9.obj")).touch()
    return made


@pytest.fixture(scope="module")
def batch(folder: Path, request: pytest.FixtureRequest) -> tuple[str, Run, dict[str, str], Path]:
    """The script run once over the whole folder: its name, how it ended, failures, output."""
    script = request.param
    output = folder.parent / OUTPUT[script]
    ended = run(script, "--input", folder, "--output", output, *FLAGS.get(script, ()))
    listed = (
        output / "failures.json"
        if output.is_dir()
        else output.with_name(output.name + ".failures.json")
    )
    rows = json.loads(listed.read_text())
    return script, ended, {row["id"]: row["error"] for row in rows}, output


every_script = pytest.mark.parametrize("batch", OUTPUT, indirect=True)


def test_the_corpus_is_large() -> None:
    assert len(BAD) >= 60


@every_script
def test_the_batch_ends_as_one_with_failures(batch: Any) -> None:
    script, ended, failures, _ = batch
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    assert ended.peak < MEMORY
    assert set(failures) == {id_of(name) for name in BAD} | set(ODD)
    assert all(name in ended.err for name in failures), script


@every_script
@pytest.mark.parametrize("name", [*BAD, *ODD])
def test_a_bad_mesh_is_refused_in_clear_words(batch: Any, name: str) -> None:
    failures = batch[2]
    error = failures[id_of(name) if name in BAD else name]
    says = BAD[name].says if name in BAD else ODD[name]
    assert re.search(says, error), error
    assert len(error) < 600
    assert "\n" not in error


@every_script
def test_the_good_ones_are_done(batch: Any, folder: Path) -> None:
    script, _, _, output = batch
    if script == "render_views.py":
        done = {p.parent.name for p in output.glob("*/views.json")}
        assert done == {id_of(name) for name in GOOD}
        return
    table = read_table([output])
    assert set(table.ids) == {id_of(name) for name in GOOD}
    for place, name in enumerate(table.ids):
        own = next(item for item in list_meshes(folder) if item.id == name)
        for key, value in _alone(script, own).items():
            np.testing.assert_array_equal(table.arrays[key][place], value)


def _alone(script: str, item: Item) -> dict[str, Any]:
    """The arrays of one mesh, without a batch around it."""
    if script == "extract_lfd.py":
        return describe_item(item)
    if script == "sample_points.py":
        return sample(item, 2048, "unit-sphere", 0)
    return {}


def test_unusual_meshes_are_read_as_what_they_are(folder: Path) -> None:
    plain = load_arrays(folder / "good_off.off")
    for kind in ("obj", "ply", "glb", "dae", "3mf", "stl"):
        vertices, faces = load_arrays(folder / f"good_{kind}.{kind}")
        same = np.sort(vertices[faces].reshape(80, 9), axis=0)
        np.testing.assert_allclose(
            same, np.sort(plain[0][plain[1]].reshape(80, 9), axis=0), atol=1e-6
        )
    vertices, faces = load_arrays(folder / "good_latin_1.obj")
    assert (vertices.shape, faces.shape) == ((4, 3), (4, 3))


def test_relative_indices_count_from_where_they_stand(tmp_path: Path) -> None:
    triangle = "v {0} 0 0\nv {0} 1 0\nv {0} 0 1\n"
    relative, absolute = tmp_path / "relative.obj", tmp_path / "absolute.obj"
    texture = "vt 0 0\nvt 0 1\nvt 1 1\n"
    relative.write_text(
        triangle.format(0) + texture + "f -3/-3 -2/-2 -1/-1\n" + triangle.format(5) + "f -3 -2 -1\n"
    )
    absolute.write_text(
        triangle.format(0) + texture + "f 1/1 2/2 3/3\n" + triangle.format(5) + "f 4 5 6\n"
    )
    (a, f), (b, g) = load_arrays(relative), load_arrays(absolute)
    np.testing.assert_array_equal(a[f], b[g])


@pytest.mark.parametrize("script", OUTPUT)
def test_an_earlier_output_survives_a_run_that_fails(script: str, tmp_path: Path) -> None:
    meshes, output = tmp_path / "meshes", tmp_path / OUTPUT[script]
    meshes.mkdir()
    for name in ("a.ply", "b.ply"):
        (meshes / name).write_bytes(GOOD["good_ply.ply"])
    command = ("--input", meshes, "--output", output, *FLAGS.get(script, ()))
    assert run(script, *command).code == 0
    before = contents(output)
    for name in ("a.ply", "b.ply"):
        (meshes / name).write_bytes(BAD["cut_binary_ply.ply"].data)
    ended = run(script, *command)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert contents(output) == before
    shutil.rmtree(meshes)
    ended = run(script, *command)
    assert ended.code == 1
    assert str(meshes) in ended.err
    assert contents(output) == before


def contents(output: Path) -> dict[str, bytes]:
    """The results at a place by name; run records and failure lists belong to the last run."""
    files = [output] if output.is_file() else sorted(output.rglob("*"))
    return {
        str(p.relative_to(output.parent)): p.read_bytes()
        for p in files
        if p.is_file() and p.name not in ("run.json", "failures.json")
    }


def test_a_large_mesh_takes_little_memory(tmp_path: Path) -> None:
    """400,000 faces; with 500 bytes a face on top of the libraries' 250 MiB it would fail."""
    side = 448
    grid = np.stack(np.meshgrid(*[np.linspace(0, 6, side)] * 2, indexing="ij"), axis=-1)
    points = np.concatenate([grid, np.sin(3 * grid).sum(-1, keepdims=True)], -1).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, side], corner[:, None] + [1, side + 1, side]])
    trimesh.Trimesh(points, faces, process=False).export(tmp_path / "large.ply")
    ended = run("extract_lfd.py", "--input", tmp_path, "--output", tmp_path / "x.npz")
    assert ended.code == 0, ended.err
    assert ended.peak < 440
