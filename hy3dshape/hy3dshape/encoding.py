"""Clouds of shapes to latent files, with turned copies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import cli, config, files
from .data.randomness import item_rng
from .data.raw import Floats, read_raw
from .mesh_files import tensor_bytes, write_bytes
from .models.autoencoders.autoencoder import CustomShapeVAE
from .weights import AUTOENCODER_FILE, load_strict, locate, read_state

log = logging.getLogger(__name__)
MESHES = {".obj", ".ply", ".glb", ".gltf", ".off", ".stl"}
SAMPLED = 1  # epoch number of the surface points drawn from a mesh


@dataclass(frozen=True)
class Turns:
    """Copies of a shape.

    Attributes:
        kind:  `none`; `yaw`, copy n turned by n/count of a circle about the up axis; `free`, all
               but the first turned by a rotation drawn from (seed, n, id).
        count: copies a shape.
        up:    y or z.
        seed:  of `free`.
    """

    kind: str = "none"
    count: int = 1
    up: str = "y"
    seed: int = 0

    def names(self, uid: str) -> list[str]:
        """File stems of the copies."""
        return [uid] if self.kind == "none" else [f"{uid}_aug{n}" for n in range(self.count)]

    def matrix(self, uid: str, n: int) -> Floats:
        """(3, 3) for column vectors."""
        if self.kind == "free" and n:
            from scipy.spatial.transform import Rotation

            turn = Rotation.random(rng=item_rng(self.seed, n, uid)).as_matrix()
            return np.asarray(turn, np.float32)
        angle = 2 * np.pi * n / self.count if self.kind == "yaw" else 0.0
        cos, sin = np.cos(angle), np.sin(angle)
        if self.up == "y":
            return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)


def load_autoencoder(path: Path, ckpt: Path | None) -> tuple[CustomShapeVAE, dict[str, Any]]:
    """The autoencoder of a configuration, of the diffusion model or its own training.

    Args:
        path: YAML with `model.params.first_stage_config`.
        ckpt: its weights, those of VecSetX or a checkpoint of this tool; None: `pretrained` of
            the configuration (a path from here or beside it), or `autoencoder.safetensors` there.

    Raises:
        ValueError: there is no autoencoder, no weights, or they do not fit.
    """
    where = "model.params.first_stage_config"
    node: Any = config.load_config(path)
    for key in where.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        raise ValueError(f"{path}: no {where}; expected the configuration of an autoencoder")
    named = (node.get("params", {}).get("pretrained") or {}).get("ckpt_path")
    beside = path.parent / (named or AUTOENCODER_FILE)
    if ckpt is None and beside.exists() and not (named and Path(named).exists()):
        ckpt = beside
    if ckpt is not None:
        node["params"].pop("pretrained", None)
    elif not node.get("params", {}).get("pretrained"):
        raise ValueError(f"{path}: {where} names no pretrained weights; give --ckpt")
    model: CustomShapeVAE = config.build(node, where)
    if ckpt is not None:
        load_strict(model.autoencoder, read_state(ckpt), str(ckpt))
    weights = ckpt or Path(node["params"]["pretrained"]["ckpt_path"])
    return model.eval(), {"autoencoder": node, "weights": files.sha256(locate(weights))}


def list_clouds(path: Path) -> dict[str, Path]:
    """Files by id: npz or meshes of a folder, whose ids are paths below it, or of a shapes.json.

    Raises:
        ValueError: two files have one id, a listed mesh is not upright, or there is none.
    """
    if path.is_file():
        listed = files.read_json(path)
        try:
            rows = {row["id"]: path.parent / row["path"] for row in listed["shapes"]}
            turned = [r for r in listed["shapes"] if "rotation" in r or r.get("up", "y") != "y"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: no list 'shapes' of entries with 'id' and 'path'") from error
        if turned:
            raise ValueError(
                f"{path}: {turned[0]['id']} and {len(turned) - 1} others do not stand along y in"
                " their files; encode samples that prepare_sdf.py, which turns them, has made"
            )
        return rows
    found: dict[str, Path] = {}
    kinds = {".npz"} if any(path.rglob("*.npz")) else MESHES
    for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in kinds):
        uid = file.relative_to(path).with_suffix("").as_posix()
        if (other := found.setdefault(uid, file)) != file:
            raise ValueError(f"{file} and {other}: two files for one id")
    if not found:
        raise ValueError(f"{path}: no .npz and no mesh in it")
    return found


def read_cloud(uid: str, path: Path, count: int) -> Floats:
    """(count, 3) surface points in the unit sphere.

    Raises:
        ValueError: the file cannot be read, or holds too few points or no surface.
    """
    if path.suffix == ".npz":
        points = read_raw(path, distances=False)["surface_points"]
        if len(points) < count:
            raise ValueError(f"{path}: surface_points: {len(points)}, fewer than {count}")
        return points[:count]
    import trimesh

    mesh: Any = trimesh.load(path, force="mesh", process=False)
    if not len(mesh.faces) or not mesh.area > 0:
        raise ValueError(f"{path}: no surface")
    points, _ = trimesh.sample.sample_surface(mesh, count, seed=item_rng(0, SAMPLED, uid))
    corners = mesh.vertices[np.unique(mesh.faces)]
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    radius = np.linalg.norm(corners - centre, axis=1).max()
    return np.asarray((points - centre) / radius, np.float32)


def encode_folder(
    source: Path,
    output: Path,
    config_path: Path,
    ckpt: Path | None,
    turns: Turns,
    num_latents: int | None,
    surface_size: int | None,
    batch_size: int,
    device: str,
    limit: int | None,
    shard: str | None,
    overwrite: bool,
) -> int:
    """Encode what is not there yet; the exit code. Arguments are the flags of the script."""
    from tqdm import tqdm

    part, parts = cli.parse_shard(shard)
    clouds = list(list_clouds(source).items())[:limit][part::parts]
    model, made_of = load_autoencoder(config_path, ckpt)
    model = model.to(pick_device(device))
    size = surface_size or model.surface_size
    settings = {
        **made_of, "turns": asdict(turns),
        "num_latents": num_latents or model.latent_shape[0],
        "surface_size": size,
    }  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    for record in () if overwrite else sorted(output.glob("*run.json")):
        files.require_same(str(output), files.read_json(record)["settings"], settings)
    # a share of the list has its own record and failures
    place = output if parts == 1 else output / f"latents.{part}-of-{parts}.json"
    open_items = [
        (uid, path)
        for uid, path in clouds
        if overwrite or not all((output / f"{n}.pt").is_file() for n in turns.names(uid))
    ]
    failures: list[dict[str, str]] = []
    counts = {"shapes": len(clouds), "existed": len(clouds) - len(open_items)}
    files.write_run(place, settings, counts, packages=("torch",))
    pending: list[tuple[str, Tensor]] = []
    with tqdm(total=len(open_items), unit="shape", disable=None) as bar:
        for uid, path in open_items:
            try:
                cloud = read_cloud(uid, path, size)
            except Exception as error:
                log.exception("%s", uid)
                failures.append({"id": uid, "stage": "encode", "error": str(error)})
            else:
                pending += list(_turned(uid, cloud, turns))
            while len(pending) >= batch_size:
                _write(model, pending[:batch_size], output, num_latents)
                pending = pending[batch_size:]
            bar.update()
        if pending:
            _write(model, pending, output, num_latents)
    counts |= {"encoded": len(open_items) - len(failures), "failed": len(failures)}
    files.write_run(place, settings, counts, packages=("torch",))
    files.write_failures(place, failures)
    done = ", ".join(f"{counts[key]} {key}" for key in ("encoded", "existed", "failed"))
    print(f"{counts['shapes']} shapes: {done}")
    return cli.SOME_FAILED if failures else cli.OK


def _turned(uid: str, cloud: Floats, turns: Turns) -> Iterator[tuple[str, Tensor]]:
    for n, name in enumerate(turns.names(uid)):
        yield name, torch.from_numpy(cloud @ turns.matrix(uid, n).T)


@torch.no_grad()
def _write(
    model: CustomShapeVAE, items: list[tuple[str, Tensor]], output: Path, count: int | None
) -> None:
    device = next(model.parameters()).device
    latents = model.encode(torch.stack([c for _, c in items]).to(device), count).float().cpu()
    for (name, _), latent in zip(items, latents, strict=True):
        write_bytes(output / f"{name}.pt", tensor_bytes(latent))


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:1`. Raises ValueError where it is absent."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if there else "cpu"
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (name != "cuda" and not number.isdecimal())):
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= there:
        raise ValueError(f"--device {name}: {there or 'no'} CUDA device is there; use --device cpu")
    return torch.device(name)
