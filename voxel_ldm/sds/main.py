"""The reference's place of `sds.py`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    stage = Path(__file__).parents[1]
    sys.path[0] = str(stage)
    runpy.run_path(str(stage / "sds.py"), run_name="__main__")
