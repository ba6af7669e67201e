"""Frozen image towers of the conditioner: CLIP and DINOv2, and how images become their input.

Preprocessing as in the repository openai/CLIP (MIT), by PIL and torch alone, without torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .towers import FrozenTower, adapt_clip, own_precision

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageTower(FrozenTower):
    """Images to token states; `cls_only`: the class token alone, `l2`: tokens of length one."""

    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD
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
            return tensor_pixels(images, self.size, self.mean, self.std)
        for i, image in enumerate(images):
            if not isinstance(image, Image.Image):
                raise ValueError(f"condition {i} is {type(image).__name__}; expected an image")
        return torch.stack([pil_pixels(i, self.size, self.mean, self.std) for i in images])

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

    mean = IMAGENET_MEAN
    std = IMAGENET_STD

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


def pil_pixels(
    image: Image.Image,
    size: int = 224,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Tensor:
    """(3, size, size) float32: shorter side to `size` (bicubic), centre crop, normalised."""
    image = image.convert("RGB")
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255  # (3, size, size)
    return normalise(pixels, mean, std)


def tensor_pixels(
    images: Tensor,
    size: int = 224,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Tensor:
    """(b, 3, size, size) float32 of (b, 3, h, w) images in [0, 1] or [-1, 1].

    An image with a value outside [-0.05, 1.05] is taken to be in [-1, 1]; each image is judged
    alone, so its neighbours in the batch do not matter. Bicubic resize without antialiasing.

    Raises:
        ValueError: another shape, or values outside [-1.05, 1.05] or not finite.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images are {tuple(images.shape)}; expected (b, 3, h, w)")
    images = images.float()
    low, high = images.amin(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3))
    if not bool(((low >= -1.05) & (high <= 1.05)).all()):
        raise ValueError("image values outside [-1, 1]; expected [0, 1] or [-1, 1]")
    signed = ((low < -0.05) | (high > 1.05))[:, None, None, None]
    images = torch.where(signed, (images + 1) / 2, images)
    images = torch.nn.functional.interpolate(
        images, size=(size, size), mode="bicubic", align_corners=False, antialias=False
    )
    return normalise(images, mean, std)


def normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(..., 3, h, w) minus the mean over the deviation of each channel."""
    shift = torch.tensor(mean, dtype=pixels.dtype, device=pixels.device)[:, None, None]
    scale = torch.tensor(std, dtype=pixels.dtype, device=pixels.device)[:, None, None]
    return (pixels - shift) / scale
