"""From a configuration file and flags to a finished training run."""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import cli, config, files
from .coercion import unknown
from .training_options import Training

log = logging.getLogger(__name__)
OPTIONS = {field.name for field in fields(Training)}
FREE = ("training", "callbacks", "sampling_common")  # sections a resumed run may change
NEEDED = ("model", "dataset")


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the paper's tool; one that is not given changes nothing."""
    given = argparse.SUPPRESS

    def add(*names: str, help: str, **more: Any) -> None:
        parser.add_argument(*names, default=given, help=help, **more)

    parser.add_argument("-c", "--config", type=Path, required=True, help="YAML of model and data")
    add("--fast", action="store_true", help="TF32 matrix products")
    add("-s", "--seed", type=int, help="seed of order, noise and weights (default 0)")
    add("-nn", "--num_nodes", type=int, help="machines (default 1)")
    add("-ng", "--num_gpus", type=int, help="processes a machine (default 1)")
    add("--output_dir", help="folder of checkpoints and logs (default outputs)")
    add("-u", "--update_every", type=int, help="micro-batches a step (default 1)")
    add("-st", "--steps", type=int, help="optimizer steps")
    add("-lr", "--base_lr", type=float, help="peak learning rate")
    add("--scale_lr", type=_truth, nargs="?", const=True, metavar="BOOL",
        help="multiply it by accumulation, nodes, devices and batch size")  # fmt: skip
    add("-a", "--use_amp", action="store_true", help="mixed precision")
    add("--amp_type", choices=("16", "bf16", "32"), help="its kind (default 16)")
    add("--gradient_clip_val", type=float, help="largest gradient")
    add("--gradient_clip_algorithm", choices=("norm", "value"), help="what is clipped")
    add("--every_n_train_steps", type=int, help="steps between checkpoints")
    add("--log_every_n_steps", type=int, help="steps between log lines (default 50)")
    add("--val_check_interval", type=int, help="steps between validations (default 1024)")
    add("--limit_val_batches", type=int, help="batches of a validation (default 64)")
    add("--monitor", help="log that names the best checkpoint (default val/total_loss)")
    add("--ckpt_path", help="checkpoint to go on from; auto: the newest of --output_dir, if any")
    add("--init_ckpt", help="start from these weights")
    add("--deepspeed", action="store_true", help="DeepSpeed stage 1")
    add("--deepspeed2", action="store_true", help="DeepSpeed stage 2")
    add("--fsdp", action="store_true", help="weights, gradients and optimizer spread over devices")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="another value in the YAML, as model.params.torch_compile=false;"
                        " can be given several times")  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                        help="auto, cpu or cuda (default auto)")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true",
                        help="print parameters, FLOPs and memory, and stop")  # fmt: skip


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r}: expected true or false")
    return words[text.lower()]


def run(args: argparse.Namespace, argv: list[str]) -> int:
    """Train as the flags say; `argv` is what a process of several is started with."""
    tree = config.override(config.load_config(args.config), args.set)
    flags = {k: v for k, v in vars(args).items() if k in OPTIONS}
    nodes = os.environ.get("SLURM_NNODES") or os.environ.get("NNODES")
    if nodes:
        flags["num_nodes"] = int(nodes)
    options = Training.resolve(tree.get("training"), flags)
    _check_sections(tree, args.config)
    config.check(tree)
    _pick_device(args.device, options.num_gpus)
    if args.dry_run:
        from .estimate import estimate

        print(json.dumps(estimate(tree, options), indent=1))
        return 0
    if options.num_gpus * options.num_nodes > 1 and "RANK" not in os.environ:
        return _launch(argv, options)
    return _train(tree, options, data_seed(tree, flags, options))


def _check_sections(tree: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError for a section that is unknown, missing or of the wrong kind."""
    for name, section in tree.items():
        if name not in (*NEEDED, *FREE):
            raise unknown(name, (*NEEDED, *FREE), str(path))
        if section is not None and not isinstance(section, Mapping):
            raise ValueError(f"{path}: {name}: expected keys and values, found {section!r}")
    for name in NEEDED:
        if "target" not in (tree.get(name) or {}):
            raise ValueError(f"{path}: {name}: expected a section with target: and params:")


def data_seed(tree: Mapping[str, Any], flags: Mapping[str, Any], options: Training) -> int:
    """Seed of the data module: --seed, else its own in the YAML, else that of the run."""
    own = (tree["dataset"].get("params") or {}).get("seed")
    return options.seed if own is None or "seed" in flags else int(own)


def _pick_device(device: str, count: int) -> None:
    import torch

    there = torch.cuda.device_count()
    if device != "cpu" and 0 < there < count:
        raise ValueError(
            f"--num_gpus {count}: {there} are there; --device cpu starts CPU processes"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device is there; use --device cpu")
    if device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"


def _launch(argv: list[str], options: Training) -> int:
    """Start this command once for each process of this machine, under torchrun."""
    address = os.environ.get("MASTER_ADDR")
    if options.num_nodes > 1 and address is None:
        raise ValueError(
            f"--num_nodes {options.num_nodes}: set MASTER_ADDR, MASTER_PORT and NODE_RANK on every"
            " machine, or start with torchrun or srun (scripts/train_multi_gpu.sh)"
        )
    meet = ["--standalone"]
    if address is not None:
        port, rank = os.environ.get("MASTER_PORT", "29500"), os.environ.get("NODE_RANK", "0")
        meet = [f"--nnodes={options.num_nodes}", f"--node-rank={rank}",
                f"--master-addr={address}", f"--master-port={port}"]  # fmt: skip
    each = f"--nproc-per-node={options.num_gpus}"
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *meet, each, *argv], check=False
    ).returncode


def _train(tree: Mapping[str, Any], options: Training, seed: int) -> int:
    import torch

    from .engine import leave
    from .training import Trainer

    torch.manual_seed(options.seed)
    if options.fast:
        torch.set_float32_matmul_precision("high")
    task = config.build(tree["model"], "model")
    data = config.build(tree["dataset"], "dataset", seed=seed)
    nodes = (tree.get("callbacks") or {}).items()
    callbacks = [config.build(node, f"callbacks.{name}") for name, node in nodes]
    settings = {k: v for k, v in tree.items() if k not in FREE}
    settings |= {"seed": options.seed, "update_every": options.update_every}
    trainer = Trainer(task, data, options, settings, callbacks)
    if trainer.accelerator.is_main_process:
        resolved = config.merge(tree, {"dataset": {"params": {"seed": seed}}})
        resolved["training"] = options.as_dict()
        config.write_config(Path(options.output_dir) / "config.yaml", resolved)
    last = trainer.run()
    if trainer.accelerator.is_main_process:
        packages = ("torch", "accelerate")
        files.write_run(Path(options.output_dir), resolved, {"steps": trainer.step},
                        packages=packages, processes=trainer.world, last=last)  # fmt: skip
        print(
            json.dumps({"step": trainer.step, "callback_errors": trainer.callback_errors, **last})
        )
    leave(trainer.accelerator)
    return cli.SOME_FAILED if trainer.callback_errors else cli.OK
