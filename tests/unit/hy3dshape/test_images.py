"""Images of conditions: reading, strips, views; none is replaced by another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hy3dshape.data.images import crop_view, latent_view, load_image, pick_view
from hy3dshape.models.image_towers import pil_pixels, tensor_pixels


def _png(path: Path, mode: str = "RGB") -> Path:
    Image.new(mode, (6, 4), 200 if mode == "L" else (200, 100, 50, 255)[: len(mode)]).save(path)
    return path


@pytest.mark.parametrize(
    "mode, pixel", [("RGB", (200, 100, 50)), ("L", (200, 200, 200)), ("RGBA", (200, 100, 50))]
)
def test_images_are_read_in_colour(mode: str, pixel: tuple[int, ...], tmp_path: Path) -> None:
    image = load_image(_png(tmp_path / "a.png", mode))
    assert image.mode == "RGB" and image.size == (6, 4) and image.getpixel((1, 1)) == pixel


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png: not an image"):
        load_image(text)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"cut\.png: unreadable image"):
        load_image(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        load_image(tmp_path / "gone.png")


def test_random_views_belong_to_seed_and_item() -> None:
    first = [pick_view(12, "random", seed=3, item=i) for i in range(200)]
    assert [pick_view(12, "random", seed=3, item=i) for i in reversed(range(200))] == first[::-1]
    assert first != [pick_view(12, "random", seed=4, item=i) for i in range(200)]
    assert set(first) == set(range(12))


def test_unknown_policies_and_no_views() -> None:
    with pytest.raises(ValueError, match="view policy 'last'; expected one of random, center"):
        pick_view(3, "last")
    with pytest.raises(ValueError, match="0 views"):
        pick_view(0, "first")


@pytest.mark.parametrize("views, view", [(5, 0), (2, 2), (2, -1), (0, 0)])
def test_strip_without_that_view(views: int, view: int) -> None:
    with pytest.raises(ValueError, match=rf"view {view} of {views} in an image of 6 x 4 pixels"):
        crop_view(Image.new("RGB", (6, 4)), views, view)


@pytest.mark.parametrize(
    "policy, view", [("first", 0), ("center", 3), ("index:2", 2), ("index:9", 5), ("index:-1", 0)]
)
def test_latent_views(policy: str, view: int) -> None:
    assert latent_view(policy, 6) == view


def test_random_latent_views_come_from_the_generator() -> None:
    drawn = [latent_view("random", 6, np.random.default_rng(i)) for i in range(60)]
    assert set(drawn) == set(range(6))
    assert drawn == [latent_view("random", 6, np.random.default_rng(i)) for i in range(60)]
    for policy in ("random", "index", "index:x", "last"):
        with pytest.raises(ValueError, match=f"view policy '{policy}'"):
            latent_view(policy, 6)


def test_network_input_of_a_wide_image_is_its_middle() -> None:
    pixels = np.zeros((20, 60, 3), dtype=np.uint8)
    pixels[:, 20:40] = 255
    found = pil_pixels(Image.fromarray(pixels), size=20, mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(found, torch.ones(3, 20, 20))


def test_each_image_of_a_batch_is_judged_alone() -> None:
    unit, signed = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).split(1)
    both = tensor_pixels(torch.cat([unit, signed * 2 - 1]), 8)
    assert torch.allclose(both, tensor_pixels(torch.cat([unit, signed]), 8), atol=1e-5)
    for wrong in (torch.full((1, 3, 4, 4), 255.0), torch.full((1, 3, 4, 4), torch.nan)):
        with pytest.raises(ValueError, match=r"outside \[-1, 1\]"):
            tensor_pixels(wrong)
