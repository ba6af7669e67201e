"""Which sample goes to which file, and under which condition; names are those of the paper's tool.

Direct: `sample_0000000.glb`. Table: `{model_uid}.glb`, `row0000000.glb` without a uid. Classes lie
in `class_{id}/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

Kind = Literal["uncond", "text", "image", "lvis", "gobjaverse"]
Condition = str | int | None
NO_CLASS = -1
SUFFIXES = {"trimesh": ".glb", "pt": ".pt"}


@dataclass(frozen=True)
class Planned:
    """One sample: its row (table) or number (direct), condition, file below the output folder."""

    index: int
    condition: Condition
    path: str


def plan_direct(kind: Kind, value: Condition, count: int, suffix: str = ".glb") -> list[Planned]:
    """`count` samples under one condition."""
    value = None if kind == "uncond" else value
    return [_planned(i, kind, value, f"sample_{i:07d}{suffix}") for i in range(count)]


def plan_table(
    rows: Sequence[Mapping[str, str]],
    kind: Kind,
    suffix: str = ".glb",
    class_ids: Mapping[str, int] | None = None,
    caption_column: str = "cap3d_caption",
    empty_caption: str = "",
) -> list[Planned]:
    """One sample for each row; conditions that a row lacks are "" or -1 (see `require_usable`).

    Args:
        class_ids:     of categories, for kind lvis.
        empty_caption: the caption of a row without one.

    Raises:
        ValueError: a uid that is no file name, or two rows for one file.
    """
    made, taken = [], dict[str, int]()
    for index, row in enumerate(rows):
        condition = _condition(row, kind, class_ids or {}, caption_column)
        condition = empty_caption if kind == "text" and not condition else condition
        uid = row.get("model_uid") or f"row{index:07d}"
        if PurePosixPath(uid).name != uid or "\\" in uid or "\0" in uid:
            raise ValueError(f"row {index}: model_uid {uid!r} is no file name")
        planned = _planned(index, kind, condition, f"{uid}{suffix}")
        if planned.path in taken:
            raise ValueError(f"rows {taken[planned.path]} and {index} both make {planned.path}")
        taken[planned.path] = index
        made.append(planned)
    return made


def require_usable(plan: Sequence[Planned], rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Raise ValueError that names the rows whose condition is empty or of no known class."""
    wrong = [p for p in plan if p.condition in ("", NO_CLASS)]
    if wrong:
        named = ", ".join(
            f"row {p.index} ({rows[p.index].get('model_uid') or 'no uid'}): "
            + (_class_word(rows[p.index]) if p.condition == NO_CLASS else "no condition")
            for p in wrong[:3]
        )
        raise ValueError(
            f"{where}: {len(wrong)} of {len(plan)} rows have no usable condition: {named}"
        )


def _class_word(row: Mapping[str, Any]) -> str:
    return f"unknown class {row.get('lvis_category') or row.get('class_id') or ''!r}"


def _condition(
    row: Mapping[str, str], kind: Kind, class_ids: Mapping[str, int], caption_column: str
) -> Condition:
    match kind:
        case "uncond":
            return None
        case "text":
            return (row.get(caption_column) or "").strip()
        case "image":
            return row.get("view_path") or ""
        case "lvis":
            return class_ids.get(row.get("lvis_category") or "", NO_CLASS)
        case "gobjaverse":
            word = row.get("class_id") or ""
            return int(word) if word.isdecimal() else NO_CLASS


def _planned(index: int, kind: Kind, condition: Condition, name: str) -> Planned:
    classed = kind in ("lvis", "gobjaverse")
    return Planned(index, condition, f"class_{condition}/{name}" if classed else name)
