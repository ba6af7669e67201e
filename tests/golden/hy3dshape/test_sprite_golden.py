"""Which view of an image strip is taken, against the reference choices."""

from __future__ import annotations

import numpy as np
from golden.hy3dshape.cases import Case, cases
from PIL import Image

from hy3dshape.data.images import crop_view, pick_view


@cases("sprite_pick*")
def test_sprite_views(case: Case) -> None:
    expected = case.info
    views, height, width = expected["views"], expected["view_height"], expected["width"]
    rows = np.repeat(np.arange(views, dtype=np.uint8), height)  # a view's number as its colour
    strip = Image.fromarray(np.tile(rows[:, None, None], (1, width, 3)))
    for row in expected["cases"]:
        options = {k: row[k] for k in ("pick", "index", "seed")}
        picked = [pick_view(views, **options, item=i) for i in range(len(row["views"]))]
        assert picked == row["views"], row["pick"]
        shown = [np.unique(crop_view(strip, views, v)).tolist() for v in picked]
        assert shown == [[v] for v in row["views"]], row["pick"]
        assert crop_view(strip, views, picked[0]).size == (width, height)
    print(f"sprite_pick: {len(expected['cases'])} policies, 0 views differ, allowed 0")
