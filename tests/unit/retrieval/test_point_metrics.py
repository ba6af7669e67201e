"""Point, voxel and embedding metrics against brute force and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from retrieval.metrics import METRICS, Options
from retrieval.point_metrics import _dual_bound
from retrieval.tables import Table

THRESHOLD = 0.25


def table(kind: str, values: np.ndarray) -> Table:
    n = len(values)
    key = {"points": "points", "voxels": "voxels", "embedding": "embeddings"}[kind]
    return Table(kind, [f"s{i}" for i in range(n)], [""] * n, {key: values}, {}, [""] * n)


def nearest(name: str, query: np.ndarray, database: np.ndarray, k: int, skip=None, **options):
    kind = METRICS[name].kind
    none = np.full(len(query), -1)
    return METRICS[name].nearest(
        table(kind, query),
        table(kind, database),
        k,
        none if skip is None else skip,
        Options(threshold=THRESHOLD, **options),
    )


def clouds(n: int, points: int, seed: int) -> np.ndarray:
    """Clouds of several shapes and sizes, so that neighbours differ in distance."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(n, points, 3)) * rng.uniform(0.2, 1.0, (n, 1, 3))
    return (made + rng.normal(size=(n, 1, 3)) * 0.2).astype(np.float32)


def brute(name: str, a: np.ndarray, b: np.ndarray) -> float:
    d = cdist(a.astype(np.float64), b.astype(np.float64))
    to_b, to_a = d.min(axis=1), d.min(axis=0)
    if name == "cd":
        return (to_b**2).mean() + (to_a**2).mean()
    if name == "cd-l1":
        return to_b.mean() + to_a.mean()
    if name == "fscore":
        p, r = (to_b <= THRESHOLD).mean(), (to_a <= THRESHOLD).mean()
        return 1 - (2 * p * r / (p + r) if p + r else 0.0)
    orders = itertools.permutations(range(len(b)))
    return min(d[np.arange(len(a)), list(order)].mean() for order in orders)


@pytest.mark.parametrize("name", ["cd", "cd-l1", "fscore", "emd"])
@pytest.mark.parametrize("pruning", [True, False])
def test_point_metrics_equal_brute_force(name, pruning):
    points = 5 if name == "emd" else 300
    query, database = clouds(6, points, 1), clouds(25, points, 2)
    database[7] = query[2]
    database[19] = query[2]  # a tie: the lower row comes first
    index, distance = nearest(name, query, database, 4, pruning=pruning)
    for i, cloud in enumerate(query):
        all_of_them = np.array([brute(name, cloud, other) for other in database])
        order = np.argsort(all_of_them.round(12), kind="stable")[:4]
        assert index[i].tolist() == order.tolist()
        assert distance[i] == pytest.approx(all_of_them[order], abs=1e-12)
    assert index[2, :2].tolist() == [7, 19] and distance[2, :2].tolist() == [0, 0]


@pytest.mark.parametrize("name", ["cd", "cd-l1", "fscore", "emd"])
def test_pruning_and_threads_change_nothing_but_the_work(name):
    query, database = clouds(5, 64, 3), clouds(60, 64, 4)
    database[:5] = query + np.float32(0.003)
    skip = np.array([-1, 1, -1, 3, 59])
    runs = []
    for pruning, workers in ((True, 0), (True, 3), (False, 0)):
        statistics: dict[str, int] = {}
        options = {"pruning": pruning, "workers": workers, "statistics": statistics}
        index, distance = nearest(name, query, database, 3, skip, **options)
        runs.append((index.tolist(), distance.tolist(), statistics))
    assert runs[0] == runs[1]
    assert runs[0][:2] == runs[2][:2]
    assert 1 not in runs[0][0][1] and 3 not in runs[0][0][3]
    assert runs[0][2]["pairs"] == runs[2][2]["pairs"] == 300
    assert runs[0][2]["pairs_measured"] < 200 < runs[2][2]["pairs_measured"] == 300 - 3


@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 1e4])
def test_the_dual_bound_is_below_the_optimum_and_near_it(spread):
    rng = np.random.default_rng(10)
    for _ in range(10):
        a, b = rng.normal(size=(2, 80, 3))
        cost = cdist(a * rng.uniform(0.1, 2), b + spread * (rng.random(80) < 0.5)[:, None])
        best = cost[linear_sum_assignment(cost)].mean()
        bound = _dual_bound(cost)
        assert np.isnan(bound) or 0.9 * best < bound <= best * (1 + 1e-9)
        assert spread > 1 or not np.isnan(bound)


def test_emd_of_moved_and_of_permuted_clouds_is_the_length_of_the_move():
    cloud = clouds(1, 100, 5)
    moved = cloud[:, ::-1] + np.array([3, 4, 0], np.float32)  # far: everything moves along
    assert nearest("emd", cloud, moved, 1)[1] == pytest.approx(5, rel=1e-6)
    assert nearest("emd", cloud, cloud[:, ::-1], 1)[1] == 0


def test_chamfer_of_two_planes_is_their_gap():
    x, y = np.meshgrid(np.arange(20.0), np.arange(20.0))
    plane = np.stack([x, y, 0 * x], axis=-1).reshape(1, -1, 3).astype(np.float32)
    lifted = plane + np.array([0, 0, 0.5], np.float32)
    assert nearest("cd", plane, lifted, 1)[1] == 2 * 0.25
    assert nearest("cd-l1", plane, lifted, 1)[1] == 2 * 0.5


def test_fscore_of_half_a_match():
    a = np.zeros((1, 10, 3), np.float32)
    b = np.zeros((1, 10, 3), np.float32)
    b[0, 5:] = 10  # all of a are near b, half of b are near a: P 1, R 1/2, F 2/3
    assert nearest("fscore", a, b, 1)[1] == pytest.approx(1 / 3)
    assert nearest("fscore", a, a + 10, 1)[1] == 1
    with pytest.raises(ValueError, match="--threshold 0"):
        METRICS["fscore"].nearest(
            table("points", a), table("points", b), 1, np.array([-1]), Options(threshold=0)
        )


def test_clouds_of_one_place_and_of_huge_size_are_compared():
    dot = np.ones((2, 4, 3), np.float32)
    assert nearest("cd", dot, dot, 2)[0].tolist() == [[0, 1], [0, 1]]
    huge = dot * np.float32(1e15) * np.arange(1, 3, dtype=np.float32)[:, None, None]
    index, distance = nearest("cd-l1", huge[1:], huge, 2)
    assert index.tolist() == [[1, 0]] and distance[0, 1] == pytest.approx(2 * 3**0.5 * 1e15)


def test_iou_equals_counting_and_fills_what_is_missing():
    rng = np.random.default_rng(6)
    grids = rng.random((12, 5, 5, 5)) < 0.3
    grids[4] = grids[9] = False
    packed = np.packbits(grids.reshape(12, -1), axis=1)
    index, distance = nearest("iou", packed, packed, 13, np.full(12, 0))
    for i in range(12):
        both = (grids[i] & grids).sum(axis=(1, 2, 3))
        union = (grids[i] | grids).sum(axis=(1, 2, 3))
        expected = np.where(union > 0, 1 - both / np.maximum(union, 1), 0.0)
        order = [j for j in np.argsort(expected, kind="stable") if j != 0]
        assert index[i].tolist() == [*order, -1, -1]
        assert distance[i, :11] == pytest.approx(expected[order], abs=1e-15)
    assert index[9, :2].tolist() == [4, 9] and distance[9, :2].tolist() == [0, 0]


@pytest.mark.parametrize("name", ["l2", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embedding_metrics_equal_brute_force(name, dtype):
    rng = np.random.default_rng(7)
    database = rng.normal(size=(200, 16)).astype(dtype) + 3
    query = database[[5, 90]] + np.array([[0], [1e-3]], dtype)
    skip = np.array([-1, 90])
    index, distance = nearest(name, query, database, 6, skip)
    measure = {"l2": "euclidean", "cosine": "cosine"}[name]
    all_of_them = cdist(query.astype(np.float64), database.astype(np.float64), measure)
    all_of_them[1, 90] = np.inf
    assert index.tolist() == np.argsort(all_of_them, axis=1)[:, :6].tolist()
    assert distance == pytest.approx(np.sort(all_of_them, axis=1)[:, :6], abs=1e-12)
    assert distance[0, 0] == 0


def test_l2_does_not_lose_near_copies_to_cancellation():
    rng = np.random.default_rng(8)
    base = rng.normal(size=64) * 1e8
    steps = np.array([3e-4, 1e-4, 2e-4, 1e-4])  # far below the rounding of |a|^2 - 2ab + |b|^2
    database = base + steps[:, None] * np.eye(64)[:4]
    index, distance = nearest("l2", base[None], database, 4)
    assert index.tolist() == [[1, 3, 2, 0]] or index.tolist() == [[3, 1, 2, 0]]
    assert distance[0] == pytest.approx([1e-4, 1e-4, 2e-4, 3e-4], rel=1e-3)


def test_rows_without_direction_and_rows_too_large_are_refused():
    rows = np.ones((3, 4))
    rows[1] = 0
    with pytest.raises(ValueError, match=r"row of 's1' is 0"):
        nearest("cosine", rows, rows, 1)
    with pytest.raises(ValueError, match="too large to be squared"):
        nearest("l2", rows * 1e200, rows, 1)


def test_fewer_rows_than_wanted_are_filled():
    for name, values in (("cd", clouds(2, 9, 9)), ("l2", np.eye(2))):
        index, distance = nearest(name, values, values, 3, np.array([0, -1]))
        assert index[0].tolist() == [1, -1, -1] and index[1].tolist() == [1, 0, -1]
        assert (distance[index < 0] == 0).all()
