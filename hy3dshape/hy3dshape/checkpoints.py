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
WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.pt"
SHARDS = "shards"
STATE = "state.json"


def folder_of(out: Path, step: int) -> Path:
    """Where the checkpoint of a step goes."""
    return out / "ckpt" / f"ckpt-step={step:08d}.ckpt"


def newest(out: Path) -> Path | None:
    """The last checkpoint of a run, None if there is none."""
    found = sorted((out / "ckpt").glob(PATTERN), key=lambda p: resume_step(p.name) or 0)
    return found[-1] if found else None


def draft(out: Path, step: int) -> Path:
    """Where the checkpoint of a step is written before `publish`."""
    final = folder_of(out, step)
    return final.with_name(f".{final.name}.partial")


def write(
    folder: Path,
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Any] | None,
    state: Mapping[str, Any],
) -> None:
    """Write the files of a checkpoint into a fresh `folder`.

    Args:
        weights: what `model.safetensors` holds.
        optimizer: state dict, None where the engine saves its own shards.
        state: of `state.json`.
    """
    from safetensors.torch import save_file

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kept = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    save_file(kept, folder / WEIGHTS)
    if optimizer is not None:
        torch.save(optimizer, folder / OPTIMIZER)
    write_json(folder / STATE, state)


def publish(out: Path, step: int) -> Path:
    """Rename the draft of a step and drop what only training needs of older ones; its folder."""
    final = folder_of(out, step)
    shutil.rmtree(final, ignore_errors=True)
    draft(out, step).replace(final)
    for older in final.parent.glob(PATTERN):
        if older != final:
            (older / OPTIMIZER).unlink(missing_ok=True)
            shutil.rmtree(older / SHARDS, ignore_errors=True)
    return final


def find(out: Path, wanted: str | None) -> Path | None:
    """The checkpoint to go on from: None if nothing is there to go on with.

    Args:
        out: folder of the run.
        wanted: a checkpoint's folder, "auto" for the newest of `out`, or None for a new run.

    Raises:
        ValueError: `out` holds another run, or `wanted` is no checkpoint of this program.
        OSError: there is no `wanted`.
    """
    there = newest(out)
    if wanted == "auto":
        return there
    folder = None if wanted is None else Path(wanted)
    if folder is not None:
        _require_checkpoint(folder)
    if there is not None and (folder is None or folder.resolve().parent != there.parent.resolve()):
        raise ValueError(
            f"{out}: holds {there.name} of an earlier run; --ckpt_path auto goes on with it,"
            " another --output_dir starts anew"
        )
    return folder


def _require_checkpoint(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(2, "no such checkpoint", str(folder))
    if (last := newest(folder)) is not None:
        raise ValueError(f"{folder}: the folder of a run; its newest checkpoint is {last}")
    if not (folder / STATE).is_file():
        raise ValueError(
            f"{folder}: no {STATE} in it, so there is no run to go on with; its weights alone"
            " can be had by --init_ckpt"
        )


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Weights, optimizer state ({}: in shards) and `state.json` of a checkpoint to go on from.

    Raises:
        OSError: a file of it is missing.
        ValueError: a file is damaged, or only the weights were kept.
    """
    state = read_json(folder / STATE)
    if (folder / SHARDS).is_dir():
        return read_state(folder / WEIGHTS), {}, state
    if not (folder / OPTIMIZER).is_file():
        raise ValueError(f"{folder}: no {OPTIMIZER}, which is kept for the newest step only")
    try:
        optimizer = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{folder / OPTIMIZER}: damaged: {error}") from error
    return read_state(folder / WEIGHTS), optimizer, state
