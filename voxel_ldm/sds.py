"""Score distillation: latents optimised under a trained denoiser, class by class.

Example: python sds.py --class-name chair --num_samples 4 --step 500 --save_dir runs/sds
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxel_ldm import cli
from voxel_ldm.sampling_flags import add_models, add_output, settle

if TYPE_CHECKING:
    from torch import Tensor


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "device", "overwrite", "seed")
    add = parser.add_argument
    add_models(parser)
    add_output(parser, "results/sds")
    add("--batch_size", type=int, default=16, help="samples at once (default 16)")
    add("--loss_type", choices=("sds",), default="sds", help="default sds")
    add("--guidance_scale", type=float, default=7.5,
        help="null + scale (class - null) (default 7.5)")  # fmt: skip
    add("--step", type=int, default=500, help="of the optimisation (default 500)")
    add("--lr", type=float, default=0.1, help="of AdamW (default 0.1)")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    autoencoder, denoiser = settle(args)
    from tqdm import tqdm

    from voxel_ldm.diffusion import distil
    from voxel_ldm.drawing import origin, write_samples

    settings = {**origin(args), "loss": "sds", "steps": args.step, "lr": args.lr,
                "guidance_scale": args.guidance_scale}  # fmt: skip

    def draw(seeds: Sequence[int], labels: Tensor | None) -> Tensor:
        with tqdm(total=args.step, unit="step", leave=False, disable=None) as bar:
            return distil(denoiser.network, denoiser.schedule, labels, seeds,
                          autoencoder.latent_shape, steps=args.step, scale=args.guidance_scale,
                          lr=args.lr, each_step=bar.update)[args.step]  # fmt: skip

    failures = []
    for name in args.names:
        failures += write_samples(args, autoencoder, denoiser, name, draw, settings)
        print(f"{args.save_dir / name}.npy: {args.num_samples} samples")
    return cli.SOME_FAILED if failures else cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
