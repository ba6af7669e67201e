"""Conditioner, CLIP towers, tokenizer and view picking against the reference numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from golden.hy3dshape.cases import Case, cases
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from hy3dshape.models import clip
from hy3dshape.models.conditioner import MultiConditioner
from hy3dshape.models.image_towers import ClipImage, tensor_pixels
from hy3dshape.models.towers import ClipText, clip_token_ids
from hy3dshape.weights import load_strict


def _clip(case: Case) -> CLIPModel:
    config = case.info["config"]
    heads = {"text": config["th"], "vision": config["heads_vision"]}
    model = CLIPModel(CLIPConfig(**clip.openai_config(case.weights, **heads)))
    load_strict(model, clip.openai_to_transformers(case.weights), case.name)
    return model


@cases("clip_tokens*")
def test_text_tokens(case: Case) -> None:
    tower = ClipText(_clip(case).text_model, tokenizer=None, path="reference")
    case.check("text_tokens", tower.encode_ids(case.inputs["token_ids"].long()))


@cases("clip_tokens*")
def test_image_tokens(case: Case) -> None:
    model = _clip(case)
    images = [Image.fromarray(case.inputs[n].numpy()) for n in ("image0", "image1")]
    tower = ClipImage(model.vision_model, model.visual_projection, "reference")
    case.check("pixels", tower.pixels(images))
    case.check("image_tokens", tower(images))
    short = ClipImage(model.vision_model, model.visual_projection, "reference", True, True)
    case.check("image_cls_l2", short(images))


@cases("clip_tokens*")
def test_key_layouts_go_both_ways(case: Case) -> None:
    back = clip.transformers_to_openai(clip.openai_to_transformers(case.weights))
    assert back.keys() == case.weights.keys()
    assert all(torch.equal(back[k], case.weights[k]) for k in back)


@cases("image_tensor_preprocess*")
def test_image_tensors(case: Case) -> None:
    config = case.info["config"]
    for name in ("unit", "signed"):
        pixels = tensor_pixels(case.inputs[f"{name}_range"], config["size"])
        case.check(f"{name}_sub", pixels[..., :: config["stride"], :: config["stride"]])


@cases("conditioner_class*")
def test_class_conditioner(case: Case) -> None:
    config = case.info["config"]
    conditioner = MultiConditioner("class", config["num_classes"], config["embed_dim"]).eval()
    conditioner.load_checkpoint(case.weights, case.name)
    case.check("cond", conditioner(case.inputs["labels"])["main"])
    case.check("null", conditioner.unconditional(2)["main"])


@cases("tokenizer*")
def test_token_ids(case: Case) -> None:
    expected = case.info
    spec = importlib.util.find_spec("clip")
    assert spec is not None and spec.submodule_search_locations, "pip install openai-clip"
    folder = Path(spec.submodule_search_locations[0])
    tokenizer = clip.tokenizer_from_bpe(folder / "bpe_simple_vocab_16e6.txt.gz")
    found = [clip_token_ids(tokenizer, t)[0].tolist() for t in expected["texts"]]
    print(
        f"tokenizer: {np.sum(np.array(found) != np.array(expected['ids']))} ids differ, allowed 0"
    )
    assert found == expected["ids"]
