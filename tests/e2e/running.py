"""Run an entry script as its own process and see how it ended."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
STAGES = ("data_curation", "retrieval", "DataCopying", "fpd_eval", "hy3dshape", "voxel_ldm")
PATHS = {path.name: path for stage in STAGES for path in (ROOT / stage).glob("*.py")}


class Run(NamedTuple):
    """Exit code (negative: the signal), texts, and the largest memory in MiB."""

    code: int
    out: str
    err: str
    peak: int


def start(script: str, *args: object, largest_file: int | None = None, **more: object):
    """A running script, in a process group of its own; `largest_file` is a limit in bytes."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job inherits it ignored
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, str(PATHS[script]), *map(str, args)]
    return subprocess.Popen(command, start_new_session=True, preexec_fn=prepare, **more)


def run(script: str, *args: object, largest_file: int | None = None) -> Run:
    """Run a script to its end, at most two minutes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(script, *args, largest_file=largest_file, stdout=out, stderr=err)
        ended, peak = 0, 0
        while not ended:
            peak = max(peak, _high_water(process.pid))
            time.sleep(0.01)
            ended, status = os.waitpid(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for handle in (out, err):
            handle.seek(0)
            texts.append(handle.read().decode("utf-8", "replace"))
    return Run(process.returncode, *texts, peak)


def _high_water(pid: int) -> int:
    """MiB a living process has held since it began its program (ru_maxrss counts its parent's)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0
