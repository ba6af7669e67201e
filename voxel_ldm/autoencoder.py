"""Train the autoencoder of occupancy grids.

Example: python autoencoder.py --dataset_path data/hdf5_data --ckpt_path runs/autoencoder
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from voxel_ldm import cli


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "device", "seed")
    parser.argument_default = argparse.SUPPRESS  # a flag not given changes nothing
    add = parser.add_argument
    add("-c", "--config", type=Path, default=None, help="YAML with autoencoder: and training:")
    add("--dataset_path", type=Path, default=Path("data/hdf5_data"),
        help="folder of load_data.py (default data/hdf5_data)")  # fmt: skip
    add("--ckpt_path", type=Path, default=Path("results/autoencoder"),
        help="of the run, gone on with if there is one (default results/autoencoder)")  # fmt: skip
    add("--categories", nargs="+", default=None, help="of the dataset (default all)")
    add("--start_from", type=Path, default=None,
        help="autoencoder.safetensors of the same sizes to train further")  # fmt: skip
    add("--batch_size", type=int, help="of each process (default 64)")
    add("--num_epochs", type=int, dest="epochs", help="passes over the data (default 600)")
    add("--lr", type=float, help="peak rate of Adam (default 0.001)")
    add("--pos_weight", type=float, help="weight of occupied cells (default 1)")
    add("--precision", choices=("no", "bf16", "fp16"), help="mixed precision (default no)")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from voxel_ldm.recipes import train_autoencoder

    figures = train_autoencoder(args)
    if figures:  # of several processes the first alone has them
        print("  ".join(f"{name} = {value:.4f}" for name, value in figures.items()))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
