"""The encoders of embed.py by name: their flags with defaults, and how rows are made."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .batch import Row, Then, Work
from .files import sha256

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Encoder:
    """What a table of embeddings is made of.

    Args:
        settings: what decides the rows; tables are comparable only if these agree.
        work:     importable function from an item to what the encoder reads.
        then:     from what `work` gave for several items to rows, or to texts of what is wrong.
        inputs:   files recorded with their digest.
        packages: distributions recorded with their version.
    """

    settings: dict[str, Any]
    work: Work
    then: Then
    inputs: list[Path] = field(default_factory=list)
    packages: tuple[str, ...] = ("numpy", "trimesh")


@dataclass(frozen=True)
class Kind:
    """An encoder by name: `flags` are those it takes, with defaults; `views`: reads renders."""

    make: Callable[[Options, str, Path], Encoder]
    flags: dict[str, Any]
    views: bool = False


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:1`. Raises ValueError where it is absent."""
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if there else "cpu"
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (name != "cuda" and not number.isdecimal())):
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= there:
        raise ValueError(f"--device {name}: {there or 'no'} CUDA device is there; use --device cpu")
    return torch.device(name)


def row_or_error(embedding: NDArray[np.floating[Any]]) -> Row | str:
    """The row of a unit embedding (d,), or what is wrong with it."""
    if not np.isfinite(embedding).all():
        return "the embedding is not finite; are the weights whole?"
    if abs(float(np.linalg.norm(embedding.astype(np.float64))) - 1) > 1e-3:
        return "the embedding is 0 and has no direction"
    return {"embeddings": embedding.astype(np.float32)}


def _clouds(options: Options, center: str, fill: float, use_colors: bool) -> Work:
    from .embedders.clouds import sample_cloud

    return functools.partial(
        sample_cloud, points=options["points"], seed=options["seed"], center=center,
        color_fill=fill, use_colors=use_colors,
    )  # fmt: skip


def _uni3d(options: Options, device: str, source: Path) -> Encoder:
    from .embedders.uni3d_weights import load_uni3d

    path = options["weights"]
    if path is None:
        raise ValueError(
            "--encoder uni3d needs --weights: a checkpoint of Uni3D (tiny, small, base, large or "
            "giant, from its authors); --encoder pointnet and d2a3 need none"
        )
    variant, model = load_uni3d(path, options["variant"])
    center, fill, colors = (options[k] for k in ("center", "color_fill", "use_colors"))
    settings = {
        "encoder": f"uni3d-{variant}", "weights": sha256(path), "dtype": options["dtype"],
        "points": options["points"], "seed": options["seed"], "center": center,
        "color_fill": fill, "use_colors": colors, "length": 1,
    }  # fmt: skip
    run = _Uni3DRows(model, pick_device(device), options["dtype"])
    if options["points"] < model.shape.num_group:
        log.warning("--points %s: fewer than the %s groups; groups repeat", options["points"],
                    model.shape.num_group)  # fmt: skip
    packages = ("numpy", "trimesh", "torch")
    return Encoder(settings, _clouds(options, center, fill, colors), run, [path], packages)


class _Uni3DRows:
    """Runs clouds through Uni3D: in batches on a GPU, one by one on a CPU.

    So a row on the CPU does not depend on its batch. With half precision of the trunk, the first
    batch is also computed in float32, and the cosines between both are told.
    """

    def __init__(self, model: Any, device: torch.device, dtype: str) -> None:
        import torch

        self.model, self.device = model.to(device), device
        self.dtype = getattr(torch, dtype)
        self.cast = self.dtype == torch.float32

    def __call__(self, rows: list[Row]) -> list[Row | str]:
        if not self.cast:
            full = self._embed(rows)
            self.model.visual.to(self.dtype)
            self.cast = True
            cosine = (full * self._embed(rows)).sum(1)
            log.warning("trunk in %s: cosine to float32 %.6f on average, %.6f at least (%d shapes)",
                        self.dtype, cosine.mean(), cosine.min(), len(rows))  # fmt: skip
        return [row_or_error(row) for row in self._embed(rows)]

    def _embed(self, rows: list[Row]) -> NDArray[np.float32]:
        import torch
        from torch.nn import functional as F

        step = len(rows) if self.device.type == "cuda" else 1
        found = []
        with torch.inference_mode():
            for start in range(0, len(rows), step):
                points, colors = (
                    torch.from_numpy(np.stack([row[key] for row in rows[start : start + step]]))
                    for key in ("points", "colors")
                )
                out = self.model(points.to(self.device), colors.to(self.device))
                found.append(F.normalize(out, dim=-1).cpu().numpy())
        return np.concatenate(found)


def _pointnet(options: Options, device: str, source: Path) -> Encoder:
    import torch
    from torch.nn import functional as F

    from .embedders import pointnet

    path = options["weights"] or pointnet.WEIGHTS
    if options["points"] % pointnet.GROUP:
        raise ValueError(f"--points {options['points']}: expected a multiple of {pointnet.GROUP}")
    place = pick_device(device)
    model = pointnet.load(path).to(place)

    def rows(given: list[Row]) -> list[Row | str]:
        found = []
        with torch.inference_mode():
            for row in given:
                out = model.embed(torch.from_numpy(row["points"])[None].to(place))
                found.append(row_or_error(F.normalize(out, dim=-1)[0].cpu().numpy()))
        return found

    settings = {
        "encoder": "pointnet", "weights": sha256(path), "points": options["points"],
        "seed": options["seed"], "center": "bbox", "length": 1,
    }  # fmt: skip
    work = _clouds(options, "bbox", 0.0, False)
    return Encoder(settings, work, rows, [path], ("numpy", "trimesh", "torch"))


def _d2a3(options: Options, device: str, source: Path) -> Encoder:
    from .embedders import distributions

    def rows(given: list[Row]) -> list[Row | str]:
        return [row_or_error(distributions.d2a3(row["points"])) for row in given]

    settings = {
        "encoder": "d2a3", "points": options["points"], "seed": options["seed"],
        "bins": distributions.BINS, "length": 1,
    }  # fmt: skip
    return Encoder(settings, _clouds(options, "mean", 0.0, False), rows)


def _views(options: Options, device: str, source: Path) -> Encoder:
    from .embedders import views

    folder = options["weights"]
    if folder is None:
        raise ValueError(f"--encoder views needs --weights: CLIP or DINOv2; {views.ADVICE}")
    model = views.ViewEncoder(folder, pick_device(device))
    files = views.weight_files(folder)
    rendered = views.render_settings(views.list_views(source, None, 1)[0].path)

    def rows(given: list[Row]) -> list[Row | str]:
        return [row_or_error(model(row["views"])) for row in given]

    settings = {
        "encoder": f"views-{model.kind}", "weights": {p.name: sha256(p) for p in files},
        "rendered": rendered, "length": 1,
    }  # fmt: skip
    work = functools.partial(views.read_views, rendered=rendered)
    packages = ("numpy", "pillow", "torch", "transformers")
    return Encoder(settings, work, rows, files, packages)


ENCODERS = {
    "uni3d": Kind(
        _uni3d,
        {"weights": None, "variant": None, "points": 10_000, "color_fill": 0.0, "center": "mean",
         "use_colors": False, "dtype": "float32", "seed": 0},
    ),
    "pointnet": Kind(_pointnet, {"weights": None, "points": 2048, "seed": 0}),
    "d2a3": Kind(_d2a3, {"points": 98_304, "seed": 0}),
    "views": Kind(_views, {"weights": None}, views=True),
}  # fmt: skip
