"""Signed distance samples: closed forms, defective meshes, and the runs that make them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import trimesh
from e2e.running import start
from e2e.test_resume import end_when

import prepare_sdf
from data_curation.sdf import Settings, sample

FORMATS = Path(__file__).parents[3] / "formats"
SETTINGS = Settings("ball", 3000, 3000, 1000, (0.005, 0.05), "auto", 64, "file", 0)
STEP = 1 / 64  # of the watertight grid, in longest sides
CUT = 1 - 1 / np.sqrt(3)  # steps by which marching cubes may flatten a rounded corner
SPHERE = trimesh.creation.icosphere(4)
BOX = trimesh.creation.box((2, 1, 0.5))


def sampled(mesh: Any, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = Settings(**{**vars(SETTINGS), **changes})
    return sample(np.asarray(mesh.vertices), np.asarray(mesh.faces), settings, "name")


def original(arrays: dict[str, Any], kind: str) -> Any:
    """Points in the coordinates of the mesh file."""
    return arrays[f"{kind}_points"].astype(float) / arrays["scale"] + arrays["shifts"]


def box_sdf(points: Any, half: Any) -> Any:
    over = np.abs(points) - half
    outside = np.linalg.norm(np.maximum(over, 0), axis=1)
    return outside + np.minimum(over.max(axis=1), 0)


def check_box(arrays: dict[str, Any], tolerance: float, grown: float = 0.0) -> None:
    """Against BOX, or all within `grown` of it: a box with rounded edges."""
    for kind in ("vol", "near"):
        exact = box_sdf(original(arrays, kind), np.array([1, 0.5, 0.25])) - grown
        exact *= float(arrays["scale"])
        np.testing.assert_allclose(arrays[f"{kind}_sdf"], exact, atol=tolerance)


def test_sphere_away_from_the_origin() -> None:
    """The chords of the icosphere lie up to 0.0011 radii inside the sphere."""
    arrays, found = sampled(trimesh.Trimesh(SPHERE.vertices * 7 + [30, -4, 2], SPHERE.faces))
    for kind in ("vol", "near"):
        points = arrays[f"{kind}_points"].astype(float)
        exact = np.linalg.norm(points, axis=1) - 1
        np.testing.assert_allclose(arrays[f"{kind}_sdf"], exact, atol=0.0012)
    np.testing.assert_allclose(arrays["shifts"], [30, -4, 2], atol=1e-5)
    assert arrays["scale"] == pytest.approx(1 / 7)
    assert found["method"] == "raw"
    assert found["watertight"]
    assert found["volume"] == pytest.approx(4.19, rel=0.1)
    assert found["suspicious"] == []


def test_counts_types_and_distributions() -> None:
    arrays, _ = sampled(BOX, volume_points=4001, near_points=999, surface_points=500)
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {
        "vol_points": (4001, 3), "vol_sdf": (4001,), "near_points": (999, 3), "near_sdf": (999,),
        "surface_points": (500, 3), "shifts": (3,), "scale": (),
    }  # fmt: skip
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    radii = np.linalg.norm(arrays["vol_points"], axis=1) / np.sqrt(3)
    assert radii.max() <= 1
    assert np.mean(radii**3) == pytest.approx(0.5, abs=0.03)  # uniform in the ball
    half = np.array([1, 0.5, 0.25]) * float(arrays["scale"])
    assert np.abs(box_sdf(arrays["surface_points"], half)).max() < 1e-6
    # 0.8 sigma is the mean of |normal deviate|; noise along a face leaves the distance alone
    fine, coarse = np.abs(arrays["near_sdf"][:500]), np.abs(arrays["near_sdf"][500:])
    assert fine.mean() == pytest.approx(0.8 * 0.005, rel=0.1)
    assert coarse.mean() == pytest.approx(0.8 * 0.05, rel=0.15)
    cube = sampled(BOX, volume="cube")[0]["vol_points"]
    assert np.abs(cube).max() <= 1
    assert cube.var(axis=0) == pytest.approx(1 / 3, rel=0.1)


def test_box_is_exact() -> None:
    arrays, found = sampled(BOX)
    check_box(arrays, 2e-7)
    assert found["method"] == "raw"


def test_inside_out_is_negative_inside() -> None:
    arrays, found = sampled(trimesh.Trimesh(BOX.vertices, BOX.faces[:, ::-1]))
    check_box(arrays, 2e-7)
    assert found["method"] == "raw"


def test_doubled_faces_and_seams_do_not_matter() -> None:
    faces = np.concatenate([BOX.faces, np.roll(BOX.faces, 1, axis=1)])
    loose = BOX.vertices[faces].reshape(-1, 3)  # every face with vertices of its own
    doubled = trimesh.Trimesh(loose, np.arange(len(loose)).reshape(-1, 3), process=False)
    arrays, found = sampled(doubled)
    check_box(arrays, 2e-7)
    assert found["method"] == "raw"


@pytest.mark.parametrize("kind", ["open", "two-sided", "part turned"])
def test_unsound_meshes_get_a_surface_one_step_away(kind: str) -> None:
    faces = BOX.faces.copy()
    if kind == "open":  # a slit that is no wider than what closes
        gap = trimesh.Trimesh(BOX.vertices * [1, 1, 1], faces[:-1])
        mesh = trimesh.Trimesh(*trimesh.remesh.subdivide(gap.vertices, gap.faces))
        mesh = trimesh.util.concatenate([mesh, sliver()])
    elif kind == "two-sided":
        mesh = trimesh.Trimesh(BOX.vertices, np.concatenate([faces, faces[:, ::-1]]), process=False)
    else:
        faces[3] = faces[3, ::-1]
        mesh = trimesh.Trimesh(BOX.vertices, faces, process=False)
    arrays, found = sampled(mesh)
    assert found["method"] == "watertight"
    assert found["resolution"] == 64
    assert found["disagreement"] == found["unturned"] == 0
    check_box(arrays, CUT * 2 * STEP * float(arrays["scale"]), grown=2 * STEP)


def sliver() -> Any:
    """The last face of the box, shrunk to leave an open seam of a hundredth around it."""
    corners = BOX.vertices[BOX.faces[-1]]
    return trimesh.Trimesh(corners * 0.99 + corners.mean(axis=0) * 0.01, [[0, 1, 2]])


def test_a_sheet_becomes_a_plate_two_steps_thick() -> None:
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    arrays, found = sampled(sheet)
    height = original(arrays, "surface")[:, 2]
    assert np.median(np.abs(height)) == pytest.approx(STEP, rel=0.01)
    inside = original(arrays, "near")[arrays["near_sdf"] < 0]
    assert len(inside) > 100
    assert np.abs(inside[:, 2]).max() < 1.01 * STEP
    assert found["method"] == "watertight"
    assert not found["watertight"]


def test_slivers_without_area_leave_a_mesh_closed() -> None:
    """A corner of one face lies on an edge of the next; a face of no area joins them."""
    corners = [*BOX.vertices, BOX.vertices[BOX.faces[0, :2]].mean(axis=0)]
    a, b, c = BOX.faces[0]
    faces = [[a, 8, c], [8, b, c], [a, b, 8], *BOX.faces[1:]]
    arrays, found = sampled(trimesh.Trimesh(corners, faces, process=False))
    check_box(arrays, 2e-7)
    assert found["method"] == "raw"


def boxes(shift: float, scale: float = 1.0) -> Any:
    other = BOX.copy()
    other.apply_scale(scale)
    other.apply_translation((shift, 0, 0))
    return trimesh.util.concatenate([BOX, other])


def test_overlapping_parts_are_one_solid() -> None:
    arrays, found = sampled(boxes(1.0))
    assert found["watertight"]
    assert found["method"] == "watertight"  # for walls within it are no surface
    assert found["disagreement"] == 0
    exact = box_sdf(original(arrays, "vol") - [0.5, 0, 0], np.array([1.5, 0.5, 0.25])) - 3 * STEP
    scale = float(arrays["scale"])
    np.testing.assert_allclose(arrays["vol_sdf"], exact * scale, atol=CUT * 3 * STEP * scale)


def test_an_inner_part_is_solid_and_a_cavity_is_not() -> None:
    arrays, found = sampled(boxes(0.0, 0.5))
    assert found["method"] == "watertight"
    inner = np.abs(original(arrays, "vol")) < np.array([0.4, 0.2, 0.1])
    assert (arrays["vol_sdf"][inner.all(axis=1)] < 0).all()
    shell = trimesh.util.concatenate(
        [SPHERE, trimesh.Trimesh(SPHERE.vertices * 0.6, SPHERE.faces[:, ::-1])]
    )
    arrays, found = sampled(shell)
    assert found["method"] == "raw"
    radii = np.linalg.norm(arrays["vol_points"].astype(float), axis=1)
    exact = np.maximum(radii - 1, 0.6 - radii)
    np.testing.assert_allclose(arrays["vol_sdf"], exact, atol=0.0012)


def test_far_parts_of_either_winding_are_solid() -> None:
    other = trimesh.Trimesh(np.add(BOX.vertices, [3, 0, 0]), BOX.faces[:, ::-1])
    arrays, found = sampled(trimesh.util.concatenate([BOX, other]))
    assert found["method"] == "raw"
    places = original(arrays, "near")
    half = np.array([1, 0.5, 0.25])
    exact = np.minimum(box_sdf(places, half), box_sdf(places - [3, 0, 0], half))
    np.testing.assert_allclose(arrays["near_sdf"], exact * float(arrays["scale"]), atol=2e-7)


def test_raw_on_what_is_open_or_overlaps_is_suspicious() -> None:
    _, found = sampled(trimesh.Trimesh(BOX.vertices, BOX.faces[:-4]), method="raw")
    assert found["disagreement"] > 0.01
    _, found = sampled(boxes(1.0), method="raw")
    assert found["unturned"] > 0.01
    assert "surface points have one sign on both sides" in found["suspicious"]


def run(folder: Path, output: Path, *flags: object) -> int:
    counts = ["--volume-points", 300, "--near-points", 300, "--surface-points", 100]
    argv = ["--input", folder, "--output", output, "--resolution", 32, "-q", *counts, *flags]
    return prepare_sdf.main([str(word) for word in argv])


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and "run.json" not in p.name)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for i in range(5):
        mesh = trimesh.creation.icosphere(1 + i % 2, radius=i + 1)
        if i == 3:
            mesh.update_faces(np.arange(len(mesh.faces)) > 5)
        mesh.export(tmp_path / "in" / f"ball_{i}.ply")
    return tmp_path / "in"


def test_workers_and_shards_give_the_same_bytes(folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(folder, tmp_path / "one") == 0
    assert "5 shapes, 4 raw, 1 watertight, 0 suspicious, 0 reused" in capsys.readouterr().out
    schema = json.loads((FORMATS / "sdf.schema.json").read_text())
    jsonschema.validate(json.loads((tmp_path / "one" / "sdf.json").read_text()), schema)
    assert run(folder, tmp_path / "two", "--workers", 2) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    for i in (1, 0):
        assert run(folder, tmp_path / "shards", "--shard", f"{i}/2") == 0
        (tmp_path / "shards" / f"sdf.{i}-of-2.json").unlink()
    assert run(folder, tmp_path / "shards") == 0
    assert "5 reused, 0 failed" in capsys.readouterr().out
    assert contents(tmp_path / "one") == contents(tmp_path / "shards")
    assert run(folder, tmp_path / "seed", "--seed", 1, "--limit", 1) == 0
    assert contents(tmp_path / "seed")["ball_0.npz"] != contents(tmp_path / "one")["ball_0.npz"]


def test_failures_and_suspicions_are_listed(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (folder / "bad.ply").write_bytes(b"ply\nnothing")
    (folder / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    assert run(folder, tmp_path / "out", "--method", "raw") == 3
    failures = json.loads((tmp_path / "out" / "sdf.failures.json").read_text())
    assert [row["id"] for row in failures] == ["bad", "flat"]
    assert "no face has an area" in failures[1]["error"]
    rows = {r["id"]: r for r in json.loads((tmp_path / "out" / "sdf.json").read_text())["shapes"]}
    assert len(rows) == 5
    assert [name for name, row in rows.items() if row["suspicious"]] == ["ball_3"]
    assert "ball_3: suspicious: winding number and ray parity" in capsys.readouterr().err
    for i in range(5):
        (folder / f"ball_{i}.ply").unlink()
    assert run(folder, tmp_path / "none") == 1


def test_resume_keeps_what_fits(folder: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "out"
    assert run(folder, output) == 0
    before = contents(output)
    (output / "ball_1.npz").unlink()
    trimesh.creation.box().export(folder / "ball_2.ply")
    assert run(folder, output) == 0
    assert "3 reused, 0 failed" in capsys.readouterr().out
    changed = {name for name, data in contents(output).items() if data != before[name]}
    assert changed == {"ball_2.npz", "sdf.json"}
    assert run(folder, output, "--seed", 2) == 1
    assert "other settings (seed: there 0, here 2)" in capsys.readouterr().err
    assert run(folder, output, "--seed", 2, "--overwrite") == 0
    (output / "ball_0.npz").write_bytes(b"no npz")
    assert run(folder, output, "--seed", 2) == 1
    assert "ball_0.npz: not an npz of this script; remove it" in capsys.readouterr().err


def test_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path / "whole", "--near-points", 60_000) == 0
    output = tmp_path / "out"
    flags = ["--volume-points", 300, "--near-points", 60_000, "--surface-points", 100]
    process = start(
        "prepare_sdf.py", "--input", folder, "--output", output, "--resolution", 32, "-q", *flags
    )
    end_when(process, lambda: (output / "ball_0.npz").exists(), signal.SIGKILL)
    assert not (output / "sdf.json").exists()
    assert run(folder, output, "--near-points", 60_000) == 0
    left = {n: data for n, data in contents(output).items() if not n.startswith(".")}
    assert left == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sigmas", "0.1,x"], "--sigmas 0.1,x: expected numbers"),
        (["--near-points", "0"], "--near-points 0: expected 1 to"),
        (["--resolution", "8"], "--resolution 8"),
    ],
)
def test_bad_flags_are_named(
    flags: list[str], said: str, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(folder, tmp_path / "out", *flags) == 1
    assert said in capsys.readouterr().err
