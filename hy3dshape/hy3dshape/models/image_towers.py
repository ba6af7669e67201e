"""Frozen image towers of the conditioner: CLIP and DINOv2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from . import clip
from .towers import FrozenTower, adapt_clip, own_precision


class ImageTower(FrozenTower):
    """Images to token states; `cls_only`: the class token alone, `l2`: tokens of length one."""

    mean: Sequence[float] = clip.CLIP_MEAN
    std: Sequence[float] = clip.CLIP_STD
    size: int

    def __init__(self, cls_only: bool, l2: bool) -> None:
        super().__init__()
        self.cls_only, self.l2 = cls_only, l2

    def forward(self, images: Tensor | Sequence[Image.Image]) -> Tensor:
        """(b, t, k) of (b, 3, h, w) in [0, 1] or [-1, 1], or of b PIL images."""
        with torch.no_grad(), own_precision(self.device):
            return self.encode_pixels(self.pixels(images))

    def pixels(self, images: Tensor | Sequence[Image.Image]) -> Tensor:
        """(b, 3, size, size) network input."""
        if isinstance(images, Tensor):
            return clip.tensor_pixels(images, self.size, self.mean, self.std)
        for i, image in enumerate(images):
            if not isinstance(image, Image.Image):
                raise ValueError(f"condition {i} is {type(image).__name__}; expected an image")
        return torch.stack([clip.pil_pixels(i, self.size, self.mean, self.std) for i in images])

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(b, t, k) states of (b, 3, size, size) network input."""
        weight = next(self.parameters())
        states = self.states(pixels.to(weight))
        states = states[:, :1] if self.cls_only else states
        return nn.functional.normalize(states, dim=-1) if self.l2 else states

    def states(self, pixels: Tensor) -> Tensor:
        """(b, 1 + patches, k), class token first."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        return {"images_cls_only": self.cls_only, "l2_normalized": self.l2}

    def null(self) -> Tensor:
        return next(self.parameters()).new_zeros(1, self.tokens, self.dim)


class ClipImage(ImageTower):
    """CLIP's image tower: post layer norm and projection on every token."""

    def __init__(
        self,
        vision_model: Any,
        projection: Any,
        path: str,
        cls_only: bool = False,
        l2: bool = False,
    ) -> None:
        super().__init__(cls_only, l2)
        self.clip_model = nn.ModuleDict(
            {"vision_model": vision_model, "visual_projection": projection}
        )
        self.path = path
        self.size = vision_model.config.image_size
        self.tokens = 1 if cls_only else 1 + (self.size // vision_model.config.patch_size) ** 2
        self.dim = projection.out_features
        self.freeze()

    def states(self, pixels: Tensor) -> Tensor:
        vision: Any = self.clip_model["vision_model"]
        hidden = vision(pixel_values=pixels).last_hidden_state
        return self.clip_model["visual_projection"](vision.post_layernorm(hidden))

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return adapt_clip(state, ("text_", "logit_scale"))


class DinoImage(ImageTower):
    """DINOv2 (Oquab et al. 2023, arXiv:2304.07193): states after the final layer norm."""

    mean = clip.IMAGENET_MEAN
    std = clip.IMAGENET_STD

    def __init__(self, model: Any, path: str, cls_only: bool = False, l2: bool = False) -> None:
        super().__init__(cls_only, l2)
        self.model, self.path = model, path
        patch = model.config.patch_size
        self.size = min(224, model.config.image_size) // patch * patch
        self.tokens = 1 if cls_only else 1 + (self.size // patch) ** 2
        self.dim = model.config.hidden_size
        self.freeze()

    def states(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).last_hidden_state
