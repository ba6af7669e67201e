"""Sample shapes or images: python inference.py --text "a chair".

Without --config and --ckpt the small model of this repository samples. Files are named as the
paper's tool names them: sample_0000000.glb, or {model_uid}.glb for the rows of a table, in
class_{id}/ for class models. What exists is skipped. Sample i depends on (seed, i) alone, whatever
else is in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hy3dshape import cli, sampling_flags

SMALL = Path(__file__).parent / "weights" / "small"


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__, "seed", "limit", "shard", "overwrite", "device")
    sampling_flags.add_flags(parser)
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    sampling_flags.complete(parser, args, SMALL)
    from hy3dshape.sampling import run

    return run(args)


if __name__ == "__main__":
    raise SystemExit(main())
