"""Which view of an image strip is taken, against the reference choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from hy3dshape.data.images import crop_view, pick_view


def test_sprite_views(golden: Path) -> None:
    expected = json.loads((golden / "hy3dshape" / "sprite_pick.json").read_text())
    views, height, width = expected["views"], expected["view_height"], expected["width"]
    rows = np.repeat(np.arange(views, dtype=np.uint8), height)  # a view's number as its colour
    strip = Image.fromarray(np.tile(rows[:, None, None], (1, width, 3)))
    for case in expected["cases"]:
        options = {k: case[k] for k in ("pick", "index", "seed")}
        picked = [pick_view(views, **options, item=i) for i in range(len(case["views"]))]
        assert picked == case["views"], case["pick"]
        shown = [np.unique(crop_view(strip, views, v)).tolist() for v in picked]
        assert shown == [[v] for v in case["views"]], case["pick"]
        assert crop_view(strip, views, picked[0]).size == (width, height)
    print(f"sprite_pick: {len(expected['cases'])} policies, 0 views differ, allowed 0")
