"""Train the pointnet encoder of embed.py to name the categories of shapes.

Reads tables of sample_points.py. Writes DIR/pointnet.safetensors after every epoch and, in the end,
DIR/accuracy.json: the share of test shapes named rightly after each epoch. A killed run goes on at
the last whole epoch.

  train_encoder.py --task made train.npz test.npz --output DIR
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fpd_eval import cli, files


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit code."""
    parser = cli.parser(__doc__, "seed", "overwrite")
    add = parser.add_argument
    add("--task", nargs=3, action="append", required=True, metavar=("NAME", "TRAIN", "TEST"),
        help="name, tables of training and of test shapes; the first decides the length of an "
        "epoch, all have equal shares of a batch")  # fmt: skip
    add("--output", type=Path, required=True, metavar="DIR", help="folder to fill")
    add("--epochs", type=int, default=10, help="default 10")
    add("--batch-size", type=int, default=64, help="shapes a step (default 64)")
    add("--learning-rate", type=float, default=2e-3, help="highest of the cycle (default 2e-3)")
    args = parser.parse_args(argv)
    if args.epochs < 1 or args.seed < 0 or args.batch_size < 2 * len(args.task):
        parser.error("--epochs 1 or more, --seed 0 or more, --batch-size 2 a task or more")
    cli.set_up_logging(args)
    from fpd_eval.training import read_task

    tables = {name: [Path(train), Path(test)] for name, train, test in args.task}
    pairs = [read_task(name, *paths) for name, paths in tables.items()]
    shown = {key: getattr(args, key) for key in ("epochs", "batch_size", "learning_rate", "seed")}
    settings = shown | {
        "tasks": {name: [files.sha256(path) for path in paths] for name, paths in tables.items()}
    }
    finished = files.run_path(args.output)
    if finished.exists() and not args.overwrite:
        files.require_same(str(args.output), files.read_json(finished)["settings"], settings)
        result = files.read_json(args.output / "accuracy.json")
    else:
        result = _train(args, pairs, settings)
    files.write_json(args.output / "accuracy.json", result)
    counts = {f"{name}_{side}": value for name, r in result["tasks"].items()
              for side, value in r["shapes"].items()}  # fmt: skip
    inputs = [path for paths in tables.values() for path in paths]
    files.write_run(args.output, settings, counts, inputs, ("numpy", "torch"))
    (args.output / "state.pt").unlink(missing_ok=True)
    for name, r in result["tasks"].items():
        print(f"{name}: accuracy {r['accuracy'][-1]:.4f}  ({r['shapes']['test']} test shapes, "
              f"{len(r['classes'])} classes, {r['shapes']['train']} training shapes)")  # fmt: skip
    return cli.OK


def _train(args: Any, pairs: list[Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Epochs from the last saved state on; the accuracies on test shapes after each."""
    import torch
    from tqdm import tqdm

    from fpd_eval.embedders.pointnet import PointNet, save
    from fpd_eval.training import accuracy, batches, loss_of

    torch.manual_seed(args.seed)
    model = PointNet({train.name: train.classes for train, _ in pairs})
    tasks = [train for train, _ in pairs]
    steps = len(tasks[0].labels) * len(tasks) // args.batch_size
    if not steps:
        raise ValueError(f"{len(tasks[0].labels)} shapes are too few for --batch-size")
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.learning_rate, total_steps=steps * args.epochs
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first, history = _restore(args, parts, settings)
    for epoch in range(first, args.epochs):
        model.train()
        bar = tqdm(batches(tasks, args.batch_size, args.seed, epoch), f"epoch {epoch}", steps,
                   disable=True if args.quiet else None)  # fmt: skip
        for batch in bar:
            loss = loss_of(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        history.append({test.name: accuracy(model, test) for _, test in pairs})
        with files.replacing(args.output / "pointnet.safetensors") as temporary:
            save(model, temporary)
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"epoch": epoch + 1, "history": history, "settings": json.dumps(settings)}
        with files.replacing(args.output / "state.pt") as temporary:
            torch.save(state, temporary)
        print(f"epoch {epoch}: {json.dumps(history[-1])}", file=sys.stderr)
    return {"tasks": {
        train.name: {
            "accuracy": [row[train.name] for row in history], "classes": train.classes,
            "shapes": {"train": len(train.labels), "test": len(test.labels)},
        }
        for train, test in pairs
    }}  # fmt: skip


def _restore(
    args: Any, parts: dict[str, Any], settings: dict[str, Any]
) -> tuple[int, list[dict[str, float]]]:
    """Load what DIR/state.pt holds; the next epoch and the accuracies so far."""
    import torch

    path = args.output / "state.pt"
    if args.overwrite or not path.exists():
        return 0, []
    state = torch.load(path, weights_only=True)
    files.require_same(str(path), json.loads(state["settings"]), settings)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["epoch"], state["history"]


if __name__ == "__main__":
    raise SystemExit(main())
