"""Training and sampling of the latent diffusion model, as the paper's YAML describes it.

Arguments and key names are those of arXiv:2512.23628. A loss is flow matching on scaled latents
plus the experts' balance loss, which is therefore divided and scaled with the rest; the reference
injects it unscaled. An average of the weights counts optimiser steps.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ... import config
from ...coercion import unknown
from ...pipelines import CustomFlowMatchingPipeline
from ...schedulers import EulerSchedule
from ...utils.trainings.checkpoint_rules import bare_key, part_of
from ...weights import load_strict, read_state
from .ema import LitEma
from .transport import Sampler, Transport, create_transport

log = logging.getLogger(__name__)
WHERE = "model.params"
OPTIMIZER_KEYS = (
    "optimizer",
    "scheduler",
    "train_image_encoder",
    "image_encoder_lr",
    "image_encoder_lr_multiply",
    "image_encoder_lr_multiplyer",  # so spelt in the paper's Size/Large.yaml, and meant alike
)
EMA_KEYS = ("ema_model", "ema_decay", "ema_inference")
EMA_MODELS = ("LitEma", "DSEma")  # whole weights on every process, so one class does for both
UNDECAYED = ("bias", "norm.weight", "norm1", "norm2")
ENCODER_DECAY = 0.05
Node = Mapping[str, Any]
Batch = Mapping[str, Any]


class Diffuser(nn.Module):
    """Denoiser, conditioner and autoencoder with their training rules; a `training.Task`.

    Args:
        denoiser_cfg, cond_stage_config, first_stage_config: nodes of `model`, `cond_stage_model`
            (None: no condition) and `first_stage_model` (None: batches hold latents).
        scheduler_cfg: nodes `transport` and `sampler`.
        optimizer_cfg: nodes `optimizer` and `scheduler`; `train_image_encoder` also trains the
            conditioner (what of it is not frozen), at `image_encoder_lr` or at
            lr * `image_encoder_lr_multiply` (1).
        pipeline_cfg: node of the sampling pipeline.
        scale_by_std: latents times 1 / std of the first batches; else times z_scale_factor.
        torch_compile: whether `compile_denoiser` does something.
        ema_config: ema_model, ema_decay, ema_inference (whether `ema_scope` swaps); None: none.
        first_stage_key: what in a batch is encoded when it holds no `latents`.
        cond_stage_key: what in a batch the conditioner takes.
        ckpt_path: weights to start from; ignore_keys: beginnings of keys to leave as they are.
        profile_with_events: without effect; step times are always logged.

    Raises:
        ValueError: an option that does not exist here (lora_config, image_processor_cfg: the
            conditioner prepares images itself), an unknown key, or weights that do not fit.
    """

    def __init__(
        self,
        denoiser_cfg: Node,
        cond_stage_config: Node | None = None,
        first_stage_config: Node | None = None,
        scheduler_cfg: Node | None = None,
        optimizer_cfg: Node | None = None,
        pipeline_cfg: Node | None = None,
        scale_by_std: bool = False,
        z_scale_factor: float = 1.0,
        torch_compile: bool = False,
        ema_config: Node | None = None,
        lora_config: Node | None = None,
        image_processor_cfg: Node | None = None,
        first_stage_key: str = "surface",
        cond_stage_key: str = "conditioning",
        ckpt_path: str | None = None,
        ignore_keys: Sequence[str] = (),
        profile_with_events: bool = False,
    ) -> None:
        super().__init__()
        absent = {"lora_config": lora_config, "image_processor_cfg": image_processor_cfg}
        for name, value in absent.items():
            if value is not None:
                raise ValueError(f"{WHERE}.{name}: there is no such feature; remove the key")
        self._optimizer_cfg = _known(optimizer_cfg, OPTIMIZER_KEYS, "optimizer_cfg")
        self._pipeline_cfg = pipeline_cfg
        self.torch_compile = torch_compile
        self.first_stage_key, self.cond_stage_key = first_stage_key, cond_stage_key
        self.first_stage_model: Any = _build(first_stage_config, "first_stage_config")
        if self.first_stage_model is not None:
            self.first_stage_model.requires_grad_(False).eval()
        self.cond_stage_model: Any = _build(cond_stage_config, "cond_stage_config")
        if self.cond_stage_model is not None and not self._trains_conditioner:
            self.cond_stage_model.requires_grad_(False)
        self.model: Any = _build(denoiser_cfg, "denoiser_cfg")
        self._build_flow(_known(scheduler_cfg, ("transport", "sampler"), "scheduler_cfg"))
        if self.transport.matched_channels and getattr(self.model, "pos_embed", None) is not None:
            raise ValueError(f"{WHERE}: matched_channels needs a denoiser of sets: no use_pos_emb")
        self._build_average(_known(ema_config, EMA_KEYS, "ema_config"))
        self.z_scale_factor: Tensor
        scale = torch.tensor(z_scale_factor, dtype=torch.float32)
        self.register_buffer("z_scale_factor", scale, persistent=scale_by_std)
        self._scale_pending = scale_by_std
        if ckpt_path is not None:
            self.load_weights(read_state(ckpt_path), ckpt_path, ignore_keys)

    def _build_flow(self, cfg: Node) -> None:
        node = cfg.get("transport")
        where = f"{WHERE}.scheduler_cfg"
        self.transport: Transport = (
            config.build(node, f"{where}.transport") if node else create_transport()
        )
        node = cfg.get("sampler")
        self.sampler: Sampler = (
            config.build(node, f"{where}.sampler", transport=self.transport)
            if node
            else Sampler(self.transport)
        )

    def _build_average(self, cfg: Node) -> None:
        self.model_ema: LitEma | None = None
        self.ema_inference = bool(cfg.get("ema_inference", True))
        if cfg:
            kind = str(cfg.get("ema_model", "LitEma")).rpartition(".")[2]
            if kind not in EMA_MODELS:
                raise ValueError(f"{WHERE}.ema_config.ema_model: {kind!r}; known: {EMA_MODELS}")
            self.model_ema = LitEma(self.model, float(cfg.get("ema_decay", 0.9999)))

    # -- training

    def forward(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`training_loss`, so that a data-parallel wrapper sees the whole step."""
        return self.training_loss(batch, generator)

    def training_loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch and its parts.

        Args:
            batch: `latents` (b, n, c), or what `first_stage_key` names (`surface` (b, s, 3),
                `image` (b, 3, h, w)); and conditions under `cond_stage_key`.
            generator: of times, noise and dropped conditions; None: torch's own.

        Returns:
            Scalar to call backward on, and {"simple": flow loss, "balance": of the experts}; in
            eval mode no condition is dropped and the balance is 0.
        """
        if self.training and self._scale_pending:
            self.begin([batch])
        data = self.latents(batch) * self.z_scale_factor
        t = self.transport.sample_times(len(data), data.device, generator)
        where = generator.device if generator is not None else data.device
        noise = torch.randn(data.shape, generator=generator, device=where).to(data)
        noise = self.transport.match(noise, data)
        xt, _ = self.transport.interpolate(noise, data, t)
        dtype = next(self.model.parameters()).dtype
        contexts = {k: v.to(dtype) for k, v in self.contexts(batch, generator).items()}
        prediction = self.model(xt.to(dtype), t, contexts).float()
        simple = self.transport.loss(prediction, noise, data, t).mean()
        balance = self.model.auxiliary_loss()
        return simple + balance, {"simple": simple.detach(), "balance": balance.detach()}

    @torch.no_grad()
    def latents(self, batch: Batch) -> Tensor:
        """(b, n, c) float32 latents of a batch, not scaled.

        Raises:
            ValueError: it has none and nothing to encode, or they do not fit the denoiser.
        """
        if "latents" in batch:
            z = batch["latents"]
        elif self.first_stage_model is None or self.first_stage_key not in batch:
            raise ValueError(
                f"the batch holds {sorted(batch)}; expected 'latents', or '{self.first_stage_key}'"
                " and a first_stage_config"
            )
        else:
            z = self.first_stage_model.encode(batch[self.first_stage_key])
            z = z.flatten(2).transpose(1, 2) if z.ndim == 4 else z  # image (b, c, h, w)
        expected = (self.model.max_seq_len, self.model.in_channels)
        if tuple(z.shape[1:]) != expected:
            raise ValueError(
                f"latents are {tuple(z.shape[1:])}; max_seq_len and in_channels of the denoiser"
                f" say {expected}"
            )
        return z.float()

    def contexts(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Context of a batch, {} without a conditioner."""
        if self.cond_stage_model is None:
            return {}
        if self.cond_stage_key not in batch and self.cond_stage_model.unconditional(1):
            raise ValueError(f"the batch has no '{self.cond_stage_key}'; it holds {sorted(batch)}")
        found = self.cond_stage_model(batch.get(self.cond_stage_key), generator=generator)
        return dict(found)

    @torch.no_grad()
    def begin(
        self, batches: Sequence[Batch], mean: Callable[[Tensor], Tensor] = lambda value: value
    ) -> None:
        """Set the latents' scale from the micro-batches before step 0 of a run from scratch.

        Args:
            batches: micro-batches of the first step; each gives 1 / std of all its numbers.
            mean: over processes. The scale is the mean over micro-batches and processes.

        Raises:
            ValueError: latents that are all alike or not finite.
        """
        if not self._scale_pending:
            return
        scale = mean(torch.stack([1 / self.latents(b).std() for b in batches]).mean())
        if not scale.isfinite():
            raise ValueError("the first latents have no finite spread; encode them again")
        self.z_scale_factor.copy_(scale)
        self._scale_pending = False

    def after_step(self) -> None:
        """An optimiser step has been made."""
        if self.model_ema is not None:
            self.model_ema.update(self.model)

    def train(self, mode: bool = True) -> Diffuser:
        """The autoencoder stays in eval mode."""
        super().train(mode)
        if self.first_stage_model is not None:
            self.first_stage_model.eval()
        return self

    def compile_denoiser(self) -> None:
        """Compile the denoiser in place if the configuration asks for it; keys stay as they are."""
        if self.torch_compile:
            self.model.compile()

    def compile_for(self, device: torch.device) -> None:
        """`compile_denoiser` on a GPU; elsewhere a warning if the configuration asks for it."""
        if device.type == "cuda":
            self.compile_denoiser()
        elif self.torch_compile:
            log.warning("torch_compile: skipped on %s", device.type)

    def leaves_out(self) -> bool:
        """Whether weights get no gradient: those for a context, when there never is one."""
        conditioner = self.cond_stage_model
        never = conditioner is None or not conditioner.unconditional(1)
        return never and self.model.context_dim is not None

    def describe(self) -> dict[str, Any]:
        """What a checkpoint's metadata must say of the conditions; see `MultiConditioner`."""
        return {} if self.cond_stage_model is None else dict(self.cond_stage_model.describe())

    @property
    def _trains_conditioner(self) -> bool:
        return bool(self._optimizer_cfg.get("train_image_encoder", False))

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups for an optimiser of learning rate `lr`: denoiser, then conditioner."""
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.model.parameters() if p.requires_grad], "lr": lr}
        ]
        cfg = self._optimizer_cfg
        factor = cfg.get("image_encoder_lr_multiply", cfg.get("image_encoder_lr_multiplyer", 1.0))
        rate = float(cfg.get("image_encoder_lr") or lr * float(factor))
        named = [] if self.cond_stage_model is None else self.cond_stage_model.named_parameters()
        split: dict[float, list[nn.Parameter]] = {ENCODER_DECAY: [], 0.0: []}
        for name, parameter in named:
            if parameter.requires_grad:
                split[0.0 if any(n in name for n in UNDECAYED) else ENCODER_DECAY].append(parameter)
        groups += [{"params": p, "lr": rate, "weight_decay": d} for d, p in split.items() if p]
        return groups

    def optimizer(self, lr: float) -> torch.optim.Optimizer:
        """The configured optimiser of all that is trained."""
        where = f"{WHERE}.optimizer_cfg.optimizer"
        if "optimizer" not in self._optimizer_cfg:
            raise ValueError(f"{where}: missing; training needs it")
        made: torch.optim.Optimizer = config.build(
            self._optimizer_cfg["optimizer"], where, params=self.parameter_groups(lr), lr=lr
        )
        return made

    def lr_factor(self, steps: int) -> Callable[[int], float]:
        """Factor of the learning rate by optimiser step, in a run of so many steps."""
        node = self._optimizer_cfg.get("scheduler")
        if node is None:
            return lambda step: 1.0
        where = f"{WHERE}.optimizer_cfg.scheduler"
        made: Callable[[int], float] = config.build(node, where, max_decay_steps=steps)
        return made

    # -- weights

    def frozen_prefixes(self) -> tuple[str, ...]:
        """Beginnings of keys that come from elsewhere and that slim checkpoints leave out."""
        conditioner = self.cond_stage_model
        towers = () if conditioner is None else conditioner.frozen_prefixes()
        return ("first_stage_model.", *(f"cond_stage_model.{p}" for p in towers))

    def slim_state(self) -> dict[str, Tensor]:
        """What has been trained, under the keys of a whole checkpoint."""
        frozen = self.frozen_prefixes()
        return {k: v for k, v in self.state_dict().items() if not k.startswith(frozen)}

    def load_slim(self, state: Mapping[str, Tensor], where: str) -> None:
        """Load a checkpoint, slim or whole."""
        self.load_weights(state, where)

    def load_weights(
        self, state: Mapping[str, Tensor], where: str, ignore_keys: Sequence[str] = ()
    ) -> None:
        """Load a checkpoint's weights, ours or of the reference's layout, with launchers' prefixes.

        Frozen parts may be absent. An average starts anew from weights that come without one.

        Args:
            where: place of the checkpoint, for messages.
            ignore_keys: beginnings of keys that stay as they are.

        Raises:
            ValueError: keys that are missing, unexpected or of another shape, all listed.
        """
        own = {bare_key(k): v for k, v in state.items()}
        ignored = tuple(ignore_keys) or ("-",)
        own = {k: v for k, v in own.items() if not k.startswith(ignored)}
        scale = own.pop("z_scale_factor", None)
        if self.cond_stage_model is not None and not "cond_stage_model.".startswith(ignored):
            self.cond_stage_model.load_checkpoint(part_of(own, "cond_stage_model."), where)
        elsewhere = ["cond_stage_model."]
        elsewhere += ["first_stage_model."] if self.first_stage_model is None else []
        elsewhere += ["model_ema."] if self.model_ema is None else []
        own = {k: v for k, v in own.items() if not k.startswith(tuple(elsewhere))}
        parts = ("first_stage_model.", "model_ema.")
        absent = [part for part in parts if not part_of(own, part)]
        load_strict(self, own, where, (*ignored, *elsewhere, *absent, "z_scale_factor"))
        if self.model_ema is not None and "model_ema." in absent:
            self.model_ema.restart(self.model)
        if scale is not None:
            self.z_scale_factor.copy_(scale)
            self._scale_pending = False

    # -- sampling

    @contextlib.contextmanager
    def ema_scope(self) -> Iterator[None]:
        """Inside, the denoiser has its averaged weights, if there are any and they are wanted."""
        if self.model_ema is None or not self.ema_inference:
            yield
        else:
            with self.model_ema.swapped_into(self.model):
                yield

    def pipeline(self, scheduler: EulerSchedule | None = None) -> CustomFlowMatchingPipeline:
        """The configured pipeline over these modules, as they are now."""
        parts = {
            "vae": self.first_stage_model,
            "model": self.model,
            "conditioner": self.cond_stage_model,
            "scheduler": scheduler,
            "transport": self.transport,
            "z_scale_factor": float(self.z_scale_factor),
        }
        if self._pipeline_cfg is None:
            return CustomFlowMatchingPipeline(**parts)
        made: CustomFlowMatchingPipeline = config.build(
            self._pipeline_cfg, f"{WHERE}.pipeline_cfg", **parts
        )
        return made

    def sample_latents(
        self, conditions: Any = None, scheduler: EulerSchedule | None = None, **options: Any
    ) -> Tensor:
        """(b, n, c) unscaled latents; options as for `CustomFlowMatchingPipeline`."""
        with self.ema_scope():
            latents: Tensor = self.pipeline(scheduler)(conditions, output_type="latent", **options)
        return latents


def _build(node: Node | None, name: str) -> Any:
    return None if node is None else config.build(node, f"{WHERE}.{name}")


def _known(cfg: Node | None, keys: Sequence[str], name: str) -> Node:
    """`cfg`, all of whose keys must be known; {} for None."""
    for key in cfg or {}:
        if key not in keys:
            raise unknown(key, keys, f"{WHERE}.{name}")
    return cfg or {}
