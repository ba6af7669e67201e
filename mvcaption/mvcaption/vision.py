"""A vision-language model of transformers (Qwen3-VL, dense or mixture, or any other) as a function.

Chat template over the batch, padding on the left, prompt cut off the answer by its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VisionOptions:
    """How a model is loaded and asked; `device_map` is transformers', "cpu" or "auto"."""

    model: str
    dtype: str = "auto"
    device_map: str = "auto"
    attention: str | None = None
    offline: bool = False
    cache: Path | None = None
    temperature: float = 0.0
    beams: int = 1
    seed: int = 0


class Vision:
    """`vision(batch of image lists, new tokens)` gives the answers to one prompt."""

    def __init__(self, options: VisionOptions, prompt: str) -> None:
        from transformers import AutoConfig, AutoModelForImageTextToText
        from transformers.utils import logging

        from .inputs import make_inputs

        logging.disable_progress_bar()

        more: dict[str, Any] = {"local_files_only": options.offline}
        if options.cache is not None:
            more["cache_dir"] = str(options.cache)
        try:
            kind = AutoConfig.from_pretrained(options.model, **more).model_type
            self._inputs = make_inputs(options.model, kind, **more)
            self._model, report = AutoModelForImageTextToText.from_pretrained(
                options.model, dtype=options.dtype, device_map=options.device_map,
                attn_implementation=options.attention, output_loading_info=True, **more,
            )  # fmt: skip
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(
                f"{options.model}: not a vision-language model that transformers can load "
                f"({error}); give a folder with weights, or use --backend metadata,geometry, "
                "which needs none"
            ) from error
        if report["missing_keys"]:
            keys = sorted(report["missing_keys"])
            raise ValueError(f"{options.model}: {len(keys)} weights are missing, first {keys[0]}")
        tokenizer = self._inputs.tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._model.eval()
        self._options, self._prompt = options, prompt
        self.revision = str(getattr(self._model.config, "_commit_hash", None) or "")

    def __call__(self, batch: Sequence[list[Any]], tokens: int) -> list[str]:
        import torch

        device = self._model.device
        given = {k: v.to(device) for k, v in self._inputs(batch, self._prompt).items()}
        hot = self._options.temperature > 0
        if hot:
            torch.manual_seed(self._options.seed)
        with torch.inference_mode():
            made = self._model.generate(
                **given, max_new_tokens=tokens, do_sample=hot, num_beams=self._options.beams,
                temperature=self._options.temperature if hot else None, top_p=None, top_k=None,
                pad_token_id=self._inputs.tokenizer.pad_token_id,
            )  # fmt: skip
        new = made[:, given["input_ids"].shape[1] :]
        texts = self._inputs.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [str(text) for text in texts]


def digest(model: str) -> str:
    """SHA-256 over names, sizes and configuration of a folder; "" for a hub name.

    Weights of tens of gigabytes are not read: their index and sizes must do.
    """
    import hashlib

    folder = Path(model)
    if not folder.is_dir():
        return ""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            total.update(f"{path.name} {path.stat().st_size}\n".encode())
            total.update(path.read_bytes() if path.suffix == ".json" else b"")
    return total.hexdigest()
