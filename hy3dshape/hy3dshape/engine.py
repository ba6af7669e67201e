"""The Accelerate engine of a run: DDP, FSDP or DeepSpeed, precision, accumulation."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DeepSpeedPlugin,
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    InitProcessGroupKwargs,
    is_deepspeed_available,
)
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from .training_options import Training

PATIENCE = datetime.timedelta(hours=6)  # of processes that wait for the callbacks of the first


def make_accelerator(
    options: Training, batch_size: int, find_unused_parameters: bool
) -> Accelerator:
    """Accelerator of a run.

    Raises:
        ValueError: DeepSpeed is asked for and not installed, or what does not work here.
    """
    precision = {"16": "fp16", "bf16": "bf16", "32": "no"}[options.amp_type]
    # torch 2.13 deprecates this argument, and 2.11 does not know the one that takes its place
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    ddp = DistributedDataParallelKwargs(
        find_unused_parameters=find_unused_parameters,
        broadcast_buffers=False,  # they are the same on every process
    )
    sharding, plugin = _fsdp(options), _deepspeed(options, batch_size)
    if plugin is not None and not torch.cuda.is_available():
        PartialState(cpu=True, timeout=PATIENCE)  # Accelerate would count one process
    made = Accelerator(
        mixed_precision=precision if options.use_amp else "no",
        gradient_accumulation_steps=options.update_every,
        deepspeed_plugin=plugin,
        fsdp_plugin=sharding,
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[ddp, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if made.mixed_precision == "fp16" and made.device.type == "cpu":
        raise ValueError("--amp_type 16 needs a GPU; on the CPU use --amp_type bf16")
    if made.state.deepspeed_plugin is None and (options.deepspeed or options.deepspeed2):
        raise ValueError("--deepspeed: Accelerate does not use it under --device cpu")
    if sharding is not None:
        # Accelerate turns it on for GPUs alone; torch shards over CPU processes as well
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        made.state.distributed_type = DistributedType.FSDP
        made.state.fsdp_plugin = sharding
    return made


def _fsdp(options: Training) -> FullyShardedDataParallelPlugin | None:
    """FSDP 2; every block of the networks is a unit, gathered when it is its turn."""
    if not options.fsdp and os.environ.get("ACCELERATE_USE_FSDP", "").lower() not in ("1", "true"):
        return None
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        raise ValueError("--fsdp: spreads weights over two processes or more; raise -ng")
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["Block"],
        mixed_precision_policy=MixedPrecisionPolicy(),  # autocast casts, as it does elsewhere
        cpu_ram_efficient_loading=False,
    )


def _deepspeed(options: Training, batch_size: int) -> DeepSpeedPlugin | None:
    if not (options.deepspeed or options.deepspeed2):
        return None
    if not is_deepspeed_available():
        raise ValueError("--deepspeed: the package is missing; pip install deepspeed")
    plugin = DeepSpeedPlugin(
        gradient_accumulation_steps=options.update_every,
        gradient_clipping=options.gradient_clip_val,
        zero_stage=2 if options.deepspeed2 else 1,
    )
    plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = batch_size
    return plugin


def prepare(
    accelerator: Accelerator, task: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """What Accelerate makes of them.

    Under FSDP units are told which comes before them in the backward pass. By itself torch takes
    the order of the last forward passes, which differs where one process has made more of them.
    """
    model, prepared = accelerator.prepare(task, optimizer)
    units = [
        module
        for module in model.modules()
        if any(p.requires_grad for p in module.parameters()) and isinstance(module, FSDPModule)
    ]
    for before, unit in zip([*units[:1], *units], units, strict=False):
        unit.set_modules_to_backward_prefetch([before])
    return model, prepared


def leave(accelerator: Accelerator) -> None:
    """End the process group.

    Its thread needs the interpreter to drop the last exchange, and a group that is destroyed before
    it has done so waits for it forever (gloo of torch 2.13): so it gets a second.
    """
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        time.sleep(1)
    accelerator.end_training()


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether the engine spreads the optimizer's state over the processes."""
    return accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)


def whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict with every tensor in one piece; to be called by all processes."""
    return {k: v.full_tensor() if isinstance(v, DTensor) else v for k, v in state.items()}


def gathering(
    accelerator: Accelerator, model: nn.Module
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Contexts in which each process has all weights and may use the model without the others.

    To be entered by all processes. Under FSDP what is written to the weights is lost; otherwise
    they have no effect.
    """
    if accelerator.distributed_type is not DistributedType.FSDP:
        return contextlib.nullcontext
    return functools.partial(_gathered, model)


@contextlib.contextmanager
def _gathered(model: nn.Module) -> Iterator[None]:
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(unit is not units[0], recurse=False)
