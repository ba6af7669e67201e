"""A configuration and a checkpoint to a model that samples, nothing in it left at random."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from . import config, files
from .models.diffusion.ema import averaged_checkpoint
from .models.diffusion.flow_matching_sit import Diffuser
from .utils.trainings.checkpoint_rules import CLASS_KINDS, bare_key, loads_conditioner
from .weights import AUTOENCODER_FILE, locate, read_state

log = logging.getLogger(__name__)
TARGET = f"{Diffuser.__module__}.{Diffuser.__name__}"
PATH_KEYS = ("ckpt_path", "pretrained_path", "tower_path", "tokenizer_path")
TRAINING_KEYS = ("optimizer_cfg", "ema_config", "torch_compile", "ckpt_path", "ignore_keys",
                 "profile_with_events", "first_stage_key", "cond_stage_key")  # fmt: skip


@dataclass(frozen=True)
class ModelFiles:
    """Where a model comes from.

    Attributes:
        config, ckpt: configuration and weights.
        autoencoder:  its weights; None: see `autoencoder_weights`.
        conditioner:  whether its weights are the checkpoint's; see `loads_conditioner`.
        allow_missing_conditioner: it may lack them; what the configuration builds stays then.
        ema:          take the averaged weights, if there are any.
    """

    config: Path
    ckpt: Path
    autoencoder: Path | None = None
    conditioner: Literal["auto", "always", "never"] = "auto"
    allow_missing_conditioner: bool = False
    ema: bool = True


def read_model_config(path: Path) -> dict[str, Any]:
    """A checked configuration whose relative paths lead to files beside it, where they exist.

    Raises:
        ValueError: no diffusion model, or one that does not fit its classes.
    """
    tree = config.load_config(path)
    node = tree.get("model")
    if not isinstance(node, dict) or node.get("target") != TARGET:
        found = node.get("target") if isinstance(node, dict) else None
        raise ValueError(f"{path}: model.target: expected {TARGET}, found {found!r}")
    config.check(node, f"{path}: model")
    tree["model"] = _beside(node, path.parent)
    return tree


def _beside(tree: Any, folder: Path) -> Any:
    if isinstance(tree, list):
        return [_beside(item, folder) for item in tree]
    if not isinstance(tree, dict):
        return tree
    made = {key: _beside(value, folder) for key, value in tree.items()}
    for key in PATH_KEYS:
        if isinstance(made.get(key), str) and (folder / made[key]).exists():
            made[key] = str(folder / made[key])
    return made


def autoencoder_weights(tree: Mapping[str, Any], given: ModelFiles) -> Path | None:
    """Weights of the autoencoder: flag, configuration, or the file beside it; None: none of them.

    A checkpoint that holds an autoencoder needs none of them, unless the flag was given.
    """
    if given.autoencoder is not None:
        return given.autoencoder
    params = (tree["model"]["params"].get("first_stage_config") or {}).get("params") or {}
    named = (params.get("pretrained") or {}).get("ckpt_path") or params.get("pretrained_path")
    if named:
        return Path(named)
    beside = given.config.parent / AUTOENCODER_FILE
    return beside if beside.is_file() else None


def load_model(tree: Mapping[str, Any], given: ModelFiles) -> tuple[Diffuser, bool]:
    """The model in eval mode on the CPU, and whether its checkpoint has a latent scale.

    Raises:
        OSError, ValueError: a file is missing, damaged or does not fit, or weights are missing.
    """
    state = {bare_key(k): v for k, v in read_state(given.ckpt).items()}
    _require_whole(state, given.ckpt)
    state = averaged_checkpoint(state) if given.ema else _without(state, "model_ema.")
    params = {k: v for k, v in tree["model"]["params"].items() if k not in TRAINING_KEYS}
    first = params.get("first_stage_config")
    own = any(k.startswith("first_stage_model.") for k in state)
    if first is not None and given.autoencoder is not None:
        state, own = _without(state, "first_stage_model."), False
    if first is not None:
        params["first_stage_config"] = _with_weights(first, tree, given, own)
    model: Diffuser = config.build({**tree["model"], "params": params}, "model")
    left = _left_conditioner(tree, state, given)
    model.load_weights(state, str(given.ckpt), ["cond_stage_model."] if left else [])
    return model.requires_grad_(False).eval(), "z_scale_factor" in state


def _require_whole(state: Mapping[str, Tensor], ckpt: Path) -> None:
    empty = [k for k, v in state.items() if v.numel() == 0]
    if empty:
        raise ValueError(
            f"{ckpt}: {len(empty)} weights are empty, as {empty[0]}: DeepSpeed stage 3 spread them"
            " over files; merge them with the folder's own zero_to_fp32.py into"
            " pytorch_model_fp32.bin and give that"
        )


def _without(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.startswith(start)}


def _with_weights(
    node: Mapping[str, Any], tree: Mapping[str, Any], given: ModelFiles, own: bool
) -> dict[str, Any]:
    """The autoencoder's node with the weights that it is to have."""
    params = dict(node.get("params") or {})
    if "pretrained_path" in params:  # of images
        params["pretrained_path"] = str(autoencoder_weights(tree, given))
        return {**node, "params": params}
    named = params.pop("pretrained", None)
    if not own:
        path = autoencoder_weights(tree, given)
        if path is None:
            raise ValueError(
                f"{given.config}: no weights of the autoencoder: neither"
                " first_stage_config.params.pretrained.ckpt_path, nor"
                f" {AUTOENCODER_FILE} beside it, nor first_stage_model.* in {given.ckpt};"
                " give --autoencoder"
            )
        options = named if named and given.autoencoder is None else {}
        params["pretrained"] = {**options, "ckpt_path": str(path)}
    return {**node, "params": params}


def _left_conditioner(
    tree: Mapping[str, Any], state: Mapping[str, Tensor], given: ModelFiles
) -> bool:
    """Whether the conditioner stays as the configuration builds it.

    Raises:
        ValueError: its weights should be the checkpoint's, which has none.
    """
    node = tree["model"]["params"].get("cond_stage_config")
    kind = (node or {}).get("params", {}).get("type", "uncond")
    wanted = kind != "uncond" and loads_conditioner(kind, given.conditioner)
    there = any(k.startswith("cond_stage_model.") for k in state)
    random = kind in CLASS_KINDS and not wanted  # a class table is nowhere else
    if random or (wanted and not there):
        found = "--cond_from_ckpt_mode never" if random else f"{given.ckpt} has no cond_stage_model"
        if not given.allow_missing_conditioner:
            raise ValueError(
                f"{found}: the weights of the {kind} conditioner are missing;"
                " --allow_missing_conditioner goes on with what the configuration builds"
            )
        log.warning("%s: the %s conditioner is the configuration's", found, kind)
    return not (wanted and there)


def digest(path: Path | None) -> str | None:
    """SHA-256 of a file, of the files of a folder's weights together, or the name of a hub."""
    if path is None or not path.exists():
        return None if path is None else str(path)
    try:
        file = locate(path)
    except ValueError:
        return str(path)
    if not file.name.endswith(".index.json"):
        return files.sha256(file)
    shards = sorted(set(files.read_json(file)["weight_map"].values()))
    total = "".join(files.sha256(file.parent / name) for name in shards)
    return hashlib.sha256(total.encode()).hexdigest()


def described(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a model's configuration that decides samples, by place; paths left out."""
    params = {k: v for k, v in tree["model"]["params"].items() if k not in TRAINING_KEYS}
    return dict(_flat(json.loads(json.dumps(params)), "model"))


def _flat(tree: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(tree, dict) or not tree:
        return [(where, tree)]
    rows = [_flat(v, f"{where}.{k}") for k, v in tree.items() if k not in PATH_KEYS]
    return [row for rows_below in rows for row in rows_below]
