"""Views: geometry against closed forms, colours, resuming, shards, failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import trimesh
from PIL import Image

import contact_sheet
import render_views
from data_curation import cameras, shading
from data_curation.meshes import load_arrays
from data_curation.smooth import corner_normals

SCHEMA = Path(__file__).parents[3] / "formats" / "views.schema.json"
SIZE = 64


def render(source: Path, output: Path, *flags: str) -> int:
    common = ["--input", str(source), "--output", str(output), "--views", "4", "--size", str(SIZE)]
    return render_views.main(["-q", *common, *flags])


def sidecar(folder: Path) -> Any:
    return json.loads((folder / "views.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every result file below a folder; run records hold times."""
    found = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("run.json"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), np.float64)


@pytest.fixture
def solids(tmp_path: Path) -> Path:
    """Four small meshes in two category folders."""
    folder = tmp_path / "in"
    made = {
        "round/ball": trimesh.creation.icosphere(2),
        "round/ring": trimesh.creation.torus(1, 0.4),
        "square/box": trimesh.creation.box((1, 2, 1)),
        "square/slab": trimesh.creation.box((3, 0.1, 1)),
    }
    for name, mesh in made.items():
        path = folder / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        mesh.export(path)
    return folder


@pytest.fixture
def tall(tmp_path: Path) -> Path:
    """A box that is 3 long in z, as off."""
    folder = tmp_path / "tall"
    folder.mkdir()
    trimesh.creation.box((1, 1, 3)).export(folder / "box.off")
    return folder


def test_files_and_sidecar(solids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert render(solids, out, "--rig", "sphere", "--passes", "depth,normals,mask,cameras") == 0
    folder = out / "square" / "box"
    names = {"view_00.png", "view_01.png", "view_02.png", "view_03.png"}
    assert {p.name for p in folder.iterdir()} == names | {
        "sprite_v4.png",
        "views.json",
        "views.npz",
    }
    record = sidecar(folder)
    jsonschema.validate(record, json.loads(SCHEMA.read_text()))
    assert (record["id"], record["category"]) == ("square/box", "square")
    assert len(set(record["elevations"])) == 4
    stacked = np.concatenate([pixels(folder / name) for name in sorted(names)])
    assert (pixels(folder / record["sprite"]) == stacked).all()
    assert json.loads((out / "run.json").read_text())["counts"]["rendered"] == 4


@pytest.mark.parametrize("up", ["y", "z"])
@pytest.mark.parametrize("rig", ["ring", "sphere"])
def test_depth_leads_back_to_the_surface(tmp_path: Path, up: str, rig: str) -> None:
    """Pixel, depth and matrix give file coordinates again: all on a sphere off the origin."""
    centre, radius = np.array([5.0, -3.0, 100.0]), 7.0
    ball = trimesh.creation.icosphere(4, radius=radius)
    ball.apply_translation(centre)
    (tmp_path / "in").mkdir()
    ball.export(tmp_path / "in" / "ball.ply")
    flags = ("--rig", rig, "--up", up, "--passes", "depth,normals,mask,cameras")
    assert render(tmp_path / "in", tmp_path / "out", *flags) == 0
    arrays = np.load(tmp_path / "out" / "ball" / "views.npz", allow_pickle=False)
    half = sidecar(tmp_path / "out" / "ball")["half_width"]
    share = np.pi / (2 * half) ** 2  # of a disc of radius 1 in the picture
    assert arrays["mask"].mean(axis=(1, 2)) == pytest.approx(share, rel=0.01)
    for view in range(4):
        row, column = np.nonzero(arrays["mask"][view])
        x = ((column + 0.5) / SIZE * 2 - 1) * half
        y = (1 - (row + 0.5) / SIZE * 2) * half
        z = -arrays["depth"][view][row, column]
        seen = np.stack([x, y, z, np.ones_like(x)])
        world = (np.linalg.inv(arrays["world_to_camera"][view]) @ seen)[:3].T
        away = world - centre
        assert np.linalg.norm(away, axis=1) == pytest.approx(radius, rel=2e-3)
        outward = np.einsum("ki,ki->k", away / radius, arrays["normals"][view][row, column])
        assert outward.min() > 0.99


def test_azimuth_0_looks_at_the_front_and_90_at_the_right_side(tmp_path: Path) -> None:
    """A box 1 wide, 2 high, 3 deep shows 1 x 2, then 3 x 2."""
    (tmp_path / "in").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "in" / "b.ply")
    flags = ("--elevation", "0", "--azimuth", "0", "--passes", "mask,depth")
    assert render(tmp_path / "in", tmp_path / "out", *flags) == 0
    arrays = np.load(tmp_path / "out" / "b" / "views.npz", allow_pickle=False)
    unit = SIZE / (2 * cameras.HALF_WIDTH) / (np.sqrt(14) / 2)  # pixels a file unit
    for view, width, near in [(0, 1, 3), (1, 3, 1), (2, 1, 3)]:
        mask, depth = arrays["mask"][view], arrays["depth"][view]
        assert mask.any(axis=0).sum() == pytest.approx(width * unit, abs=1)
        assert mask.any(axis=1).sum() == pytest.approx(2 * unit, abs=1)
        assert depth[mask] == pytest.approx(cameras.DISTANCE - near / np.sqrt(14), abs=1e-5)


def test_view_from_above_has_the_front_at_the_bottom() -> None:
    rig = cameras.make_rig("ring", 1, 90, 0)
    right, up, back = rig.axes[0]
    assert right == pytest.approx([1, 0, 0])
    assert up == pytest.approx([0, 0, -1])
    assert back == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("rig", cameras.RIGS)
def test_camera_axes_are_rotations_that_match_their_angles(rig: str) -> None:
    made = cameras.make_rig(rig, 7, 25, 10)
    assert made.axes @ made.axes.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (7, 1, 1)))
    assert np.linalg.det(made.axes) == pytest.approx(np.ones(7))
    a, e = np.radians(made.azimuths), np.radians(made.elevations)
    back = np.stack([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], axis=1)
    assert made.axes[:, 2] == pytest.approx(back)


def test_frame_ignores_vertices_without_a_face_and_survives_any_scale() -> None:
    box = trimesh.creation.box((2, 2, 2))
    loose = np.vstack([box.vertices, [[99, 99, 99]]])
    for scale in (1.0, 1e-200, 1e300):
        place = cameras.frame(loose * scale, box.faces)
        assert place.radius == pytest.approx(np.sqrt(3) * scale)


def test_shapes_json_sets_a_shape_upright(tall: Path, tmp_path: Path) -> None:
    """`up` and `rotation` and --up z all turn the long axis z to stand."""
    masks = {}
    turned = [1, 0, 0, 0, 0, 1, 0, -1, 0]
    for name, extra in {"none": {}, "up": {"up": "z"}, "rotation": {"rotation": turned}}.items():
        row = {"id": "box", "path": "box.off"} | extra
        (tall / "shapes.json").write_text(json.dumps({"shapes": [row]}))
        assert render(tall, tmp_path / name, "--passes", "mask") == 0
        masks[name] = np.load(tmp_path / name / "box" / "views.npz")["mask"]
    assert render(tall, tmp_path / "flag", "--up", "z", "--passes", "mask") == 0
    masks["flag"] = np.load(tmp_path / "flag" / "box" / "views.npz")["mask"]
    heights = {name: int(mask[0].any(axis=1).sum()) for name, mask in masks.items()}
    assert heights["none"] < heights["up"]
    for name in ("up", "rotation", "flag"):
        assert (masks[name] == masks["up"]).all()


@pytest.mark.parametrize("extra", [{"up": "w"}, {"rotation": [1, 2, 3]}, {"rotation": "x"}])
def test_no_rotation_is_refused(
    tall: Path, tmp_path: Path, extra: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "box", "path": "box.off"} | extra
    (tall / "shapes.json").write_text(json.dumps({"shapes": [row]}))
    assert render(tall, tmp_path / "out") == 1
    assert "'box'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", shading.SHADINGS)
def test_winding_does_not_matter(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    ring = trimesh.creation.torus(1, 0.4, 16, 12)
    ring.export(tmp_path / "in" / "a.ply")
    ring.faces[::2] = ring.faces[::2, ::-1]
    trimesh.Trimesh(ring.vertices, ring.faces, process=False).export(tmp_path / "in" / "b.ply")
    assert render(tmp_path / "in", tmp_path / "out", "--shading", kind) == 0
    a, b = (pixels(tmp_path / "out" / n / "view_00.png") for n in "ab")
    assert np.abs(a - b).max() <= 2


def test_folds_are_darker_than_open_faces(tmp_path: Path) -> None:
    """The floor of a deep open box, seen from above, gets less light than the same lone plate."""
    (tmp_path / "in").mkdir()
    plate = trimesh.creation.box((2, 0.1, 2))
    walls = [
        trimesh.creation.box((2, 1.4, 0.1) if turn else (0.1, 1.4, 2), transform=_shift(turn, side))
        for turn in (0, 1)
        for side in (-1, 1)
    ]
    trimesh.util.concatenate([plate, *walls]).export(tmp_path / "in" / "deep.ply")
    plate.export(tmp_path / "in" / "flat.ply")
    assert render(tmp_path / "in", tmp_path / "out", "--elevation", "90") == 0
    middle = slice(SIZE // 2 - 3, SIZE // 2 + 3)
    deep, flat = (
        pixels(tmp_path / "out" / n / "view_00.png")[middle, middle].mean()
        for n in ("deep", "flat")
    )
    assert deep < flat - 20


def _shift(turn: int, side: int) -> np.ndarray:
    offset = [0, 0.7, side] if turn else [side, 0.7, 0]
    return trimesh.transformations.translation_matrix(offset)


def test_raw_normals_as_colours(tmp_path: Path) -> None:
    """The front of a box has normal +z: (0.5, 0.5, 1) as a colour."""
    (tmp_path / "in").mkdir()
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "in" / "b.ply")
    flags = ("--shading", "normals", "--elevation", "0", "--azimuth", "0")
    assert render(tmp_path / "in", tmp_path / "out", *flags) == 0
    colour = pixels(tmp_path / "out" / "b" / "view_00.png")[SIZE // 2, SIZE // 2]
    assert colour == pytest.approx([128, 128, 255], abs=1)


def test_more_samples_soften_the_outline(solids: Path, tmp_path: Path) -> None:
    for samples in ("1", "3"):
        flags = ("--samples", samples, "--shading", "normals", "--ids", str(tmp_path / "ids"))
        (tmp_path / "ids").write_text('["round/ball"]')
        assert render(solids, tmp_path / samples, *flags) == 0
    hard, soft = (pixels(tmp_path / s / "round" / "ball" / "view_00.png") for s in ("1", "3"))
    assert len(np.unique(soft.min(axis=2))) > len(np.unique(hard.min(axis=2)))


# materials


def write_plate(folder: Path, material: str) -> Path:
    """A square facing +z with texture coordinates and an MTL file of one material."""
    folder.mkdir(parents=True, exist_ok=True)
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    lines = ["mtllib plate.mtl", *(f"v {x} {y} 0" for x, y in corners)]
    lines += [f"vt {(x + 1) / 2} {(y + 1) / 2}" for x, y in corners]
    lines += ["usemtl m", "f 1/1 2/2 3/3", "f 1/1 3/3 4/4"]
    (folder / "plate.obj").write_text("\n".join(lines) + "\n")
    (folder / "plate.mtl").write_text(f"newmtl m\n{material}\n")
    return folder


FRONT = ("--shading", "material", "--elevation", "0", "--azimuth", "0")


def test_diffuse_colour(tmp_path: Path) -> None:
    source = write_plate(tmp_path / "in", "Kd 0.8 0.1 0.1")
    assert render(source, tmp_path / "out", *FRONT) == 0
    red, green, blue = pixels(tmp_path / "out" / "plate" / "view_00.png")[SIZE // 2, SIZE // 2]
    assert red > 2 * green
    assert green == blue


def test_texture_lies_the_right_way_up(tmp_path: Path) -> None:
    source = write_plate(tmp_path / "in", "Kd 1 1 1\nmap_Kd quarters.png")
    quarters = np.zeros((8, 8, 3), np.uint8)
    quarters[:4, :4], quarters[:4, 4:] = (255, 0, 0), (0, 255, 0)
    quarters[4:, :4], quarters[4:, 4:] = (0, 0, 255), (255, 255, 0)
    Image.fromarray(quarters).save(source / "quarters.png")
    assert render(source, tmp_path / "out", *FRONT) == 0
    picture = pixels(tmp_path / "out" / "plate" / "view_00.png")
    a, b = SIZE * 3 // 8, SIZE * 5 // 8
    seen = [picture[r, c].round(-1) > 40 for r, c in [(a, a), (a, b), (b, a), (b, b)]]
    assert np.array(seen).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
        [True, True, False],
    ]


@pytest.mark.parametrize("damage", ["no texture", "no mtl", "broken texture"])
@pytest.mark.parametrize("kind", ["clay", "material"])
def test_a_missing_material_does_not_lose_the_shape(tmp_path: Path, damage: str, kind: str) -> None:
    source = write_plate(tmp_path / "in", "Kd 1 1 1\nmap_Kd gone.png")
    if damage == "no mtl":
        (source / "plate.mtl").unlink()
    if damage == "broken texture":
        (source / "gone.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert render(source, tmp_path / "out", "--shading", kind) == 0
    assert (pixels(tmp_path / "out" / "plate" / "view_00.png") < 255).any()


def test_vertex_colours(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ball = trimesh.creation.icosphere(2)
    ball.visual.vertex_colors = np.tile([0, 0, 255, 255], (len(ball.vertices), 1))
    ball.export(tmp_path / "in" / "ball.ply")
    assert render(tmp_path / "in", tmp_path / "out", *FRONT) == 0
    red, green, blue = pixels(tmp_path / "out" / "ball" / "view_00.png")[SIZE // 2, SIZE // 2]
    assert red == green == 0
    assert blue > 100


# smooth normals


def test_corner_normals_of_a_ball_point_outward_and_those_of_a_box_stay_flat() -> None:
    ball, box = trimesh.creation.icosphere(3), trimesh.creation.box()
    made = corner_normals(ball.vertices, ball.faces)
    assert np.abs(made - ball.vertices[ball.faces]).max() < 0.01
    made = corner_normals(box.vertices, box.faces)
    assert made == pytest.approx(np.repeat(box.face_normals[:, None], 3, axis=1))


def test_corner_normals_of_a_face_without_area_are_zero() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], np.float64)
    made = corner_normals(vertices, np.array([[0, 1, 2], [0, 1, 3]]))
    assert (made[0] == 0).all()
    assert made[1] == pytest.approx(np.tile([0, 0, 1], (3, 1)))


# batches


def test_workers_and_shards_give_the_same_bytes(solids: Path, tmp_path: Path) -> None:
    flags = ("--passes", "depth,normals")
    assert render(solids, tmp_path / "one", *flags) == 0
    assert render(solids, tmp_path / "two", "--workers", "2", *flags) == 0
    for part in range(3):
        assert render(solids, tmp_path / "shards", "--shard", f"{part}/3", *flags) == 0
    assert len(contents(tmp_path / "one")) == 4 * 7
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "shards")


def test_what_is_done_is_skipped_and_what_is_not_is_done(solids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert render(solids, out) == 0
    before = contents(out)
    kept = (out / "round/ring/view_00.png").stat().st_mtime_ns
    (out / "round/ball/views.json").unlink()  # as after a kill
    (out / "round/ball/view_02.png").write_bytes(b"half")
    trimesh.creation.box((1, 1, 1)).export(solids / "square/box.ply")  # another mesh
    assert render(solids, out) == 0
    assert (out / "round/ring/view_00.png").stat().st_mtime_ns == kept
    after = contents(out)
    changed = {name for name in after if after[name] != before[name]}
    assert changed
    assert all(name.startswith("square/box/") for name in changed)


def test_other_settings_are_refused_by_name_unless_overwritten(
    solids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert render(solids, out) == 0
    assert render(solids, out, "--views", "2", "--shading", "normals") == 1
    error = capsys.readouterr().err
    assert "views: there 4, here 2" in error
    assert "shading" in error
    assert render(solids, out, "--views", "2", "--overwrite") == 0
    assert not (out / "round/ball/view_03.png").exists()
    assert not (out / "round/ball/sprite_v4.png").exists()


def test_a_bad_mesh_is_named_and_the_rest_is_done(
    solids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (solids / "cut.ply").write_bytes((solids / "round/ball.ply").read_bytes()[:300])
    (solids / "line.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n")
    (solids / "point.off").write_text("OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n")
    assert render(solids, out) == 3
    failed = json.loads((out / "failures.json").read_text())
    assert [row["id"] for row in failed] == ["cut", "line", "point"]
    assert "no ray hit it" in failed[1]["error"]
    assert "one point" in failed[2]["error"]
    assert "line.off" in capsys.readouterr().err
    assert len(list(out.rglob("views.json"))) == 4
    assert not (out / "line").exists()


def test_ids_as_json_and_as_text(solids: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text('["square/slab", "round/ring"]')
    (tmp_path / "ids.txt").write_text("square/slab\n\nround/ring\n")
    for name in ("ids.json", "ids.txt"):
        assert render(solids, tmp_path / "out" / name, "--ids", str(tmp_path / name)) == 0
        made = {p.parent.name for p in (tmp_path / "out" / name).rglob("views.json")}
        assert made == {"slab", "ring"}


@pytest.mark.parametrize("text", ['["nowhere"]', "nowhere\n", '{"a": 1}', "[1]", "[1"])
def test_ids_that_are_none_are_refused(
    solids: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.json").write_text(text)
    assert render(solids, tmp_path / "out", "--ids", str(tmp_path / "ids.json")) == 1
    assert "ids.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ("--views", "0"),
        ("--size", "0"),
        ("--samples", "0"),
        ("--elevation", "91"),
        ("--azimuth", "nan"),
        ("--passes", "depth,albedo"),
        ("--shard", "2/2"),
    ],
)
def test_bad_values_are_refused(solids: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert render(solids, tmp_path / "out", *flags) == 1
    assert not (tmp_path / "out").exists()


def test_a_list_cannot_write_outside_the_output(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a/../../escape.ply\n")
    assert render(tmp_path / "list.txt", tmp_path / "out") == 1


def test_a_damaged_sidecar_is_named(
    solids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(solids, tmp_path / "out") == 0
    (tmp_path / "out/round/ball/views.json").write_text("[]")
    assert render(solids, tmp_path / "out") == 1
    assert "ball/views.json" in capsys.readouterr().err


def test_loader_and_caster_agree_on_quads(tmp_path: Path) -> None:
    """A quad face becomes two triangles; both are seen."""
    path = tmp_path / "in" / "quad.obj"
    path.parent.mkdir()
    path.write_text("v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nf 1 2 3 4\n")
    assert len(load_arrays(path)[1]) == 2
    flags = ("--elevation", "0", "--azimuth", "0", "--passes", "mask")
    assert render(path.parent, tmp_path / "out", *flags) == 0
    mask = np.load(tmp_path / "out" / "quad" / "views.npz")["mask"][0]
    assert mask.mean() == pytest.approx(0.5 / cameras.HALF_WIDTH**2, rel=0.05)


def test_contact_sheet(solids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views, sheet = tmp_path / "views", tmp_path / "sheet.png"
    given = ["--input", str(views), "--output", str(sheet), "--columns", "3", "--size", str(SIZE)]
    assert contact_sheet.main(given) == 1
    assert "no view_00.png; make it with render_views.py" in capsys.readouterr().err
    assert render(solids, views) == 0
    assert contact_sheet.main(["-q", *given]) == 0
    found = pixels(sheet)
    assert found.shape == (2 * (SIZE + contact_sheet.CAPTION), 3 * SIZE, 3)
    for i, first in enumerate(sorted(views.rglob("view_00.png"))):
        x, y = i % 3 * SIZE, i // 3 * (SIZE + contact_sheet.CAPTION)
        picture = found[y : y + SIZE, x : x + SIZE]
        assert np.array_equal(picture, pixels(first))
        assert found[y + SIZE : y + SIZE + contact_sheet.CAPTION, x : x + SIZE].min() < 128


def test_long_ids_stay_below_their_picture(solids: Path, tmp_path: Path) -> None:
    assert render(solids, tmp_path / "views", "--limit", "1") == 0
    (first,) = (tmp_path / "views").rglob("view_00.png")
    long = "a_name_that_goes_on_" * 20
    first.parent.rename(tmp_path / "views" / long[:250])
    sheet = tmp_path / "sheet.png"
    given = ["--input", str(tmp_path / "views"), "--output", str(sheet), "--columns", "3"]
    assert contact_sheet.main(["-q", *given]) == 0
    found = pixels(sheet)[128:]
    assert found[:, :128].min() < 128 and found[:, 128:].min() == 255
