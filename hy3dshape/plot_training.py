"""Curves of training runs side by side, from their stats.jsonl.

Example: python plot_training.py --input runs/small/autoencoder --metric loss_near --output loss.png
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hy3dshape import cli


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--input", type=Path, nargs="+", required=True, help="folders of runs")
    parser.add_argument("--output", type=Path, required=True, help="the .png or .svg to write")
    parser.add_argument("--metric", default="total_loss",
                        help="after train/ and val/ (default total_loss)")  # fmt: skip
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    from matplotlib.figure import Figure

    from hy3dshape.files import replacing

    columns, rows_of_panels = min(3, len(args.input)), -(-len(args.input) // 3)
    figure = Figure(figsize=(4.5 * columns, 3.2 * rows_of_panels), layout="constrained")
    for number, run in enumerate(args.input, 1):
        axes = figure.add_subplot(rows_of_panels, columns, number)
        rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
        for kind, look in (("train", {"alpha": 0.5, "lw": 1}), ("val", {"marker": ".", "lw": 1.5})):
            name = f"{kind}/{args.metric}"
            points = [(row["step"], row[name]) for row in rows if name in row]
            if not points and kind == "train":
                raise ValueError(f"{run / 'stats.jsonl'}: no {name}; it has {sorted(rows[-1])}")
            if points:
                axes.plot(*zip(*points, strict=True), label=kind, **look)
        axes.set(title=run.name, xlabel="step", ylabel=args.metric, yscale="log")
        axes.legend()
    with replacing(args.output) as temporary:
        figure.savefig(temporary, format=args.output.suffix[1:], dpi=110)
    print(f"{args.output}: {args.metric} of {len(args.input)} runs")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(main())
