"""Sample shapes from a trained denoiser: grids for eval.py and meshes for the audit.

Example: python sampling_n.py --class-name chair --num_samples 16 --steps 50 --scheduler ddim \\
  --save_dir runs/samples
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxel_ldm import cli
from voxel_ldm.sampling_flags import add_models, add_output, guidance, settle

if TYPE_CHECKING:
    from torch import Tensor


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "device", "overwrite", "seed")
    add = parser.add_argument
    add_models(parser)
    add_output(parser, "results/samples")
    add("--batch_size", type=int, default=16, help="samples at once (default 16)")
    add("--sample_method", "--scheduler", dest="sampler", choices=("ddpm", "ddim", "dpm"),
        default="ddpm", help="default ddpm")  # fmt: skip
    add("--steps", type=int, help="evaluations (default: ddpm as trained, others 50)")
    add("--use_cfg", action="store_true", help="guide; what a model with classes does anyway")
    add("--guidance_scale", type=float, help="null + scale (class - null) (default 2)")
    add("--cfg_scale", type=float, metavar="W", help="the same as --guidance_scale W+1")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    scale = guidance(args, 2.0)
    models = settle(args)
    from tqdm import tqdm

    from voxel_ldm.diffusion import sample
    from voxel_ldm.drawing import origin, write_samples

    autoencoder, denoiser = models
    if args.use_cfg and not denoiser.classes:
        raise ValueError(f"{args.ldm_ckpt_path}: --use_cfg, but it was trained without classes")
    steps = args.steps or (denoiser.schedule.steps if args.sampler == "ddpm" else 50)
    settings = {**origin(args), "sampler": args.sampler, "steps": steps, "guidance_scale": scale}
    failures = []
    for name in args.names:

        def draw(seeds: Sequence[int], labels: Tensor | None) -> Tensor:
            with tqdm(total=steps, unit="step", leave=False, disable=None) as bar:
                return sample(denoiser.network, denoiser.schedule, labels, seeds,
                              autoencoder.latent_shape, sampler=args.sampler, steps=steps,
                              scale=scale, each_step=bar.update)  # fmt: skip

        failures += write_samples(args, autoencoder, denoiser, name, draw, settings)
        print(f"{args.save_dir / name}.npy: {args.num_samples} samples")
    return cli.SOME_FAILED if failures else cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
