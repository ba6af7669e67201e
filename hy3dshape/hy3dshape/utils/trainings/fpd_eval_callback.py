"""Samples of the model in training, judged by the other stages: copies, Frechet distance.

Those stages run as processes of their own, found beside this one in the repository.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.class_ids import read_class_ids
from ...data.conditions import Conditioning, Conditions
from ...data.randomness import item_rng
from ...data.tables import read_table
from ...files import read_json, write_json
from ...mesh_files import mesh_bytes, write_bytes
from ...pipelines import half_side
from .previews import latents_of, meshes_of

if TYPE_CHECKING:
    from ...training import Trainer

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[4]
OF_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class ModelEvalFPDCallback:
    """Every so many steps: sample under the conditions of a table, then measure the meshes.

    Logs `metrics/samples` and `metrics/failed`; with `train_lfd` and `test_neighbours`
    `metrics/z_u`, `metrics/auc`, `metrics/flagged` of the data-copying test; and `metrics/fpd_NAME`
    for every encoder. Everything measured stays in `{cache_dir}/step-{step}`.

    Args:
        test_csv: table of held-out shapes whose conditions are used, in its order.
        cache_dir: default `eval` in the output folder.
        n_eval: samples, from the first rows.
        condition_type: what of the table, as for the data module, whose caption column and number
            of views of an image hold here too; lvis_map_json: {category: id}, default the ids of
            the training data.
        heavy_every_n_steps: steps between.
        train_lfd: table of the training shapes by `retrieval/extract_lfd.py`.
        test_neighbours: held-out shapes against it by `retrieval/retrieve.py`.
        encoders: {name: {encoder: d2a3, reference: NPZ, weights: FILE}}; an encoder of
            `fpd_eval/embed.py`, and the embeddings that it gives the training shapes.
        guidance_scale, num_inference_steps, seed, device_batch_size: of the sampling.
        bounds, octree_depth, num_chunks, mc_level: see `CustomFlowMatchingPipeline`.
        workers: processes of the scripts.
    """

    def __init__(
        self,
        test_csv: str,
        cache_dir: str | None = None,
        n_eval: int = 500,
        condition_type: Conditioning = "text",
        lvis_map_json: str | None = None,
        heavy_every_n_steps: int = 10_000,
        train_lfd: str | None = None,
        test_neighbours: str | None = None,
        encoders: Mapping[str, Mapping[str, str]] | None = None,
        guidance_scale: float = 5.0,
        num_inference_steps: int = 50,
        seed: int = 1234,
        device_batch_size: int = 32,
        bounds: float | Sequence[float] = 1.01,
        octree_depth: int = 7,
        num_chunks: int = 50_000,
        mc_level: float = 0.0,
        workers: int = 0,
    ) -> None:
        if (train_lfd is None) != (test_neighbours is None):
            raise ValueError("train_lfd and test_neighbours: give both or neither")
        if min(n_eval, heavy_every_n_steps, device_batch_size) < 1:
            raise ValueError("n_eval, heavy_every_n_steps and device_batch_size are 1 or more")
        self._tables = (train_lfd, test_neighbours)
        self._encoders = {name: dict(e) for name, e in (encoders or {}).items()}
        for name, e in self._encoders.items():
            if not {"encoder", "reference"} <= set(e) <= {"encoder", "reference", "weights"}:
                raise ValueError(
                    f"encoders: {name}: expected encoder, reference and perhaps weights,"
                    f" found {sorted(e)}"
                )
        self.every, self.count, self.batch = heavy_every_n_steps, n_eval, device_batch_size
        self._csv, self._cache, self._kind, self._map = (
            test_csv, cache_dir, condition_type, lvis_map_json,
        )  # fmt: skip
        self._grid = (half_side(bounds), octree_depth, num_chunks, mc_level)
        self._sampling = {"guidance_scale": guidance_scale, "seed": seed}
        self._sampling |= {"num_inference_steps": num_inference_steps}
        self._seed, self._workers = seed, ["--workers", str(workers)]

    def __call__(self, run: Trainer, step: int) -> None:
        if step % self.every and step != run.options.steps:
            return
        folder = Path(self._cache or run.out / "eval") / f"step-{step:08d}"
        shapes, failed = self._sample(run, folder)
        numbers = {"samples": float(shapes), "failed": float(failed)}
        if shapes:
            numbers |= self._copies(folder) | self._distances(folder)
        if run.stats is not None:
            run.stats.add(step, {f"metrics/{k}": v for k, v in numbers.items()})

    def _conditions(self, run: Trainer) -> list[tuple[str, Any]]:
        """(uid, condition) of the rows that are used."""
        table = read_table(self._csv, ["model_uid"])
        data: Any = run.data
        kind: Conditioning = "lvis" if self._kind == "class" else self._kind
        options = replace(data.condition_options(), kind=kind)
        if self._map is not None:
            options = replace(options, class_ids=read_class_ids(Path(self._map)))
        uids = list(table.by_uid())[: self.count]
        found = Conditions(options, table, uids)
        return [(uid, found.of(uid, item_rng(self._seed, 0, uid))) for uid in found.uids]

    def _sample(self, run: Trainer, folder: Path) -> tuple[int, int]:
        """Write meshes and their shapes.json; how many there are, and how many have none."""
        wanted, shapes = self._conditions(run), []
        for start in range(0, len(wanted), self.batch):
            part = wanted[start : start + self.batch]
            indices = range(start, start + len(part))
            batch = {"conditioning": [condition for _, condition in part]}
            latents = latents_of(run, batch, indices=indices, **self._sampling)
            for i, found in zip(indices, meshes_of(run, latents, *self._grid), strict=True):
                if isinstance(found, ValueError):
                    log.warning("%s: no mesh: %s", wanted[i][0], found)
                    continue
                name = f"sample_{i:07d}"
                write_bytes(folder / "meshes" / f"{name}.glb", mesh_bytes(found, "glb"))
                shapes.append({"id": name, "path": f"{name}.glb"})
        write_json(folder / "meshes" / "shapes.json", {"shapes": shapes})
        return len(shapes), len(wanted) - len(shapes)

    def _copies(self, folder: Path) -> dict[str, float]:
        """Numbers of the data-copying test, {} without its tables."""
        train, test = self._tables
        if train is None or test is None:
            return {}
        table, found = folder / "generated.lfd.npz", folder / "generated.neighbours.json"
        result, overwrite = folder / "copies.json", "--overwrite"
        meshes = folder / "meshes" / "shapes.json"
        _run("retrieval/extract_lfd.py", "--input", meshes, "--output", table, overwrite,
             *self._workers)  # fmt: skip
        _run("retrieval/retrieve.py", "--query", table, "--database", train, "--topk", "2",
             "--output", found, overwrite, *self._workers)  # fmt: skip
        _run("DataCopying/datacopying_test.py", found, test, "--missing", "drop",
             "--output", result)  # fmt: skip
        told = read_json(result)
        return {"z_u": told["zu"]["z_u"], "auc": told["zu"]["auc"],
                "flagged": told["excess"]["flagged"]}  # fmt: skip

    def _distances(self, folder: Path) -> dict[str, float]:
        """Frechet distance to the training shapes by each encoder."""
        numbers = {}
        for name, e in self._encoders.items():
            rows = folder / f"{name}.npz"
            weights = ("--weights", e["weights"]) if "weights" in e else ()
            _run("fpd_eval/embed.py", "--input", folder / "meshes" / "shapes.json", "--output",
                 rows, "--encoder", e["encoder"], *weights, "--overwrite",
                 *self._workers)  # fmt: skip
            told = json.loads(_run("fpd_eval/npz_eval.py", e["reference"], rows, "--json",
                                   "--metrics", "fd", "--draws", "0"))  # fmt: skip
            numbers[f"fpd_{name}"] = float(told["metrics"][0]["value"])
        return numbers


def _run(script: str, *args: object) -> str:
    """Standard output of a script of the repository. Raises RuntimeError with its complaint."""
    free = {k: v for k, v in os.environ.items() if k not in OF_LAUNCHER}
    command = [sys.executable, str(ROOT / script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=free)
    if done.returncode not in (0, 3):
        said = (done.stderr.strip().splitlines() or ["said nothing"])[-1]
        raise RuntimeError(f"{script} ended with {done.returncode}: {said}")
    return done.stdout
