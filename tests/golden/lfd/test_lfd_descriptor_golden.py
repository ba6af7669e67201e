"""Descriptor bytes against those of the reference program: every byte equal, no tolerance.

Origin: see README.md beside this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.lfd import describe
from retrieval.lfd_cameras import EYES


def _sets(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "lfd").glob("*.npz") if "vertices" in np.load(p).files)


def test_descriptors_equal_the_reference(golden: Path) -> None:
    sets = _sets(golden)
    assert sets, f"{golden}/lfd: no NPZ with meshes and descriptors"
    for path in sets:
        data = np.load(path, allow_pickle=False)
        for k, name in enumerate(data["names"]):
            rows = slice(*data["vertex_offsets"][k : k + 2])
            faces = data["faces"][slice(*data["face_offsets"][k : k + 2])]
            found = describe(data["vertices"][rows].astype(np.float64), faces)
            for key in ("art", "fd", "cir", "ecc"):
                wrong = np.argwhere(found[key] != data[key][k])
                assert not len(wrong), f"{path.name}: {name}: {key} differs at {wrong[:3]}"


def test_cameras_are_those_of_the_reference(golden: Path) -> None:
    for path in _sets(golden):
        assert np.array_equal(EYES, np.load(path)["eyes"])


@pytest.mark.parametrize("key", ["art", "fd"])
def test_the_comparison_can_fail(golden: Path, key: str) -> None:
    data = np.load(_sets(golden)[0])
    cube = data["vertices"][: data["vertex_offsets"][1]].astype(np.float64)
    stretched = describe(cube * [1, 1.01, 1], data["faces"][: data["face_offsets"][1]])
    assert (stretched[key] != data[key][0]).any()
