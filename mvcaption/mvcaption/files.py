"""Atomic files, run records, failure lists and the journal (the same file in every stage).

An output that exists is complete: it is written under a temporary name in its folder and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

STARTED = time.time()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Temporary path beside `path`, renamed onto it when the block succeeds, removed when not.

    Raises:
        OSError: naming `path`, when the folder cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}.", path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary), temporary):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; half a surrogate pair, from a file name that is not text, as JSON escapes it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with one-space indent; NaN and infinity are a ValueError."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises ValueError that names the file and the place, or a doubled key."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text at byte {error.start}; is it JSON?") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"{path}: not usable JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not usable JSON: nested too deeply") from error
    except _DoubledKey as error:
        raise ValueError(
            f"{path}: the key {error} stands twice; the second would hide it"
        ) from None


class _DoubledKey(Exception):
    pass


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _DoubledKey(repr(Counter(name for name, _ in pairs).most_common(1)[0][0]))
    return made


def sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_run(
    output: Path,
    settings: Mapping[str, Any],
    counts: Mapping[str, Any],
    inputs: Iterable[Path] = (),
    packages: Iterable[str] = ("numpy",),
    **more: Any,
) -> None:
    """Write the run record of `output` at `run_path` (formats/run.schema.json).

    Args:
        output:   the file or folder this record is about.
        settings: what decides the result; another run must agree on them to continue.
        counts:   how many items went in, came out, failed.
        inputs:   files read, recorded with their SHA-256.
        packages: distributions whose versions are recorded.
        more:     further keys of the record.
    """
    record = {
        "command": Path(sys.argv[0]).name,
        "argv": sys.argv[1:],
        "settings": dict(settings),
        "counts": dict(counts),
        "inputs": {str(p): sha256(p) for p in inputs},
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
        "seconds": round(time.time() - STARTED, 3),
        **more,
    }
    write_json(run_path(output), record)


def run_path(output: Path) -> Path:
    """`X.run.json` for `X.json`, `X.npz.run.json` for `X.npz`, `X/run.json` for a folder."""
    return _beside(output, "run.json")


def failures_path(output: Path) -> Path:
    """The same for `failures.json`."""
    return _beside(output, "failures.json")


def _beside(output: Path, name: str) -> Path:
    if output.is_dir():
        return output / name
    stem = output.stem if output.suffix == ".json" else output.name
    return output.with_name(f"{stem}.{name}")


def require_same(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ValueError that names each key on which two settings differ."""
    keys = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    if keys:
        rows = ", ".join(f"{k}: there {old.get(k)!r}, here {new.get(k)!r}" for k in keys)
        raise ValueError(
            f"{place}: made with other settings ({rows}); use those, --overwrite or another output"
        )


def write_failures(output: Path, failures: Iterable[Mapping[str, str]]) -> None:
    """Write the failures (id, stage, error) of `output`, or remove the list when nothing failed."""
    path = failures_path(output)
    rows = sorted(failures, key=lambda row: row["id"])
    if rows:
        write_json(path, rows)
    else:
        path.unlink(missing_ok=True)


class Journal:
    """Finished items of an unfinished output, one JSON line each, so that a killed run resumes.

    The first line holds the settings; a torn last line (a kill in mid-write) is dropped.

    Args:
        path:     journal file, removed by `finish`.
        settings: must equal those of an existing journal.
        fresh:    start anew even if a journal exists.

    Raises:
        ValueError: the journal was written with other settings; the differing keys are named.
                    Or it is damaged.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], fresh: bool = False) -> None:
        self.path = path
        self.done: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        if lines:
            try:
                head, *rows = map(json.loads, lines)
                self.done = {str(key): value for key, value in rows}
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{path}: damaged; remove it or use --overwrite, what it lists is lost"
                ) from error
            require_same(str(path), head, json.loads(json.dumps(dict(settings))))
        with replacing(path) as temporary:
            lines = lines or [json.dumps(dict(settings)).encode()]
            temporary.write_bytes(b"\n".join(lines) + b"\n")
        self._handle = path.open("ab")

    def add(self, key: str, value: Any) -> None:
        """Append one finished item; `value` is anything JSON holds."""
        try:
            self._handle.write(json.dumps([key, value]).encode() + b"\n")
            self._handle.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.done[key] = value

    def finish(self) -> None:
        self._handle.close()
        self.path.unlink()
