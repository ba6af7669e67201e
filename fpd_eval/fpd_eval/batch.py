"""Build an NPZ table with one row per mesh: resumable, parallel, one bad mesh costs one row.

The same file in every stage that writes such tables.

The bytes written depend on the list, the mesh files and the settings alone. While a table is
unfinished, `X.npz.journal` lists the finished rows and `X.npz.rows` holds their values, so that a
run that was killed goes on where it was. A row of an existing `X.npz` whose id and mesh digest
still hold is taken over. `--shard i/n` writes `X.i-of-n.npz`; the same command without it takes
over the rows of all such parts, which joins them into `X.npz`.
"""

from __future__ import annotations

import functools
import glob
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from . import cli
from .files import Journal, require_same, sha256, write_failures, write_run
from .meshes import Item
from .pool import Outcome, map_items
from .tables import Table, read_part, write_table

log = logging.getLogger(__name__)
Row = Mapping[str, NDArray[Any]]
Work = Callable[[Item], Row]
Then = Callable[[list[Row]], list[Row | str]]


class Built(NamedTuple):
    """What a run left behind; as text the line for stdout."""

    output: Path
    rows: int
    reused: int
    failed: int

    @property
    def code(self) -> int:
        """Exit code of the run."""
        if self.failed:
            return cli.SOME_FAILED if self.rows else cli.FAILED
        return cli.OK

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.output}: not written, all {self.failed} shapes failed"
        return f"{self.output}: {self.rows} shapes ({self.reused} reused, {self.failed} failed)"


def build_table(
    items: Sequence[Item],
    work: Work,
    kind: str,
    settings: Mapping[str, Any],
    output: Path,
    *,
    shard: str | None = None,
    workers: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
    inputs: Iterable[Path] = (),
    packages: Iterable[str] = ("numpy", "trimesh"),
    then: Then | None = None,
    batch_size: int = 1,
) -> Built:
    """Compute `work(item)` for every item that is not done and write the table.

    Args:
        items:     the items of this shard, in the order of the rows.
        work:      importable function (or a partial of one) from an item to its arrays, of the
                   same shapes and types for every item; what it raises is charged to the item.
        kind:      kind of table (formats/npz.md).
        settings:  what decides the values.
        output:    the .npz file of the whole table.
        shard:     "i/n" when `items` is such a share; the part is named after it.
        workers:   processes, 0 = this one.
        overwrite: take nothing over.
        inputs:    files recorded with their digest.
        packages:  distributions recorded with their version.
        then:      makes the rows of the table, or the error texts of items, from what `work`
                   returned for up to `batch_size` items; runs in this process.

    Raises:
        ValueError: no items, a wrong suffix, or rows that exist were made with other settings.
        OSError:    the output cannot be written.
    """
    if output.suffix != ".npz":
        raise ValueError(f"{output}: expected a name that ends in .npz")
    if not items:
        raise ValueError(f"{output}: no shapes to work on; are there fewer than shards?")
    target = part_path(output, shard)
    known = {} if overwrite else _known_rows(target, output, kind, settings)
    store = _Store(target, {"kind": kind, **settings}, overwrite)
    todo = [item for item in items if not _is_done(item, store, known)]
    digested = functools.partial(_digest_and_work, work)
    outcomes = map_items(digested, todo, workers, kind, quiet)
    failures = _collect(_in_batches(outcomes, then, batch_size) if then else outcomes, todo, store)
    failed = {row["id"] for row in failures}
    done = [item for item in items if item.id not in failed]
    built = Built(target, len(done), len(items) - len(todo), len(failed))
    write_failures(target, failures)
    if done and not _stands(target, done, known, store):
        names, categories = [item.id for item in done], [item.category for item in done]
        arrays, digests = _gather(done, store, known)
        write_table(target, kind, names, categories, arrays, settings, digests)
        counts = {"items": len(items), "rows": built.rows, "failed": built.failed}
        write_run(target, {"kind": kind, **settings}, counts, inputs, packages)
    store.finish()
    return built


def part_path(output: Path, shard: str | None) -> Path:
    """`X.npz` and "1/4" to `X.1-of-4.npz`; without a shard the path itself."""
    if shard is None:
        return output
    part, parts = cli.parse_shard(shard)
    return output.with_name(f"{output.stem}.{part}-of-{parts}.npz")


class _Place(NamedTuple):
    """Where a finished row of an existing table stands."""

    table: Table
    row: int


def _known_rows(
    target: Path, output: Path, kind: str, settings: Mapping[str, Any]
) -> dict[str, _Place]:
    """Rows by id of the target, and of the parts of a sharded run when the target is the whole."""
    paths = [target] if target.exists() else []
    if target == output:
        paths += sorted(output.parent.glob(f"{glob.escape(output.stem)}.*-of-*.npz"))
    known: dict[str, _Place] = {}
    for path in paths:
        table = read_part(path)
        require_same(str(path), {"kind": table.kind, **table.settings}, {"kind": kind, **settings})
        for row, name in enumerate(table.ids):
            known.setdefault(name, _Place(table, row))
    return known


def _is_done(item: Item, store: _Store, known: Mapping[str, _Place]) -> bool:
    """Whether a row of this item exists and its mesh file is still the same."""
    if item.id not in store and item.id not in known:
        return False
    try:
        digest = sha256(item.path)
    except OSError:
        return False  # the worker meets it again and names it
    if store.digest(item.id) == digest:
        return True
    store.forget(item.id)
    place = known.get(item.id)
    return place is not None and place.table.sha256[place.row] == digest


def _collect(
    outcomes: Iterable[Outcome], todo: Sequence[Item], store: _Store
) -> list[dict[str, str]]:
    """Put the rows into the store; the failures as (id, stage, error)."""
    failures = []
    for place, value, error in outcomes:
        name = todo[place].id
        if error is None:
            store.add(name, *cast(tuple[str, Row], value))
        else:
            log.warning("%s: %s", name, error)
            failures.append({"id": name, "stage": store.label, "error": error})
    return failures


def _in_batches(outcomes: Iterable[Outcome], then: Then, size: int) -> Iterator[Outcome]:
    """The outcomes after `then`, applied to `size` of them at a time; failed ones as they are."""
    waiting: list[Outcome] = []
    for outcome in outcomes:
        if outcome.error is not None:
            yield outcome
            continue
        waiting.append(outcome)
        if len(waiting) == size:
            yield from _after(waiting, then)
            waiting = []
    if waiting:
        yield from _after(waiting, then)


def _after(waiting: Sequence[Outcome], then: Then) -> Iterator[Outcome]:
    given = [cast(tuple[str, Row], outcome.value) for outcome in waiting]
    for outcome, (digest, _), made in zip(waiting, given, then([r for _, r in given]), strict=True):
        if isinstance(made, str):
            yield Outcome(outcome.place, None, made)
        else:
            yield Outcome(outcome.place, (digest, made), None)


def _digest_and_work(work: Work, item: Item) -> tuple[str, Row]:
    return sha256(item.path), work(item)


def _stands(target: Path, done: Sequence[Item], known: Mapping[str, _Place], store: _Store) -> bool:
    """Whether the table at `target` already holds just these rows."""
    places = [known.get(item.id) for item in done]
    return all(
        place is not None
        and place.row == i
        and place.table.paths == (target,)
        and len(place.table) == len(done)
        and place.table.categories[i] == item.category
        and item.id not in store
        for i, (item, place) in enumerate(zip(done, places, strict=True))
    )


def _gather(
    done: Sequence[Item], store: _Store, known: Mapping[str, _Place]
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Arrays (n, ...) and digests of the done items, from this run or a table that existed."""
    arrays: dict[str, NDArray[Any]] = {}
    digests: list[str] = []
    row: Row
    for i, item in enumerate(done):
        if item.id in store:
            digest, row = store.digest(item.id), store.row(item.id)
        else:
            table, place = known[item.id]
            digest = table.sha256[place]
            row = {key: array[place] for key, array in table.arrays.items()}
        digests.append(digest)
        for key, value in row.items():
            if key not in arrays:
                arrays[key] = np.empty((len(done), *value.shape), value.dtype)
            whole = arrays[key]
            if value.shape != whole.shape[1:] or value.dtype != whole.dtype:
                raise ValueError(f"{item.id}: {key}: {value.shape}, others {whole.shape[1:]}")
            whole[i] = value
    return arrays, digests


class _Store:
    """Finished rows on disk: a journal of (digest, offset, shapes) beside a file of raw values.

    A row enters the journal after its values are written, so a kill costs the row in hand alone.
    """

    def __init__(self, target: Path, settings: Mapping[str, Any], fresh: bool) -> None:
        self.label = str(settings["kind"])
        self.journal = Journal(target.with_name(target.name + ".journal"), settings, fresh)
        self.path = target.with_name(target.name + ".rows")
        self.handle = self.path.open("a+b" if self.journal.done else "w+b")
        size = self.handle.seek(0, 2)
        whole = {k: v for k, v in self.journal.done.items() if v[1] + _bytes(v[2]) <= size}
        self.journal.done = whole

    def __contains__(self, name: str) -> bool:
        return name in self.journal.done

    def digest(self, name: str) -> str:
        """Digest of the mesh file behind a row, "" when there is none."""
        return str(self.journal.done[name][0]) if name in self else ""

    def forget(self, name: str) -> None:
        self.journal.done.pop(name, None)

    def add(self, name: str, digest: str, row: Row) -> None:
        arrays = {key: np.ascontiguousarray(value) for key, value in row.items()}
        try:
            offset = self.handle.seek(0, 2)
            for array in arrays.values():
                self.handle.write(array.tobytes())
            self.handle.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        shapes = [[key, array.dtype.str, array.shape] for key, array in arrays.items()]
        self.journal.add(name, [digest, offset, shapes])

    def row(self, name: str) -> Row:
        _, offset, shapes = self.journal.done[name]
        self.handle.seek(offset)
        arrays = {}
        for key, dtype, shape in shapes:
            data = self.handle.read(_bytes([(key, dtype, shape)]))
            arrays[key] = np.frombuffer(data, dtype).reshape(shape)
        return arrays

    def finish(self) -> None:
        """Remove the traces of the unfinished table."""
        self.handle.close()
        self.path.unlink()
        self.journal.finish()


def _bytes(shapes: Iterable[tuple[str, str, Sequence[int]]]) -> int:
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for _, dtype, shape in shapes)
