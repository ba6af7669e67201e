"""From ShapeNet's files, meshes and clouds to files of grids: names, errors by id, resuming."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh

from load_data import main
from voxel_ldm import building, sources
from voxel_ldm.grids import read_grids
from voxel_ldm.voxelise import of_mesh, of_points

LABELS = {"train0": [0, 4, 15, 4, 6], "train1": [15, 4], "val0": [4], "test0": [0, 15]}
FILES = [
    f"{name}_voxels_{split}.npz"
    for name, split in (
        ("airplane", "test"), ("airplane", "train"), ("chair", "train"), ("chair", "val"),
        ("table", "test"), ("table", "train"),
    )
]  # fmt: skip


def clouds(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 256, 3)).astype(np.float32)


def release(folder: Path, **changes: Any) -> Path:
    """A tiny release in the layout of ShapeNet's; `changes` replace datasets of its first file."""
    folder.mkdir()
    for i, (name, labels) in enumerate(LABELS.items()):
        content = {"data": clouds(len(labels), i), "label": np.array(labels, np.uint8)[:, None]}
        with h5py.File(folder / f"ply_data_{name}.h5", "w") as file:
            for key, value in (content | changes if name == "train0" else content).items():
                if value is not None:
                    file.create_dataset(key, data=value, compression="gzip")
    for split in ("train", "val", "test"):
        names = [f"ply_data_{name}.h5" for name in LABELS if name.startswith(split)]
        (folder / f"{split}_hdf5_file_list.txt").write_text("\n".join(names) + "\n")
    return folder


def box(path: Path, extents: tuple[float, float, float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.box(extents).export(path)
    return path


def run(*argv: Any) -> int:
    return main([str(a) for a in (*argv, "--quiet")])


def written(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix in (".npz", ".npy"))


def grid_of(path: Path, name: str) -> np.ndarray:
    grids = read_grids(path)
    return grids.unpack(grids.ids.index(name))[0]


def test_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = release(tmp_path / "hdf5_data"), tmp_path / "out"
    assert run("--input", source, "--output", out, "--resolution", 16) == 0
    assert written(out) == FILES
    chairs = read_grids(out / "chair_voxels_train.npz")
    assert chairs.ids == ["ply_data_train0_0001", "ply_data_train0_0003", "ply_data_train1_0001"]
    assert chairs.categories == ["chair"] * 3 and chairs.resolution == 16
    assert chairs.settings["normalize"] == "longest side" and chairs.settings["mode"] == "points"
    assert np.array_equal(chairs.unpack(2)[0], of_points(clouds(2, 1)[1], 16))
    assert chairs.sha256[2] == hashlib.sha256(clouds(2, 1)[1].tobytes()).hexdigest()
    line = f"{out / 'chair_voxels_train.npz'}: 3 shapes (0 reused, 0 failed)"
    assert line in capsys.readouterr().out
    record = json.loads((out / "chair_voxels_train.npz.run.json").read_text())
    assert record["settings"] == chairs.settings and record["counts"]["rows"] == 3


def test_npy_of_the_paper(tmp_path: Path) -> None:
    source, out = release(tmp_path / "hdf5_data"), tmp_path / "out"
    flags = ("--stretch", "--format", "npy", "--resolution", 12, "--split", "train")
    assert run("--input", source, "--output", out, *flags) == 0
    assert written(out) == [f"{n}_voxels_train.npy" for n in ("airplane", "chair", "table")]
    array = np.load(out / "table_voxels_train.npy")
    assert array.dtype == np.float32 and array.shape == (2, 12, 12, 12)
    points = clouds(5)[2]
    unit = (points - points.min(axis=0)) / (points.max(axis=0) - points.min(axis=0))
    wanted = np.zeros((12, 12, 12))
    wanted[tuple(np.floor(unit * 11).astype(int).T)] = 1
    assert np.array_equal(array[0], wanted)
    assert read_grids(out / "table_voxels_train.npy").ids[1] == "ply_data_train1_0000"


def test_zip_is_read_in_place_and_stays(tmp_path: Path) -> None:
    source = release(tmp_path / "hdf5_data")
    archive = Path(shutil.make_archive(str(tmp_path / "hdf5_data"), "zip", tmp_path, "hdf5_data"))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../../escaped.txt", "x")
        file.writestr("__MACOSX/hdf5_data/._train_hdf5_file_list.txt", "x")
    before = archive.read_bytes(), sorted(p.name for p in tmp_path.parent.iterdir())
    for path, out in ((source, "a"), (archive, "b")):
        assert run("--input", path, "--output", tmp_path / out, "--resolution", 8) == 0
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert before == (archive.read_bytes(), sorted(p.name for p in tmp_path.parent.iterdir()))


def test_without_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("load_data.USUAL_PLACES", (Path("data/hdf5_data"), Path("none.zip")))
    assert main([]) == 1
    assert "load_data.py: no data: data/hdf5_data, none.zip are not there; give --input" in (
        capsys.readouterr().err
    )
    Path("data").mkdir()
    release(Path("data/hdf5_data"))
    assert main(["-q"]) == 0
    assert read_grids(Path("data/hdf5_data/table_voxels_test.npz")).resolution == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": clouds(5)[:, :, :2]}, r"data is float32 \(5, 256, 2\); expected floats"),
        ({"data": clouds(5)[0]}, r"data is float32 \(256, 3\)"),
        ({"data": np.zeros((5, 4, 3), int)}, "data is int64"),
        ({"data": None}, "no array 'data' in it; found label"),
        ({"label": None}, "no array 'label' in it; found data"),
        ({"label": np.zeros((4, 1), int)}, r"label is int64 \(4, 1\); expected \(5, 1\)"),
        ({"label": np.full((5, 1), 16)}, ".*whole numbers from 0 to 15"),
        ({"label": np.zeros((5, 1))}, "label is float64"),
    ],
)
def test_malformed_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    source = release(tmp_path / "x", **changes)
    with pytest.raises(ValueError, match=f"x: ply_data_train0.h5: {message}"):
        sources.list_shapes(source, "points")
    assert run("--input", source, "--output", tmp_path / "out") == 1
    assert "load_data.py: " in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_damaged_release(tmp_path: Path) -> None:
    source = release(tmp_path / "x")
    file, names = source / "ply_data_train0.h5", source / "train_hdf5_file_list.txt"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x: ply_data_train0\.h5: not a readable HDF5 file"):
        sources.list_shapes(source, "points")
    file.unlink()
    with pytest.raises(ValueError, match=r"train_hdf5_file_list\.txt names ply_data_train0\.h5, w"):
        sources.list_shapes(source, "points")
    file.write_bytes(whole)
    names.write_text(f"../../etc/ply_data_train0.h5\n{tmp_path}\\ply_data_train1.h5\n")
    assert len(sources.list_shapes(source, "points")) == 10  # the folders in it do not count
    for path in source.glob("*.txt"):
        path.write_text("\n")
    with pytest.raises(ValueError, match="expected lists with HDF5 files in them"):
        sources.list_shapes(source, "points")
    (tmp_path / "y.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(ValueError, match=r"y\.zip: not a readable zip"):
        sources.list_shapes(tmp_path / "y.zip", "points")


def test_links_out_of_a_file_are_not_followed(tmp_path: Path) -> None:
    source = release(tmp_path / "x", data=None)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = clouds(5)
    with h5py.File(source / "ply_data_train0.h5", "a") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "data")
    with pytest.raises(ValueError, match="no array 'data'"):
        sources.list_shapes(source, "points")
    (tmp_path / "raw").write_bytes(clouds(5).tobytes())
    with h5py.File(source / "ply_data_train0.h5", "a") as file:
        del file["data"]
        place = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("data", (5, 256, 3), "f4", external=place)
    with pytest.raises(ValueError, match="'data' is kept in another file"):
        sources.list_shapes(source, "points")


def test_bad_clouds_are_named_and_the_others_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = clouds(5)
    data[1, 7] = np.nan
    data[2, :, 1] = 0.5
    source, out = release(tmp_path / "x", data=data), tmp_path / "out"
    assert main(["--input", str(source), "--output", str(out), "--split", "train"]) == 3
    failures = json.loads((out / "chair_voxels_train.npz.failures.json").read_text())
    assert [row["id"] for row in failures] == ["ply_data_train0_0001"]
    assert failures[0]["error"] == f"{source}: point 7 is not finite"
    flat = json.loads((out / "table_voxels_train.npz.failures.json").read_text())
    assert flat[0]["error"] == f"{source}: flat: no extent along y"
    assert read_grids(out / "chair_voxels_train.npz").ids[0] == "ply_data_train0_0003"
    assert "2 shapes failed" in capsys.readouterr().err


def meshes(folder: Path) -> Path:
    """Boxes as a shapes.json of two categories; one of them lies and is to be turned upright."""
    rows = []
    for i, extents in enumerate([(4, 2, 1), (1, 1, 1), (3, 1, 2)]):
        name, category = f"s{i}", "arm chair" if i < 2 else "table"
        box(folder / "m" / f"{name}.obj", extents)
        rows.append({"id": name, "path": f"m/{name}.obj", "category": category})
    rows[0]["up"] = "z"
    (folder / "train.json").write_text(json.dumps({"shapes": rows}))
    return folder / "train.json"


def test_meshes(tmp_path: Path) -> None:
    index, out = meshes(tmp_path), tmp_path / "out"
    test = tmp_path / "test.json"
    test.write_text(json.dumps({"shapes": [{"id": "s2", "path": "m/s2.obj", "category": "table"}]}))
    assert run("--input", index, test, "--output", out, "--resolution", 8) == 0
    assert written(out) == [
        "arm_chair_voxels_train.npz", "table_voxels_test.npz", "table_voxels_train.npz"
    ]  # fmt: skip
    chairs = out / "arm_chair_voxels_train.npz"
    turned = grid_of(chairs, "s0")  # 4 x 2 x 1 with z up: x 8 cells, y 2 and z 4 and a border
    assert [int(turned.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [8, 3, 5]
    hollow = grid_of(chairs, "s1")
    assert hollow.sum() == 8**3 - 6**3
    assert read_grids(chairs).settings["mode"] == "surface"
    assert run("--input", index, "--output", tmp_path / "solid", "--mode", "solid",
               "--resolution", 8, "--categories", "arm chair") == 0  # fmt: skip
    assert written(tmp_path / "solid") == ["arm_chair_voxels_train.npz"]
    assert grid_of(tmp_path / "solid" / "arm_chair_voxels_train.npz", "s1").all()


def test_mesh_errors_by_id(tmp_path: Path) -> None:
    box(tmp_path / "set/chair/a.ply", (1, 2, 3))
    (tmp_path / "set/chair/b.off").write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    (tmp_path / "set/chair/c.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    out = tmp_path / "out"
    assert run("--input", tmp_path / "set", "--output", out, "--resolution", 8) == 3
    rows = json.loads((out / "chair_voxels_train.npz.failures.json").read_text())
    assert [row["id"] for row in rows] == ["chair/b", "chair/c"]
    assert "no faces" in rows[0]["error"] and "b.off" in rows[0]["error"]
    assert rows[1]["error"] == f"{tmp_path / 'set/chair/c.obj'}: all corners in one place; a shape needs an extent"  # fmt: skip  # noqa: E501
    (tmp_path / "set/chair/a.ply").unlink()
    assert run("--input", tmp_path / "set", "--output", tmp_path / "none") == 1
    assert not written(tmp_path / "none")


@pytest.mark.parametrize("kind", ["npy", "npz", "folder", "xyz"])
def test_clouds(tmp_path: Path, kind: str) -> None:
    points = clouds(2).astype(np.float64)
    name, flags, names = f"x.{kind}", [], ["x_0000", "x_0001"]
    if kind == "npy":
        np.save(tmp_path / name, points)
    elif kind == "npz":
        np.savez(tmp_path / name, kind="points", ids=np.array(["p", "q"]), points=points)
        names = ["p", "q"]
    elif kind == "xyz":
        np.savetxt(tmp_path / name, points[1])
        names = ["x"]
    else:
        (tmp_path / name).mkdir()
        trimesh.PointCloud(points[0]).export(tmp_path / name / "a.ply")
        np.savetxt(tmp_path / name / "b.xyz", points[1])
        names, flags = ["a", "b"], ["--mode", "points"]
    out = tmp_path / "out"
    assert run("--input", tmp_path / name, "--output", out, "--split", "gen", *flags) == 0
    grids = read_grids(out / "all_voxels_gen.npz")
    assert grids.ids == names
    assert np.array_equal(grids.unpack(len(names) - 1)[0], of_points(points[1], 64))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 4)), r"x\.npy: float64 \(2, 3, 4\); expected numbers \(n, p, 3\)"),
        (np.zeros((0, 3, 3)), "expected numbers"),
        (np.full((2, 4, 3), None), "not readable as points"),
        (b"", "not readable as points"),
        (b"\x93NUMPY\x01\x00", "not readable as points"),
    ],
)
def test_malformed_clouds(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        sources.list_shapes(path, "points")


def test_empty_and_odd_text_clouds_by_id(tmp_path: Path) -> None:
    for name, text in (("a", "1 2 3\n4 5 6\n"), ("b", ""), ("c", "1 2\n"), ("d", "x y z\n")):
        (tmp_path / f"{name}.xyz").write_text(text)
    out = tmp_path / "out"
    assert run("--input", tmp_path, "--mode", "points", "--output", out) == 3
    rows = json.loads((out / "all_voxels_train.npz.failures.json").read_text())
    assert [row["id"] for row in rows] == ["b", "c", "d"]
    assert all(f"{row['id']}.xyz: " in row["error"] for row in rows)


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index, cloud = meshes(tmp_path), tmp_path / "table.npy"
    np.save(cloud, clouds(2))
    out = ("--output", tmp_path / "out")
    for argv, message in (
        ((cloud, "--mode", "solid"), "points alone, without a surface; use --mode points"),
        ((tmp_path / "none",), "none: no such file or folder"),
        ((index, "--categories", "sofa"), "no shapes of sofa in the input"),
        ((index, index), "id 's0' stands twice"),
        ((cloud, tmp_path / "m"), "would share this file"),
    ):
        assert run("--input", *argv, *out) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--input", cloud, *out, "--resolution", 257)
    assert not (tmp_path / "out").exists()


def test_running_again_reuses_and_extends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, argv = tmp_path / "set", ("--output", tmp_path / "out", "--resolution", 8)
    box(folder / "a.obj", (1, 2, 3))
    box(folder / "b.obj", (1, 1, 3))
    path = tmp_path / "out" / "all_voxels_train.npz"

    def again(*more: Any) -> str:
        assert run("--input", folder, *argv, *more) == 0
        return capsys.readouterr().out.strip().rpartition("shapes ")[2]

    assert again() == "(0 reused, 0 failed)"
    first, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert again() == "(2 reused, 0 failed)" and path.stat().st_mtime_ns == stamp
    box(folder / "aa.obj", (2, 2, 3))
    box(folder / "b.obj", (1, 1, 1))
    assert again() == "(1 reused, 0 failed)"
    grids = read_grids(path)
    assert grids.ids == ["a", "aa", "b"] and grids.unpack(2).sum() == 8**3 - 6**3
    extended = path.read_bytes()
    assert again("--overwrite") == "(0 reused, 0 failed)" and path.read_bytes() == extended
    (folder / "aa.obj").unlink()
    box(folder / "b.obj", (1, 1, 3))
    assert again() == "(1 reused, 0 failed)" and path.read_bytes() == first
    assert run("--input", folder, *argv, "--stretch") == 1
    assert "normalize: there 'longest side', here 'each axis'" in capsys.readouterr().err
    assert not list(path.parent.glob("*.rows")) and not list(path.parent.glob("*.journal"))


def test_a_changed_turn_is_made_again(tmp_path: Path) -> None:
    index, out = meshes(tmp_path), tmp_path / "out"
    argv = ("--input", index, "--output", out, "--resolution", 8)
    assert run(*argv) == 0
    index.write_text(index.read_text().replace('"up": "z"', '"up": "y"'))
    assert run(*argv) == 0
    vertices, faces = sources.load_arrays(tmp_path / "m/s0.obj")
    got = grid_of(out / "arm_chair_voxels_train.npz", "s0")
    assert np.array_equal(got, of_mesh(vertices, faces, 8))


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = release(tmp_path / "x"), tmp_path / "out"
    argv = ("--input", source, "--resolution", 8, "--split", "train", "--output")
    assert run(*argv, tmp_path / "whole") == 0
    made = []

    def dying(shape: Any, **settings: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(shape.id)
        return original(shape, **settings)

    original = building.voxelised
    monkeypatch.setattr(building, "voxelised", dying)
    assert run(*argv, out, "--categories", "chair") == 130
    path = out / "chair_voxels_train.npz"
    assert not path.exists()
    rows = out / "chair_voxels_train.npz.rows"
    rows.write_bytes(rows.read_bytes() + b"torn")
    monkeypatch.setattr(building, "voxelised", original)
    with pytest.raises(ValueError, match="resolution: there 8, here 9"):
        building.build([], path, {"resolution": 9}, original)
    seen = []

    def noting(shape: Any, **settings: Any) -> Any:
        seen.append(shape.id)
        return original(shape, **settings)

    monkeypatch.setattr(building, "voxelised", noting)
    assert run(*argv, out) == 0
    assert not set(made) & set(seen) and len(seen) == 4
    for name in written(tmp_path / "whole"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len([*out.iterdir()]) == 6  # no journal, no rows


def test_workers_change_nothing(tmp_path: Path) -> None:
    source = release(tmp_path / "x")
    argv = ("--input", source, "--resolution", 8, "--split", "train", "--categories", "chair")
    for workers in (0, 2):
        assert run(*argv, "--output", tmp_path / str(workers), "--workers", workers) == 0
    name = "chair_voxels_train.npz"
    assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_memory_does_not_grow_with_the_number_of_shapes(tmp_path: Path) -> None:
    peaks = []
    for n in (8, 32):
        np.save(tmp_path / f"x{n}.npy", clouds(n))
        tracemalloc.start()
        assert run("--input", tmp_path / f"x{n}.npy", "--output", tmp_path / f"out{n}",
                   "--resolution", 96) == 0  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2 * 96**3 / 8  # 24 more grids have 24 such rows
