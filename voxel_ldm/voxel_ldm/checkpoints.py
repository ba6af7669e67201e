"""Files of models and of runs. Nothing but tensors and plain values is ever unpickled.

A model's file is a safetensors file whose metadata says how to build it. It is one text, since the
order of several would change from process to process, and with it the digest of the file.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .diffusion import Schedule
from .files import replacing, require_same, sha256
from .models.autoencoder import VoxelAutoencoder
from .models.unet3d import UNet3D

AUTOENCODER, DENOISER = "voxel autoencoder", "voxel denoiser"
MODEL = "model"  # key of the metadata


class Denoiser(nn.Module):
    """A UNet with all that sampling needs beside its weights.

    Attributes:
        network: `UNet3D` of normalised latents.
        schedule: of its training.
        classes: names of the classes 1..n; [] for an unconditional network.
        latent_mean, latent_std: (c, 1, 1, 1) of the training latents.
        autoencoder: SHA-256 of the file that made those latents.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(
        self,
        network: Mapping[str, Any],
        schedule: Mapping[str, Any],
        classes: list[str],
        autoencoder: str,
    ) -> None:
        super().__init__()
        self.config = {"network": dict(network), "schedule": dict(schedule), "classes": classes,
                       "autoencoder": autoencoder}  # fmt: skip
        self.network = UNet3D(**network, num_classes=len(classes))
        self.schedule, self.classes, self.autoencoder = Schedule(**schedule), classes, autoencoder
        shape = (int(network["channels"]), 1, 1, 1)
        self.register_buffer("latent_mean", torch.zeros(shape))
        self.register_buffer("latent_std", torch.ones(shape))

    def label(self, name: str) -> int:
        """Number of a class. Raises ValueError that lists the known ones."""
        if name not in self.classes:
            raise ValueError(f"class {name!r}: the model knows {', '.join(self.classes) or 'none'}")
        return self.classes.index(name) + 1


def save_autoencoder(
    path: Path, model: VoxelAutoencoder, config: Mapping[str, Any], half: bool = False
) -> None:
    """`config`: the arguments it was built with; `half`: as `_save`."""
    _save(path, model, AUTOENCODER, config, half)


def load_autoencoder(path: Path) -> VoxelAutoencoder:
    """In eval mode, since batch statistics would change what is decoded. Raises as `_load`."""
    return _load(path, AUTOENCODER, VoxelAutoencoder)


def save_denoiser(path: Path, model: Denoiser, half: bool = False) -> None:
    _save(path, model, DENOISER, model.config, half)


def load_denoiser(path: Path, autoencoder: Path | None = None) -> Denoiser:
    """In eval mode. Raises as `_load`, and ValueError if another `autoencoder` made its latents."""
    model = _load(path, DENOISER, Denoiser)
    if autoencoder is not None and sha256(autoencoder) != model.autoencoder:
        raise ValueError(
            f"{path}: was trained on latents of another autoencoder than {autoencoder}"
        )
    return model


def _save(path: Path, model: nn.Module, kind: str, config: Mapping[str, Any], half: bool) -> None:
    """`half`: matrices and kernels in half precision; they are read back as single."""
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    if half:
        large = [name for name, weight in model.named_parameters() if weight.ndim > 1]
        state |= {name: state[name].half() for name in large}
    with replacing(path) as temporary:
        told = json.dumps({"kind": kind, "config": dict(config)}, sort_keys=True)
        save_file(state, temporary, {MODEL: told})


def _load(path: Path, kind: str, build: Any) -> Any:
    """A model of a file.

    Raises:
        OSError: there is no such file.
        ValueError: not a safetensors file, of another kind, damaged, not to be built, or keys that
            do not fit.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(2, "no such file of weights", str(path))
    try:
        with safe_open(path, "pt") as file:
            told = _told(file.metadata())
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a safetensors file, or damaged ({error}); pickled checkpoints are not"
            " read, since loading them runs what is in them"
        ) from error
    if told.get("kind") != kind:
        raise ValueError(f"{path}: holds {told.get('kind', 'other weights')!r}, expected {kind!r}")
    try:
        model = build(**told["config"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its configuration builds no model: {error}") from error
    own = model.state_dict()
    wrong = sorted(k for k in {*own, *state} if k not in own or k not in state
                   or own[k].shape != state[k].shape)  # fmt: skip
    if wrong:
        raise ValueError(
            f"{path}: its tensors do not fit its configuration: {', '.join(wrong[:6])}"
        )
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()})
    return model.eval()


def _told(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What a file says of its model, {} if nothing that can be understood."""
    try:
        told = json.loads((metadata or {})[MODEL])
    except (KeyError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what a run needs to go on."""
    with replacing(path) as temporary:
        torch.save(dict(state), temporary)


def load_state(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """State of a run. Raises ValueError: damaged, or of a run with other `settings`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        was = json.loads(state["settings"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: not the state of a run, or damaged; remove it to start anew"
        ) from error
    require_same(str(path), was, json.loads(json.dumps(dict(settings))))
    return dict(state)
