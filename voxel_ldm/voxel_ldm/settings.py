"""YAML configurations: sections of arguments, checked by name against what takes them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECTIONS = {
    "autoencoder": {"channels", "latent_channels", "resolution", "stem", "halve_last"},
    "network": {"width", "multipliers", "blocks", "attention", "dropout"},
    "schedule": {"steps", "beta_1", "beta_T", "kind", "prediction"},
    "training": {"epochs", "batch_size", "lr", "warmup_steps", "decay", "gradient_clip",
                 "ema_decay", "precision", "save_every", "log_every", "pos_weight", "cfg_dropout",
                 "mirror"},
}  # fmt: skip


def read_config(path: Path | None) -> dict[str, dict[str, Any]]:
    """Every section of a file, {} where it has none; all {} without a file.

    `base:` names another file, relative to this one, whose values stand where this one has none.

    Raises:
        OSError: no such file.
        ValueError: not YAML, an unknown section or key, or a value that is no number where the
            name asks for one.
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
            made[section][key] = _number(value)
    return made


def _known(name: object, names: Mapping[str, object] | set[str], place: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(str(name), names, 1)
        told = f"did you mean {near[0]!r}?" if near else f"known: {sorted(names)}"
        raise ValueError(f"{place}: unknown key {name!r}; {told}")


def _number(value: Any) -> Any:
    """`1e-4`, which YAML reads as a text, as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
