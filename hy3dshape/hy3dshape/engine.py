"""The Accelerate engine of a run: DDP or DeepSpeed, precision, accumulation."""

from __future__ import annotations

import datetime
import os
import warnings

from accelerate import Accelerator
from accelerate.utils import (
    DeepSpeedPlugin,
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    is_deepspeed_available,
)

from .training_options import Training

PATIENCE = datetime.timedelta(hours=6)  # of processes that wait for the callbacks of the first


def make_accelerator(
    options: Training, batch_size: int, find_unused_parameters: bool
) -> Accelerator:
    """Accelerator of a run.

    Raises:
        ValueError: DeepSpeed is asked for and not installed, or what does not work here.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true"):
        raise ValueError("FSDP: checkpoints cannot be written under it; use --deepspeed2 or DDP")
    precision = {"16": "fp16", "bf16": "bf16", "32": "no"}[options.amp_type]
    # torch 2.13 deprecates this argument, and 2.11 does not know the one that takes its place
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    ddp = DistributedDataParallelKwargs(
        find_unused_parameters=find_unused_parameters,
        broadcast_buffers=False,  # they are the same on every process
    )
    made = Accelerator(
        mixed_precision=precision if options.use_amp else "no",
        gradient_accumulation_steps=options.update_every,
        deepspeed_plugin=_deepspeed(options, batch_size),
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[ddp, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if made.mixed_precision == "fp16" and made.device.type == "cpu":
        raise ValueError("--amp_type 16 needs a GPU; on the CPU use --amp_type bf16")
    return made


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


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether the engine spreads the optimizer's state over the processes."""
    return accelerator.distributed_type.value == "DEEPSPEED"
