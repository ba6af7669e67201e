"""YAML configurations: sections of arguments, checked by name against what takes them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECTIONS: dict[str, dict[str, type]] = {
    "autoencoder": {"channels": list, "latent_channels": int, "resolution": int, "stem": int,
                    "halve_last": bool},
    "network": {"width": int, "multipliers": list, "blocks": int, "attention": list,
                "dropout": float},
    "schedule": {"steps": int, "beta_1": float, "beta_T": float, "kind": str, "prediction": str},
    "training": {"epochs": float, "batch_size": int, "lr": float, "warmup_steps": int,
                 "decay": str, "gradient_clip": float, "ema_decay": float, "precision": str,
                 "save_every": int, "log_every": int, "pos_weight": float, "cfg_dropout": float,
                 "mirror": bool, "half": bool},
}  # fmt: skip
NAMES: dict[type, str] = {
    list: "whole numbers", int: "a whole number", float: "a number", bool: "true or false",
         str: "a text"}  # fmt: skip


def read_config(path: Path | None) -> dict[str, dict[str, Any]]:
    """Every section of a file, {} where it has none; all {} without a file.

    `base:` names another file, relative to this one, whose values stand where this one has none.

    Raises:
        OSError: no such file.
        ValueError: not YAML, an unknown section or key, or a value of another type than its own.
    """
    if path is None:
        return {name: {} for name in SECTIONS}
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: expected sections {', '.join(SECTIONS)}")
    base = tree.pop("base", None)
    made = read_config(path.parent / base if base else None)
    for section, values in tree.items():
        _known(section, SECTIONS, str(path))
        if not isinstance(values, dict):
            raise ValueError(f"{path}: {section}: expected keys and values")
        for key, value in values.items():
            _known(key, SECTIONS[section], f"{path}: {section}")
            made[section][key] = _typed(value, SECTIONS[section][key], f"{path}: {section}: {key}")
    return made


def _known(name: object, names: Mapping[str, object], place: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(str(name), names, 1)
        told = f"did you mean {near[0]!r}?" if near else f"known: {sorted(names)}"
        raise ValueError(f"{place}: unknown key {name!r}; {told}")


def _typed(value: Any, kind: type, place: str) -> Any:
    """The value as `kind`: `1e-4` is a text to YAML, and `no` is false."""
    if kind is str and value is False:
        return "no"
    if kind in (int, float) and isinstance(value, str):
        value = _number(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    fits = isinstance(value, (int, float) if kind is float else kind)
    if kind is list and fits:
        fits = all(type(v) is int for v in value)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{place}: {value!r}: expected {NAMES[kind]}")
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
