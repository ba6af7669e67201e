"""The sampling run: what is planned and not there yet, batch by batch, to files.

A sample depends on its own number and condition, up to the rounding of sums that a batch of another
size brings. So that not even that differs, batches are fixed by the plan and filled up to one size:
a resumed run computes the whole batch of a missing sample again and ends with the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import calibration, cli, files, mesh_files
from .encoding import pick_device
from .manifest import Manifest
from .models.diffusion.flow_matching_sit import Diffuser
from .output_plan import Planned
from .pipelines import CustomFlowMatchingPipeline
from .sampling_flags import Numbers
from .sampling_model import (
    ModelFiles,
    autoencoder_weights,
    described,
    digest,
    load_model,
    read_model_config,
)
from .sampling_plan import ConditionReader, Plan, make_plan, uid_of
from .schedulers import EulerSchedule
from .utils.trainings.checkpoint_rules import resume_step

log = logging.getLogger(__name__)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
Failures = list[dict[str, str]]


def run(args: argparse.Namespace) -> int:
    """Sample as the flags say; the exit code."""
    tree = read_model_config(args.config)
    numbers = Numbers.resolve(tree.get("sampling_common"), vars(args))
    output = _output_kind(tree, args)
    plan = make_plan(tree, args, f".{output}", numbers.guidance_scale)
    reader = ConditionReader(plan, args)
    device = pick_device(args.device)
    dtype = args.dtype or ("bf16" if device.type == "cuda" else "fp32")
    given = ModelFiles(args.config, args.ckpt, args.autoencoder, args.cond_from_ckpt_mode,
                       args.allow_missing_conditioner, not args.no_ema)  # fmt: skip
    settings = {
        **_settings(args, given, tree), **reader.settings(), **asdict(numbers),
        "dtype": dtype, "output": output,
    }  # fmt: skip
    del settings["num_chunks"]
    job = Job(args, plan, reader, numbers, output)
    job.check(settings)
    if job.todo:
        model, scaled = load_model(tree, given)
        model.to(device)
        scale, source = calibration.latent_scale(model, scaled, args, plan.table)
        job.scale = {"value": scale, "from": source}
        model.model.to(DTYPES[dtype])  # distances and images are decoded in their own type
        if args.torch_compile:
            model.model.compile()
    job.begin()
    if job.todo:
        job.sample(model)
    return job.finish()


def _output_kind(tree: dict[str, Any], args: argparse.Namespace) -> str:
    """Suffix of the files without its dot."""
    node = tree["model"]["params"].get("pipeline_cfg") or {}
    image = (node.get("params") or {}).get("pipeline_output") == "image"
    if args.format and (image or args.output_type == "pt"):
        raise ValueError(f"--format {args.format}: the output is no mesh")
    if args.output_type != "pt" and tree["model"]["params"].get("first_stage_config") is None:
        raise ValueError(f"{args.config}: no first_stage_config to decode with; --output_type pt")
    return "pt" if args.output_type == "pt" else "png" if image else args.format or "glb"


def _settings(args: argparse.Namespace, given: ModelFiles, tree: dict[str, Any]) -> dict[str, Any]:
    names = ("seed", "no_ema", "cond_from_ckpt_mode", "z_scale_factor", "auto_z_from_std")
    calibration = (args.calib_latents, args.calib_surface_dir, args.calib_take)
    return {
        **described(tree), **{name: getattr(args, name) for name in names},
        "checkpoint": digest(given.ckpt), "autoencoder": digest(autoencoder_weights(tree, given)),
        "calibration": [str(c) for c in calibration] if args.auto_z_from_std else None,
    }  # fmt: skip


class Job:
    """One run over its share of a plan.

    Attributes:
        todo: out_paths that are missing.
        scale: of latents, `value` and where it is `from`, once the model is loaded.
        stale: run records of other settings, which --overwrite takes the place of.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        plan: Plan,
        reader: ConditionReader,
        numbers: Numbers,
        output: str,
    ) -> None:
        part, parts = cli.parse_shard(args.shard)
        self.args, self.plan, self.reader = args, plan, reader
        self.numbers, self.output, self.out = numbers, output, args.out_dir
        self.items = plan.items[: args.limit][part::parts]
        self.share = f"shard.{part}-of-{parts}" if parts > 1 else ""
        self.failures: Failures = []
        self.todo: set[str] = set()
        self.scale: dict[str, Any] = {}
        self.stale: list[Path] = []

    @property
    def record(self) -> Path:
        """What run record and failures are named after."""
        return self.out / f"{self.share}.json" if self.share else self.out

    def check(self, settings: dict[str, Any]) -> None:
        """Find what is missing, and refuse a folder of other settings.

        Raises:
            ValueError: naming the settings that differ.
        """
        self.settings = json.loads(json.dumps(settings))  # as they are read back
        for record in sorted(self.out.glob("*run.json")):
            there = files.read_json(record)
            if self.args.overwrite and there["settings"] != self.settings:
                self._require_all_anew(record)
                self.stale.append(record)
                continue
            files.require_same(str(record), there["settings"], self.settings)
            self.scale = there.get("latent_scale", {})
        paths = [item.path for item in self.items]
        self.todo = {p for p in paths if self.args.overwrite or not (self.out / p).is_file()}

    def _require_all_anew(self, record: Path) -> None:
        """With --overwrite and other settings no sample of the old ones may stay among the new."""
        planned = {item.path for item in self.plan.items[: self.args.limit]}
        there = {p.relative_to(self.out).as_posix() for p in self.out.rglob(f"[!.]*.{self.output}")}
        if kept := sorted(there - planned):
            raise ValueError(
                f"{record}: made with other settings, and {len(kept)} of its samples would stay, as"
                f" {kept[0]}; remove them or use another --out_dir"
            )

    def begin(self) -> None:
        """Remove what is made anew, note the settings and what exists."""
        self.out.mkdir(parents=True, exist_ok=True)
        for name in self.todo:
            (self.out / name).unlink(missing_ok=True)
        for path in self.out.rglob(f".*.{self.output}"):
            if self._target(path) in self.todo:  # half a file, of a killed run
                path.unlink()
        for record in self.stale:
            record.unlink(missing_ok=True)
        self._write_run()
        manifest: Path | None = self.args.manifest
        if manifest is not None and self.share:
            share = self.share.removeprefix("shard.")
            manifest = manifest.with_name(f"{manifest.stem}.{share}{manifest.suffix}")
        self.manifest = Manifest(manifest, {str(self.out / name) for name in self.todo})
        for item in self.items:
            if item.path not in self.todo:
                self._list(item, True, "")

    def _target(self, temporary: Path) -> str:
        """The out_path that a temporary file of `files.replacing` is for."""
        stem = temporary.stem.removeprefix(".").rpartition(".")[0]
        target = temporary.with_name(f"{stem}.{self.output}")
        return target.relative_to(self.out).as_posix()

    def _write_run(self) -> None:
        missing = len([name for name in self.todo if not (self.out / name).is_file()])
        self.counts = {"asked": len(self.items), "existed": len(self.items) - len(self.todo),
                       "made": len(self.todo) - missing, "missing": missing,
                       "failed": len(self.failures)}  # fmt: skip
        files.write_run(
            self.record, self.settings, self.counts, [self.args.config], ("torch", "trimesh"),
            latent_scale=self.scale,
        )  # fmt: skip

    def sample(self, model: Diffuser) -> None:
        """Make what is missing."""
        from tqdm import tqdm

        pipeline = model.pipeline(EulerSchedule(self.numbers.schedule))
        pipeline.z_scale_factor = self.scale["value"]
        quiet = True if self.args.quiet else None
        with tqdm(total=len(self.todo), unit="sample", disable=quiet) as bar:
            for batch in self._batches():
                started = time.perf_counter()
                items, conditions = self._conditions(batch)
                latents = self._latents(pipeline, items, conditions) if items else ()
                spent = (time.perf_counter() - started) / len(batch)
                for item, latent in zip(items, latents, strict=True):
                    if item.path in self.todo:
                        self._finish_one(pipeline, item, latent, spent)
                bar.update(len([i for i in batch if i.path in self.todo]))

    def _batches(self) -> Iterator[Sequence[Planned]]:
        """Batches of the share in which something is missing."""
        size = self.args.batch_size
        for start in range(0, len(self.items), size):
            batch = self.items[start : start + size]
            if any(item.path in self.todo for item in batch):
                yield batch

    def _conditions(self, batch: Sequence[Planned]) -> tuple[list[Planned], list[Any]]:
        """Items whose condition can be read, with it."""
        items, conditions = [], []
        for item in batch:
            try:
                conditions.append(self.reader.read(item))
            except (OSError, ValueError) as error:
                self._fail(item, "condition", error)
            else:
                items.append(item)
        return items, conditions

    def _latents(
        self, pipeline: CustomFlowMatchingPipeline, items: list[Planned], conditions: list[Any]
    ) -> Tensor:
        """(b, n, c) unscaled latents of b items."""
        size = min(self.args.batch_size, len(self.plan.items))
        places = [*range(len(items)), *[len(items) - 1] * (size - len(items))]
        found: Tensor = pipeline(
            None if self.plan.kind == "uncond" else [conditions[i] for i in places],
            indices=[items[i].index for i in places],
            seed=self.args.seed,
            num_inference_steps=self.numbers.steps,
            guidance_scale=self.numbers.guidance_scale,
            guidance_interval=self.numbers.guidance_interval,
            output_type="latent",
        )
        return found[: len(items)]

    def _finish_one(
        self, pipeline: CustomFlowMatchingPipeline, item: Planned, latent: Tensor, spent: float
    ) -> None:
        started = time.perf_counter()
        try:
            data = self._decode(pipeline, latent)
        except Exception as error:
            self._fail(item, "decode", error)
            return
        mesh_files.write_bytes(self.out / item.path, data)
        self._list(item, True, f"{spent + time.perf_counter() - started:.3f}")

    def _decode(self, pipeline: CustomFlowMatchingPipeline, latent: Tensor) -> bytes:
        """Content of the file of a latent (n, c)."""
        if not latent.isfinite().all():
            raise ValueError("the latents are not finite; try another --dtype")
        if self.output == "pt":
            return mesh_files.tensor_bytes(latent)
        with torch.no_grad():
            if self.output == "png":
                return mesh_files.image_bytes(pipeline.vae.decode(latent[None])[0])
            n = self.numbers
            mesh = pipeline.vae.latents2mesh(
                latent[None], bounds=n.bounds, resolution=n.resolution, level=n.level,
                num_chunks=n.num_chunks, decode=n.decode, min_piece=n.min_piece,
            )[0]  # fmt: skip
        return mesh_files.mesh_bytes(mesh, self.output)

    def _fail(self, item: Planned, stage: str, error: Exception) -> None:
        if item.path not in self.todo:
            return
        expected = isinstance(error, OSError | ValueError)
        log.error("%s: %s", item.path, error, exc_info=None if expected else error)
        self.failures.append({"id": uid_of(self.plan, item), "stage": stage, "error": str(error)})
        self._list(item, False, "")

    def _list(self, item: Planned, made: bool, seconds: str) -> None:
        args, table = self.args, self.plan.table
        step = resume_step(str(args.ckpt))
        self.manifest.add({
            "uid": uid_of(self.plan, item), "out_path": str(self.out / item.path),
            "ok": int(made), **self.reader.told(item),
            "source": "direct" if table is None else str(table.path),
            "csv_row": "" if table is None else item.index, "seed": args.seed,
            "step": "" if step is None else step, "batch_size": args.batch_size,
            "output_type": args.output_type, "dt_sec": seconds,
        })  # fmt: skip

    def finish(self) -> int:
        """Write record and failures, print the result; the exit code."""
        self._write_run()
        files.write_failures(self.record, self.failures)
        counts = self.counts
        print(f"{self.out}: {counts['made']} samples made, {counts['existed']} existed,"
              f" {counts['failed']} failed")  # fmt: skip
        return cli.SOME_FAILED if self.failures else cli.OK
