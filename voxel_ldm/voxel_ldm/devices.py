"""The device that is asked for."""

from __future__ import annotations

import os
import re

import torch


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda or cuda:N; of several processes each takes a GPU of its own.

    Raises:
        ValueError: another name, or a device that is not there.
    """
    asked = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if asked is None:
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    number = int(asked[1] or os.environ.get("LOCAL_RANK", 0))
    if number >= there:
        raise ValueError(
            f"--device {name}: CUDA device {number} is not there, {there} are; use --device cpu"
        )
    return torch.device("cuda", number)


def use_accelerator_of(device: torch.device) -> None:
    """Tell Accelerate, before it starts, which device it shall take.

    Without it several processes on a machine without GPU would not know of each other.
    """
    os.environ["ACCELERATE_USE_CPU"] = str(device.type == "cpu").lower()
    if device.type == "cuda":
        torch.cuda.set_device(device)
