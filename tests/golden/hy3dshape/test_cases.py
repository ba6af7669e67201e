"""Every reference case of this folder is somebody's."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from golden.hy3dshape.cases import stems

HERE = Path(__file__).parent


def test_every_case_has_a_test() -> None:
    code = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    patterns = re.findall(r'^@cases\("([^"]+)"', code, re.MULTILINE)
    names = stems(HERE)
    assert len(names) > 20
    assert [n for n in names if not any(fnmatch(n, p) for p in patterns)] == []
