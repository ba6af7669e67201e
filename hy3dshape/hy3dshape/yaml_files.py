"""YAML configuration files: reading with `base:`, deep merge, overrides, writing.

`base: other.yaml` (the paper writes `base_config:`) names one file or a list of them, relative to
the file that says so. The file is merged onto its bases as in RFC 7396: mappings merge key by
key, everything else replaces, and null removes the key. A node whose `target:` differs from its
base's replaces the whole node, since the other class has other parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .files import write_text

Tree = dict[str, Any]
BASE_KEYS = ("base", "base_config")


def load_config(path: Path | str) -> Tree:
    """Read a YAML file with everything it is based on.

    Raises:
        ValueError: naming the file: not YAML, not a mapping, a key twice in one mapping, a base
                    that leads back to itself.
        OSError:    the file or one of its bases cannot be read.
    """
    return _load(Path(path), ())


def _load(path: Path, trail: tuple[Path, ...]) -> Tree:
    place = path.resolve()
    if place in trail:
        raise ValueError(f"{path}: base: leads in a circle: {' -> '.join(map(str, trail))}")
    tree = _read(path)
    merged: Tree = {}
    for name in _bases(path, tree):
        merged = merge(merged, _load(path.parent / name, (*trail, place)))
    return merge(merged, tree) if merged else tree


def _bases(path: Path, tree: Tree) -> list[str]:
    found: list[str] = []
    for key in BASE_KEYS:
        names = tree.pop(key, [])
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"{path}: {key}: expected a file name, found {names!r}")
        found += names
    return found


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Tree:
    """`patch` onto `base`; neither is changed."""
    made = dict(base)
    for key, value in patch.items():
        old = made.get(key)
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict) and isinstance(old, dict) and not _other_class(old, value):
            made[key] = merge(old, value)
        else:
            made[key] = value
    return made


def _other_class(old: Tree, new: Tree) -> bool:
    return "target" in new and new["target"] != old.get("target")


def override(tree: Mapping[str, Any], settings: Iterable[str]) -> Tree:
    """Merge `key.path=value` settings, the value in YAML, onto a configuration."""
    made = dict(tree)
    for setting in settings:
        path, sign, text = setting.partition("=")
        if not sign or not all(path.split(".")):
            raise ValueError(f"{setting!r}: expected key.path=value")
        patch = _parse(text, setting)
        for key in reversed(path.split(".")):
            patch = {key: patch}
        made = merge(made, patch)
    return made


def write_config(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a configuration as YAML, anchors expanded, keys in order."""
    text = yaml.dump(dict(tree), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
    write_text(path, text)


def _read(path: Path) -> Tree:
    try:
        tree = _parse(path.read_text(encoding="utf-8"), str(path))
        _require_text_keys(tree, str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text at byte {error.start}; is it YAML?") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply, or an anchor holds itself") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: expected a mapping at the top, found {type(tree).__name__}")
    return tree


def _parse(text: str, place: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{place}: not usable YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{place}: not usable YAML: {error}") from error


def _require_text_keys(value: Any, place: str) -> None:
    for key, below in value.items() if isinstance(value, dict) else ():
        if not isinstance(key, str):
            raise ValueError(f"{place}: the key {key!r} is not text; put it in quotes")
        _require_text_keys(below, place)


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that refuses a doubled key and reads 1e-4 as a number, as YAML 1.2 does."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                problem = f"the key {key.value!r} stands twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
