"""Rendered views and tiny image models that tests of embeddings are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fpd_eval.meshes import Item


def rendered(folder: Path, name: str, **settings: Any) -> Item:
    place = folder / name
    place.mkdir(parents=True)
    record = {"id": name, "category": "", "tile": 16, "settings": {"views": 2, **settings}}
    (place / "views.json").write_text(json.dumps(record))
    rng = np.random.default_rng(len(name))
    for i in range(2):
        pixels = rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"view_{i:02d}.png")
    return Item(name, place / "views.json", "")


def model_folder(path: Path, kind: str) -> Path:
    from transformers import (
        BitImageProcessorPil,
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        Dinov2Config,
        Dinov2Model,
    )

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
             "patch_size": 14}  # fmt: skip
    clip = CLIPVisionConfig(intermediate_size=32, projection_dim=12, **sizes)
    model: Any = (
        CLIPVisionModelWithProjection(clip)
        if kind == "clip"
        else Dinov2Model(Dinov2Config(**sizes))
    )
    model.save_pretrained(path)
    size = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    made: Any = CLIPImageProcessorPil if kind == "clip" else BitImageProcessorPil
    made(**size).save_pretrained(path)
    return path
