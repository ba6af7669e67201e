"""Procedural shapes: watertight, in one piece, different, and decided by (seed, number) alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

import make_shapes
from data_curation import primitives
from data_curation.families import FAMILIES, Draw
from data_curation.families.draw import caption
from data_curation.meshes import list_meshes, load_arrays
from data_curation.procedural import Job, arrays, design


def run(folder: Path, *flags: str) -> int:
    return make_shapes.main(["--output", str(folder), "-q", *flags])


def bytes_of(folder: Path) -> dict[str, bytes]:
    names = [p for p in folder.iterdir() if p.suffix == ".ply" or p.name == "shapes.json"]
    return {p.name: p.read_bytes() for p in names}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_makes_one_watertight_piece_with_ten_parameters(
    family: str, tmp_path: Path
) -> None:
    for number in range(12):
        solid, record = design(Job(number, 5, family, tmp_path))
        vertices, faces = arrays(solid)
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
        assert mesh.body_count == 1, f"{record['id']}: floating parts"
        assert trimesh.Trimesh(vertices, faces).is_watertight, f"{record['id']}: merged vertices"
        assert 400 <= len(faces) <= 12_000
        assert len(record["parameters"]) >= 10
        np.testing.assert_allclose(mesh.extents, record["size"], atol=1e-3)
        assert abs(mesh.bounds[0, 1]) < 1e-5  # stands on the floor


@pytest.mark.parametrize("family", FAMILIES)
def test_from_outside_no_inside_is_seen(family: str, tmp_path: Path) -> None:
    """Rays from all around first meet a front face: no surface crosses another, none is turned."""
    rng = np.random.default_rng(0)
    for number in range(15):
        vertices, faces = arrays(design(Job(number, 6, family, tmp_path))[0])
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        way = rng.normal(size=(400, 3))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        target = mesh.vertices[faces[rng.integers(len(faces), size=400)]].mean(axis=1)
        hit = mesh.ray.intersects_first(target + 3.0 * mesh.scale * way, -way)
        facing = np.einsum("ij,ij->i", mesh.face_normals[hit], way)[hit >= 0]
        assert (facing < -1e-3).mean() <= 0.01, f"{family} {number}: {(facing < -1e-3).sum()} rays"


def silhouettes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(3, 32, 32) cells met by 30,000 surface points, along the three axes, in the unit sphere."""
    sample = trimesh.sample.sample_surface(trimesh.Trimesh(vertices, faces), 30_000, seed=0)[0]
    middle = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    scaled = (sample - middle) / np.linalg.norm(vertices - middle, axis=1).max()
    planes = ([0, 1], [2, 1], [0, 2])
    grids = [np.histogram2d(*scaled[:, p].T, 32, ((-1, 1),) * 2)[0] > 0 for p in planes]
    return np.array(grids)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_of_a_family_differ_more_than_a_disturbed_copy(family: str, tmp_path: Path) -> None:
    """Overlap of silhouettes: draws agree less with each other than a shape with its noisy copy."""
    shots, copies = [], []
    for number in range(6):
        vertices, faces = arrays(design(Job(number, 9, family, tmp_path))[0])
        shots.append(silhouettes(vertices, faces))
        noise = np.random.default_rng(number).normal(0, 0.001, vertices.shape)
        copies.append(silhouettes(vertices + noise * np.ptp(vertices), faces))
    overlap = np.array([[(a & b).sum() / (a | b).sum() for b in copies] for a in shots])
    others = overlap[~np.eye(6, dtype=bool)]
    assert (overlap.argmax(axis=1) == np.arange(6)).all()
    assert np.median(others) < overlap.diagonal().mean() - 0.2


def test_shards_workers_and_order_do_not_change_a_byte(tmp_path: Path) -> None:
    assert run(tmp_path / "one", "--count", "20", "--seed", "3") == 0
    assert run(tmp_path / "two", "--count", "20", "--seed", "3", "--workers", "2") == 0
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    for part in ("2/3", "0/3", "1/3"):
        assert run(tmp_path / "parts", "--count", "20", "--seed", "3", "--shard", part) == 0
    whole = bytes_of(tmp_path / "one")
    whole.pop("shapes.json")
    assert bytes_of(tmp_path / "parts") == whole
    rows = [
        row
        for part in range(3)
        for row in json.loads((tmp_path / f"parts/shapes.{part}-of-3.json").read_text())["shapes"]
    ]
    expected = json.loads((tmp_path / "one/shapes.json").read_text())["shapes"]
    assert sorted(rows, key=lambda row: row["id"]) == expected


def test_a_longer_set_begins_with_the_shorter_and_another_seed_shares_no_id(tmp_path: Path) -> None:
    run(tmp_path / "a", "--count", "5")
    run(tmp_path / "b", "--count", "8")
    run(tmp_path / "c", "--count", "5", "--seed", "1")
    a, b, c = (bytes_of(tmp_path / x) for x in "abc")
    assert all(b[name] == data for name, data in a.items() if name != "shapes.json")
    assert not (a.keys() & c.keys()) - {"shapes.json"}
    assert not set(a.values()) & set(c.values())


def test_existing_shapes_are_kept_and_missing_ones_made_again(tmp_path: Path) -> None:
    run(tmp_path, "--count", "4")
    before = bytes_of(tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.ply")}
    gone, *rest = sorted(stamps)
    gone.unlink()
    assert run(tmp_path, "--count", "4") == 0
    assert bytes_of(tmp_path) == before
    assert all(p.stat().st_mtime_ns == stamps[p] for p in rest)
    assert not list(tmp_path.glob("*.journal"))


def test_a_run_cut_short_goes_on_from_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", "--count", "6")
    made: list[str] = []
    true = make_shapes.files.Journal.add

    def add(self: object, key: str, value: object) -> None:
        if len(made) == 3:
            raise OSError(28, "No space left on device", "journal")
        made.append(key)
        true(self, key, value)  # type: ignore[arg-type]

    monkeypatch.setattr(make_shapes.files.Journal, "add", add)
    assert run(tmp_path / "cut", "--count", "6") == 1
    assert not (tmp_path / "cut/shapes.json").exists()
    monkeypatch.setattr(make_shapes.files.Journal, "add", true)
    first = tmp_path / "cut" / f"{made[0]}.ply"
    stamp = first.stat().st_mtime_ns
    assert run(tmp_path / "cut", "--count", "6") == 0
    assert first.stat().st_mtime_ns == stamp
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_families_may_be_chosen_but_not_mixed_in_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--count", "4", "--families", "mug,guitar") == 0
    items = list_meshes(tmp_path)
    assert sorted({item.category for item in items}) == ["guitar", "mug"]
    assert len(load_arrays(items[0].path)[1]) > 400
    assert run(tmp_path, "--count", "4", "--families", "mug") == 1
    assert "families" in capsys.readouterr().err
    assert run(tmp_path / "x", "--families", "mug,unicorn") == 1
    assert "unicorn" in capsys.readouterr().err


def test_a_shape_that_cannot_be_made_is_a_failure_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(draw: Draw) -> object:
        return FAMILIES["mug"](draw)._replace(parts=[primitives.union([])])

    monkeypatch.setitem(FAMILIES, "chair", broken)
    assert run(tmp_path, "--count", "2", "--families", "chair,mug") == 3
    rows = json.loads((tmp_path / "shapes.failures.json").read_text())
    assert [row["id"] for row in rows] == ["chair_s0_000000"]
    assert [item.category for item in list_meshes(tmp_path)] == ["mug"]


def test_solids_are_closed_with_the_volume_geometry_gives() -> None:
    assert primitives.box((0, 1), (0, 2), (0, 3)).volume() == pytest.approx(6.0)
    square = [(1, -1, -1), (1, -1, 1), (1, 1, 1), (1, 1, -1)]
    frustum = primitives.beam((0, 0, 0), (0, 3, 0), (2, 1))
    assert frustum.volume() == pytest.approx(3 / 3 * (4 + 2 + 1))
    assert primitives.loft([square, np.add(square, (2, 0, 0))]).volume() == pytest.approx(8.0)
    torus_like = primitives.lathe([(1, 0), (2, 0), (2, 1), (1, 1)], 256)
    assert torus_like.volume() == pytest.approx(3 * np.pi, rel=1e-3)
    bent = primitives.tube([(0, 0, 0), (0, 5, 0), (0, 10, 0)], 1.0, 64)
    assert bent.volume() == pytest.approx(10 * np.pi, rel=2e-3)
    with pytest.raises(ValueError, match="no closed solid"):
        primitives.loft(np.full((2, 4, 3), np.nan))


def test_parameters_are_drawn_once_and_recorded_as_used() -> None:
    draw = Draw(np.random.default_rng(0))
    value = draw.real("width", 0.0, 1.0)
    assert draw.values == {"width": value} and round(value, 4) == value
    with pytest.raises(ValueError, match="drawn twice"):
        draw.pick("width", ("a", "b"))


def test_captions_name_the_parts() -> None:
    draw = Draw(np.random.default_rng(1))
    made = FAMILIES["chair"](draw)._replace(looks=["", "old"], details=["legs", "", "a back"])
    said = caption("chair", made, 0.9)
    assert said["phrase"] == "an old chair with legs"
    assert said["sentence"] == "An old chair with legs and a back, 90 cm high."


@pytest.mark.parametrize("flags", [["--count", "0"], ["--seed", "-1"], ["--shard", "3/3"]])
def test_unusable_flags_are_refused(flags: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, *flags) == 1
    assert not list(tmp_path.glob("*.ply"))
