#!/usr/bin/env python3
"""What the statistics say of a generator whose share of copies is known.

16-d Gaussian shapes, 2,000 training, 500 held-out, 500 generated; the honest part of the generator
is slightly too wide (standard deviation 1.08). Prints the mean over seeded repeats; caught is the
share of them whose number of flags chance does not explain (p < 0.05).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from datacopying import cli

SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
SIZE = 500


def parser() -> argparse.ArgumentParser:
    made = cli.parser(__doc__, "seed", "json")
    made.add_argument("--repeats", type=int, default=8, metavar="N", help="runs (default 8)")
    made.add_argument("--quantile", type=float, default=0.01, help="of the flags (default 0.01)")
    made.add_argument("--bootstrap", type=int, default=500, help="draws a run (default 500)")
    return made


@cli.guarded
def main(argv: Sequence[str] | None = None) -> int:
    made = parser()
    args = made.parse_args(argv)
    if args.repeats < 1 or args.bootstrap < 1 or args.seed < 0:
        made.error("--repeats and --bootstrap must be 1 or more, --seed 0 or more")
    rows = [row(share, args) for share in SHARES]
    if args.json:
        print(json.dumps(rows, indent=1))
        return cli.OK
    print(f"{SIZE} generated, {SIZE} held-out, mean of {args.repeats} runs\n")
    print(
        "| copies | Z_U | AUC [95 % interval] | flagged | excess share [95 % interval] | caught |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for r in rows:
        print(
            f"| {r['copies']:.0%} | {r['z_u']:+.2f} | {r['auc']:.3f} "
            f"[{r['auc_low']:.3f}, {r['auc_high']:.3f}] | {r['flagged']:.1f} | "
            f"{r['excess']:.1%} [{r['excess_low']:.1%}, {r['excess_high']:.1%}] | "
            f"{r['caught']:.0%} |"
        )
    return cli.OK


def row(share: float, args: argparse.Namespace) -> dict[str, Any]:
    """Means over the repeats; intervals are means of the ends."""
    runs = [one_run(share, i, args) for i in range(args.repeats)]
    return {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}


def one_run(share: float, i: int, args: argparse.Namespace) -> dict[str, float]:
    """Repeat i: simulate, test. Draws from (seed, i), the same for every share."""
    import numpy as np

    from datacopying import verdict
    from datacopying.bootstrap import bootstrap, percentile_interval
    from datacopying.excess import flag_rule, p_at_least
    from datacopying.simulation import nearest_distances
    from datacopying.zu import compare

    rng = np.random.default_rng([args.seed, i])
    gen, test = nearest_distances(round(share * SIZE), rng, SIZE, SIZE)
    zu, rule = compare(gen, test), flag_rule(test, args.quantile)
    draws = bootstrap(gen, test, rule.k, args.bootstrap, args.seed)
    auc = percentile_interval(draws.u / SIZE**2, 0.95) or (np.nan, np.nan)
    excess = percentile_interval(draws.share - rule.rate, 0.95) or (np.nan, np.nan)
    flagged = int((gen < rule.threshold).sum())
    return {
        "copies": share,
        "z_u": zu.z_u,
        "auc": zu.auc,
        "auc_low": auc[0],
        "auc_high": auc[1],
        "flagged": float(flagged),
        "excess": flagged / SIZE - rule.rate,
        "excess_low": excess[0],
        "excess_high": excess[1],
        "caught": float(verdict.finding(flagged, p_at_least(flagged, SIZE, rule)) == "copies"),
    }


if __name__ == "__main__":
    raise SystemExit(main())
