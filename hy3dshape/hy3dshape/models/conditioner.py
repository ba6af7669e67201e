"""Conditions for the denoiser: none, class, text or image, each with its null and with dropout.

The paper's `MultiConditioner` (arXiv 2512.23628): classes are a table of vectors with one row more
for the null class, texts and images go through frozen CLIP ViT-B/16 towers; here also through
sentence encoders and DINOv2. Dropout to the null condition is that of classifier-free guidance
(Ho and Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..weights import load_strict
from . import tower_files
from .towers import FrozenTower, TextTower

TYPES = ("uncond", "class", "text", "image")
TOWERS = {"text": ("clip", "sentence"), "image": ("clip", "dinov2")}  # the first is the default


class ClassTable(nn.Module):
    """(num_classes + 1, dim) table; the last row is the null class."""

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embedding = nn.Embedding(num_classes + 1, dim)

    def ids(self, labels: Tensor | Sequence[int]) -> Tensor:
        """(b,) int64 class ids of a list, tuple or tensor.

        Raises:
            ValueError: naming the first id that is not an integer in [0, num_classes).
        """
        device = self.embedding.weight.device
        given: Any = labels.tolist() if hasattr(labels, "tolist") else labels
        if not isinstance(given, list | tuple):
            raise ValueError(f"class ids are {given!r}; expected a list, one id a sample")
        found = [_whole(c) for c in given]
        for i, c in enumerate(found):
            if c is None or not 0 <= c < self.num_classes:
                raise ValueError(
                    f"condition {i}: class id {given[i]!r} is not one of the model's"
                    f" {self.num_classes} classes, 0 to {self.num_classes - 1}"
                )
        return torch.tensor(found, dtype=torch.int64, device=device)

    def forward(self, labels: Tensor | Sequence[int]) -> Tensor:
        """(b, 1, dim)"""
        return self.embedding(self.ids(labels))[:, None]

    def null(self) -> Tensor:
        """(1, 1, dim)"""
        return self.embedding.weight[None, None, self.num_classes]


class MultiConditioner(nn.Module):
    """Conditions to the context tokens of the denoiser.

    Args:
        type:           uncond, class, text or image.
        num_classes:    classes of the table, without the null class; only and always for class.
        text_embed_dim: numbers of one token; checked against the tower's.
        images_cls_only: keep only the class token of an image.
        l2_normalized:  scale image tokens, or the mean of a sentence, to length one.
        p_uncond:       probability that a sample's condition becomes null in training.
        tower:          text: clip or sentence; image: clip or dinov2.
        tower_path:     folder, hub name, or (clip) a file of weights in OpenAI's key layout, also
                        inside a whole model's checkpoint; `minilm`: a package's encoder.
        tokenizer_path: clip: where the tokenizer is if not beside the weights.
        pooling:        sentence: tokens or mean.
        text_len:       sentence: tokens of a text.
        cache_mib:      text: room for embeddings of texts already seen, in MiB.

    Raises:
        ValueError: an argument out of range, or a tower that cannot be loaded.
    """

    def __init__(
        self,
        type: str,
        num_classes: int | None = None,
        text_embed_dim: int = 512,
        images_cls_only: bool = False,
        l2_normalized: bool = False,
        p_uncond: float = 0.1,
        tower: str | None = None,
        tower_path: str | None = None,
        tokenizer_path: str | None = None,
        pooling: str = "tokens",
        text_len: int = 77,
        cache_mib: int = 256,
    ) -> None:
        super().__init__()
        if type not in TYPES:
            raise ValueError(f"conditioner type '{type}'; expected one of {', '.join(TYPES)}")
        if not 0 <= p_uncond <= 1:
            raise ValueError(f"p_uncond is {p_uncond}; expected a probability, 0 to 1")
        tower = tower or TOWERS.get(type, (None,))[0]
        if tower not in TOWERS.get(type, (None,)):
            raise ValueError(f"tower '{tower}' for type {type}; known: {TOWERS.get(type, ())}")
        if type == "text" and l2_normalized and pooling != "mean":
            raise ValueError("l2_normalized is for images and for the mean of a sentence")
        self.kind, self.p_uncond, self.tower = type, p_uncond, tower
        self.embedder: ClassTable | FrozenTower | None = None
        cache = {"cache_bytes": cache_mib * 2**20}
        if type == "class":
            if not num_classes or num_classes < 1:
                raise ValueError(f"num_classes is {num_classes}; a class conditioner needs >= 1")
            self.embedder = ClassTable(num_classes, text_embed_dim)
        elif tower == "sentence":
            self.embedder = tower_files.load_sentence(
                tower_path, pooling=pooling, length=text_len, l2=l2_normalized, **cache
            )
        elif type == "text":
            self.embedder = tower_files.load_clip_text(tower_path, tokenizer_path, **cache)
        elif type == "image":
            load = tower_files.load_dino if tower == "dinov2" else tower_files.load_clip_image
            self.embedder = load(tower_path, cls_only=images_cls_only, l2=l2_normalized)
        if isinstance(self.embedder, FrozenTower) and self.embedder.dim != text_embed_dim:
            raise ValueError(
                f"text_embed_dim is {text_embed_dim}, but {self.embedder.path} gives"
                f" {self.embedder.dim} numbers a token; write that there and in context_dim"
            )

    def forward(
        self, conditions: Any, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Context of a batch.

        Args:
            conditions: class: b ids (list, tuple, tensor); text: b strings; image: b PIL images, or
                (b, 3, h, w) in [0, 1] or [-1, 1]; uncond: anything.
            generator: draws which samples become null in training mode; on any device.

        Returns:
            {"main": (b, t, k)}, or {} for uncond.

        Raises:
            ValueError: a condition of another kind, or a class id out of range.
        """
        if self.embedder is None:
            return {}
        if isinstance(conditions, str | Image.Image):
            raise ValueError(f"conditions are the one {conditions!r}; expected a list of them")
        main = self.embedder(conditions)  # (b, t, k)
        if self.training and self.p_uncond > 0:
            device = generator.device if generator is not None else main.device
            drawn = torch.rand(len(main), generator=generator, device=device).to(main.device)
            null = self.embedder.null().to(main)
            main = torch.where((drawn < self.p_uncond)[:, None, None], null, main)
        return {"main": main}

    def unconditional(self, batch: int) -> dict[str, Tensor]:
        """The null condition of a batch: {"main": (b, t, k)}, or {} for uncond."""
        if self.embedder is None:
            return {}
        return {"main": self.embedder.null().expand(batch, -1, -1)}

    def frozen_prefixes(self) -> tuple[str, ...]:
        """Beginnings of the keys of frozen weights, which slim checkpoints leave out."""
        return ("embedder.",) if isinstance(self.embedder, FrozenTower) else ()

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's part `cond_stage_model.*` (prefix off) under this module's names.

        OpenAI's names of CLIP weights become transformers'; the weights of CLIP's other tower and
        the constants `_mean`, `_std` are dropped.
        """
        if not isinstance(self.embedder, FrozenTower):
            return dict(state)
        start = "embedder."
        inner = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        rest = {k: v for k, v in state.items() if not k.startswith(start)}
        return {f"{start}{k}": v for k, v in self.embedder.adapt(inner).items()} | {
            k: v for k, v in rest.items() if k not in ("_mean", "_std")
        }

    def load_checkpoint(self, state: Mapping[str, Tensor], where: str) -> None:
        """Load a checkpoint's part; a tower's weights may be absent, but not some of them.

        Raises:
            ValueError: keys missing, unexpected or of another shape, all listed.
        """
        adapted = self.adapt(state)
        slim = not any(k.startswith(p) for k in adapted for p in self.frozen_prefixes())
        load_strict(self, adapted, where, optional=self.frozen_prefixes() if slim else ())
        if isinstance(self.embedder, TextTower):
            self.embedder.forget()

    def describe(self) -> dict[str, Any]:
        """What a checkpoint's metadata must say of the conditions it was trained with."""
        told: dict[str, Any] = {"type": self.kind, "p_uncond": self.p_uncond}
        if isinstance(self.embedder, ClassTable):
            table = self.embedder
            told |= {"num_classes": table.num_classes, "tokens": 1}
            told |= {"dim": table.embedding.embedding_dim}
        elif self.embedder is not None:
            told |= {"tower": self.tower, "path": self.embedder.path}
            told |= {"tokens": self.embedder.tokens, "dim": self.embedder.dim}
            told |= self.embedder.settings()
        return told


def _whole(value: Any) -> int | None:
    """An integer of Python, numpy or torch as int, else None; True and False are none."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
