"""Flags, exit codes and error lines shared by the entry scripts (the same file in every stage)."""

from __future__ import annotations

import argparse
import functools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

OK, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

_FLAGS: dict[str, dict[str, object]] = {
    "seed": {"type": int, "default": 0, "help": "item i draws from (seed, i) (default 0)"},
    "workers": {"type": int, "default": 0, "help": "CPU processes, 0 = this one (default 0)"},
    "limit": {"type": int, "default": None, "help": "only the first N items of the list"},
    "shard": {"default": None, "metavar": "i/n", "help": "only share i of n, i from 0 to n-1"},
    "overwrite": {"action": "store_true", "help": "compute again what exists"},
    "json": {"action": "store_true", "help": "print the result as JSON on stdout"},
    "device": {"default": "auto", "help": "auto, cpu, cuda or cuda:1 (default auto)"},
}


def parser(doc: str | None, *shared: str) -> argparse.ArgumentParser:
    """Parser of an entry script: `doc` as description, -v/-q, and the `shared` flags by name."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name in shared:
        made.add_argument(f"--{name}", **_FLAGS[name])  # type: ignore[arg-type]
    made.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    made.add_argument("-q", "--quiet", action="store_true", help="only errors on stderr")
    return made


class Entry(Protocol):
    """An entry point; without arguments it reads the command line."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


def guarded(main: Callable[[Sequence[str] | None], int]) -> Entry:
    """Turn OSError and ValueError of an entry script into one line on stderr and exit code 1.

    Ctrl-C likewise, with the exit code that shells give it.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        name = Path(main.__code__.co_filename).name
        try:
            return main(argv)
        except KeyboardInterrupt:
            sys.stderr.write(f"{name}: interrupted\n")
            return INTERRUPTED
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{name}: {_one_line(error)}\n")
            return FAILED

    return run


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def set_up_logging(args: argparse.Namespace) -> None:
    """Log to stderr: warnings by default, everything with -v, errors alone with -q."""
    level = logging.INFO if args.verbose else logging.ERROR if args.quiet else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s: %(message)s")


def parse_shard(text: str | None) -> tuple[int, int]:
    """`"i/n"` to (i, n) with 0 <= i < n; None is the whole, (0, 1). Raises ValueError."""
    if text is None:
        return 0, 1
    parts = text.split("/")
    if len(parts) == 2 and all(p.isdecimal() for p in parts) and int(parts[0]) < int(parts[1]):
        return int(parts[0]), int(parts[1])
    raise ValueError(f"--shard {text}: expected i/n with 0 <= i < n, for example 0/4")
