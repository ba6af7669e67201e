"""Configuration values against annotations: numbers written as text, lists as tuples, choices."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

_SAY_NOTHING = (Any, object, inspect.Parameter.empty)
PLAIN = (bool, int, float, str, Path, list, tuple, dict, Sequence, Mapping, Literal)


def coerce(value: Any, annotation: Any, where: str) -> Any:
    """`value` as the annotated type.

    An integral 5e5 is an int and "1e-4" a float; lists become tuples and text a Path where
    asked for. An annotation that says nothing about configuration values accepts everything.

    Raises:
        ValueError: `where: expected ..., found ...`.
    """
    kind = get_origin(annotation) or annotation
    arguments = get_args(annotation)
    if kind in (Union, types.UnionType):
        return _one_of(value, arguments, annotation, where)
    if kind in (list, Sequence, tuple, set, frozenset):
        return _items(value, kind, arguments, where)
    if kind in (dict, Mapping):
        return _mapping(value, arguments, where)
    if kind is Literal:
        return _choice(value, arguments, where)
    if kind in (None, type(None)):
        return _require(value is None, value, "null", where)
    if kind in _SCALARS:
        return _SCALARS[kind](value, where)
    if (
        isinstance(kind, type)
        and kind not in _SAY_NOTHING
        and not getattr(kind, "_is_protocol", False)
    ):
        return _require(isinstance(value, kind), value, kind.__name__, where)
    return value


def is_data(annotation: Any) -> bool:
    """Whether a parameter so annotated takes its value from a file (not an object)."""
    kind = get_origin(annotation) or annotation
    if kind in (Union, types.UnionType):
        return any(is_data(a) for a in get_args(annotation) if a is not type(None))
    return kind in PLAIN


def unknown(key: str, known: Collection[str], where: str) -> ValueError:
    """The error for a key nobody knows, with the nearest one that is known."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
    return ValueError(f"{where}: unknown key {key!r}, {hint}")


def _require(holds: bool, value: Any, expected: str, where: str) -> Any:
    if not holds:
        raise ValueError(f"{where}: expected {expected}, found {value!r}")
    return value


def _one_of(value: Any, choices: tuple[Any, ...], annotation: Any, where: str) -> Any:
    if value is None and type(None) in choices:
        return None
    for choice in choices:
        try:
            return coerce(value, choice, where)
        except ValueError as error:
            reason = error
    if len([c for c in choices if c is not type(None)]) == 1 and choices[-1] is type(None):
        return coerce(value, choices[0], where)  # for its message
    raise ValueError(f"{where}: expected {annotation}, found {value!r}") from reason


def _items(value: Any, kind: Any, arguments: tuple[Any, ...], where: str) -> Any:
    _require(isinstance(value, list | tuple), value, "a list", where)
    fixed = kind is tuple and arguments and arguments[-1] is not Ellipsis
    if fixed:
        _require(len(value) == len(arguments), value, f"a list of {len(arguments)}", where)
    annotations = arguments if fixed else [arguments[0] if arguments else Any] * len(value)
    made = [
        coerce(item, a, f"{where}[{i}]")
        for i, (item, a) in enumerate(zip(value, annotations, strict=True))
    ]
    return made if kind is Sequence else kind(made)


def _mapping(value: Any, arguments: tuple[Any, ...], where: str) -> dict[Any, Any]:
    _require(isinstance(value, Mapping), value, "a mapping", where)
    of = arguments[1] if arguments else Any
    return {key: coerce(item, of, f"{where}.{key}") for key, item in value.items()}


def _choice(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    for choice in choices:  # amp_type: 16 is the choice "16"
        if isinstance(choice, str) and not isinstance(value, bool) and str(value) == choice:
            return choice
    near = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    expected = " or ".join(map(repr, choices))
    raise ValueError(f"{where}: expected {expected}, found {value!r}{hint}")


def _number(value: Any, where: str) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{where}: expected a number, found {value!r}") from None
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(_require(numeric, value, "a number", where))


def _whole(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _number(value, where)
    return int(_require(number.is_integer(), number, "a whole number", where))


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    bool: lambda value, where: _require(isinstance(value, bool), value, "true or false", where),
    int: _whole,
    float: _number,
    str: lambda value, where: _require(isinstance(value, str), value, "text", where),
    Path: lambda value, where: Path(_require(isinstance(value, str | Path), value, "text", where)),
}
