"""Sets of shapes for the evaluation: one or more files of grids as occupied cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .chamfer import Cells, find_cells, join
from .grids import MADE_BY, read_grids

SPLITS = ("test", "val")


class Shapes(NamedTuple):
    """A set of n shapes.

    paths: files it is from, in order.
    ids:   n unique ids.
    cells: n occupied cells.
    made:  those of the settings MADE_BY that the files have.
    """

    paths: list[Path]
    ids: list[str]
    cells: Cells
    made: dict[str, Any]


def default_reference(folder: Path, category: str) -> list[Path]:
    """Test and validation set of a category. Raises ValueError: one is missing, or there twice."""
    found = []
    for split in SPLITS:
        stem = folder / f"{category}_voxels_{split}"
        both = [p for p in (Path(f"{stem}.npz"), Path(f"{stem}.npy")) if p.is_file()]
        if not both:
            raise ValueError(
                f"{stem}: no .npz or .npy; make it with load_data.py, or give --dataset_path or "
                "--reference"
            )
        if len(both) > 1:
            raise ValueError(f"{both[0]} and {both[1].name}: which? give --reference")
        found += both
    return found


def read_set(paths: Sequence[Path], threshold: float | None = None) -> Shapes:
    """The shapes of all files as one set; ids that stand in several get the names of their files.

    Args:
        threshold: grids are probabilities, occupied above it.

    Raises:
        OSError:    a file cannot be read.
        ValueError: naming the file (and shape): not a set of grids of 0 and 1, an empty shape, or
                    resolutions or settings that differ.
    """
    parts = [_read(path, threshold) for path in paths]
    whole = parts[0]
    for part in parts[1:]:
        check_alike(part, whole)
        paths, made = [*whole.paths, *part.paths], whole.made | part.made
        whole = Shapes(paths, whole.ids + part.ids, join(whole.cells, part.cells), made)
    if len(set(whole.ids)) < len(whole.ids):
        ids = [f"{part.paths[0].stem}/{name}" for part in parts for name in part.ids]
        if len(set(ids)) < len(ids):
            raise ValueError(f"{whole.paths[-1]}: given twice, or files of one name and equal ids")
        whole = whole._replace(ids=ids)
    return whole


def _read(path: Path, threshold: float | None) -> Shapes:
    grids = read_grids(path, threshold)
    try:
        cells = find_cells(grids.packed, grids.resolution, grids.ids)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    made = {key: grids.settings[key] for key in MADE_BY if key in grids.settings}
    return Shapes([path], grids.ids, cells, made)


def check_alike(first: Shapes, second: Shapes) -> None:
    """Raise ValueError if the sets differ in resolution, or in settings that both files have."""
    mine, theirs = first.cells.resolution, second.cells.resolution
    places = f"{first.paths[0]} and {second.paths[0]}"
    if mine != theirs:
        raise ValueError(
            f"{places}: {mine}^3 and {theirs}^3; make both with one --resolution of load_data.py"
        )
    for key in MADE_BY:
        if key in first.made and key in second.made and first.made[key] != second.made[key]:
            raise ValueError(
                f"{places}: made with {key} {first.made[key]!r} and {second.made[key]!r}; their "
                "distances mean nothing; make both alike with load_data.py"
            )
