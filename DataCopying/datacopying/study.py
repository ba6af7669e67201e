"""What the statistics say of real shapes when the share of copies is known.

A generator is made of held-out shapes, of which a share is replaced by disguised training shapes.
Distances of every shape that may stand in it are measured once; each mixture is a choice of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .bootstrap import bootstrap, percentile_interval
from .excess import Rule, flag_rule
from .files import read_json
from .records import Query, read_retrieval
from .zu import compare

SIDES = ("test", "held_out", "copies")
Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """Distances of one metric.

    Args:
        nearest: nearest training shape of every shape, by set (`SIDES`) and id.
        own:     training id -> distance to its nearest other training shape.
        twins:   training id -> training shapes in its list of neighbours, with distances.
        among:   id -> neighbours among the shapes of all three sets, nearest first.
    """

    nearest: Mapping[str, Mapping[str, Query]]
    own: Mapping[str, float]
    twins: Mapping[str, Mapping[str, float]]
    among: Mapping[str, Sequence[tuple[str, float]]]


@dataclass(frozen=True)
class Mixture:
    """Ids of one generated set: `planted` copies and `honest` held-out shapes; test shapes."""

    planted: tuple[str, ...]
    honest: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def generated(self) -> tuple[str, ...]:
        return self.planted + self.honest


@dataclass(frozen=True)
class Setting:
    """`repeats` mixtures a share, seeded, from the retrieval results in `folder`."""

    folder: Path
    repeats: int
    quantile: float
    bootstrap: int
    seed: int


def of_metric(metric: str, shares: Sequence[float], setting: Setting) -> Row:
    """A row of means for each share of copies, and where the copies lead."""
    measured = read_measured(setting.folder, metric)
    rule = rule_of(measured, setting)
    return {
        "rows": [_row(measured, share, setting) for share in shares],
        "sources": sources(measured, copied_from(setting.folder / "copies"), rule),
        "threshold": rule.threshold,
        "false_positive_rate": rule.rate,
        "n": {"train": len(measured.own)}
        | {s: len(found) for s, found in measured.nearest.items()},
    }


def rule_of(measured: Measured, setting: Setting) -> Rule:
    """The flag rule of the test shapes."""
    distances = [query.distance for query in measured.nearest["test"].values()]
    return flag_rule(np.array(distances), setting.quantile)


def copied_from(folder: Path) -> dict[str, str]:
    """id of a copy -> training shape it was made of, for a folder of disguise_shapes.py."""
    return {row["id"]: row["copied_from"] for row in read_json(folder / "shapes.json")["shapes"]}


def _row(measured: Measured, share: float, setting: Setting) -> Row:
    rngs = [np.random.default_rng([setting.seed, i]) for i in range(setting.repeats)]
    mixed = [mixture(measured, share, rng) for rng in rngs]
    how = setting.quantile, setting.bootstrap, setting.seed
    counts = {"planted": len(mixed[0].planted), "generated": len(mixed[0].generated)}
    return {"copies": share, **counts, **mean_row([measure(measured, m, *how) for m in mixed])}


def read_measured(folder: Path, metric: str) -> Measured:
    """Read the retrieval results of one metric. ValueError as in `read_retrieval`."""
    nearest = {
        side: {q.id: q for q in read_retrieval(folder / f"{side}.{metric}.json").queries}
        for side in SIDES
    }
    train = neighbours(folder / f"train.{metric}.json")
    return Measured(
        nearest,
        {name: found[0][1] for name, found in train.items()},
        {name: dict(found) for name, found in train.items()},
        neighbours(folder / f"among.{metric}.json"),
    )


def neighbours(path: Path) -> dict[str, list[tuple[str, float]]]:
    """(id, distance) of all neighbours of every query."""
    read_retrieval(path)
    return {
        query: [(entry["model_id"], float(entry["distance"])) for entry in found]
        for query, found in read_json(path).items()
    }


def mixture(measured: Measured, share: float, rng: np.random.Generator) -> Mixture:
    """As many shapes as held-out and test set both have, a share of them copies.

    Of equal generators, a larger share only replaces more held-out shapes by copies.

    Raises:
        ValueError: there are too few copies.
    """
    ids = {side: sorted(measured.nearest[side]) for side in SIDES}
    order = {side: [ids[side][i] for i in rng.permutation(len(ids[side]))] for side in SIDES}
    size = min(len(ids["held_out"]), len(ids["test"]))
    planted = round(share * size)
    if planted > len(ids["copies"]):
        raise ValueError(
            f"{share:.0%} of {size} shapes: {planted} copies, have {len(ids['copies'])}"
        )
    return Mixture(
        tuple(order["copies"][:planted]),
        tuple(order["held_out"][: size - planted]),
        tuple(order["test"][:size]),
    )


def measure(measured: Measured, mixed: Mixture, quantile: float, draws: int, seed: int) -> Row:
    """The statistics of one mixture; those of memorization use all test shapes."""
    queries = {**measured.nearest["held_out"], **measured.nearest["copies"]}
    found = [queries[name] for name in mixed.generated]
    gen = np.array([query.distance for query in found])
    test = np.array([query.distance for query in measured.nearest["test"].values()])
    zu, rule = compare(gen, test), flag_rule(test, quantile)
    drawn = bootstrap(gen, test, rule.k, draws, seed)
    flagged = gen < rule.threshold
    return {
        "z_u": zu.z_u,
        "auc": zu.auc,
        "auc_interval": percentile_interval(drawn.u / (len(gen) * len(test)), 0.95),
        "excess": float(flagged.mean()) - rule.rate,
        "excess_interval": percentile_interval(drawn.share - rule.rate, 0.95),
        "planted_flagged": int(flagged[: len(mixed.planted)].sum()),
        "honest_flagged": int(flagged[len(mixed.planted) :].sum()),
        "authpct": 100 * float(np.mean([q.distance > measured.own[source_of(q)] for q in found])),
        "one_nna": one_nna(measured.among, mixed.generated, mixed.test),
    }


def source_of(query: Query) -> str:
    """The training shape nearest to a query. ValueError without an id."""
    if query.nearest_id is None:
        raise ValueError(f"{query.id!r}: nearest training shape without an id")
    return query.nearest_id


def one_nna(
    among: Mapping[str, Sequence[tuple[str, float]]], gen: Sequence[str], test: Sequence[str]
) -> float:
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier; ties count by share.

    Raises:
        ValueError: the list of a shape ends before a shape of either set comes.
    """
    side = dict.fromkeys(gen, 0) | dict.fromkeys(test, 1)
    right = 0.0
    for name, own in side.items():
        inside = [(other, d) for other, d in among[name] if other in side]
        if not inside:
            raise ValueError(f"{name!r}: no shape of its mixture among {len(among[name])} listed")
        tied = [side[other] for other, d in inside if d == inside[0][1]]
        right += tied.count(own) / len(tied)
    return right / len(side)


def sources(measured: Measured, copied_from: Mapping[str, str], rule: Rule) -> Row:
    """Where copies lead: to their source, to a near-duplicate of it, or elsewhere.

    A near-duplicate is closer to the source than the flag threshold. All copies are looked at, and
    those of sources with and without a near-duplicate are counted apart.
    """
    rows: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    charged: Counter[str] = Counter()
    for query in measured.nearest["copies"].values():
        source, found = copied_from[query.id], source_of(query)
        twin = measured.twins[source].get(found, np.inf) < rule.threshold
        count = rows[measured.own[source] < rule.threshold]
        count["copies"] += 1
        count["flagged"] += query.distance < rule.threshold
        count["source" if found == source else "near_duplicate" if twin else "elsewhere"] += 1
        charged[found] += query.distance < rule.threshold
    often = [name for name, count in charged.items() if count > 1]
    keys = ("copies", "flagged", "source", "near_duplicate", "elsewhere")
    return {
        "with_near_duplicate": {key: rows[True][key] for key in keys},
        "without": {key: rows[False][key] for key in keys},
        "training": len(measured.own),
        "training_with_near_duplicate": sum(d < rule.threshold for d in measured.own.values()),
        "charged_once": sum(count == 1 for count in charged.values()),
        "charged_more": len(often),
        "charged_more_with_near_duplicate": sum(measured.own[n] < rule.threshold for n in often),
    }


def mean_row(runs: Sequence[Row]) -> Row:
    """Means over repeats; of intervals, the means of their ends; `spread`: standard deviations."""
    made: Row = {}
    for key in runs[0]:
        values = np.array([run[key] for run in runs], np.float64)
        made[key] = values.mean(axis=0).tolist()
    deviations = {key: float(np.std([run[key] for run in runs])) for key in ("z_u", "excess")}
    return made | {"spread": deviations}
