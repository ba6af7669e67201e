"""Train a vector-set autoencoder on SDF samples: -c configs/Autoencoder/small.yaml."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hy3dshape import cli, runner


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    runner.add_training_flags(parser)
    args = parser.parse_args(argv)
    cli.set_up_logging(args)
    return runner.run(args, [__file__, *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    raise SystemExit(main())
