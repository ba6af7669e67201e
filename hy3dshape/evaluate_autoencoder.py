"""How well an autoencoder gives shapes back: volume IoU and distance errors on SDF samples.

Example: python evaluate_autoencoder.py --input runs/small/sdf/test --output runs/small/iou.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hy3dshape import cli

SMALL = Path(__file__).parent / "weights" / "small" / "autoencoder.yaml"


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "limit", "device", "json")
    parser.add_argument("--input", type=Path, required=True, help="folder of prepare_sdf.py")
    parser.add_argument("--output", type=Path, help="JSON to write, with the numbers by shape")
    parser.add_argument("-c", "--config", type=Path, default=SMALL,
                        help="YAML with the autoencoder (default: the small model's)")  # fmt: skip
    parser.add_argument("--ckpt", type=Path, default=None,
                        help="its weights (default: what the config names,"
                             " or autoencoder.safetensors beside it)")  # fmt: skip
    parser.add_argument("--num-latents", type=int, default=None,
                        help="vectors a shape (default: the config's)")  # fmt: skip
    parser.add_argument("--surface-size", type=int, default=None,
                        help="points a shape (default: the config's)")  # fmt: skip
    parser.add_argument("--refine", type=int, default=0, metavar="N",
                        help="steps that fit latents to the points (default 0)")  # fmt: skip
    args = parser.parse_args(argv)
    if args.refine < 0:
        parser.error("--refine: 0 or more")
    cli.set_up_logging(args)
    from hy3dshape import reconstruction
    from hy3dshape.encoding import list_clouds, load_autoencoder, pick_device
    from hy3dshape.files import write_json, write_run

    model, made_of = load_autoencoder(args.config, args.ckpt)
    model = model.to(pick_device(args.device))
    samples = dict(list(list_clouds(args.input).items())[: args.limit])
    rows = reconstruction.measure_all(
        model, samples, args.num_latents, args.surface_size, args.refine
    )
    found = reconstruction.summary(rows)
    if args.output is not None:
        write_json(args.output, {**found, "shapes": rows})
        settings = {"num_latents": args.num_latents, "surface_size": args.surface_size,
                    "refine": args.refine, **made_of}  # fmt: skip
        write_run(args.output, settings, {"shapes": len(rows)}, packages=("torch",))
    told = ", ".join(f"{k} {v:.4f}" for k, v in found.items() if k != "n")
    print(json.dumps(found) if args.json else f"{told}  ({len(rows)} shapes)")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
