"""OpenAI's CLIP beside transformers': weight names and the vocabulary.

Sources: Radford et al. 2021, arXiv:2103.00020, and the repository openai/CLIP (MIT) for the names
of the weights and the order of the byte-pair vocabulary; transformers' `CLIPModel` runs the towers.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
START, END = "<|startoftext|>", "<|endoftext|>"

# (OpenAI's name, transformers' name) inside one layer; `attn.in_proj_*` is split apart
_LAYER = (
    ("attn.out_proj", "self_attn.out_proj"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
)
_TOP = (
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.weight", "text_model.final_layer_norm.weight"),
    ("ln_final.bias", "text_model.final_layer_norm.bias"),
    ("logit_scale", "logit_scale"),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"),
    ("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"),
    ("visual.ln_post.weight", "vision_model.post_layernorm.weight"),
    ("visual.ln_post.bias", "vision_model.post_layernorm.bias"),
)
_PROJECTIONS = (
    ("text_projection", "text_projection.weight"),
    ("visual.proj", "visual_projection.weight"),
)
_TOWERS = (
    ("transformer.resblocks", "text_model.encoder.layers"),
    ("visual.transformer.resblocks", "vision_model.encoder.layers"),
)


def is_openai_layout(keys: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether these are OpenAI's names of CLIP weights (either tower) rather than transformers'."""
    return any(k in keys for k in ("positional_embedding", "visual.positional_embedding"))


def openai_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `transformers.CLIPModel` from OpenAI's; either tower may be absent.

    Raises:
        ValueError: a key that belongs to neither.
    """
    top, turned = dict(_TOP), dict(_PROJECTIONS)
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        layer = re.fullmatch(r"((?:visual\.)?transformer\.resblocks)\.(\d+)\.(.+)", key)
        if key in top:
            found[top[key]] = value
        elif key in turned:
            found[turned[key]] = value.T
        elif layer:
            found.update(_split_layer(f"{dict(_TOWERS)[layer[1]]}.{layer[2]}", layer[3], value))
        else:
            raise ValueError(f"'{key}' is no weight of OpenAI's CLIP")
    return found


def _split_layer(layer: str, name: str, value: Tensor) -> dict[str, Tensor]:
    """Keys of one weight of a layer: (3d, ...) in-projections become query, key and value."""
    if name in ("attn.in_proj_weight", "attn.in_proj_bias"):
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"{layer}.self_attn.{n}_proj.{name.rpartition('_')[2]}": p for n, p in parts}
    stem, _, kind = name.rpartition(".")
    if stem not in dict(_LAYER):
        raise ValueError(f"'{layer}: {name}' is no weight of OpenAI's CLIP")
    return {f"{layer}.{dict(_LAYER)[stem]}.{kind}": value}


def transformers_to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `openai_to_transformers`; `position_ids` of old files are left out."""
    top = {b: a for a, b in _TOP}
    turned = {b: a for a, b in _PROJECTIONS}
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        layer = re.fullmatch(r"((?:text|vision)_model\.encoder\.layers)\.(\d+)\.(.+)\.(\w+)", key)
        if key in top:
            found[top[key]] = value
        elif key in turned:
            found[turned[key]] = value.T
        elif layer:
            stem = f"{ {b: a for a, b in _TOWERS}[layer[1]] }.{layer[2]}"
            found.update(_join_layer(stem, layer, state))
        elif not key.endswith("position_ids"):
            raise ValueError(f"'{key}' is no weight of transformers' CLIP")
    return found


def _join_layer(stem: str, layer: re.Match[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if re.fullmatch(r"self_attn\.[qkv]_proj", layer[3]):
        names = [f"{layer[1]}.{layer[2]}.self_attn.{n}_proj.{layer[4]}" for n in "qkv"]
        return {f"{stem}.attn.in_proj_{layer[4]}": torch.cat([state[n] for n in names])}
    return {f"{stem}.{ {b: a for a, b in _LAYER}[layer[3]] }.{layer[4]}": state[layer[0]]}


def openai_config(state: Mapping[str, Tensor], **heads: int) -> dict[str, Any]:
    """Keyword arguments of `transformers.CLIPConfig` for OpenAI weights of one tower or both.

    Args:
        heads: `text` and `vision` attention heads where they are not width / 64 as in all releases.
    """
    config: dict[str, Any] = {}
    for tower, start in (("text", ""), ("vision", "visual.")):
        if f"{start}positional_embedding" not in state:
            continue
        positions, width = state[f"{start}positional_embedding"].shape
        layer = f"{start}transformer.resblocks."
        config[f"{tower}_config"] = made = {
            "hidden_size": width,
            "intermediate_size": state[f"{layer}0.mlp.c_fc.weight"].shape[0],
            "num_attention_heads": heads.get(tower, max(1, width // 64)),
            "num_hidden_layers": sum(
                k.startswith(layer) and k.endswith(".ln_1.weight") for k in state
            ),
        }
        if tower == "text":
            made |= {"vocab_size": len(state["token_embedding.weight"])}
            made |= {"max_position_embeddings": positions}
        else:
            patch = state["visual.conv1.weight"].shape[-1]
            side = round((positions - 1) ** 0.5) * patch
            made |= {"patch_size": patch, "image_size": side}
            config["projection_dim"] = state["visual.proj"].shape[1]
    return config


def tokenizer_from_bpe(path: Path) -> Any:
    """transformers' tokenizer with the public vocabulary, `bpe_simple_vocab_16e6.txt.gz`.

    The ids: 256 bytes, the same at the end of a word, 48,894 merges, start (49406), end (49407).

    Raises:
        ValueError: another file.
    """
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != VOCABULARY_SHA256:
        raise ValueError(f"{path}: not CLIP's public vocabulary bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    letters = list(bytes_to_unicode().values())
    words = letters + [f"{c}</w>" for c in letters] + ["".join(m) for m in merges] + [START, END]
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges)
