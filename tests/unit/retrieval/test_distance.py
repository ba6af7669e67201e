"""Light field distance: every path against 6,000 explicit alignments."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.lfd_distance import images, lower_bounds, nearest_on_cpu, prepare, rig_sums
from retrieval.lfd_simd import SIMD
from retrieval.metrics import Options, smallest
from retrieval.permutations import view_permutations
from retrieval.tables import Table

KINDS = ("uniform", "extreme", "near", "ties", "zero")
simd = pytest.mark.parametrize(
    "simd",
    [
        pytest.param(True, marks=pytest.mark.skipif(not SIMD, reason="no AVX2 here"), id="avx2"),
        pytest.param(False, id="portable"),
    ],
)


def table(kind: str, n: int, seed: int) -> Table:
    """`near`: small changes of three shapes; `ties`: copies of three; `extreme`: 0 or 255."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    base = np.random.default_rng(5).integers(0, 256, (3, 10, 10, 47))
    pictures = {
        "uniform": lambda: rng.integers(0, 256, (n, 10, 10, 47)),
        "extreme": lambda: np.full((n, 10, 10, 47), rng.integers(0, 2, (n, 1, 1, 1)) * 255),
        "near": lambda: base[rng.integers(0, 3, n)] + rng.integers(-3, 4, (n, 10, 10, 47)),
        "ties": lambda: base[rng.integers(0, 3, n)],
        "zero": lambda: np.zeros((n, 10, 10, 47)),
    }[kind]()
    return from_images(np.clip(pictures, 0, 255).astype(np.uint8))


def from_images(pictures: NDArray[np.uint8]) -> Table:
    names = [f"s{i}" for i in range(len(pictures))]
    arrays = {
        "art": pictures[..., :35],
        "fd": pictures[..., 35:45],
        "cir": pictures[..., 45],
        "ecc": pictures[..., 46],
    }
    return Table("lfd", names, [""] * len(names), arrays, {}, [""] * len(names))


def explicit(a: Table, i: int, b: Table, j: int) -> int:
    """The formula of the specification, alignment by alignment."""
    best = 1 << 30
    weight = {"art": 1, "fd": 2, "cir": 2, "ecc": 1}
    one = {key: a.arrays[key][i].astype(int).reshape(10, 10, -1) for key in weight}
    two = {key: b.arrays[key][j].astype(int).reshape(10, 10, -1) for key in weight}
    for g in view_permutations():
        for s in range(10):
            turned = {key: one[key][s][g] for key in weight}
            per_rig = sum(
                w * np.abs(turned[key] - two[key]).sum(axis=(1, 2)) for key, w in weight.items()
            )
            best = min(best, int(np.min(per_rig)))
    return best


@pytest.mark.parametrize("kind", KINDS)
@simd
def test_equals_explicit_alignments(kind: str, simd: bool) -> None:
    query, database = table(kind, 2, 1), table(kind, 7, 2)
    matrix = np.array([[explicit(query, i, database, j) for j in range(7)] for i in range(2)])
    index, distance = nearest_on_cpu(query, database, 7, np.full(2, -1), Options(), simd)
    expected = smallest(matrix, 7, np.full(2, -1))
    np.testing.assert_array_equal(index, expected[0])
    np.testing.assert_array_equal(distance, expected[1])


@simd
def test_largest_possible_distance_is_exact(simd: bool) -> None:
    low = from_images(np.zeros((1, 10, 10, 47), np.uint8))
    high = from_images(np.full((3, 10, 10, 47), 255, np.uint8))
    _, distance = nearest_on_cpu(low, high, 2, np.full(1, -1), Options(), simd)
    assert distance.tolist() == [[147_900, 147_900]]


def test_turned_shape_is_at_distance_zero() -> None:
    shape = table("uniform", 1, 3)
    pictures = images(shape)[..., [*range(35), *range(36, 47), 35]]
    turned = pictures[:, ::-1][:, :, view_permutations()[37]]
    _, distance = nearest_on_cpu(from_images(turned), shape, 1, np.full(1, -1), Options(), SIMD)
    assert distance.tolist() == [[0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 5, 10, 100])
def test_pruning_changes_nothing(kind: str, k: int) -> None:
    query, database = table(kind, 20, 3), table(kind, 53, 4)
    skip = np.where(np.arange(20) % 3 == 0, np.arange(20), -1)
    brute = nearest_on_cpu(query, database, k, skip, Options(pruning=False), SIMD)
    for workers in (0, 2):
        options = Options(workers=workers)
        pruned = nearest_on_cpu(query, database, k, skip, options, SIMD)
        np.testing.assert_array_equal(pruned[0], brute[0])
        np.testing.assert_array_equal(pruned[1], brute[1])
    everything = nearest_on_cpu(query, database, 53, np.full(20, -1), Options(), SIMD)
    matrix = np.empty((20, 53), np.int64)
    np.put_along_axis(matrix, *everything, axis=1)
    expected = smallest(matrix, k, skip)
    np.testing.assert_array_equal(brute[0], expected[0])
    np.testing.assert_array_equal(brute[1], expected[1])


def test_pruning_leaves_out_pairs() -> None:
    query, database = table("near", 10, 3), table("near", 200, 4)
    options = Options()
    nearest_on_cpu(query, database, 1, np.full(10, -1), options, SIMD)
    assert options.statistics["pairs"] == 2000
    assert options.statistics["aligned_pairs"] < 1200


@pytest.mark.parametrize("kind", KINDS)
def test_bound_is_the_stated_one_modulo_65536(kind: str) -> None:
    query, database = table(kind, 3, 5), table(kind, 17, 6)
    own, other = rig_sums(images(query)).astype(int), rig_sums(images(database)).astype(int)
    l1 = np.abs(own[:, None, :, None] - other[None, :, None, :]).sum(axis=-1)
    bound = lower_bounds(rig_sums(images(query)), prepare(database))
    np.testing.assert_array_equal(bound, np.minimum(l1 % 65536, 65535).min(axis=(2, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_torch_is_equal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from retrieval import lfd_torch

    monkeypatch.setattr(lfd_torch, "TARGETS", 8)
    query, database = table(kind, 4, 7), table(kind, 21, 8)
    skip = np.array([-1, 0, 20, 7])
    for k in (1, 5, 30):
        cpu = nearest_on_cpu(query, database, k, skip, Options(), SIMD)
        other = lfd_torch.nearest_on(torch.device("cpu"), query, database, k, skip, Options())
        np.testing.assert_array_equal(other[0], cpu[0])
        np.testing.assert_array_equal(other[1], cpu[1])


@pytest.mark.gpu
def test_cuda_is_equal() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from retrieval import lfd_torch

    query, database = table("near", 20, 7), table("near", 3000, 8)
    none = np.full(20, -1)
    cpu = nearest_on_cpu(query, database, 10, none, Options(), SIMD)
    device = lfd_torch.gpu("cuda")
    assert device is not None
    other = lfd_torch.nearest_on(device, query, database, 10, none, Options())
    np.testing.assert_array_equal(other[0], cpu[0])
    np.testing.assert_array_equal(other[1], cpu[1])


def test_absent_device_is_an_error() -> None:
    torch = pytest.importorskip("torch")
    from retrieval.lfd_torch import gpu

    with pytest.raises(ValueError, match="cuda:99"):
        gpu("cuda:99")
    with pytest.raises(ValueError, match="expected auto"):
        gpu("toaster")
    assert (gpu("auto") is None) is not torch.cuda.is_available()
