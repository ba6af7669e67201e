"""The small encoder of this repository: a PointNet trained on made shapes and furniture.

After Qi, Su, Mo, Guibas, PointNet, CVPR 2017, arXiv:1612.00593, without its input transforms:
points meet the maximum over all points once; maximum and mean over points make the embedding.
Its weights and card: fpd_eval/weights/pointnet. It is not Uni3D, nor comparable with it.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parents[2] / "weights/pointnet/pointnet.safetensors"
WIDTH = 128  # of the embedding
GROUP = 256  # points the network sees at once


class PointNet(nn.Module):
    """Clouds (B, P, 3) of radius 1 to embeddings (B, 128), and class scores of each task.

    Args:
        tasks: names of the classes by name of the task.
    """

    def __init__(self, tasks: dict[str, list[str]]) -> None:
        super().__init__()
        self.tasks = tasks
        self.own = nn.Sequential(*_layer(3, 64), *_layer(64, 128))
        self.of_whole, self.of_own = nn.Linear(128, 128), nn.Linear(128, 128, bias=False)
        self.joint = nn.Sequential(nn.BatchNorm1d(128), nn.ReLU(), *_layer(128, 256))
        self.out = nn.Sequential(*_layer(512, 256), nn.Linear(256, WIDTH))
        self.heads = nn.ModuleDict({k: nn.Linear(WIDTH, len(v)) for k, v in tasks.items()})

    def forward(self, points: Tensor) -> Tensor:
        b, p, _ = points.shape
        own = self.own(points.flatten(0, 1)).view(b, p, -1)  # (B, P, 128)
        both = self.of_own(own) + self.of_whole(own.amax(1, keepdim=True))
        joint = self.joint(both.flatten(0, 1)).view(b, p, -1)  # (B, P, 256)
        return self.out(torch.cat([joint.amax(1), joint.mean(1)], -1))

    def embed(self, points: Tensor) -> Tensor:
        """(B, 128) of clouds (B, k GROUP, 3): the mean over k groups of points in a row."""
        b, p, _ = points.shape
        if not p or p % GROUP:
            raise ValueError(f"{p} points; expected a multiple of {GROUP}")
        return self(points.reshape(-1, GROUP, 3)).view(b, p // GROUP, WIDTH).mean(1)

    def scores(self, embedding: Tensor, task: str) -> Tensor:
        """(B, classes of the task) logits of embeddings (B, 128)."""
        return self.heads[task](F.relu(embedding))


def _layer(inside: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inside, out), nn.BatchNorm1d(out), nn.ReLU()


def save(model: PointNet, path: Path) -> None:
    """Weights as float16 and the names of the classes, in one safetensors file."""
    from safetensors.torch import save_file

    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(half, path, {"tasks": json.dumps(model.tasks)})


def load(path: Path) -> PointNet:
    """The model in `path`, in eval mode and float32.

    Raises:
        OSError:    the file cannot be read.
        ValueError: it is no file of `save`.
    """
    from safetensors import SafetensorError, safe_open

    path.open("rb").close()  # absent or not readable: an OSError with its name
    try:
        with safe_open(path, "pt") as file:
            tasks = json.loads((file.metadata() or {})["tasks"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model = PointNet(tasks)
        model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        )
    except (SafetensorError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: no weights of the pointnet encoder: {reason}") from error
    return model.eval().requires_grad_(False)
