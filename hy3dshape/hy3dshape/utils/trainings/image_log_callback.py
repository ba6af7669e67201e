"""Images of the model in training, as files to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...mesh_files import image_bytes, write_bytes
from .previews import first_items, folder_of, label, latents_of

if TYPE_CHECKING:
    from ...training import Trainer

GAP = 2  # pixels between images of a sheet


class ImageLogger:
    """Every so many steps, images under the first conditions of validation.

    They go to `log/{out_dirname}/{split}/gs-{step}_e-{epoch}_b-{batch}/` and, on one sheet, to
    TensorBoard.

    Args:
        step_frequency: steps between; the last step counts too.
        num_samples: images, at most a batch.
        guidance_scale, num_inference_steps, seed: of the sampling.
        save_images: write files; else TensorBoard alone.
        out_dirname: folder below `log`.
        nrow: images in a row of the sheet.
    """

    def __init__(
        self,
        step_frequency: int,
        num_samples: int = 4,
        guidance_scale: float = 5.0,
        save_images: bool = True,
        out_dirname: str = "visuals_img",
        nrow: int = 4,
        num_inference_steps: int = 50,
        seed: int = 0,
    ) -> None:
        if min(step_frequency, num_samples, nrow) < 1:
            raise ValueError("image_logger: step_frequency, num_samples and nrow are 1 or more")
        self.every, self.count, self.nrow = step_frequency, num_samples, nrow
        self._name = out_dirname if save_images else None
        self._sampling = {"guidance_scale": guidance_scale, "seed": seed}
        self._sampling |= {"num_inference_steps": num_inference_steps}

    def __call__(self, run: Trainer, step: int) -> None:
        if step % self.every and step != run.options.steps:
            return
        task: Any = run.task
        split, batch = first_items(run, self.count)
        with torch.no_grad():
            images = task.first_stage_model.decode(latents_of(run, batch, **self._sampling)).cpu()
        whole = sheet(images, self.nrow)
        if run.stats is not None:
            run.stats.board.add_image(f"{split}/samples", whole, step)
        if self._name is None:
            return
        folder = folder_of(run, self._name, split)
        write_bytes(folder / "sheet.png", image_bytes(whole))
        names = batch.get("conditioning", ["sample"] * len(images))
        for i, image in enumerate(images):
            write_bytes(folder / f"{i:02d}_{label(names[i])}.png", image_bytes(image))


def sheet(images: Tensor, nrow: int) -> Tensor:
    """Images (b, 3, h, w) in rows of `nrow` on white: (3, H, W)."""
    images = F.pad(images.float().clamp(0, 1), (0, GAP, 0, GAP), value=1.0)
    missing = -len(images) % nrow
    images = torch.cat([images, images.new_ones(missing, *images.shape[1:])])
    rows = [torch.cat([*row], dim=2) for row in images.split(nrow)]
    return torch.cat(rows, dim=1)
