"""What a vision-language model is given, from pictures and a prompt.

Models of the Qwen-VL family get it from their tokenizer and image processor alone: the processor
that transformers has for them also handles videos and needs torchvision for that. Others get it
from their own processor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FAMILY = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")


def make_inputs(model: str, model_type: str, **more: Any) -> QwenInputs | OtherInputs:
    return QwenInputs(model, **more) if model_type in FAMILY else OtherInputs(model, **more)


def talk_of(images: Sequence[Any], prompt: str) -> list[dict[str, Any]]:
    """One user message: the pictures, then the prompt."""
    content = [{"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}]


class QwenInputs:
    """Token ids with one image token for every patch of `merge_size` squared tiles.

    Source: Qwen3VLProcessor of transformers 5.23.
    """

    def __init__(self, model: str, **more: Any) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left", **more)
        self._pictures = AutoImageProcessor.from_pretrained(model, backend="pil", **more)
        self._template = self.tokenizer.chat_template or _template(model, **more)
        self._token = "<|image_pad|>"
        self._id = self.tokenizer.convert_tokens_to_ids(self._token)

    def __call__(self, batch: Sequence[Sequence[Any]], prompt: str) -> dict[str, Any]:
        """Tensors for `generate`, padded on the left."""
        pictures = self._pictures([p for images in batch for p in images], return_tensors="pt")
        grids = pictures["image_grid_thw"]  # (pictures, 3) patches in time, rows, columns
        counts = iter((grids.prod(dim=1) // self._pictures.merge_size**2).tolist())
        texts = []
        for images in batch:
            text = self.tokenizer.apply_chat_template(
                talk_of(images, prompt), chat_template=self._template, tokenize=False,
                add_generation_prompt=True,
            )  # fmt: skip
            first, *rest = text.split(self._token)
            if len(rest) != len(images):
                raise ValueError(f"the chat template wrote {len(rest)} of {len(images)} pictures")
            texts.append(first + "".join(self._token * next(counts) + part for part in rest))
        given = self.tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
        ids = given["input_ids"]
        return {
            "input_ids": ids, "attention_mask": given["attention_mask"],
            "mm_token_type_ids": (ids == self._id).long(),
            "pixel_values": pictures["pixel_values"], "image_grid_thw": grids,
        }  # fmt: skip


class OtherInputs:
    """The model's own processor."""

    def __init__(self, model: str, **more: Any) -> None:
        from transformers import AutoProcessor

        try:
            self._processor = AutoProcessor.from_pretrained(model, **more)
        except (AttributeError, ImportError) as error:
            raise ValueError(f"{model}: its processor cannot be made ({error})") from error
        self.tokenizer = self._processor.tokenizer
        self.tokenizer.padding_side = "left"

    def __call__(self, batch: Sequence[Sequence[Any]], prompt: str) -> dict[str, Any]:
        talks = [talk_of(images, prompt) for images in batch]
        return dict(
            self._processor.apply_chat_template(
                talks, tokenize=True, add_generation_prompt=True, return_dict=True,
                return_tensors="pt", processor_kwargs={"padding": True},
            )
        )  # fmt: skip


def _template(model: str, **more: Any) -> str:
    """The chat template beside the weights, where the tokenizer has none."""
    from transformers.utils import cached_file

    for name in ("chat_template.jinja", "chat_template.json"):
        path = cached_file(model, name, _raise_exceptions_for_missing_entries=False, **more)
        if path is not None:
            text = Path(path).read_text(encoding="utf-8")
            return text if name.endswith("jinja") else str(json.loads(text)["chat_template"])
    raise ValueError(f"{model}: no chat template; use an -Instruct model")
