"""What names in and of a checkpoint mean; facts of the paper's layout (arXiv 2512.23628).

A checkpoint holds `model.*` (denoiser), `cond_stage_model.*` (conditioner),
`first_stage_model.*` (autoencoder) and `z_scale_factor`; launchers put `_forward_module.` or
`module.` in front.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeVar

CLASS_KINDS = ("lvis", "gobjaverse", "class")
WRAPPERS = ("_forward_module.", "module.")

Value = TypeVar("Value")


def resume_step(path: str) -> int | None:
    """Training step in a checkpoint's path: `ckpt-step=00005000`, `checkpoint-25k`, or None."""
    if found := re.search(r"ckpt-step=(\d+)", path):
        return int(found[1])
    found = re.search(r"checkpoint-(\d+)[kK]", path)
    return int(found[1]) * 1000 if found else None


def loads_conditioner(kind: str, mode: Literal["auto", "always", "never"]) -> bool:
    """Whether the conditioner comes from the checkpoint; auto: only the trained class tables."""
    return mode == "always" or (mode == "auto" and kind in CLASS_KINDS)


def bare_key(key: str) -> str:
    """`key` without what launchers put in front."""
    while key.startswith(WRAPPERS):
        key = key.partition(".")[2]
    return key


def part_of(state: Mapping[str, Value], start: str) -> dict[str, Value]:
    """Entries whose keys begin with `start`, without it."""
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
