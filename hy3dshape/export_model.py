"""One small file of a training checkpoint: averaged weights, matrices in half precision.

Example: python export_model.py --ckpt runs/small/text --output weights/small/model.safetensors
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hy3dshape import cli


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--ckpt", type=Path, required=True,
                        help="checkpoint, or output folder of a run: its newest")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors to write")
    parser.add_argument("--dtype", choices=("fp16", "fp32"), default="fp16",
                        help="of matrices; the rest stays (default fp16)")  # fmt: skip
    parser.add_argument("--no-ema", action="store_true", help="not the averaged weights")
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    import torch
    from safetensors.torch import save_file

    from hy3dshape import checkpoints
    from hy3dshape.files import replacing
    from hy3dshape.models.diffusion.ema import averaged_checkpoint
    from hy3dshape.weights import read_state

    ckpt = checkpoints.newest(args.ckpt) or args.ckpt
    state = read_state(ckpt)
    if not args.no_ema:
        state = averaged_checkpoint(state)
    state = {k: v for k, v in state.items() if not k.startswith("model_ema.")}
    if args.dtype == "fp16":
        for key, value in state.items():
            if value.ndim >= 2 and value.dtype == torch.float32 and not key.endswith("basis"):
                state[key] = value.half()
    with replacing(args.output) as temporary:
        save_file({k: v.contiguous() for k, v in state.items()}, temporary)
    numbers = sum(v.numel() for v in state.values())
    print(
        f"{args.output}: {numbers:,} numbers, {args.output.stat().st_size / 1e6:.1f} MB, of {ckpt}"
    )
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
