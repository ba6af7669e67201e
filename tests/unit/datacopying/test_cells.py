"""C_T beyond the golden numbers: labels, k-means, PCA, errors."""

from __future__ import annotations

import numpy as np
import pytest

from datacopying.cells import c_t, kmeans_labels, reduced

Sets = tuple[np.ndarray, np.ndarray, np.ndarray]


def blobs(seed: int = 0, width: int = 3) -> tuple[Sets, Sets]:
    """Three far blobs of 40 training, 20 test, 25 generated rows, and their labels."""
    rng = np.random.default_rng(seed)
    centres = 50 * np.eye(3, width)
    labels = tuple(np.repeat(np.array(["a", "b", "c"]), n) for n in (40, 20, 25))
    sets = tuple(
        np.repeat(centres, n, axis=0) + rng.normal(size=(3 * n, width)) for n in (40, 20, 25)
    )
    return sets, labels  # type: ignore[return-value]


def test_kmeans_finds_far_blobs_and_is_seeded() -> None:
    sets, labels = blobs()
    found = kmeans_labels(sets, 3, seed=0)
    for names, cells in zip(labels, found, strict=True):
        assert len(set(zip(names.tolist(), cells.tolist(), strict=True))) == 3
    again = kmeans_labels(sets, 3, seed=0)
    assert all((one == two).all() for one, two in zip(found, again, strict=True))


def test_copies_in_one_cell_show_there() -> None:
    sets, labels = blobs()
    train, test, gen = sets
    gen[:25] = train[:25]
    got = c_t((train, test, gen), labels, tau=0.1)
    assert [cell.cell for cell in got.cells] == ["a", "b", "c"]
    assert got.cells[0].z_u < -5 < min(got.cells[1].z_u, got.cells[2].z_u)
    assert got.c_t == pytest.approx(np.mean([cell.z_u for cell in got.cells]))


def test_no_cell_above_tau_gives_no_value() -> None:
    sets, labels = blobs()
    assert c_t(sets, labels, tau=0.9).c_t is None


@pytest.mark.parametrize(("side", "word"), [(0, "training"), (1, "test")])
def test_a_cell_lacking_shapes_is_named(side: int, word: str) -> None:
    sets, labels = blobs()
    keep = labels[side] != "b"
    sets = tuple(s[keep] if i == side else s for i, s in enumerate(sets))  # type: ignore[assignment]
    labels = tuple(s[keep] if i == side else s for i, s in enumerate(labels))  # type: ignore[assignment]
    with pytest.raises(ValueError, match=f"cell b: no {word} shape"):
        c_t(sets, labels, tau=0)


def test_wide_rows_are_reduced_and_keep_their_distances() -> None:
    sets, _ = blobs(width=3)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(200, 200)))[0][:3]
    wide = tuple(rows @ turn for rows in sets)
    small = reduced(wide)  # type: ignore[arg-type]
    assert {rows.shape[1] for rows in small} == {64}
    for one, two in zip(sets, small, strict=True):
        np.testing.assert_allclose(
            np.linalg.norm(one[0] - one, axis=1), np.linalg.norm(two[0] - two, axis=1), atol=1e-9
        )
    assert reduced(sets) is sets


def test_impossible_numbers_of_cells_are_refused() -> None:
    sets, _ = blobs()
    with pytest.raises(ValueError, match="121 cells: expected 1 to 120"):
        kmeans_labels(sets, 121, seed=0)
    same = tuple(np.ones((n, 2)) for n in (9, 9, 9))
    with pytest.raises(ValueError, match=r"2 cells: .* 1 different points"):
        kmeans_labels(same, 2, seed=0)  # type: ignore[arg-type]


def test_one_cell_is_the_global_value() -> None:
    sets, _ = blobs()
    labels = tuple(np.zeros(len(rows), int) for rows in sets)
    got = c_t(sets, labels, tau=0)  # type: ignore[arg-type]
    assert got.c_t == got.z_u_global
