"""Train the latent denoiser on the latents of a trained autoencoder.

Example: python train_n.py --use_cfg --dataset_path data/hdf5_data \\
  --ae_ckpt_path runs/autoencoder/autoencoder.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from voxel_ldm import cli


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "device")
    parser.argument_default = argparse.SUPPRESS  # a flag not given changes nothing
    add = parser.add_argument
    add(
        "-c",
        "--config",
        type=Path,
        default=None,
        help="YAML with network:, schedule: and training:",
    )
    add("--dataset_path", type=Path, default=Path("data/hdf5_data"),
        help="folder of load_data.py (default data/hdf5_data)")  # fmt: skip
    add("--ae_ckpt_path", type=Path, required=True, help="autoencoder.safetensors")
    add("--output", type=Path, default=None, help="of the run, gone on with if there is one"
        " (default results/diffusion, with --use_cfg results/cfg_diffusion)")  # fmt: skip
    add(
        "--categories",
        nargs="+",
        default=None,
        help="of the dataset, numbered from 1 (default all)",
    )
    add("--use_cfg", action="store_true", default=False, help="train with classes, for guidance")
    add("--cfg_dropout", type=float, help="share of items without a class (default 0.1)")
    add("--batch_size", type=int, help="of each process (default 16)")
    add("--num_epochs", type=int, dest="epochs", help="passes over the data (default 1000)")
    add("--warmup_steps", type=int, help="to the peak rate (default 200)")
    add("--lr", type=float, help="peak rate of Adam (default 0.0002)")
    add("--num_diffusion_train_timesteps", type=int, dest="steps",
        help="noise levels (default 1000)")  # fmt: skip
    add("--beta_1", type=float, help="noise of the first level (default 0.0001)")
    add("--beta_T", type=float, help="noise of the last level (default 0.02)")
    add("--log_interval", type=int, dest="log_every", help="steps (default 50)")
    add("--precision", choices=("no", "bf16", "fp16"), help="mixed precision (default no)")
    add("--sample_method", choices=("ddpm",), default="ddpm",
        help="what is trained serves every sampler (default ddpm)")  # fmt: skip
    add("--seed", type=int, default=63, help="of everything random (default 63)")
    add("--gpu", type=int, default=None, help="the same as --device cuda:N")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    if args.gpu is not None:
        args.device = f"cuda:{args.gpu}"
    if args.output is None:
        args.output = Path("results") / ("cfg_diffusion" if args.use_cfg else "diffusion")
    from voxel_ldm.recipes import train_denoiser

    figures = train_denoiser(args)
    if figures:  # of several processes the first alone has them
        print("  ".join(f"{name} = {value:.4f}" for name, value in figures.items()))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
