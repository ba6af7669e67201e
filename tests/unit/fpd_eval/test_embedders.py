"""Clouds, shape distributions, the small encoder, disturbances, means over views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from fpd_eval_parts import model_folder, rendered
from PIL import Image
from scipy import stats

from fpd_eval import disturb, training
from fpd_eval.embedders import pointnet, views
from fpd_eval.embedders.clouds import sample_cloud, to_unit
from fpd_eval.embedders.distributions import BINS, FARTHEST, d2a3
from fpd_eval.encoders import pick_device, row_or_error
from fpd_eval.meshes import Item

PLAIN: dict[str, Any] = {"seed": 0, "center": "mean", "color_fill": 0.4, "use_colors": False}


def saved(mesh: trimesh.Trimesh, path: Path) -> Item:
    mesh.export(path)
    return Item(path.stem, path, "")


def test_a_cloud_is_of_mean_zero_and_radius_one(tmp_path: Path) -> None:
    item = saved(trimesh.creation.box((1, 2, 40)).apply_translation((5, 6, 7)), tmp_path / "a.ply")
    cloud = sample_cloud(item, 4000, **PLAIN)
    assert cloud["points"].dtype == np.float32 and (cloud["colors"] == np.float32(0.4)).all()
    assert np.abs(cloud["points"].mean(0)).max() < 1e-6
    assert np.linalg.norm(cloud["points"], axis=1).max() == pytest.approx(1, abs=1e-6)
    boxed = sample_cloud(item, 4000, **PLAIN | {"center": "bbox"})["points"]
    assert np.abs(boxed.min(0) + boxed.max(0)).max() < 1e-6


def test_points_are_uniform_by_area(tmp_path: Path) -> None:
    item = saved(trimesh.creation.box((1, 1, 3)), tmp_path / "a.ply")
    points = sample_cloud(item, 30_000, **PLAIN | {"center": "bbox"})["points"]
    on_end = np.isclose(np.abs(points[:, 2]), points[:, 2].max(), rtol=1e-3)
    assert on_end.mean() == pytest.approx(2 / 14, abs=0.01)


def test_a_copy_gives_the_same_cloud_and_another_seed_another(tmp_path: Path) -> None:
    sphere = trimesh.creation.icosphere(2)
    one, two = (saved(sphere, tmp_path / name) for name in ("a.ply", "b.ply"))
    first = sample_cloud(one, 100, **PLAIN)["points"]
    assert np.array_equal(first, sample_cloud(two, 100, **PLAIN)["points"])
    assert not np.array_equal(first, sample_cloud(two, 100, **PLAIN | {"seed": 1})["points"])


@pytest.mark.parametrize("size", [1e-30, 1e200])
def test_size_does_not_matter(tmp_path: Path, size: float) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]) * size
    text = "".join(f"v {x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist())
    (tmp_path / "a.obj").write_text(text + "f 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n")
    points = sample_cloud(Item("a", tmp_path / "a.obj", ""), 500, **PLAIN)["points"]
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-6)


def test_colours_of_the_file(tmp_path: Path) -> None:
    mesh = trimesh.creation.box()
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=[[255, 0, 51, 255]] * 8)
    item = saved(mesh, tmp_path / "a.ply")
    colors = sample_cloud(item, 50, **PLAIN | {"use_colors": True})["colors"]
    np.testing.assert_allclose(colors, [[1, 0, 0.2]] * 50, atol=1e-6)
    bare = saved(trimesh.creation.box(), tmp_path / "b.off")
    colors = sample_cloud(bare, 50, **PLAIN | {"use_colors": True})["colors"]
    np.testing.assert_allclose(colors, 0.4, atol=1e-6)


def test_texture_colours(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), (0, 102, 255))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=picture)
    mesh = trimesh.creation.box()
    mesh.visual = trimesh.visual.TextureVisuals(np.full((8, 2), 0.5), material=material)
    item = saved(mesh, tmp_path / "a.glb")
    colors = sample_cloud(item, 50, **PLAIN | {"use_colors": True})["colors"]
    np.testing.assert_allclose(colors, [[0, 0.4, 1]] * 50, atol=1e-6)


def test_a_surface_without_area(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    with pytest.raises(ValueError, match=r"a\.obj: surface of area 0"):
        sample_cloud(Item("a", tmp_path / "a.obj", ""), 10, **PLAIN)
    with pytest.raises(ValueError, match="all points in one place"):
        to_unit(np.zeros((3, 3)), "mean")


def test_d2_of_a_sphere_is_the_closed_form() -> None:
    """Distances of points on a unit sphere have density d / 2 on [0, 2]; their mean is 4 / 3."""
    points = np.random.default_rng(0).normal(size=(1_200_000, 3))
    row = d2a3((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32))
    edges = np.clip(np.arange(BINS + 1) * FARTHEST / BINS * 4 / 3, 0, 2)
    want = np.diff(edges**2 / 4)
    got = 2 * row[:BINS].astype(float) ** 2
    last = 30  # the largest distance, 2, lies on the edge between two bins
    assert np.abs(got - want)[:last].max() < 0.0015
    assert got[last:].sum() == pytest.approx(want[last:].sum(), abs=0.005)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-6)


def test_a3_is_the_histogram_of_angles() -> None:
    points = np.random.default_rng(1).normal(size=(300_000, 3))
    row = d2a3((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32))
    got = 2 * row[BINS:].astype(float) ** 2
    triples = points.reshape(-1, 3, 3) / np.linalg.norm(points.reshape(-1, 3, 3), axis=2)[..., None]
    a, b = triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0]
    cos = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    want = np.histogram(np.arccos(cos), BINS, (0, np.pi))[0] / len(cos)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_d2a3_does_not_see_motion_and_size() -> None:
    points = np.random.default_rng(2).normal(size=(3000, 3)) * (1, 2, 3)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    moved = (points @ turn * 7 + 1).astype(np.float32)
    np.testing.assert_allclose(d2a3(points.astype(np.float32)), d2a3(moved), atol=0.03)
    with pytest.raises(ValueError, match="2 points"):
        d2a3(np.zeros((2, 3), np.float32))


def small(tmp_path: Path) -> pointnet.PointNet:
    torch.manual_seed(0)
    model = pointnet.PointNet({"made": ["a", "b"], "found": ["c", "d", "e"]}).eval()
    pointnet.save(model, tmp_path / "w.safetensors")
    return pointnet.load(tmp_path / "w.safetensors")


def test_pointnet_does_not_see_the_order_of_a_group(tmp_path: Path) -> None:
    model = small(tmp_path)
    cloud = torch.randn(2, pointnet.GROUP, 3)
    shuffled = cloud[:, torch.randperm(pointnet.GROUP)]
    assert torch.allclose(model.embed(cloud), model.embed(shuffled), atol=1e-5)
    twice = torch.cat([cloud, shuffled], 1)
    assert torch.allclose(model.embed(cloud), model.embed(twice), atol=1e-5)
    assert model.scores(model.embed(cloud), "found").shape == (2, 3)
    with pytest.raises(ValueError, match="multiple of"):
        model.embed(cloud[:, :-1])


def test_weights_that_are_not_pointnets(tmp_path: Path) -> None:
    other = Path(__file__).parents[2] / "golden/uni3d/gelu.weights.safetensors"
    with pytest.raises(ValueError, match="no weights of the pointnet encoder"):
        pointnet.load(other)
    with pytest.raises(FileNotFoundError):
        pointnet.load(tmp_path / "absent.safetensors")


def test_augmented_clouds_stay_in_their_frame() -> None:
    clouds = torch.rand(4, 64, 3)
    first, again = (training.augment(clouds, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.allclose(first.norm(dim=-1).amax(1), torch.ones(4), atol=1e-5)
    assert torch.allclose(first.amax(1), -first.amin(1), atol=1e-5)


def test_noise_and_cuts() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3)).astype(np.float32)
    noise = disturb.add_noise(points, 0.1, rng) - points
    assert stats.kstest(noise.ravel() / 0.1, "norm").pvalue > 0.01
    cut = disturb.cut_part(points, 0.5, 1990, rng)
    mean = cut.mean(0)  # half a Gaussian: its mean is sqrt(2 / pi) away from the cut
    assert np.linalg.norm(mean) == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)
    with pytest.raises(ValueError, match="points left"):
        disturb.cut_part(points, 0.5, 2100, rng)


def test_halves_are_random_and_hold_half_of_every_category() -> None:
    categories = [str(i % 3) for i in range(30)]
    draws = [disturb.halves(categories, np.random.default_rng(i)) for i in range(2)]
    assert not np.array_equal(draws[0][0], draws[1][0])
    for first, second in draws:
        assert sorted([*first, *second]) == list(range(30))
        assert np.ptp(np.unique(np.array(categories)[first], return_counts=True)[1]) <= 1


def test_halves_that_differ_do_not_hide_a_small_change() -> None:
    """A shift by a seventh of what tells the means of two halves apart, for any seed."""
    rows = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    for seed in range(5):
        found = [disturb.half_distance(rows, rows + v, ["a"] * 200, seed) for v in (0, 0.02, 0.04)]
        assert found[0] < found[1] < found[2]


def test_dropped_modes_raise_the_distance() -> None:
    rng = np.random.default_rng(0)
    categories = [str(i % 8) for i in range(400)]
    centres = rng.normal(size=(8, 4))
    rows = np.stack([centres[i % 8] + 0.1 * rng.normal(size=4) for i in range(400)])
    first, second = disturb.halves(categories, rng)
    left = [categories[i] for i in second]
    found = disturb.mode_distances(rows[first].astype("f4"), rows[second].astype("f4"), left, 0)
    assert np.all(np.diff(found) > 0)
    with pytest.raises(ValueError, match="3 categories"):
        disturb.mode_distances(rows, rows, ["a", "b", "c"] * 100, 0)


def test_what_is_wrong_with_a_row() -> None:
    assert row_or_error(np.array([np.nan, 1], np.float32)).startswith("the embedding is not finite")  # type: ignore[union-attr]
    assert row_or_error(np.zeros(2, np.float32)).startswith("the embedding is 0")  # type: ignore[union-attr]
    made = row_or_error(np.array([0.6, 0.8]))
    assert not isinstance(made, str) and made["embeddings"].dtype == np.float32


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="expected auto, cpu"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device is there"):
            pick_device("cuda")


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_views_are_averaged(tmp_path: Path, kind: str) -> None:
    item = rendered(tmp_path / "r", "a")
    encoder = views.ViewEncoder(model_folder(tmp_path / "m", kind), torch.device("cpu"))
    pictures = views.read_views(item, {"views": 2})["views"]
    single = np.stack([encoder(pictures[i : i + 1]) for i in range(2)])
    assert single.shape == (2, 12 if kind == "clip" else 16)
    mean = single.mean(0)
    np.testing.assert_allclose(encoder(pictures), mean / np.linalg.norm(mean), atol=1e-5)


def test_a_clip_feature_is_that_of_transformers(tmp_path: Path) -> None:
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

    folder = model_folder(tmp_path / "m", "clip")
    item = rendered(tmp_path / "r", "a")
    pictures = [Image.open(p) for p in sorted(item.path.parent.glob("*.png"))]
    inputs = CLIPImageProcessorPil.from_pretrained(folder)(pictures, return_tensors="pt")
    model = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    with torch.no_grad():
        features = torch.nn.functional.normalize(model(**inputs).image_embeds, dim=-1).mean(0)
    encoder = views.ViewEncoder(folder, torch.device("cpu"))
    found = encoder(views.read_views(item, {"views": 2})["views"])
    np.testing.assert_allclose(found, features / features.norm(), atol=1e-6)


def test_models_with_missing_weights_or_of_another_kind(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = model_folder(tmp_path / "m", "clip")
    state = load_file(folder / "model.safetensors")
    state.pop("visual_projection.weight")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 weights are missing, as visual_projection\.weight"):
        views.ViewEncoder(folder, torch.device("cpu"))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="model_type 'bert'; expected clip"):
        views.ViewEncoder(folder, torch.device("cpu"))
    with pytest.raises(ValueError, match="no such file"):
        views.ViewEncoder(tmp_path / "absent", torch.device("cpu"))


def test_renders_that_do_not_fit(tmp_path: Path) -> None:
    one, two = rendered(tmp_path, "a", size=1), rendered(tmp_path, "b", size=2)
    assert [item.id for item in views.list_views(tmp_path, None, None)] == ["a", "b"]
    with pytest.raises(ValueError, match="rendered with another size than other shapes"):
        views.read_views(two, views.render_settings(one.path))
    Image.new("RGB", (9, 16)).save(one.path.with_name("view_01.png"))
    with pytest.raises(ValueError, match=r"view_01.png: 9 x 16 pixels, not 16"):
        views.read_views(one, views.render_settings(one.path))
    two.path.with_name("view_01.png").unlink()
    with pytest.raises(FileNotFoundError):
        views.read_views(two, views.render_settings(two.path))
    with pytest.raises(ValueError, match=r"no views\.json below"):
        views.list_views(tmp_path / "none", None, None)
