"""Training and validation sets as the paper's configurations name them (arXiv 2512.23628).

What differs from the paper's tool: nothing is replaced (no constant caption, no other shape for an
unreadable one), class ids of training and validation agree, shapes on both sides are an error, and
every random choice is a function of seed, epoch and shape.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from .class_ids import ids_of, read_class_ids
from .conditions import Conditioning, ConditionOptions, Conditions
from .datasets import LatentSource, RawSource, ShapeDataset, Source
from .images import latent_view
from .latents import Groups, LatentForm, group_latents, shape_form
from .loading import EpochBatches, collate, plainly
from .randomness import item_rng
from .raw import Augmentation, RawOptions
from .subset import SubsetKey, draw, subset
from .tables import Table, read_table

log = logging.getLogger(__name__)
Split = Literal["train", "val"]


class UnifiedDataModule:
    """Latents (`mode: latent`) or surface and SDF samples (`mode: raw`) with conditions.

    Batch keys: `latents` (b, m, c), or `surface` (b, s, 3) with `points` (b, q, 3) and `labels`
    (b, q); `conditioning`, `uid`, `source_path`, `view_idx`.

    Args:
        mode, batch_size, num_workers, prefetch_factor: as their names say.
        train_latent_folder, val_latent_folder: latents, searched with sub-folders; without the
            second, validation reads the first. Likewise dataset_folder and val_dataset_folder.
        train_csv_path, val_csv_path, test_csv_path: tables; the last, which may be absent, only to
            report how many validation shapes it holds.
        dataset_type: with conditioning_type class: where classes come from.
        conditioning_type: class means lvis or gobjaverse, after dataset_type.
        caption_column, empty_caption, max_caption_share: see `ConditionOptions`.
        class_map: JSON {category: id}; default: rank among the categories of the training table.
        image_views: views in the vertical strips of `view_path`.
        max_dataset_size, snapshot_dir, subset_seed: seeded subset of the training set, and where
            it is noted; its seed is its own, so that runs of other seeds see the same shapes.
        num_latents: use only the first so many latent tokens.
        latent_is_image, expect_hw, expect_c, flatten_to_tokens: latents are (c, hw, hw).
        train_view_policy, val_view_policy: which copy: first, center, random, index:k. Default:
            random in training; validation of shapes takes the first.
        surface_size, surface_sampling, sdf_sampling, return_sdf, num_vol_samples,
            num_near_samples: of mode raw; sdf_sampling adds points with labels, return_sdf makes
            the labels distances instead of occupancies.
        augmentation: of mode raw in training; see `random_rotation`.
        seed: of order and items.

    Raises:
        ValueError: on first use of a set, naming file, uid or option.
    """

    def __init__(
        self,
        mode: Literal["latent", "raw"],
        batch_size: int,
        num_workers: int = 4,
        train_latent_folder: str | None = None,
        val_latent_folder: str | None = None,
        dataset_folder: str | None = None,
        val_dataset_folder: str | None = None,
        dataset_type: Literal["objaverse_lvis", "gobjaverse"] = "objaverse_lvis",
        train_csv_path: str | None = None,
        val_csv_path: str | None = None,
        test_csv_path: str | None = None,
        surface_size: int = 8192,
        conditioning_type: Conditioning = "uncond",
        sdf_sampling: bool = False,
        num_vol_samples: int = 1024,
        num_near_samples: int = 1024,
        surface_sampling: bool = True,
        max_dataset_size: int | None = None,
        prefetch_factor: int = 4,
        return_sdf: bool = False,
        snapshot_dir: str | None = None,
        latent_is_image: bool = False,
        expect_hw: int = 32,
        expect_c: int = 16,
        flatten_to_tokens: bool = True,
        train_view_policy: str | None = None,
        val_view_policy: str = "center",
        caption_column: str | None = None,
        empty_caption: str = "error",
        max_caption_share: float = 0.5,
        class_map: str | None = None,
        image_views: int = 12,
        num_latents: int | None = None,
        augmentation: Augmentation = "light",
        subset_seed: int = 0,
        seed: int = 0,
    ) -> None:
        self.mode, self.batch_size, self.seed = mode, batch_size, seed
        self.num_workers, self.prefetch_factor = num_workers, prefetch_factor
        latent = mode == "latent"
        self._folders = {
            "train": train_latent_folder if latent else dataset_folder,
            "val": val_latent_folder if latent else val_dataset_folder,
        }
        self._csv = {"train": train_csv_path, "val": val_csv_path, "test": test_csv_path}
        self._max, self._subset_seed = max_dataset_size, subset_seed
        self._snapshots = snapshot_dir
        self._image, self._tokens, self._class_map = latent_is_image, num_latents, class_map
        self._image_form = LatentForm((expect_c, expect_hw, expect_hw), flatten_to_tokens)
        self._policies = {
            "train": train_view_policy or "random",
            "val": val_view_policy if latent_is_image else "first",
        }
        self._raw = RawOptions(
            surface_size, surface_sampling, sdf_sampling or return_sdf, not return_sdf,
            num_vol_samples, num_near_samples,
        )  # fmt: skip
        self._augmentation = augmentation
        kind = conditioning_type
        if kind == "class":
            kind = "gobjaverse" if dataset_type == "gobjaverse" else "lvis"
        self.kind: Conditioning = kind
        self._captions = (caption_column, empty_caption, max_caption_share)
        self._image_views = image_views
        self._check()

    def _check(self) -> None:
        for policy in self._policies.values():
            latent_view(policy, 1, item_rng(0, 0, ""))
        least = {"num_workers": 0, "prefetch_factor": 1, "batch_size": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name}: expected {lowest} or more, found {getattr(self, name)}")
        if self._max is not None and self._max < 1:
            raise ValueError(f"max_dataset_size: expected 1 or more, found {self._max}")
        if self._folders["train"] is None:
            name = "train_latent_folder" if self.mode == "latent" else "dataset_folder"
            raise ValueError(f"mode {self.mode} needs {name}")

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """Id of each category: of `class_map`, else of the training table for every split."""
        if self.kind != "lvis":
            return {}
        if self._class_map is not None:
            return read_class_ids(Path(self._class_map))
        table = self._table("train")
        if table is None:
            raise ValueError("conditioning_type lvis needs train_csv_path or class_map")
        table.require("lvis_category")
        return ids_of(row["lvis_category"] for row in table.rows)

    @cached_property
    def train(self) -> ShapeDataset:
        """The training set."""
        return self._dataset("train")

    @cached_property
    def val(self) -> ShapeDataset | None:
        """The validation set, None when neither a table nor a folder is given for it."""
        if self._csv["val"] is None and self._folders["val"] is None:
            return None
        made = self._dataset("val")
        shared = sorted(set(made.uids) & set(self.train.uids))
        if shared:
            place = self._csv["val"] or self._folders["val"]
            raise ValueError(
                f"{place}: {len(shared)} of {len(made)} validation shapes are in the training set"
                f" ({', '.join(shared[:3])}); remove them from one side"
            )
        self._report_overlap(made.uids)
        return made

    def _report_overlap(self, uids: Collection[str]) -> None:
        """Say how many validation shapes are test shapes too, as in the published tables."""
        path = self._csv["test"]
        if path is None:
            return
        if not Path(path).exists():
            log.warning("%s: is not there; whether it holds validation shapes is unchecked", path)
            return
        shared = len(set(uids) & read_table(path, ["model_uid"]).by_uid().keys())
        level = logging.WARNING if shared else logging.INFO
        log.log(level, "%s: holds %d of %d validation shapes", path, shared, len(uids))

    def train_batches(
        self, done: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[dict[str, Any]]:
        """Training batches of a process without end, after the `done` it has already seen."""
        batches = EpochBatches(len(self.train), self.batch_size, self.seed, rank=rank, world=world)
        loader = self._loader(self.train, batches)
        number = done * world + rank  # over all processes and epochs
        while True:
            epoch, start = divmod(number, batches.total)
            batches.set_state(epoch, start)
            yield from plainly(loader)
            number += world * len(range(start, batches.total, world))

    def batches_an_epoch(self) -> int:
        """Training batches of all processes in one epoch."""
        return EpochBatches(len(self.train), self.batch_size).total

    def val_batches(self, rank: int = 0, world: int = 1) -> Iterator[dict[str, Any]]:
        """The validation set once, the same every time; nothing without one."""
        if self.val is not None:
            batches = EpochBatches(
                len(self.val), self.batch_size, self.seed, False, False, rank, world
            )
            yield from plainly(self._loader(self.val, batches))

    def _loader(self, dataset: ShapeDataset, batches: EpochBatches) -> DataLoader[Any]:
        images, workers = self.kind == "image", self.num_workers
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0 and batches.shuffle and not images,
            generator=torch.Generator(),  # else every epoch draws from the training's own
            prefetch_factor=(2 if images else self.prefetch_factor) if workers else None,
        )

    def _table(self, split: str) -> Table | None:
        path = self._csv[split]
        return None if path is None else read_table(path, ["model_uid"])

    def condition_options(self, random_view: bool = False) -> ConditionOptions:
        """How conditions are read from this data's tables."""
        column, empty, share = self._captions
        return ConditionOptions(
            self.kind, column, empty, self.class_ids, self._image_views, random_view, share
        )

    def _dataset(self, split: Split) -> ShapeDataset:
        table = self._table(split)
        folder = Path(self._folders[split] or self._folders["train"] or "")
        find = self._latents if self.mode == "latent" else self._samples
        source, there = find(split, folder)
        listed = there if table is None else table.by_uid().keys() & there
        if not listed:
            raise ValueError(f"{folder}: holds no shape of {self._csv[split]}")
        options = self.condition_options(split == "train")
        conditions = Conditions(options, table, self._limited(split, sorted(listed)))
        log.info(
            "%s: %d shapes, %d in %s, %d used",
            folder, len(there), len(listed), self._csv[split], len(conditions.uids),
        )  # fmt: skip
        return ShapeDataset(conditions.uids, source, conditions, self.seed)

    def _limited(self, split: Split, uids: list[str]) -> list[str]:
        if split != "train" or self._max is None or self._max >= len(uids):
            return uids
        if self._csv["train"] is None:
            return draw(uids, self._max, self._subset_seed)
        kind = "latent_img" if self._image else "latent_shape"
        key = SubsetKey(kind, split, self._csv["train"], self._max, self._subset_seed)
        folder = Path(self._snapshots) if self._snapshots else None
        return subset(uids, key, folder, write=os.environ.get("RANK", "0") == "0")

    @cached_property
    def _train_latents(self) -> tuple[Groups, LatentForm]:
        groups = group_latents(Path(self._folders["train"] or ""), self._image)
        return groups, self._image_form if self._image else shape_form(groups, self._tokens)

    def _latents(self, split: Split, folder: Path) -> tuple[Source, Collection[str]]:
        groups, form = self._train_latents
        if folder != Path(self._folders["train"] or ""):
            groups = group_latents(folder, self._image)
        return LatentSource(groups, form, self._policies[split]), groups.keys()

    def _samples(self, split: Split, folder: Path) -> tuple[Source, Collection[str]]:
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder of samples")
        there = {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.npz")}
        augmentation = self._augmentation if split == "train" else "none"
        return RawSource(folder, self._raw, augmentation), there
