"""Reading the reference cases: NAME.json (configuration, tolerances) and NAME.npz (arrays)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

Test = TypeVar("Test", bound=Callable[..., None])
INDEX = "index"  # a list of the cases, none itself


@dataclass(frozen=True)
class Case:
    """One reference case; arrays as torch tensors, floating ones as float32."""

    name: str
    info: dict[str, Any]
    weights: dict[str, torch.Tensor]
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]

    def check(self, name: str, found: torch.Tensor) -> None:
        """Assert that `found` is the output `name` within the tolerance of the case."""
        expected = self.outputs[name]
        assert found.shape == expected.shape, f"{name}: {found.shape}, not {expected.shape}"
        error = (found.detach().double() - expected.double()).abs().max().item()
        allowed = self.allowed(name)
        print(f"{self.name} {name}: error {error:.2e}, allowed {allowed:.2e}")
        assert error <= allowed, f"{self.name} {name}: {error:.3e} > {allowed:.3e}"

    def allowed(self, name: str) -> float:
        """The largest absolute error that the case allows for an output."""
        tolerance = self.info["tolerance"]
        if f"out/{name}" in tolerance.get("by_array", {}):
            return float(tolerance["by_array"][f"out/{name}"])
        largest = self.outputs[name].double().abs().max().item()
        return max(float(tolerance["abs"]), float(tolerance.get("rel", 0.0)) * largest)


def cases(pattern: str, without: str = "") -> Callable[[Test], Test]:
    """Run a test with `case` once for every file NAME.json of the folder that fits `pattern`."""

    def mark(test: Test) -> Test:
        vars(test)["cases"] = (pattern, without)
        return test

    return mark


def stems(folder: Path, pattern: str = "*", without: str = "") -> list[str]:
    """Names of the cases in a folder that fit `pattern` and not `without`."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    return [n for n in names if fnmatch(n, pattern) and not fnmatch(n, without) and n != INDEX]


def load_case(folder: Path, name: str) -> Case:
    """Read the case `name` of a folder; weights and floats become float32."""
    info = json.loads((folder / f"{name}.json").read_text())
    groups: dict[str, dict[str, torch.Tensor]] = {"sd": {}, "in": {}, "out": {}}
    if (folder / f"{name}.npz").is_file():
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            for key in arrays.files:
                kind, _, rest = key.partition("/")
                groups[kind][rest] = _tensor(arrays[key])
    return Case(name, info, groups["sd"], groups["in"], groups["out"])


def _tensor(array: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array))
    return tensor.float() if tensor.is_floating_point() else tensor
