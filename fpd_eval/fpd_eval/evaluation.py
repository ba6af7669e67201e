"""Values of the metrics with intervals, and what sets that are no generator's reach beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from .metrics import BOUNDS, GENERATED, METRICS, TEST, TRAIN, Metric, Options
from .samples import Sample, Sets

MOST = 1000  # generated shapes of one draw
DRAWN, EQUAL, FEWER = 1, 2, 3  # streams of random numbers

Row = dict[str, Any]
Values = dict[str, float]


@dataclass(frozen=True)
class Intervals:
    """`draws` half-samples for an interval of `confidence`; none: no interval."""

    draws: int = 20
    confidence: float = 0.95


def evaluate(
    names: Sequence[str], sets: Sets, options: Options, intervals: Intervals, demand: bool
) -> list[Row]:
    """A row for every value of the metrics `names` (formats/quality.schema.json).

    Args:
        demand: a metric that cannot be computed is a ValueError, else a row with the reason.
    """
    rows: list[Row] = []
    for name in names:
        try:
            rows += _rows(name, METRICS[name], sets, options, intervals)
        except ValueError as error:
            if demand:
                raise ValueError(f"--metrics {name}: {error}") from error
            rows += [_row(name, value, METRICS[name], str(error)) for value in METRICS[name].names]
    return rows


def _row(group: str, name: str, metric: Metric, reason: str | None) -> Row:
    nothing = dict.fromkeys(("value", "interval", "n", "equal_n", "details"))
    return {"name": name, "metric": group, **nothing, "reads": metric.reads, "reason": reason}


def _rows(
    group: str, metric: Metric, sets: Sets, options: Options, intervals: Intervals
) -> list[Row]:
    sets = _fewer(metric, sets, options.seed)
    values = metric.compute(sets, options)
    spread, why = _attempt("interval", lambda: deviations(metric, sets, options, intervals.draws))
    beside, why_not = _attempt("comparison", lambda: equal_numbers(metric, sets, options))
    rows = [_row(group, name, metric, why or why_not) for name in metric.names]
    for row in rows:
        name = row["name"]
        row["value"] = values[name]
        row["n"] = {side: len(getattr(sets, side)) for side in metric.uses}
        if spread:
            row["interval"] = _interval(name, values[name], spread[name], intervals.confidence)
        if beside:
            n, ours, theirs, of = beside
            row["equal_n"] = {"n": n, "generated": ours[name], "baseline": theirs[name], "of": of}
    details = {key: value for key, value in values.items() if key not in metric.names}
    rows[0]["details"] = details or None
    return rows


def _attempt(what: str, compute: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return compute(), None
    except ValueError as error:
        return None, f"no {what}: {error}"


def _fewer(metric: Metric, sets: Sets, seed: int) -> Sets:
    if metric.most is None:
        return sets
    drawn = {
        side: getattr(sets, side).draw(metric.most, np.random.default_rng([seed, FEWER, i]))
        for i, side in enumerate(metric.uses)
        if getattr(sets, side) is not None
    }
    return sets.with_(**drawn)


def deviations(metric: Metric, sets: Sets, options: Options, draws: int) -> Values | None:
    """Standard deviation of each value, from half-samples of generated and held-out shapes.

    The training set is fixed. A half-sample without replacement varies about the full sample as
    much as that does about the truth (Shao, Tu, The Jackknife and Bootstrap, 1995, 2.3); unlike a
    bootstrap it makes no shape its own neighbour. Of more than 2 `MOST` generated shapes a smaller
    share f is drawn, and the deviation scaled by sqrt(f / (1 - f)).
    """
    if not draws:
        return None
    share = min(0.5, MOST / len(sets.generated))
    found: list[Values] = []
    for i in range(draws):
        rng = np.random.default_rng([options.seed, DRAWN, i])
        drawn = {
            side: _part(getattr(sets, side), share, rng)
            for side in (GENERATED, TEST)
            if side in metric.uses
        }
        found.append(metric.compute(sets.with_(**drawn), options))
    scale = (share / (1 - share)) ** 0.5
    return {name: scale * float(np.std([v[name] for v in found], ddof=1)) for name in metric.names}


def _part(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    count = round(share * len(sample))
    if count < 2:
        raise ValueError(f"{len(sample)} shapes are too few to halve")
    return sample.draw(count, rng)


def _interval(name: str, value: float, deviation: float, confidence: float) -> list[float]:
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    return [max(low, value - reach), min(high, value + reach)]


def equal_numbers(
    metric: Metric, sets: Sets, options: Options
) -> tuple[int, Values, Values, str] | None:
    """(n, values of the generated shapes, of others in their place, which those are), at n each.

    The others are held-out shapes; where the metric compares with those, training shapes; where it
    uses all three sets, one half of the held-out shapes, compared with the other half.
    """
    if sets.test is None:
        return None
    generated, test, train = sets.generated, sets.test, sets.train
    rng = np.random.default_rng([options.seed, EQUAL])
    if TEST not in metric.uses:
        n, other, of = min(len(generated), len(test)), test, "held-out"
    elif TRAIN not in metric.uses:
        n, other, of = min(len(generated), len(test), len(train)), train, "training"
        sets = sets.with_(test=test.draw(n, rng))
    else:
        n, of = min(len(generated), len(test) // 2), "held-out"
        if n < 2:
            raise ValueError(f"{len(test)} held-out shapes are too few to halve")
        order = rng.permutation(len(test))
        other = test.take(np.sort(order[:n]))
        sets = sets.with_(test=test.take(np.sort(order[n:])))
    values = [
        metric.compute(sets.with_(generated=side.draw(n, rng)), options)
        for side in (generated, other)
    ]
    return n, values[0], values[1], of
