"""Per-sample, per-training-shape and per-category tables; provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacopying.categories import assign, category_table
from datacopying.excess import flag_rule
from datacopying.provenance import differences, metric, summary
from datacopying.records import Query, Retrieval
from datacopying.samples import sample_table, training_table
from datacopying.zu import zu_from_distances


def query(name: str, distance: float, **more: Any) -> Query:
    values = {"category": None, "nearest_id": f"t-{name}", "nearest_category": None, "second": None}
    return Query(name, distance=distance, **(values | more))


def retrieval(*queries: Query) -> Retrieval:
    return Retrieval(Path("r.json"), "flat", list(queries), [])


TEST = np.array([10.0, 20, 20, 30])


def rows_of(*queries: Query) -> list[dict[str, Any]]:
    return sample_table(queries, [q.category for q in queries], TEST, flag_rule(TEST, 0.2))


def test_a_row_states_percentile_p_ratio_and_flag() -> None:
    rows = rows_of(query("b", 20, second=25.0), query("a", 4, second=16.0), query("c", 31))
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["percentile"] for row in rows] == [0, 0.5, 1]
    assert [row["p"] for row in rows] == [1 / 5, 4 / 5, 1]
    assert [row["q"] for row in rows] == pytest.approx([3 / 5, 1, 1])
    assert [row["ratio_to_second"] for row in rows] == [0.25, 0.8, None]
    assert [row["flagged"] for row in rows] == [True, False, False]


def test_ties_are_by_id_and_never_flagged() -> None:
    rows = rows_of(query("z", 10), query("y", 10), query("x", 9.99))
    assert [(row["id"], row["flagged"]) for row in rows] == [("x", 1), ("y", 0), ("z", 0)]


def test_the_order_of_the_input_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    queries = [query(str(i), float(d)) for i, d in enumerate(rng.integers(0, 40, 60))]
    shuffled = [queries[i] for i in rng.permutation(60)]
    assert rows_of(*queries) == rows_of(*shuffled)


def test_zero_and_infinite_distances_have_no_ratio() -> None:
    rows = rows_of(query("a", 0, second=0.0), query("b", np.inf, second=np.inf), query("c", 0))
    assert [row["ratio_to_second"] for row in rows] == [None] * 3
    assert rows[-1] | {"id": "b", "distance": None, "flagged": False} == rows[-1]


def test_training_shapes_most_often_flagged_first() -> None:
    samples = rows_of(
        query("a", 5, nearest_id="t1"),
        query("b", 25, nearest_id="t2"),
        query("c", 26, nearest_id="t2"),
        query("d", 12, nearest_id="t1"),
        query("e", 1, nearest_id=None),
    )
    held_out = [query("h1", 10, nearest_id="t2"), query("h2", 20, nearest_id="t9")]
    shown = ("id", "generated", "flagged", "held_out", "smallest_distance")
    rows = [tuple(row[key] for key in shown) for row in training_table(samples, held_out)]
    assert rows == [("t1", 2, 1, 0, 5.0), ("t2", 2, 0, 1, 25.0)]


def sides(**more: Any) -> tuple[Retrieval, Retrieval]:
    """Beds: generated much closer. Cars: alike. Mugs: too few generated; vases: just enough."""
    rng = np.random.default_rng(1)
    spec = {"bed": (rng.uniform(0, 1, 20), rng.uniform(2, 3, 30))}
    spec["car"] = (rng.uniform(2, 3, 20), rng.uniform(2, 3, 30))
    spec["mug"] = (rng.uniform(2, 3, 4), rng.uniform(2, 3, 30))
    spec["vase"] = (rng.uniform(2, 3, 5), rng.uniform(2, 3, 30))
    made = [
        retrieval(
            *(
                query(f"{name}{i}", d, **{key: name for key in more})
                for name, both in spec.items()
                for i, d in enumerate(both[side])
            )
        )
        for side in (0, 1)
    ]
    return made[0], made[1]


def test_the_category_that_is_copied_stands_out() -> None:
    gen, test = sides(category=True)
    found = assign(gen, test, {})
    assert found.by == "query"
    rule = flag_rule(test.distances, 0.02)
    bed, car, mug, vase = category_table(gen, test, found, rule)
    assert bed["z_u"] == zu_from_distances(gen.distances[:20], test.distances[:30])
    assert (bed["q"] < 0.001, bed["flagged"], bed["n_gen"], bed["n_test"]) == (True, 20, 20, 30)
    assert car["q"] > 0.05
    assert (mug["z_u"], mug["q"], mug["n_gen"]) == (None, None, 4)
    assert mug["reason"] == "4 generated, 30 test shapes: fewer than 5"
    assert (vase["reason"], vase["q"] is None) == (None, False)


def test_categories_of_the_neighbours_serve_when_own_ones_lack() -> None:
    gen, test = sides(nearest_category=True)
    found = assign(gen, test, {})
    assert found.by == "nearest"
    assert "169 of 169 shapes have no category of their own" in found.reason
    assert found.gen[0] == "bed"


def test_a_list_goes_before_the_results_and_may_complete_them() -> None:
    gen, test = retrieval(query("a", 1)), retrieval(query("b", 1, category="bed"))
    found = assign(gen, test, {"a": "car", "b": "mug"})
    assert (found.by, found.gen, found.test) == ("query", ["car"], ["mug"])
    assert assign(gen, test, {"a": "car"}).test == ["bed"]


def test_no_categories_no_table() -> None:
    gen, test = sides()
    found = assign(gen, test, {})
    assert found.by is None
    assert category_table(gen, test, found, flag_rule(test.distances, 0.1)) == []


def run(**settings: Any) -> dict[str, Any]:
    tables = settings.pop("tables", {"poses": 10})
    made = {"metric": "lfd", "topk": 1, "database": ["d1"], "query": ["q1"]}
    rest: dict[str, Any] = {"command": "retrieve.py", "inputs": {}, "versions": {}, "seconds": 1}
    return {"settings": made | settings, "tables": tables, **rest}


def test_runs_that_belong_together_do_not_differ() -> None:
    assert differences(run(), run(query=["q2"], topk=5, exclude_self=True, limit=3)) == []
    assert differences(run(), None) == differences(None, None) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"metric": "cd"}, "metric: generated 'lfd', test 'cd'"),
        ({"tables": {"poses": 20}}, "tables.poses: generated 10, test 20"),
        ({"database": ["d2"]}, "training set: the database files differ"),
        ({"query": ["q1"]}, "queries: both results are of the same files"),
        ({"by_category": True}, "by_category: generated None, test True"),
    ],
)
def test_runs_that_do_not_belong_together(other: dict[str, Any], said: str) -> None:
    (found,) = differences(run(), run(**({"query": ["q2"]} | other)))
    assert said in found


def test_a_result_quotes_the_run() -> None:
    quoted = summary(run())
    assert quoted is not None
    assert "seconds" not in quoted
    assert quoted["tables"] == {"poses": 10}
    assert (metric(None, run()), metric(None, None)) == ("lfd", None)
