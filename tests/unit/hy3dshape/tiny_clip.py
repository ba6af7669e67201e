"""A folder with a CLIP of one layer and random weights, as save_pretrained writes it."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from hy3dshape.models import clip, tower_files

SMALL = {
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "hidden_size": 64,
    "intermediate_size": 64,
}
TEXT_WIDTH, IMAGE_WIDTH = 64, 24


def write(folder: Path) -> Path:
    """Both towers, and a tokenizer with the public vocabulary."""
    torch.manual_seed(0)
    text = CLIPTextConfig(**SMALL, vocab_size=49408)
    vision = CLIPVisionConfig(**SMALL, image_size=32, patch_size=16)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=IMAGE_WIDTH)
    CLIPModel(config).save_pretrained(folder)
    package = tower_files.package_folder("clip", "openai-clip")
    tokenizer = clip.tokenizer_from_bpe(package / "bpe_simple_vocab_16e6.txt.gz")
    tokenizer.save_pretrained(folder)
    return folder
