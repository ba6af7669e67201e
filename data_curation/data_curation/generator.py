"""Answers of an instruction-tuned language model of transformers, greedy and padded on the left.

Padding on the right, the default of chat tokenizers, spoils every row of a batch that is shorter
than the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Messages = list[dict[str, Any]]
Ask = Callable[[Sequence[Messages], int], list[str]]


class Chat:
    """`chat(batch of messages, new tokens)` gives the answers; they end at a closing brace."""

    def __init__(self, model: str, device: str, dtype: str = "auto") -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"--device {device}: no CUDA device here; use cpu")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
            self._model, report = AutoModelForCausalLM.from_pretrained(
                model, dtype=dtype, output_loading_info=True
            )
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(
                f"{model}: not a language model that transformers can load ({error}); give a "
                "folder with weights, or use --backend lexicon, which needs none"
            ) from error
        if report["missing_keys"]:
            raise ValueError(f"{model}: weights are missing: {sorted(report['missing_keys'])[:3]}")
        if not self._tokenizer.chat_template:
            raise ValueError(f"{model}: its tokenizer has no chat template; use an -Instruct model")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model = self._model.to(device).eval()
        self.revision = str(getattr(self._model.config, "_commit_hash", None) or "")

    def __call__(self, batch: Sequence[Messages], tokens: int) -> list[str]:
        import torch

        given = self._given(batch)
        with torch.inference_mode():
            made = self._model.generate(
                **given, max_new_tokens=tokens, do_sample=False, num_beams=1,
                temperature=None, top_p=None, top_k=None, stop_strings=["}"],
                tokenizer=self._tokenizer, pad_token_id=self._tokenizer.pad_token_id,
            )  # fmt: skip
        new = made[:, given["input_ids"].shape[1] :]
        return [str(t) for t in self._tokenizer.batch_decode(new, skip_special_tokens=True)]

    def yes(self, batch: Sequence[Messages]) -> list[float]:
        """P(yes) / (P(yes) + P(no)) of the next token, over the ways of writing either."""
        import torch

        given = self._given(batch)
        with torch.inference_mode():
            last = self._model(**given).logits[:, -1].float().log_softmax(-1)  # (n, vocabulary)
        sides = [self._first_tokens(word) for word in ("yes", "no")]
        mass = [last[:, ids].logsumexp(-1) for ids in sides]
        return [float(p) for p in torch.sigmoid(mass[0] - mass[1])]

    def _first_tokens(self, word: str) -> list[int]:
        forms = (word, word.capitalize(), f" {word}", f" {word.capitalize()}")
        return sorted({self._tokenizer(f, add_special_tokens=False).input_ids[0] for f in forms})

    def _given(self, batch: Sequence[Messages]) -> Any:
        texts = [
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for messages in batch
        ]
        made = self._tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        return {k: made[k].to(self._model.device) for k in ("input_ids", "attention_mask")}


def model_settings(model: str, digest: Callable[[str], str]) -> dict[str, str]:
    """What names the weights: the folder's digest, or the hub name alone."""
    return {"model": model, "digest": digest(model) if Path(model).is_dir() else ""}
