"""Reading weights from files, and loading them without a key too many or too few.

Only tensors are ever unpickled: safetensors, or `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SHOWN = 6  # keys named in an error before "and n more"
AUTOENCODER_FILE = "autoencoder.safetensors"  # beside a configuration
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
INSIDE = ("model.safetensors", "pytorch_model.bin", "pytorch_model_fp32.bin",
          "checkpoint/mp_rank_00_model_states.pt", "mp_rank_00_model_states.pt")  # fmt: skip


def read_state(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """State dict of a file or a folder.

    Args:
        path: .safetensors, .pt, .pth, .bin or .ckpt; a `*.index.json` of shards; or a folder that
            holds one of these under its usual name, else its last *.ckpt by name.
        key:  entry that holds the state dict; None looks for `state_dict`, `model` and `module`.

    Raises:
        OSError: there is no such file.
        ValueError: truncated, holds more than tensors and plain values, or no state dict.
    """
    path = locate(Path(path))
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    found = _read_file(path)
    for name in [key] if key is not None else ["state_dict", "model", "module"]:
        if isinstance(found.get(name), Mapping):
            found = found[name]
            break
    else:
        if key is not None and any(isinstance(v, Mapping) for v in found.values()):
            raise ValueError(f"{path}: no entry '{key}'; it holds {_some(list(found))}")
    state = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    if not state:
        raise ValueError(f"{path}: no tensors in it; expected a state dict")
    return state


def locate(path: Path) -> Path:
    """The file of weights that a path stands for; see `read_state`."""
    if path.is_file():
        return path
    if not path.exists():
        raise FileNotFoundError(2, "no such file or folder of weights", str(path))
    for name in INDEXES + INSIDE:
        if (path / name).is_file():
            return path / name
    files = sorted(path.glob("*.ckpt")) or sorted([*path.glob("*.pt"), *path.glob("*.bin")])
    if not files:
        raise ValueError(f"{path}: no weights in this folder; expected one of {list(INSIDE)}")
    return locate(files[-1])


def strip_prefixes(state: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """Keys without the leading `prefixes`, each taken off as often as it stands there."""
    stripped = {}
    for key, value in state.items():
        while any(key.startswith(p) for p in prefixes if p):
            key = next(key.removeprefix(p) for p in prefixes if p and key.startswith(p))
        stripped[key] = value
    return stripped


def load_strict(
    module: nn.Module, state: Mapping[str, Tensor], where: str, optional: Sequence[str] = ()
) -> None:
    """Copy `state` into `module`, key by key; keys under a prefix of `optional` may be missing.

    Raises:
        ValueError: listing keys that are missing, unexpected or of another shape; nothing is
            copied then.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in state and not k.startswith(tuple(optional))]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(wrong.values()):
        told = "; ".join(f"{len(v)} {k}: {_some(v)}" for k, v in wrong.items() if v)
        raise ValueError(f"{where}: does not fit {type(module).__name__}: {told}")
    module.load_state_dict(dict(state), strict=False)


def _read_file(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    safe = path.suffix == ".safetensors"
    try:
        if safe:
            return dict(load_file(path))
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise almost anything
        if isinstance(error, OSError) and error.filename is not None:
            raise
        kind = "damaged" if safe else "unsafe or damaged"
        raise ValueError(f"{path}: {kind}: {_first_line(error)}") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: holds a {type(found).__name__}; expected a state dict")
    return dict(found)


def _read_shards(path: Path) -> dict[str, Tensor]:
    try:
        names = json.loads(path.read_text())["weight_map"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not an index of shards: no 'weight_map'") from error
    if any(Path(name).name != name for name in names.values()):
        raise ValueError(f"{path}: names a shard outside its folder")
    state: dict[str, Tensor] = {}
    for name in sorted(set(names.values())):
        state.update(_read_file(path.parent / name))
    return state


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
