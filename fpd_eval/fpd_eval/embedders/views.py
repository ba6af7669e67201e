"""Mean of image features over the rendered views of a shape: CLIP or DINOv2, by local weights."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..cli import parse_shard
from ..files import read_json
from ..meshes import Item, check_id

CLASSES = {  # model_type of config.json: class of transformers, output that is the feature
    "clip": ("CLIPVisionModelWithProjection", "image_embeds"),
    "clip_vision_model": ("CLIPVisionModelWithProjection", "image_embeds"),
    "dinov2": ("Dinov2Model", "pooler_output"),
}
ADVICE = "expected a folder written by save_pretrained, with preprocessor_config.json"


def list_views(source: Path, shard: str | None, limit: int | None) -> list[Item]:
    """Items of a folder filled by render_views.py, by id; the path of an item is its views.json.

    Raises:
        ValueError: no views.json below, a malformed one, an id twice.
    """
    items: list[Item] = []
    seen: dict[str, Path] = {}
    for path in sorted(source.rglob("views.json")):
        record = read_json(path)
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise ValueError(f"{path}: not a views.json: no 'id'")
        check_id(record["id"], str(path))
        items.append(Item(record["id"], path, str(record.get("category", ""))))
        if seen.setdefault(record["id"], path) is not path:
            raise ValueError(f"{path}: id {record['id']!r} stands in {seen[record['id']]} too")
    if not items:
        raise ValueError(f"{source}: no views.json below; expected what render_views.py writes")
    part, parts = parse_shard(shard)
    return sorted(items)[:limit][part::parts]


def render_settings(path: Path) -> dict[str, Any]:
    """`settings` of a views.json. Raises ValueError when it has none."""
    settings = read_json(path).get("settings")
    if not isinstance(settings, dict) or not isinstance(settings.get("views"), int):
        raise ValueError(f"{path}: settings: missing or without 'views'")
    return settings


def read_views(item: Item, rendered: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """`views` (v, s, s, 3), the pictures beside a views.json.

    Raises:
        OSError:    a picture is missing.
        ValueError: other settings than `rendered`, those of the first shape, or another size.
    """
    from PIL import Image

    settings, size = render_settings(item.path), read_json(item.path).get("tile")
    if settings != rendered:
        keys = sorted(k for k in {*settings, *rendered} if settings.get(k) != rendered.get(k))
        raise ValueError(f"{item.path}: rendered with another {', '.join(keys)} than other shapes")
    pictures = []
    for number in range(settings["views"]):
        path = item.path.with_name(f"view_{number:02d}.png")
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        if pixels.shape != (size, size, 3):
            raise ValueError(f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels, not {size}")
        pictures.append(pixels)
    return {"views": np.stack(pictures)}


class ViewEncoder:
    """Pictures of shapes to unit features.

    Args:
        folder: model of transformers, as `save_pretrained` writes it.

    Raises:
        ValueError: no such folder, an unknown kind of model, or weights that are missing in it.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.kind, (name, self.output) = _kind(folder)
        self.device = device
        import transformers

        with _quiet(), _loading(folder):
            found = getattr(transformers, name).from_pretrained(
                folder, output_loading_info=True, local_files_only=True
            )
            self.processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, backend="pil"
            )
        self.model, info = found
        if info["missing_keys"]:
            some = ", ".join(sorted(info["missing_keys"])[:3])
            raise ValueError(
                f"{folder}: {len(info['missing_keys'])} weights are missing, as {some}"
            )
        self.model = self.model.float().eval().to(device)

    @torch.inference_mode()
    def __call__(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(d,) of length 1: mean over the views (v, s, s, 3) of features of length 1."""
        pixels = self.processor(list(views), return_tensors="pt")["pixel_values"]
        features = getattr(self.model(pixels.to(self.device)), self.output)  # (v, d)
        mean = F.normalize(features.float(), dim=-1).mean(0)
        return np.asarray(F.normalize(mean, dim=-1).cpu().numpy())


def _kind(folder: Path) -> tuple[str, tuple[str, str]]:
    place = folder / "config.json"
    if not place.is_file():
        raise ValueError(f"{place}: no such file; {ADVICE}")
    kind = read_json(place).get("model_type")
    if kind not in CLASSES:
        raise ValueError(f"{place}: model_type {kind!r}; expected {', '.join(CLASSES)}")
    return kind, CLASSES[kind]


def weight_files(folder: Path) -> list[Path]:
    """The files that decide the features: configurations and weights."""
    kinds = ("*.safetensors", "*.bin", "config.json", "preprocessor_config.json")
    return sorted(path for kind in kinds for path in folder.glob(kind))


@contextlib.contextmanager
def _loading(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        SafetensorError,
        json.JSONDecodeError,
    ) as e:
        reason = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise ValueError(f"{folder}: cannot be loaded: {reason}; {ADVICE}") from e


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers without bars and load reports; what matters of them is raised."""
    from transformers.utils import logging as talk

    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()
