"""Samples to files: GLB, OBJ or PLY, PNG, latent tensors. Equal samples make equal bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .files import replacing
from .models.autoencoders.isosurface import Mesh


def mesh_bytes(mesh: Mesh, kind: str) -> bytes:
    """A mesh as a file of the kind `glb`, `obj` or `ply`; vertices become float32."""
    import trimesh

    made = trimesh.Trimesh(*mesh, process=False)
    scene = trimesh.Scene(made) if kind == "glb" else made
    written: Any = scene.export(file_type=kind)
    return written.encode() if isinstance(written, str) else bytes(written)


def image_bytes(image: Tensor) -> bytes:
    """PNG of an image (3, h, w) in [0, 1]."""
    from PIL import Image

    pixels = (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def tensor_bytes(tensor: Tensor) -> bytes:
    """What `torch.save` writes; through memory, since a file's name would go into the bytes."""
    buffer = io.BytesIO()
    torch.save(tensor.detach().cpu().clone(), buffer)
    return buffer.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Write atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
