"""Frozen towers of the conditioner: what all share, and those for text (CLIP, sentences).

A tower is always in evaluation mode, takes no gradient and computes in its own precision whatever
autocast says, so a condition depends on its input alone: not on the batch, the training step or the
flags. image_towers.py holds those for images, tower_files.py loads them.
"""

from __future__ import annotations

import html
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import clip

log = logging.getLogger(__name__)
CACHE_BYTES = 256 * 2**20
CONTEXT = 77  # tokens of a text for CLIP, start and end included
CHUNK = 32  # texts embedded at once on an accelerator
BUFFERS = ("_mean", "_std")  # of the released image conditioner; ours are constants


class FrozenTower(nn.Module):
    """Evaluation mode always, no gradients; `tokens` and `dim` are the shape of its output.

    Attributes:
        path:   folder, file or hub name the weights came from.
        tokens: tokens of one condition.
        dim:    numbers of one token.
    """

    path: str
    tokens: int
    dim: int

    def train(self, mode: bool = True) -> FrozenTower:
        return super().train(False)

    def freeze(self) -> None:
        self.requires_grad_(False)
        self.train(False)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def null(self) -> Tensor:
        """(1, t, k) the condition that stands for none."""
        raise NotImplementedError

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of a checkpoint under this tower's names."""
        return dict(state)

    def settings(self) -> dict[str, Any]:
        """Options that change the output, for the checkpoint's metadata."""
        return {}


class TextTower(FrozenTower):
    """Texts to token states, remembered per text up to `cache_bytes`; the least recent go first."""

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        super().__init__()
        self.cache_bytes = cache_bytes
        self.cache: OrderedDict[str, Tensor] = OrderedDict()
        self._warned = False

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(b, t, k) states of b texts; the empty text is one like any other.

        Raises:
            ValueError: an item is not a string.
        """
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"condition {i} is {type(text).__name__} {text!r}; expected text")
        known = {t: self.cache[t] for t in texts if t in self.cache}
        new = list(dict.fromkeys(t for t in texts if t not in known))
        if new:
            known |= self._embed_alike(new)
        for text in dict.fromkeys(texts):
            self._remember(text, known[text])
        return torch.stack([known[t] for t in texts])

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(b, t, k), without the memory."""
        raise NotImplementedError

    def null(self) -> Tensor:
        return self([""])

    def forget(self) -> None:
        self.cache.clear()

    def _embed_alike(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """States by text, in batches of one shape: to the last bit, whatever else is asked for.

        Rounding differs between batch sizes, and a resumed run has seen other texts before.
        """
        size = 1 if self.device.type == "cpu" else CHUNK
        found: dict[str, Tensor] = {}
        with torch.no_grad(), own_precision(self.device):
            for start in range(0, len(texts), size):
                part = list(texts[start : start + size])
                states = self.embed(part + [""] * (size - len(part)))  # (size, t, k)
                found |= {t: s.clone() for t, s in zip(part, states, strict=False)}
        return found

    def _remember(self, text: str, states: Tensor) -> None:
        self.cache[text] = states
        self.cache.move_to_end(text)
        while len(self.cache) * states.nbytes > self.cache_bytes:
            self.cache.popitem(last=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.forget()  # another device or precision
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _told_cut(self, text: str, cut: int, length: int) -> None:
        """Say that a text lost tokens: a warning for the first one, details at debug level."""
        level = logging.DEBUG if self._warned else logging.WARNING
        log.log(level, "text cut by %d tokens to %d: %.60r...", cut, length, text)
        self._warned = True


class ClipText(TextTower):
    """CLIP's text tower: all 77 positions after the final layer norm; no projection, no pooling.

    The padding, zeros after the end token, is attended to: the mask is causal only.
    """

    def __init__(self, text_model: Any, tokenizer: Any, path: str, **cache: int) -> None:
        super().__init__(**cache)
        self.clip_model = nn.ModuleDict({"text_model": text_model})
        self.tokenizer = tokenizer
        self.path = path
        self.tokens = text_model.config.max_position_embeddings
        self.dim = text_model.config.hidden_size
        self.freeze()

    def embed(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for text in texts:
            ids, cut = clip_token_ids(self.tokenizer, text, self.tokens)
            rows.append(ids)
            if cut:
                self._told_cut(text, cut, self.tokens)
        return self.encode_ids(torch.stack(rows))

    def encode_ids(self, ids: Tensor) -> Tensor:
        """(b, 77, k) states of (b, 77) token ids."""
        found = self.clip_model["text_model"](input_ids=ids.to(self.device))
        return found.last_hidden_state

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return adapt_clip(state, ("text_projection", "vis", "logit_scale"))


def clip_token_ids(tokenizer: Any, text: str, context: int = CONTEXT) -> tuple[Tensor, int]:
    """Ids of one text as OpenAI's tool makes them: start, text, end, zeros.

    Broken unicode and HTML escapes are repaired first, as there. A text that is too long is cut and
    ends in the end token.

    Returns:
        (context,) int64 ids; how many tokens were cut off.
    """
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    ids = tokenizer(text, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
    cut = max(0, len(ids) - context)
    if cut:
        ids = ids[: context - 1] + ids[-1:]
    padded = torch.zeros(context, dtype=torch.int64)
    padded[: len(ids)] = torch.tensor(ids)
    return padded, cut


class SentenceText(TextTower):
    """Any encoder of sentences that transformers' AutoModel reads.

    Args:
        pooling:  `tokens`: (length, k) token states, zero after the end of the text; `mean`: their
            mean, (1, k), as sentence-transformers makes it.
        length:   tokens of a text, start and end included.
        l2:       scale the mean to length one.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        path: str,
        pooling: str = "tokens",
        length: int = 77,
        l2: bool = False,
        **cache: int,
    ) -> None:
        super().__init__(**cache)
        if pooling not in ("tokens", "mean"):
            raise ValueError(f"pooling is '{pooling}'; expected tokens or mean")
        self.model, self.tokenizer, self.path = model, tokenizer, path
        self.pooling, self.length, self.l2 = pooling, length, l2
        self.tokens = length if pooling == "tokens" else 1
        self.dim = model.config.hidden_size
        self.freeze()

    def settings(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "l2_normalized": self.l2}

    def embed(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            cut = len(self.tokenizer(text, verbose=False)["input_ids"]) - self.length
            if cut > 0:
                self._told_cut(text, cut, self.length)
        inputs = self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        ).to(self.device)
        states = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None].to(states.dtype)
        if self.pooling == "tokens":
            return states * mask
        mean = (states * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return nn.functional.normalize(mean, dim=-1) if self.l2 else mean


def adapt_clip(state: Mapping[str, Tensor], other: tuple[str, ...]) -> dict[str, Tensor]:
    """A checkpoint's CLIP under transformers' names, in either layout.

    Dropped: `_mean` and `_std`, and what begins as one of `other`, the tower that is not here.
    """
    start = "clip_model."
    inner = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
    rest = {k: v for k, v in state.items() if not k.startswith(start) and k not in BUFFERS}
    if clip.is_openai_layout(inner):
        inner = clip.openai_to_transformers(inner)
    return {f"{start}{k}": v for k, v in inner.items() if not k.startswith(other)} | rest


def own_precision(device: torch.device) -> Any:
    """Autocast off."""
    return torch.autocast(device.type, enabled=False)
