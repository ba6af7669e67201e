"""Checkpoints of a run: `ckpt/ckpt-step=00005000.ckpt/`, a folder that exists only when complete.

`model.safetensors` holds the weights without frozen towers, under the reference's key names, so
that its readers find them; `optimizer.pt` what training needs besides, kept for the newest only;
`state.json` the step and the settings.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .files import read_json, write_json
from .utils.trainings.checkpoint_rules import resume_step
from .weights import read_state

PATTERN = "ckpt-step=*.ckpt"
OPTIMIZER = "optimizer.pt"
STATE = "state.json"


def folder_of(out: Path, step: int) -> Path:
    """Where the checkpoint of a step goes."""
    return out / "ckpt" / f"ckpt-step={step:08d}.ckpt"


def newest(out: Path) -> Path | None:
    """The last checkpoint of a run, None if there is none."""
    found = sorted((out / "ckpt").glob(PATTERN), key=lambda p: resume_step(p.name) or 0)
    return found[-1] if found else None


def save(
    out: Path,
    step: int,
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Any] | None,
    state: Mapping[str, Any],
) -> Path:
    """Write a checkpoint and drop the optimizer state of older ones; returns its folder.

    Args:
        weights: what `model.safetensors` holds.
        optimizer: state dict, None where the engine saves its own shards.
        state: goes into `state.json` beside the step.
    """
    from safetensors.torch import save_file

    final = folder_of(out, step)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    kept = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    save_file(kept, partial / "model.safetensors")
    if optimizer is not None:
        torch.save(optimizer, partial / OPTIMIZER)
    write_json(partial / STATE, {"step": step, **state})
    shutil.rmtree(final, ignore_errors=True)
    partial.replace(final)
    for older in final.parent.glob(PATTERN):
        if older != final:
            (older / OPTIMIZER).unlink(missing_ok=True)
    return final


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Weights, optimizer state and `state.json` of a checkpoint that training goes on from.

    Raises:
        OSError: it, or a file of it, is missing.
        ValueError: a file is damaged, or only the weights were kept.
    """
    if not (folder / STATE).is_file():
        raise ValueError(
            f"{folder}: no {STATE} to go on from; for its weights alone: --init_ckpt"
        )
    state = read_json(folder / STATE)
    if not (folder / OPTIMIZER).is_file():
        raise ValueError(f"{folder}: no {OPTIMIZER}, which is kept for the newest step only")
    try:
        optimizer = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{folder / OPTIMIZER}: damaged: {error}") from error
    return read_state(folder / "model.safetensors"), optimizer, state
