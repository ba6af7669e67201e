"""Make a file of grids shape by shape: resumable, parallel, one bad shape costs one row.

The bytes depend on the list, the shapes and the settings alone, and no more than one grid a worker
is ever unpacked. While X is unfinished, `X.journal` lists the finished rows and `X.rows` holds
their bits, so a run that was killed goes on. Rows of an X that exists are taken over if their shape
is still the same.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import Journal, require_same, write_failures, write_run
from .grids import Grids, Packed, read_grids, row_bytes, write_grids, write_npy
from .pool import map_items
from .sources import POINTS, SOLID, Shape, digest, read_points, read_surface
from .voxelise import of_mesh, of_points

log = logging.getLogger(__name__)
Work = Callable[[Shape], tuple[str, Packed]]


class Built(NamedTuple):
    """What became of one file; as text the line for stdout."""

    output: Path
    rows: int
    reused: int
    failed: int

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.output}: not written, all {self.failed} shapes failed"
        return f"{self.output}: {self.rows} shapes ({self.reused} reused, {self.failed} failed)"


def voxelised(shape: Shape, mode: str, resolution: int, stretch: bool) -> tuple[str, Packed]:
    """Digest and packed grid of one shape. Raises ValueError naming its file."""
    try:
        if mode == POINTS:
            grid = of_points(read_points(shape), resolution, stretch)
        else:
            grid = of_mesh(*read_surface(shape), resolution, stretch, mode == SOLID)
    except ValueError as error:
        place = f"{shape.path}: " if str(shape.path) not in str(error) else ""
        raise ValueError(f"{place}{error}") from error
    return digest(shape), np.packbits(grid)


def build(
    shapes: Sequence[Shape],
    output: Path,
    settings: Mapping[str, Any],
    work: Work,
    *,
    workers: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Built:
    """Write the grids of `shapes` to an `.npz` or `.npy`.

    Args:
        settings:  what decides the values, with `resolution`; rows made with others are refused.
        work:      importable function of a shape, or a partial of one, as `voxelised`.
        workers:   processes, 0 = this one.
        overwrite: take nothing over.

    Raises:
        ValueError: the output exists with other settings or is damaged.
        OSError:    it cannot be written.
    """
    known = _Known() if overwrite or not output.exists() else _Known(read_grids(output))
    if known.table:
        require_same(str(output), known.table.settings, settings)
    store = _Store(output, settings, overwrite)
    todo = [shape for shape in shapes if not _is_done(shape, store, known)]
    failures = []
    for place, value, error in map_items(work, todo, workers, output.name, quiet):
        name = todo[place].id
        if error is None:
            store.add(name, *value)  # type: ignore[misc]
        else:
            log.warning("%s: %s", name, error)
            failures.append({"id": name, "stage": "voxels", "error": error})
    failed = {row["id"] for row in failures}
    done = [shape for shape in shapes if shape.id not in failed]
    built = Built(output, len(done), len(shapes) - len(todo), len(failed))
    write_failures(output, failures)
    if done and not _stands(done, store, known):
        _write(output, done, settings, store, known)
        counts = {"items": len(shapes), "rows": built.rows, "failed": built.failed}
        packages = ("numpy", "scipy", "numba", "trimesh", "h5py")
        write_run(output, settings, counts, packages=packages)
    store.finish()
    return built


class _Known:
    """Rows of an output that exists, by id."""

    def __init__(self, table: Grids | None = None) -> None:
        self.table = table
        self.place = {name: i for i, name in enumerate(table.ids)} if table else {}

    def digest(self, name: str) -> str:
        return self.table.sha256[self.place[name]] if self.table and name in self.place else ""

    def row(self, name: str) -> Packed:
        assert self.table is not None
        return self.table.packed[self.place[name]]


class _Store:
    """Finished rows on disk: a journal of (digest, place) beside a file of packed grids.

    A row enters the journal after its bits are written, so a kill costs the row in hand alone.
    """

    def __init__(self, target: Path, settings: Mapping[str, Any], fresh: bool) -> None:
        self.journal = Journal(target.with_name(target.name + ".journal"), settings, fresh)
        self.path = target.with_name(target.name + ".rows")
        self.path.touch()
        self.handle = self.path.open("r+b")
        self.width = row_bytes(settings["resolution"])
        if not self.journal.done:
            self.handle.truncate(0)
        self.count = self.handle.seek(0, 2) // self.width  # a torn row is written over
        done = self.journal.done.items()
        self.journal.done = {name: value for name, value in done if value[1] < self.count}

    def digest(self, name: str) -> str:
        return str(self.journal.done[name][0]) if name in self.journal.done else ""

    def add(self, name: str, digest: str, row: Packed) -> None:
        try:
            self.handle.seek(self.count * self.width)
            self.handle.write(row.tobytes())
            self.handle.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.journal.add(name, [digest, self.count])
        self.count += 1

    def row(self, name: str) -> Packed:
        self.handle.seek(self.journal.done[name][1] * self.width)
        return np.frombuffer(self.handle.read(self.width), np.uint8)

    def finish(self) -> None:
        """Remove the traces of the unfinished output."""
        self.handle.close()
        self.journal.finish()
        self.path.unlink()


def _is_done(shape: Shape, store: _Store, known: _Known) -> bool:
    """Whether a row of this shape exists and the shape is still the same."""
    if not (store.digest(shape.id) or known.digest(shape.id)):
        return False
    try:
        now = digest(shape)
    except (OSError, ValueError):
        return False  # the worker meets it again and names it
    if store.digest(shape.id) not in ("", now):
        del store.journal.done[shape.id]
    return now in (store.digest(shape.id), known.digest(shape.id))


def _stands(done: Sequence[Shape], store: _Store, known: _Known) -> bool:
    """Whether the output already holds just these rows."""
    if known.table is None or any(shape.id in store.journal.done for shape in done):
        return False
    ids, categories = [shape.id for shape in done], [shape.category for shape in done]
    return known.table.ids == ids and known.table.categories == categories


def _write(
    output: Path, done: Sequence[Shape], settings: Mapping[str, Any], store: _Store, known: _Known
) -> None:
    def rows() -> Iterator[Packed]:
        for shape in done:
            yield (store if store.digest(shape.id) else known).row(shape.id)

    digests = [store.digest(shape.id) or known.digest(shape.id) for shape in done]
    write = write_npy if output.suffix == ".npy" else write_grids
    names, categories = [shape.id for shape in done], [shape.category for shape in done]
    write(output, names, categories, rows(), settings, digests)


def work_of(settings: Mapping[str, Any], mode: str, stretch: bool) -> Work:
    """`voxelised` with everything but the shape given."""
    return functools.partial(
        voxelised, mode=mode, resolution=settings["resolution"], stretch=stretch
    )
