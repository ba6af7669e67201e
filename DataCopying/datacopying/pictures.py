"""Views of shapes, as render_views.py writes them, as pictures inside an HTML file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from .files import read_json

_ACROSS = 4  # views side by side


class Views:
    """A folder of rendered shapes, `<id>/views.json` and `<id>/view_00.png` ...

    Args:
        folder: where the renders are.
        views:  how many of each shape to show, spread evenly over those there are.
        tile:   pixels per side of a view in the report.

    Attributes:
        missing: id -> why there is no picture, of every shape asked for and not found.
    """

    def __init__(self, folder: Path, views: int, tile: int) -> None:
        self.folder, self.views, self.tile = folder, views, tile
        self.missing: dict[str, str] = {}

    def strip(self, name: str) -> str | None:
        """Data URI of the views of one shape side by side; None (and noted) when there are none."""
        from PIL import Image

        try:
            return self._strip(name)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self.missing[name] = " ".join(str(error).split())
            return None

    def _strip(self, name: str) -> str:
        from PIL import Image

        chosen = self._chosen(name)
        across = min(len(chosen), _ACROSS)
        down = -(-len(chosen) // across)
        strip = Image.new("RGB", (across * self.tile, down * self.tile), "white")
        for place, path in enumerate(chosen):
            with Image.open(path) as picture:
                small = picture.convert("RGB").resize((self.tile, self.tile), Image.Resampling.BOX)
            strip.paste(small, (place % across * self.tile, place // across * self.tile))
        data = io.BytesIO()
        strip.save(data, "WEBP", quality=82, method=4)
        return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode("ascii")

    def _chosen(self, name: str) -> list[Path]:
        folder = self.folder / name
        if "\0" in name or not folder.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError("the id leads out of the folder of renders")
        if not (folder / "views.json").is_file():
            raise ValueError(f"{folder / 'views.json'}: not there")
        record = read_json(folder / "views.json")
        count = record.get("views") if isinstance(record, dict) else None
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{folder / 'views.json'}: views: expected a number from 1")
        some = min(self.views, count)
        return [folder / f"view_{i * count // some:02d}.png" for i in range(some)]
