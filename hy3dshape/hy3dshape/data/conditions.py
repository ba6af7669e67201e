"""What a shape is conditioned on: caption, class id, image or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .images import crop_view, latent_view, load_image
from .tables import Row, Table

Conditioning = Literal["uncond", "text", "class", "lvis", "gobjaverse", "image"]
ERROR, DROP = "error", "drop"


@dataclass(frozen=True)
class ConditionOptions:
    """How conditions are read.

    Attributes:
        kind:           class means lvis (ids of category names) or gobjaverse (`class_id`).
        caption_column: None: the only known one of the table.
        empty_caption:  "error", "drop" the shape, or the caption such shapes get instead.
        class_ids:      id of each category, for lvis.
        image_views:    views in the strip that `view_path` names.
        random_view:    draw one (training), else the middle one.
        max_caption_share: share of the shapes, if ten or more, that may have the same caption: a
            table read by the wrong column gives one caption to all.
    """

    kind: Conditioning
    caption_column: str | None = None
    empty_caption: str = ERROR
    class_ids: Mapping[str, int] | None = None
    image_views: int = 1
    random_view: bool = True
    max_caption_share: float = 0.5


class Conditions:
    """Conditions of the shapes of one table, checked when made.

    Args:
        uids: the shapes that are used; other rows may lack anything.

    Raises:
        ValueError: naming the file and the uid: column missing, caption empty, class unknown.
    """

    def __init__(self, options: ConditionOptions, table: Table | None, uids: Collection[str]):
        self.options = options
        if options.kind != "uncond" and table is None:
            raise ValueError(f"conditioning_type {options.kind!r} needs a CSV table")
        self._values: dict[str, Any] = {}
        if table is not None and options.kind != "uncond":
            rows = table.by_uid()
            column = _column(options, table)
            for uid in uids:
                value = _value(options, table, column, rows[uid])
                if value is not None:
                    self._values[uid] = value
        if options.kind == "text" and table is not None:
            _check_shares(options, table.path, list(self._values.values()))
        self.uids = [u for u in uids if options.kind == "uncond" or u in self._values]

    def of(self, uid: str, rng: np.random.Generator) -> Any:
        """Caption (text), id (class), PIL image (image) or 0 (uncond) of a shape."""
        if self.options.kind == "uncond":
            return 0
        if self.options.kind != "image":
            return self._values[uid]
        views = self.options.image_views
        path = self._values[uid]
        view = latent_view("random" if self.options.random_view else "center", views, rng)
        strip = load_image(path)
        try:
            return crop_view(strip, views, view)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _check_shares(options: ConditionOptions, path: Path, captions: list[str]) -> None:
    if len(captions) < 10:
        return
    text, count = Counter(captions).most_common(1)[0]
    if count > options.max_caption_share * len(captions):
        raise ValueError(
            f"{path}: {count} of {len(captions)} shapes have the caption {text!r:.60}; read "
            "another column with caption_column, or raise max_caption_share"
        )


def _column(options: ConditionOptions, table: Table) -> str:
    if options.kind == "text":
        return table.caption_column(options.caption_column)
    return table.require(
        {"image": "view_path", "gobjaverse": "class_id"}.get(options.kind, "lvis_category")
    )


def _value(options: ConditionOptions, table: Table, column: str, row: Row) -> Any:
    """Condition of a row, None when the row is to be dropped."""
    uid, word = row["model_uid"], row[column].strip()
    where = f"{table.path}: {uid}"
    if options.kind == "text":
        if word:
            return word
        if options.empty_caption == ERROR:
            raise ValueError(f"{where}: {column} is empty; set empty_caption: drop or a caption")
        return None if options.empty_caption == DROP else options.empty_caption
    if not word:
        raise ValueError(f"{where}: {column} is empty")
    if options.kind == "image":
        return table.path.parent / word
    if options.kind == "gobjaverse":
        if not word.isdecimal():
            raise ValueError(f"{where}: {column}: expected a number from 0, found {word!r}")
        return int(word)
    class_ids = options.class_ids or {}
    if word not in class_ids:
        raise ValueError(f"{where}: unknown {column} {word!r}; known: {', '.join(class_ids)}")
    return class_ids[word]
