"""Does the Frechet distance of an encoder rise as shapes get worse? For encoders of point clouds.

One half of the shapes is the reference. The clouds of the other half get noise, lose a part of
their surface, or lose categories, more at each step. Prints the distances, each a mean over twenty
draws of the halves or categories; exit code 1 when one of the three does not rise at every step.

  check_encoder.py --input test.json --encoder pointnet --output check.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fpd_eval import cli, files


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = cli.parser(__doc__, "seed", "device", "workers", "limit", "json")
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder, list or shapes.json, with categories")
    add("--encoder", choices=("uni3d", "pointnet", "d2a3"), default="uni3d", help="default uni3d")
    add("--weights", type=Path, help="checkpoint")
    add("--points", type=int, help="points a shape (default: the encoder's)")
    add("--output", type=Path, metavar="FILE", help="write the distances here (JSON)")
    args = parser.parse_args(argv)
    if args.seed < 0 or (args.points is not None and args.points < 1):
        parser.error("--seed must be 0 or more, --points 1 or more")
    cli.set_up_logging(args)
    result, inputs = check(args)
    if args.output:
        files.write_json(args.output, result)
        settings = {key: result[key] for key in ("settings", "seed")}
        files.write_run(args.output, settings, {"shapes": result["shapes"]}, inputs)
    if args.json:
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        print(_text(result))
    return cli.OK if all(row["rises"] for row in result["distances"].values()) else cli.FAILED


def check(args: Any) -> tuple[dict[str, Any], list[Path]]:
    """Embed the clouds undisturbed and disturbed, and measure; also the files that were read."""
    import numpy as np

    from fpd_eval import disturb

    encoder, items, points = _prepare(args)
    clouds = _clouds(encoder, items, args)
    categories = [item.category for item in items]
    embed = _embedder(encoder, clouds, points, args.seed)
    clean = embed(lambda cloud, rng: cloud[:points])

    def distances(levels: Sequence[float], change: Callable[..., Any]) -> list[float]:
        made = (embed(lambda cloud, rng, v=v: change(cloud, v, rng)) for v in levels)
        return [disturb.half_distance(clean, rows, categories, args.seed) for rows in made]

    first, second = disturb.halves(categories, np.random.default_rng(args.seed))
    left = [categories[i] for i in second]
    found = {
        "noise": (disturb.NOISE, distances(
            disturb.NOISE, lambda cloud, v, rng: disturb.add_noise(cloud[:points], v, rng))),
        "parts": (disturb.PARTS, distances(
            disturb.PARTS, lambda cloud, v, rng: disturb.cut_part(cloud, v, points, rng))),
        "modes": (disturb.MODES, disturb.mode_distances(
            clean[first], clean[second], left, args.seed)),
    }  # fmt: skip
    table = {
        name: {"levels": list(levels), "fd": fd, "rises": bool(np.all(np.diff(fd) > 0))}
        for name, (levels, fd) in found.items()
    }
    shapes = {"reference": len(first), "compared": len(second)}
    settings = {**encoder.settings, "points": points}
    return {"settings": settings, "seed": args.seed, "shapes": shapes, "distances": table}, [
        *encoder.inputs
    ]


def _prepare(args: Any) -> tuple[Any, list[Any], int]:
    """The encoder, made for clouds of twice its points, its items, and its points."""
    from fpd_eval.encoders import ENCODERS
    from fpd_eval.meshes import list_meshes

    kind = ENCODERS[args.encoder]
    points = args.points or kind.flags["points"]
    options = {**kind.flags, "seed": args.seed, "points": 2 * points}
    options |= {"weights": args.weights} if "weights" in kind.flags else {}
    return (
        kind.make(options, args.device, args.input),
        list_meshes(args.input, limit=args.limit),
        points,
    )


def _clouds(encoder: Any, items: list[Any], args: Any) -> list[Any]:
    from fpd_eval.pool import map_items

    found: list[Any] = [None] * len(items)
    for place, value, error in map_items(encoder.work, items, args.workers, "sample", args.quiet):
        if error is not None:
            raise ValueError(f"{items[place].id}: {error}")
        found[place] = value
    return found


def _embedder(encoder: Any, clouds: list[Any], points: int, seed: int) -> Callable[..., Any]:
    """A function from a change of a cloud to the embeddings (n, d) of all."""
    import numpy as np

    from fpd_eval.embedders.clouds import to_unit

    center = encoder.settings.get("center", "mean")

    def embed(change: Callable[..., Any]) -> Any:
        rows = []
        for i, whole in enumerate(clouds):
            cloud = change(whole["points"], np.random.default_rng([seed, i]))
            row = {"points": to_unit(cloud.astype(np.float64), center),
                   "colors": whole["colors"][:points]}  # fmt: skip
            made = encoder.then([row])[0]
            if isinstance(made, str):
                raise ValueError(f"shape {i}: {made}")
            rows.append(made["embeddings"])
        return np.stack(rows)

    return embed


def _text(result: dict[str, Any]) -> str:
    n, encoder = result["shapes"], result["settings"]["encoder"]
    lines = [f"FD of {encoder}  ({n['reference']} reference, {n['compared']} compared)"]
    for name, row in result["distances"].items():
        pairs = ", ".join(
            f"{v:g}: {fd:.4f}" for v, fd in zip(row["levels"], row["fd"], strict=True)
        )
        lines.append(f"{name}  {pairs}  {'rises' if row['rises'] else 'DOES NOT RISE'}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
