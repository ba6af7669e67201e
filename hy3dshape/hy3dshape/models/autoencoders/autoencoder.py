"""The autoencoder as configs name it: clouds to latents, latents to meshes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ... import weights
from .grid import Grid, evaluate_band, evaluate_dense
from .isosurface import Mesh, extract_surface, remove_floaters
from .local import LocalAutoEncoder, LocalField
from .vecset import Field, VecSetAutoEncoder

DECODERS = {"band": evaluate_band, "dense": evaluate_dense}


class CustomShapeVAE(nn.Module):
    """Vector-set autoencoder of signed distance fields.

    Args:
        model_depth, model_dim, num_latents, latent_dim, query_type, bottleneck, norm_eps,
            bottleneck_eps, head_dim: see `VecSetAutoEncoder`.
        surface_size: points a cloud; `encode` takes others too.
        surface_extractor: `mc`, marching cubes.
        architecture: `vecset`, or `local`, a `LocalAutoEncoder` (point queries, normalised).
        pretrained: `ckpt_path` (file or folder), optionally `ckpt_key`, `strip_prefixes`,
            `drop_prefixes` (keys left out), `new_prefixes` (may be missing) and
            `target_submodule`; loaded strictly.
        curved: of a `LocalAutoEncoder`.

    Raises:
        ValueError: an argument or the checkpoint does not fit.
        OSError: there is no such checkpoint.
    """

    def __init__(
        self,
        model_depth: int = 24,
        model_dim: int = 1024,
        surface_size: int = 8192,
        num_latents: int = 1024,
        latent_dim: int = 32,
        query_type: str = "point",
        bottleneck: str = "normalized",
        surface_extractor: str = "mc",
        pretrained: Mapping[str, Any] | None = None,
        norm_eps: float = 1e-5,
        bottleneck_eps: float = 1e-6,
        head_dim: int = 64,
        architecture: str = "vecset",
        curved: bool = False,
    ) -> None:
        super().__init__()
        if surface_extractor != "mc":
            raise ValueError(f"surface_extractor {surface_extractor!r}: expected 'mc'")
        self.surface_size = surface_size
        self.latent_shape = (num_latents, latent_dim)
        self.autoencoder: VecSetAutoEncoder | LocalAutoEncoder
        sizes = (model_depth, model_dim, num_latents, latent_dim)
        if architecture == "vecset" and not curved:
            self.autoencoder = VecSetAutoEncoder(
                *sizes, query_type, bottleneck, norm_eps, bottleneck_eps, head_dim
            )
        elif architecture != "local":
            raise ValueError(
                f"architecture {architecture!r}: expected 'vecset' or 'local', 'local' where curved"
            )
        elif (query_type, bottleneck) != ("point", "normalized"):
            raise ValueError("architecture 'local': query_type is point, bottleneck normalized")
        else:
            self.autoencoder = LocalAutoEncoder(
                *sizes, norm_eps, bottleneck_eps, head_dim, curved=curved
            )
        if pretrained is not None:
            self._load(**pretrained)

    def _load(
        self,
        ckpt_path: str,
        ckpt_key: str | None = None,
        strip_prefixes: tuple[str, ...] = ("module.",),
        drop_prefixes: tuple[str, ...] = (),
        new_prefixes: tuple[str, ...] = (),
        target_submodule: str = "autoencoder",
    ) -> None:
        state = weights.strip_prefixes(weights.read_state(ckpt_path, ckpt_key), strip_prefixes)
        state = {k: v for k, v in state.items() if not k.startswith(tuple(drop_prefixes))}
        inner = f"{target_submodule}."
        if state and all(k.startswith(inner) for k in state):
            state = {k.removeprefix(inner): v for k, v in state.items()}
        module = self.get_submodule(target_submodule)
        weights.load_strict(module, state, str(ckpt_path), tuple(new_prefixes))

    def encode(self, surface: Tensor, num_latents: int | None = None, refine: int = 0) -> Tensor:
        """Latents of clouds in the unit sphere, (b, n, 3) -> (b, m, c).

        Args:
            refine: steps of `LocalAutoEncoder.refine`; ValueError for another architecture.
        """
        latents = self.autoencoder.encode(surface[..., :3], num_latents)[0]
        if refine == 0:
            return latents
        if not isinstance(self.autoencoder, LocalAutoEncoder):
            raise ValueError("refine: needs an autoencoder of architecture 'local'")
        return self.autoencoder.refine(latents, surface[..., :3], refine)

    def decode(self, latents: Tensor) -> Field | LocalField:
        """The signed distance fields of latents (b, m, c)."""
        return self.autoencoder.decode(latents)

    @torch.no_grad()
    def latents2grid(
        self,
        latents: Tensor,
        bounds: float = 1.01,
        resolution: int = 256,
        num_chunks: int = 50_000,
        decode: str = "band",
        level: float = 0.0,
    ) -> list[Grid]:
        """Values of each field minus `level` on a cube grid; see `grid`.

        Args:
            latents: (b, m, c).
            bounds: half the side of the cube.
            resolution: cells an axis.
            num_chunks: points a step, bounds the memory.
            decode: `band`, only near the surface, or `dense`.
            level: iso level.
        """
        fields = self.decode(latents)
        grids = []
        for i in range(len(latents)):

            def query(points: Tensor, field: Field | LocalField = fields.item(i)) -> Tensor:  # noqa: B008
                parts = points.split(num_chunks)
                return torch.cat([field(p[None])[0].float() for p in parts]) - level

            grids.append(DECODERS[decode](query, bounds, resolution, latents.device))
        return grids

    def latents2mesh(
        self,
        latents: Tensor,
        bounds: float = 1.01,
        resolution: int = 256,
        num_chunks: int = 50_000,
        decode: str = "band",
        level: float = 0.0,
        min_piece: float = 0.005,
    ) -> list[Mesh]:
        """A closed mesh of each latent; arguments as for `latents2grid`.

        Args:
            min_piece: pieces of a smaller share of the faces are removed, see `remove_floaters`.

        Raises:
            ValueError: a field has no inside or no outside.
        """
        grids = self.latents2grid(latents, bounds, resolution, num_chunks, decode, level)
        found = (extract_surface(g.values.cpu().numpy(), g.bounds) for g in grids)
        return [remove_floaters(mesh, min_piece) for mesh in found]
