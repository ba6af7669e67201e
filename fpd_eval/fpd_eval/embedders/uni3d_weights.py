"""Uni3D from its official checkpoints: the variant is read off the file, every key accounted for.

Only tensors are ever unpickled: safetensors, or `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .uni3d import VARIANTS, Shape, Uni3D

PREFIX = "point_encoder."
UNUSED = re.compile(
    r"logit_scale|point_encoder\.visual\.(cls_token|pos_embed|patch_embed\.proj\.(weight|bias)|"
    r"head\.(weight|bias))"
)
SHOWN = 4  # names in a message


def load_uni3d(path: Path, variant: str | None = None) -> tuple[str, Uni3D]:
    """The model in `path`, in eval mode and float32, and the name of its variant.

    Args:
        path:    .pt, .pth, .bin or .safetensors: a state dict, or a dict that holds one under
                 `module` (DeepSpeed), `state_dict` or `model`.
        variant: what it must be; None takes what it is.

    Raises:
        OSError:    the file cannot be read.
        ValueError: unsafe or damaged, no published variant, another one than `variant`, or keys
                    that are missing, unknown or of another shape.
    """
    state = read_state(path)
    found = infer_variant(path, state)
    if variant not in (None, found):
        raise ValueError(f"{path}: weights of Uni3D-{found}, not of --variant {variant}")
    size = state["point_encoder.trans2embed.weight"].shape[0]
    return found, build(path, state, replace(VARIANTS[found], embed_dim=size))


def build(path: Path, state: Mapping[str, Tensor], shape: Shape) -> Uni3D:
    """A model of `shape` holding the weights `state`; errors as `load_uni3d`."""
    with torch.device("meta"):
        model = Uni3D(shape)
    wanted = {PREFIX + key: value for key, value in model.state_dict().items()}
    given = {
        key: value.squeeze(-1) if value.ndim == 3 and "_conv." in key else value  # 1x1 convolution
        for key, value in state.items()
        if not UNUSED.fullmatch(key)
    }
    _check(path, wanted, given)
    own = {}
    for key, value in given.items():
        kept = value.reshape(wanted[key].shape)
        own[key.removeprefix(PREFIX)] = kept.float() if kept.is_floating_point() else kept
    model.load_state_dict(own, assign=True)
    return model.eval().requires_grad_(False)


def _check(path: Path, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    both = [key for key in wanted if key in given]
    shapes = [
        f"{k} is {tuple(given[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in both
        if given[k].shape != wanted[k].shape and (wanted[k].ndim or given[k].numel() != 1)
    ]
    broken = [k for k in both if not torch.isfinite(given[k]).all()]
    wrong = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unknown": sorted(given.keys() - wanted.keys()),
        "of another shape": shapes,
        "not finite": broken,
    }
    if any(wrong.values()):
        told = "; ".join(f"{len(v)} keys {k}: {_some(v)}" for k, v in wrong.items() if v)
        raise ValueError(f"{path}: not a whole Uni3D checkpoint: {told}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def infer_variant(path: Path, state: Mapping[str, Tensor]) -> str:
    """Name in VARIANTS whose style, width, depth and hidden size `state` has, or ValueError."""
    block = "point_encoder.visual.blocks.{}."
    needed = ("point_encoder.cls_token", block.format(0) + "mlp.fc2.weight", "trans2embed.weight")
    for key in (*needed[:2], PREFIX + needed[2]):
        if key not in state or state[key].ndim < 2:
            raise ValueError(f"{path}: not a Uni3D checkpoint: no {key}")
    width, hidden = state[needed[0]].shape[-1], state[needed[1]].shape[1]
    depth = 1 + max(int(m[1]) for k in state if (m := re.match(block.format(r"(\d+)"), k)))
    if block.format(0) + "attn.q_proj.weight" in state:
        style = "split"
    else:
        first = state.get(block.format(0) + "mlp.fc1.bias")
        style = "packed" if first is not None and len(first) == 2 * hidden else "gelu"
    found = (style, width, depth, hidden)
    for name, s in VARIANTS.items():
        if (s.block, s.width, s.depth, s.mlp_hidden) == found:
            return name
    raise ValueError(
        f"{path}: no variant of Uni3D: blocks {style}, width {width}, depth {depth}, "
        f"hidden {hidden}"
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by key, without the container and a leading `module.`; errors as `load_uni3d`."""
    found = _read(path)
    for name in ("module", "state_dict", "model"):
        inner = found.get(name) if isinstance(found, Mapping) else None
        found = inner if isinstance(inner, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(
            f"{path}: no state dict, neither itself nor under module, state_dict, model"
        )
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def _read(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path.open("rb").close()  # absent or not readable: an OSError with its name
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: damaged: {_first_line(error)}") from error
    except Exception as error:  # UnpicklingError, and whatever else a hostile pickle raises
        raise ValueError(f"{path}: unsafe or damaged pickle: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
