"""Configuration: `target:` / `params:` nodes checked against signatures, then built.

The YAML form is the paper's (arXiv 2512.23628): a node {target: dotted name, params: {...}} stands
for a call. A file can come from anywhere, so only names below `ALLOWED` that are defined there are
called, and every node of a file is compared with the signature of its target before anything is
built. Modules are imported only to check or build what names them.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from .coercion import coerce, is_data, unknown
from .training_options import Training
from .yaml_files import load_config, merge, override, write_config

__all__ = ["Training", "build", "check", "load_config", "merge", "override", "write_config"]

ALLOWED = (
    "hy3dshape.models.",
    "hy3dshape.data.",
    "hy3dshape.utils.trainings.",
    "hy3dshape.pipelines.",
    "hy3dshape.schedulers.",
    "torch.optim.",
)
NODE_KEYS = ("target", "params", "ode_params")
FROM_PROGRAM = ("params", "max_decay_steps")  # numbers and lists that no file can hold


def build(node: Mapping[str, Any], /, where: str = "", **extra: Any) -> Any:
    """Call the target of a node with its params and `extra`, which wins over the file.

    Args:
        node:  {target: dotted name, params: {name: value}}.
        where: place of the node in the file, for messages, for example "model".
        extra: arguments that only the program has (modules, parameters, step counts).

    Raises:
        ValueError: naming the place: target not allowed or absent, a key unknown, missing or of
                    the wrong type; nodes further down are checked too.
    """
    check(node, where)
    target = resolve(node["target"], where)
    params = _arguments(node, target, where)
    missing = [n for n, p in _parameters(target).items() if _required(p)]
    missing = [name for name in missing if name not in params and name not in extra]
    if missing:
        raise ValueError(f"{_at(where, 'params')}: missing {', '.join(missing)} of {_name(target)}")
    for name in extra:
        _known(name, target, where)
    return target(**{**params, **extra})


def check(tree: Any, where: str = "") -> None:
    """Compare every node of a configuration with the signature of its target.

    Raises:
        ValueError: for the first wrong node, naming its place in the file.
    """
    for place, node in nodes(tree, where):
        check_node(node, place)


def check_node(node: Mapping[str, Any], where: str) -> None:
    """`check` of one node without those below it."""
    target = resolve(node["target"], where)
    params = _arguments(node, target, where)
    for name, parameter in _parameters(target).items():
        if name in params or name in FROM_PROGRAM or not _required(parameter):
            continue
        if is_data(parameter.annotation):
            raise ValueError(f"{_at(where, 'params')}: missing {name} of {_name(target)}")


def nodes(tree: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every (place, node) that has a target, outer ones first."""
    if isinstance(tree, Mapping):
        if "target" in tree:
            yield where, tree
        for key, below in tree.items():
            yield from nodes(below, _at(where, key))
    elif isinstance(tree, list | tuple):
        for index, below in enumerate(tree):
            yield from nodes(below, f"{where}[{index}]")


def resolve(name: Any, where: str = "") -> Any:
    """The class or function that a target names. Raises ValueError."""
    place = _at(where, "target")
    if not isinstance(name, str) or not name.startswith(ALLOWED):
        raise ValueError(f"{place}: {name!r} is not allowed; expected a name below {ALLOWED}")
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"{place}: {name!r}: there is no module {error.name}") from error
    found = vars(module).get(attribute)
    callables = [n for n, v in vars(module).items() if _own(v) and not n.startswith("_")]
    if attribute not in callables:
        raise unknown(attribute, callables, f"{place}: {name!r}")
    return found


def _own(value: Any) -> bool:
    """Defined below an allowed name, as against imported there (`os.system`)."""
    kind = inspect.isclass(value) or inspect.isfunction(value)
    return kind and f"{value.__module__}.".startswith(ALLOWED)


def _arguments(node: Mapping[str, Any], target: Any, where: str) -> dict[str, Any]:
    """Params of a node, coerced to the annotations of its target."""
    for key in node:
        if key not in NODE_KEYS:
            raise unknown(key, NODE_KEYS, where or "node")
    params = node.get("params")
    params = {} if params is None else params
    place = _at(where, "params")
    if not isinstance(params, Mapping):
        raise ValueError(f"{place}: expected a mapping, found {params!r}")
    made = {}
    for key, value in params.items():
        _known(key, target, where)
        parameter = _parameters(target).get(key)
        annotation = parameter.annotation if parameter else Any
        made[key] = coerce(value, annotation, f"{place}.{key}")
    return made


def _known(key: str, target: Any, where: str) -> None:
    known = _parameters(target)
    kinds = {p.kind for p in inspect.signature(target).parameters.values()}
    if key not in known and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise unknown(key, known, _at(where, "params"))


def _parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Parameters that can be given by name, with evaluated annotations."""
    function = target.__init__ if inspect.isclass(target) else target
    names = _Names(getattr(function, "__globals__", {}))
    signature = inspect.signature(function, locals=names, eval_str=True)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: p for name, p in signature.parameters.items() if p.kind in by_name and name != "self"
    }


class _Names(dict[str, Any]):
    """Names of a module for its annotations; one imported for type checkers alone is Any."""

    def __missing__(self, key: str) -> Any:
        return getattr(builtins, key, Any)


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _name(target: Any) -> str:
    return str(target.__qualname__)


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
