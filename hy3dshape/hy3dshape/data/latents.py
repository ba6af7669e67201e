"""Latent files `{uid}.pt`, `{uid}_aug{n}.pt` and, for images, `{uid}_view{n}.pt`.

One tensor a file: (m, c) of a shape in the order of its farthest points, (c, h, w) of an image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

Copy = tuple[tuple[int, str], ...]  # (number, aug or view), outer suffix last
Groups = dict[str, list[Path]]
SHAPE_COPY = re.compile(r"_(aug)(\d+)$")
IMAGE_COPY = re.compile(r"_(aug|view)(\d+)$")


def group_latents(folder: Path, images: bool = False) -> Groups:
    """Files of each uid below a folder, in the order of their numbers.

    The uid is the path below the folder before the last `_aug{n}` (images: also `_view{n}`):
    `chairs/001` of `chairs/001_aug2.pt`.

    Raises:
        ValueError: no such folder, or no file in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder of latents")
    pattern = IMAGE_COPY if images else SHAPE_COPY
    groups: dict[str, dict[Copy, Path]] = {}
    for path in sorted(folder.rglob("*.pt")):
        uid, copy = _split(path.relative_to(folder).with_suffix("").as_posix(), pattern)
        groups.setdefault(uid, {})[copy] = path
    if not groups:
        raise ValueError(f"{folder}: no .pt file; make latents with encode_latents.py")
    return {uid: [files[n] for n in sorted(files)] for uid, files in sorted(groups.items())}


def _split(stem: str, pattern: re.Pattern[str]) -> tuple[str, Copy]:
    copy: Copy = ()
    while (found := pattern.search(stem)) and found.start():
        stem, copy = stem[: found.start()], ((int(found[2]), found[1]), *copy)
        if pattern is SHAPE_COPY:
            break
    return stem, copy


@dataclass(frozen=True)
class LatentForm:
    """How the files of a set look and what becomes of them.

    Attributes:
        shape:      expected shape of the stored tensor.
        as_tokens:  an image (c, h, w) becomes tokens (h*w, c), row by row.
        tokens:     only the first so many tokens. An encoder without attention among latents makes
                    them the latents of the shape at that length, since farthest points are nested.
    """

    shape: tuple[int, ...]
    as_tokens: bool = False
    tokens: int | None = None

    def read(self, path: Path) -> Tensor:
        """One file as float32. Raises ValueError naming it: unreadable, other shape, not finite."""
        latent = load_tensor(path)
        if tuple(latent.shape) != self.shape:
            raise ValueError(f"{path}: expected shape {self.shape}, found {tuple(latent.shape)}")
        if not torch.isfinite(latent).all():
            raise ValueError(f"{path}: holds NaN or infinity; encode this shape again")
        if self.as_tokens:
            latent = latent.flatten(1).T.contiguous()  # (c, h, w) -> (h*w, c)
        return latent if self.tokens is None else latent[: self.tokens].clone()


def load_tensor(path: Path) -> Tensor:
    """The float tensor in a file, as float32. Raises ValueError naming it."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds for damaged archives
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"{path}: not a readable tensor file: {reason}") from error
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = f"{found.dtype} tensor" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{path}: expected one tensor of floats, found a {kind}")
    return found.float()


def shape_form(groups: Mapping[str, list[Path]], tokens: int | None) -> LatentForm:
    """Form of shape latents: as the first file. Raises ValueError: not (m, c), or m < tokens."""
    first = next(iter(groups.values()))[0]
    shape = tuple(load_tensor(first).shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{first}: expected a tensor (tokens, channels), found shape {shape}")
    if tokens is not None and tokens > shape[0]:
        raise ValueError(f"{first}: {shape[0]} tokens, num_latents asks for {tokens}")
    return LatentForm(shape, tokens=tokens)
