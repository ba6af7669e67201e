"""What is to be sampled under which condition, from the flags and the model's configuration."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .checkpoints import STATE
from .data.class_ids import class_number, read_class_ids
from .data.images import crop_view, load_image, pick_view
from .data.tables import Row, Table, read_table
from .output_plan import Kind, Planned, plan_direct, plan_table, require_usable
from .sampling_flags import DIRECT
from .weights import locate

log = logging.getLogger(__name__)
FLAGS = {"text": "text", "image": "image_path", "lvis": "class_id", "gobjaverse": "class_id"}


@dataclass(frozen=True)
class Plan:
    """All samples, in the order of their numbers.

    Attributes:
        kind:  of the conditions; uncond also for guidance 0 without one.
        items: see `Planned`.
        table: of --csv.
        names: of classes, by id.
    """

    kind: Kind
    items: list[Planned]
    table: Table | None
    names: Mapping[int, str]


def model_kind(tree: Mapping[str, Any]) -> Kind:
    """What a model is conditioned on; classes are lvis unless the data set says gobjaverse."""
    node = tree["model"]["params"].get("cond_stage_config") or {}
    kind = (node.get("params") or {}).get("type", "uncond")
    if kind != "class":
        return kind
    data = (tree.get("dataset") or {}).get("params") or {}
    words = (data.get("conditioning_type"), data.get("dataset_type"))
    return "gobjaverse" if "gobjaverse" in words else "lvis"


def make_plan(
    tree: Mapping[str, Any], args: argparse.Namespace, suffix: str, guidance: float
) -> Plan:
    """Plan of the flags.

    Raises:
        ValueError: naming the condition that is missing, empty, unknown, or of another kind than
            the model's; nothing stands in for it.
    """
    kind = model_kind(tree)
    ids = _class_ids(tree, args) if kind == "lvis" else {}
    names = {number: name for name, number in ids.items()}
    if args.csv is not None:
        table = read_table(args.csv)
        return Plan(kind, _plan_table(table, kind, ids, tree, args, suffix), table, names)
    given = next((name for name in DIRECT if getattr(args, name) is not None), None)
    if given is None and kind != "uncond" and guidance == 0:
        kind = "uncond"
    if given != FLAGS.get(kind):
        wanted = f"--{FLAGS[kind]}" if kind in FLAGS else "no condition"
        hint = " (or --guidance_scale 0, for none)" if given is None else f", not --{given}"
        raise ValueError(f"{args.config}: a model of kind {kind}; give {wanted}{hint}")
    value = _direct_value(kind, ids, args)
    _check_class(tree, value, "--class_id")
    return Plan(kind, plan_direct(kind, value, args.num_samples, suffix), None, names)


def _direct_value(kind: Kind, ids: Mapping[str, int], args: argparse.Namespace) -> Any:
    if kind == "text":
        if not args.text.strip():
            raise ValueError("--text: the caption is empty")
        return args.text
    if kind == "image":
        _check_strip(args)
        return str(args.image_path)
    if kind == "uncond":
        return None
    word = args.class_id
    if word.isdecimal() and word not in ids:
        return int(word)
    if not ids:
        raise ValueError(f"--class_id {word}: names need --lvis_mapping_json; or give the number")
    return class_number(word, ids)


def _check_strip(args: argparse.Namespace) -> None:
    """Raise where the views cannot be cut, and say so where they look wrong."""
    path, views = args.image_path, args.image_views
    strip = load_image(path)
    try:
        width, height = crop_view(strip, views, 0).size
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if width > 3 * height:
        log.warning("%s: %d views of %d x %d pixels; of one image: --image_views 1",
                    path, views, width, height)  # fmt: skip


def _plan_table(
    table: Table,
    kind: Kind,
    ids: Mapping[str, int],
    tree: Mapping[str, Any],
    args: argparse.Namespace,
    suffix: str,
) -> list[Planned]:
    column = ""
    if kind == "text":
        column = table.caption_column(args.caption_column)
    elif kind != "uncond":
        required = {"image": "view_path", "lvis": "lvis_category", "gobjaverse": "class_id"}
        table.require(required[kind])
    if kind == "lvis" and not ids:
        raise ValueError(f"{table.path}: classes by name need --lvis_mapping_json")
    plan = plan_table(table.rows, kind, suffix, ids, column, args.empty_caption)
    require_usable(plan, table.rows, str(table.path))
    for item in plan if kind == "gobjaverse" else ():
        _check_class(tree, item.condition, f"{table.path}: row {item.index}: class")
    return plan


def _class_ids(tree: Mapping[str, Any], args: argparse.Namespace) -> dict[str, int]:
    """Class ids by name, of a file or of the run that made the checkpoint; {} without."""
    named = ((tree.get("dataset") or {}).get("params") or {}).get("class_map")
    folder = args.config.parent
    places = [folder / named, Path(named)] if named else []
    found = [p for p in [*places, folder / "classes.json"] if p.is_file()]
    path = args.lvis_mapping_json or (found[0] if found else None)
    if path is None:
        path = locate(Path(args.ckpt)).with_name(STATE)
        state = files.read_json(path) if path.is_file() else {}
        return dict(state.get("conditions", {}).get("class_ids", {}))
    ids = read_class_ids(path)
    count = _class_count(tree)
    if len(ids) != count or max(ids.values()) != count - 1:
        raise ValueError(
            f"{path}: {len(ids)} classes up to number {max(ids.values())}, but the model has"
            f" {count}; its own numbers are needed"
        )
    return ids


def _check_class(tree: Mapping[str, Any], value: Any, where: str) -> None:
    if isinstance(value, int) and value >= (count := _class_count(tree)):
        raise ValueError(f"{where} {value}: the model has {count} classes, 0 to {count - 1}")


def _class_count(tree: Mapping[str, Any]) -> int:
    count = tree["model"]["params"]["cond_stage_config"]["params"].get("num_classes")
    if not isinstance(count, int):
        raise ValueError(f"cond_stage_config.params.num_classes: expected a number, found {count}")
    return count


class ConditionReader:
    """Conditions of planned samples as the conditioner takes them."""

    def __init__(self, plan: Plan, args: argparse.Namespace) -> None:
        self.plan, self.args = plan, args

    def read(self, item: Planned) -> Any:
        """Caption, class id, or image. Raises OSError, ValueError naming an unreadable image."""
        if self.plan.kind != "image":
            return item.condition
        path, args = self.path(item), self.args
        try:
            return crop_view(load_image(path), args.image_views, self.view(item))
        except ValueError as error:
            raise ValueError(
                str(error) if str(path) in str(error) else f"{path}: {error}"
            ) from error

    def path(self, item: Planned) -> Path:
        """File of an image; a table's are relative to it."""
        folder = self.plan.table.path.parent if self.plan.table is not None else Path()
        return folder / str(item.condition)

    def view(self, item: Planned) -> int:
        """Number of the view."""
        args = self.args
        return pick_view(args.image_views, args.image_pick, args.image_index, args.seed, item.index)

    def told(self, item: Planned) -> dict[str, Any]:
        """Columns `cond_type`, `cond_id` and `cond_text` of the manifest."""
        kind, value = self.plan.kind, item.condition
        if kind == "image":
            ids: Any = (self.view(item), str(self.path(item)))
        elif isinstance(value, int):
            ids = (value, self.plan.names.get(value, ""))
        else:
            ids = ("", value or "")
        return {"cond_type": kind, "cond_id": ids[0], "cond_text": ids[1]}

    def settings(self) -> dict[str, Any]:
        """What of the conditions decides samples that have the same name."""
        args, kind = self.args, self.plan.kind
        told: dict[str, Any] = {"kind": kind, "text": args.text}
        told["table"] = files.sha256(args.csv) if args.csv else None
        told["caption_column"] = args.caption_column
        told["empty_caption"] = args.empty_caption
        if kind == "image":
            told["image"] = files.sha256(args.image_path) if args.image_path else None
            told["view"] = [args.image_views, args.image_pick, args.image_index]
        return told


def uid_of(plan: Plan, item: Planned) -> str:
    """Name of a sample: its file's stem."""
    return Path(item.path).stem if plan.table is None else _row_uid(plan.table.rows, item)


def _row_uid(rows: list[Row], item: Planned) -> str:
    return rows[item.index].get("model_uid") or f"row{item.index:07d}"
