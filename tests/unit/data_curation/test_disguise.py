"""Disguises change what they say they change, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import trimesh

import disguise_shapes
from data_curation import disguise as d
from data_curation.meshes import load_arrays

BOX = trimesh.creation.box((1.0, 2.0, 3.0))
BALL = trimesh.creation.icosphere(subdivisions=3, radius=1.0)
# two separate balls and an open sheet, corners not shared between triangles
SOUP = trimesh.util.concatenate(
    [
        BALL,
        trimesh.creation.icosphere(subdivisions=2, radius=0.4).apply_translation((3, 0, 0)),
        trimesh.Trimesh([[0, 0, 4], [1, 0, 4], [0, 1, 4]], [[0, 1, 2]]),
    ]
)
SOUP.unmerge_vertices()
MESHES = {"box": BOX, "ball": BALL, "soup": SOUP}


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    mesh = MESHES[name]
    return np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", d.DISGUISES)
def test_every_disguise_leaves_a_sound_mesh_and_is_repeatable(mesh, name):
    made = [d.disguise(name, *arrays(mesh), np.random.default_rng([3, 1])) for _ in range(2)]
    vertices, faces, parameters = made[0]
    assert np.isfinite(vertices).all()
    assert len(faces) and faces.min() == 0 and faces.max() == len(vertices) - 1
    assert (d.areas(vertices, faces) > 0).all()
    assert np.array_equal(vertices, made[1][0]) and np.array_equal(faces, made[1][1])
    json.dumps(parameters, allow_nan=False)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", d.DISGUISES)
def test_strength_zero_keeps_the_surface(mesh, name):
    vertices, faces, _ = d.disguise(name, *arrays(mesh), np.random.default_rng(5), 0.0)
    before = d.areas(*d.cleaned(*arrays(mesh))).sum()
    lost = 0.2 if name == "remove_part" else 1e-6  # at the least one triangle goes
    assert d.areas(vertices, faces).sum() == pytest.approx(before, rel=lost)


def test_noise_has_the_stated_size_and_keeps_triangles_together():
    vertices, faces, _ = d.disguise("noise", *arrays("soup"), np.random.default_rng(0))
    clean, clean_faces = d.cleaned(*arrays("soup"))
    assert np.array_equal(faces, clean_faces)
    assert len(vertices) == len(clean) < len(arrays("soup")[0])
    spread = (vertices - clean).std() / d.diagonal(clean)
    assert spread == pytest.approx(0.005, rel=0.05)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("rotate_small", 5, 15), ("rotate_large", 30, 180)]
)
def test_rotations_are_rotations_of_the_stated_angle(name, low, high):
    vertices, faces = arrays("box")
    clean, _ = d.cleaned(vertices, faces)
    for seed in range(20):
        turned, _, drawn = d.disguise(name, vertices, faces, np.random.default_rng(seed))
        matrix, residual, *_ = np.linalg.lstsq(clean, turned, rcond=None)
        assert residual == pytest.approx(0, abs=1e-20)
        assert np.linalg.det(matrix) == pytest.approx(1)
        angle = np.degrees(np.arccos((np.trace(matrix) - 1) / 2))
        assert low <= angle <= high and angle == pytest.approx(drawn["degrees"])


def test_stretch_scales_the_axes_by_the_factors_it_names():
    vertices, _, drawn = d.disguise("stretch", *arrays("box"), np.random.default_rng(2))
    assert np.ptp(vertices, axis=0) == pytest.approx(np.array(drawn["factors"]) * (1, 2, 3))
    assert all(0.86 < factor < 1.162 for factor in drawn["factors"])


def test_mirror_turns_a_solid_over_and_keeps_it_outwards():
    vertices, faces, _ = d.disguise("mirror", *arrays("soup"), np.random.default_rng(2))
    assert trimesh.Trimesh(vertices, faces).volume == pytest.approx(SOUP.volume, rel=1e-6)


def test_decimation_keeps_a_third_and_the_shape_but_no_less_than_a_hundred_triangles():
    vertices, faces, drawn = d.disguise("decimate", *arrays("ball"), np.random.default_rng(0))
    assert drawn["faces"] == [1280, len(faces)] and 380 <= len(faces) <= 386
    assert np.linalg.norm(vertices, axis=1) == pytest.approx(1, abs=0.03)
    assert d.disguise("decimate", *arrays("box"), np.random.default_rng(0))[2]["faces"] == [12, 12]


def test_decimation_stops_before_an_open_sheet_is_eaten():
    rng = np.random.default_rng(0)  # 400 loose triangles: every collapse removes one whole
    corners = rng.random((400, 1, 3)) + 0.05 * rng.random((400, 3, 3))
    vertices, faces = corners.reshape(-1, 3), np.arange(1200).reshape(-1, 3)
    made, left, _ = d.disguise("decimate", vertices, faces, rng)
    assert d.areas(made, left).sum() >= 0.9 * d.areas(vertices, faces).sum()


@pytest.mark.parametrize("mesh", ["box", "ball"])
def test_remesh_changes_the_triangles_and_not_the_surface(mesh):
    vertices, faces, drawn = d.disguise("remesh", *arrays(mesh), np.random.default_rng(0))
    whole = MESHES[mesh]
    _, distance, _ = trimesh.proximity.closest_point(whole, vertices)
    assert distance.max() < drawn["cell"] * d.diagonal(whole.vertices)
    kept = (vertices[:, None] == np.array(whole.vertices)[None]).all(axis=2).any(axis=1).sum()
    assert kept <= 0.5 * len(whole.vertices) and len(faces) != len(whole.faces)
    assert d.areas(vertices, faces).sum() == pytest.approx(whole.area, rel=0.05)


def test_remesh_of_a_long_sliver_stays_affordable():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-4, 0]])
    stack = np.concatenate([vertices + np.array([0, 0, 1e-4 * i]) for i in range(5000)])
    faces = np.arange(15000).reshape(-1, 3)
    made = d.disguise("remesh", stack, faces, np.random.default_rng(0))
    assert len(made[1]) <= d.MAX_SUBDIVIDED


def test_remove_part_takes_a_loose_part_whole_or_cuts_a_share_off():
    _, faces, drawn = d.disguise("remove_part", *arrays("soup"), np.random.default_rng(0))
    assert drawn["how"] == "component" and drawn["share"] == pytest.approx(0.13, abs=0.02)
    assert len(faces) == len(BALL.faces) + 1  # the small ball is gone, the sheet is too small
    for seed in range(10):
        _, _, cut = d.disguise("remove_part", *arrays("ball"), np.random.default_rng(seed))
        assert cut["how"] == "slab" and 0.05 <= cut["share"] <= 0.16


def test_what_cannot_be_disguised_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown disguise 'wig'; one of none, noise"):
        d.disguise("wig", *arrays("box"), rng)
    with pytest.raises(ValueError, match="strength"):
        d.disguise("noise", *arrays("box"), rng, -1.0)
    with pytest.raises(ValueError, match="no triangle with an area"):
        d.disguise("noise", np.zeros((3, 3)), np.array([[0, 1, 2]]), rng)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rows = []
    for name, mesh in MESHES.items():
        mesh.export(folder / f"{name}.obj", digits=17)
        rows.append({"id": name, "path": f"{name}.obj", "category": "toy", "licence": "CC0"})
    (folder / "bad.obj").write_text("v 0 0 0\n")
    rows.append({"id": "bad", "path": "bad.obj", "category": "toy"})
    (folder / "shapes.json").write_text(json.dumps({"shapes": rows}))
    return folder


def run(shapes: Path, output: Path, *more: str) -> int:
    return disguise_shapes.main(["--input", str(shapes), "--output", str(output), "-q", *more])


def files_of(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("run.json"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if "-of-" not in p.name}


def test_copies_name_their_source_and_a_bad_mesh_costs_its_own(shapes, tmp_path):
    out = tmp_path / "out"
    assert run(shapes, out, "--disguise", "none,stretch") == 3
    index = json.loads((out / "shapes.json").read_text())
    schema = Path(__file__).parents[3] / "formats" / "shapes.schema.json"
    jsonschema.validate(index, json.loads(schema.read_text()))
    rows = index["shapes"]
    assert {row["id"] for row in rows} == {f"{m}-{n}" for m in MESHES for n in ("none", "stretch")}
    failures = json.loads((out / "shapes.failures.json").read_text())
    assert [row["id"] for row in failures] == ["bad-none", "bad-stretch"]
    exact = next(row for row in rows if row["id"] == "box-none")
    assert (exact["copied_from"], exact["licence"], exact["category"]) == ("box", "CC0", "toy")
    vertices, faces = load_arrays(out / exact["path"])
    clean, clean_faces = d.cleaned(*load_arrays(shapes / "box.obj"))
    assert np.array_equal(vertices, clean) and np.array_equal(faces, clean_faces)


def test_workers_shards_and_resumption_do_not_change_a_byte(shapes, tmp_path):
    whole, other = tmp_path / "whole", tmp_path / "other"
    flags = ("--disguise", "noise,remesh", "--seed", "4")
    assert run(shapes, whole, *flags) == 3
    for i in range(3):
        run(shapes, other, *flags, "--shard", f"{i}/3", "--workers", str(i))
    next((other / "meshes").glob("*.ply")).unlink()
    assert run(shapes, other, *flags) == 3
    assert files_of(whole) == files_of(other)
    assert len(files_of(whole)) == 6 + 2
    run(shapes, tmp_path / "third", "--disguise", "noise,remesh", "--seed", "5")
    assert files_of(whole) != files_of(tmp_path / "third")


def test_a_changed_source_is_disguised_again(shapes, tmp_path):
    run(shapes, tmp_path / "out", "--disguise", "none")
    BALL.export(shapes / "box.obj")
    run(shapes, tmp_path / "out", "--disguise", "none")
    rows = json.loads((tmp_path / "out" / "shapes.json").read_text())["shapes"]
    path = next(row["path"] for row in rows if row["id"] == "box-none")
    assert len(load_arrays(tmp_path / "out" / path)[1]) == len(BALL.faces)


def test_neutral_ids_one_pick_and_a_count(shapes, tmp_path):
    assert run(shapes, tmp_path / "o", "--pick", "one", "--neutral-ids", "--count", "3") in (0, 3)
    rows = json.loads((tmp_path / "o" / "shapes.json").read_text())["shapes"]
    assert all(row["id"].startswith("shape_00000") for row in rows)
    assert len({row["copied_from"] for row in rows}) == len(rows) >= 2


def test_wrong_use_is_refused(shapes, tmp_path, capsys):
    assert run(shapes, tmp_path / "o", "--disguise", "wig") == 1
    assert run(shapes, tmp_path / "o", "--count", "9") == 1
    run(shapes, tmp_path / "o", "--disguise", "none")
    assert run(shapes, tmp_path / "o", "--disguise", "none", "--strength", "2") == 1
    text = capsys.readouterr().err
    assert "--disguise wig: unknown" in text and "--count 9: expected 1 to 4" in text
    assert "strength: there 1.0, here 2.0" in text
