"""Views of a sprite, answers of a model, how much captions say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mvcaption import views
from mvcaption.asking import Asker, Job
from mvcaption.distinct import distinctness
from mvcaption.validate import MODEL


def test_policies() -> None:
    assert views.pick("even", 12, 4) == [0, 3, 6, 9]
    assert views.pick("even", 12, 1) == [0]
    assert views.pick("first", 12, 3) == [0, 1, 2]
    assert views.pick("center", 12, 4) == [4, 5, 6, 7]
    assert views.pick("indices:10,11", 12, 4) == [10, 11]
    assert views.pick("index:5", 12, 4) == [5]


@given(st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_even_views_lie_evenly_on_a_circle(count: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, count))
    found = views.pick("even", count, wanted)
    steps = np.diff([*found, found[0] + count])
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(
    ("policy", "count"),
    [("even", 0), ("even", 13), ("first", 13), ("indices:12", 1), ("indices:-1", 1),
     ("index:1,2", 1), ("indices:", 1), ("some", 2)],
)  # fmt: skip
def test_policies_that_are_refused(policy: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"views|policy"):
        views.pick(policy, 12, count)


def test_random_views_depend_on_seed_and_id_alone() -> None:
    found = [views.draw(0, f"u{i}", 12, 4) for i in range(50)]
    assert found == [views.draw(0, f"u{i}", 12, 4) for i in range(50)]
    assert len({tuple(f) for f in found}) > 30
    assert found != [views.draw(1, f"u{i}", 12, 4) for i in range(50)]
    assert all(len(set(f)) == 4 for f in found)


def sprite(path: Path, rows: int, columns: int, tile: int = 4) -> Path:
    """Tile number i, counted row by row, has the grey value 10 i."""
    numbers = np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns) * 10
    Image.fromarray(np.kron(numbers, np.ones((tile, tile), np.uint8))).save(path)
    return path


@pytest.mark.parametrize(("rows", "columns"), [(12, 1), (3, 4)])
def test_tiles_of_strips_and_grids(tmp_path: Path, rows: int, columns: int) -> None:
    path = sprite(tmp_path / "s.png", rows, columns)
    if columns > 1:
        about = {"views": 12, "rows": rows, "cols": columns, "sprite": "s.png"}
        (tmp_path / "views.json").write_text(json.dumps(about))
    found = views.tiles(path, views.layout(path, 12), [0, 5, 11])
    assert [np.unique(tile).tolist() for tile in found] == [[0], [50], [110]]
    assert [tile.size for tile in found] == [(4, 4)] * 3


def test_sprites_that_are_refused(tmp_path: Path) -> None:
    path = sprite(tmp_path / "s.png", 11, 1)
    with pytest.raises(ValueError, match="do not divide into 1 x 12 views"):
        views.tiles(path, (12, 12, 1), [0])
    (tmp_path / "torn.png").write_bytes(path.read_bytes()[:20])
    with pytest.raises((ValueError, OSError), match=r"torn\.png"):
        views.tiles(tmp_path / "torn.png", (1, 1, 1), [0])
    (tmp_path / "views.json").write_text('{"views": 3}')
    with pytest.raises(ValueError, match=r"views\.json"):
        views.layout(path, 12)


GOOD = {
    "phrase": "a chair with four legs",
    "sentence": "A chair with a curved back and four thin legs.",
    "paragraph": "The chair has a square seat. Its back is tall and curved. "
    "Four thin legs stand at the corners of the seat.",
}
TEXT = json.dumps(GOOD)


class Scripted:
    """A model whose images are the answers it gives, in turn; "raise" fails the whole batch."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def __call__(self, batch: Any, tokens: int) -> list[str]:
        self.tokens.append(tokens)
        if any(images[0] == "raise" for images in batch):
            raise RuntimeError("too many pixels")
        return [images.pop(0) if len(images) > 1 else images[0] for images in batch]


def job(uid: str, *answers: str) -> Job:
    def load() -> list[Any]:
        if answers == ("unreadable",):
            raise ValueError("s.png: not a readable picture")
        return list(answers)

    return Job(uid, load, (0, 3))


def test_answers_are_read_checked_and_asked_for_again() -> None:
    jobs = [
        job("good", TEXT),
        job("fenced", f"Here:\n```json\n{TEXT}\n```"),
        job("cut", TEXT[:-40], TEXT),
        job("always cut", TEXT[:-40]),
        job("prose", "It is a chair."),
        job("empty", ""),
        job("colour", TEXT.replace("curved", "red"), TEXT),
        job("two", TEXT.replace("a chair with four legs", "two chairs with legs")),
        job("bad", "raise"),
        job("picture", "unreadable"),
    ]
    ask = Scripted()
    made = {j.uid: r for j, r in Asker(ask, 100, 3, MODEL, shape_only=True).run(jobs, 4)}
    assert {uid for uid, row in made.items() if row["status"] == "done"} == {
        "good", "fenced", "cut", "colour"
    }  # fmt: skip
    assert len(made) == len(jobs)
    assert made["fenced"]["step"] == "fenced"
    assert (made["cut"]["attempts"], made["colour"]["attempts"]) == (2, 2)
    assert {level: made["cut"][level] for level in GOOD} == GOOD
    assert "cut off" in made["always cut"]["error"]
    assert made["always cut"]["raw"] == TEXT[:-40]
    assert "too many pixels" in made["bad"]["error"]
    assert "not a readable picture" in made["picture"]["error"]
    assert "more than one object" in made["two"]["error"]
    assert max(ask.tokens) >= 200


def test_a_row_does_not_depend_on_its_batch() -> None:
    def jobs() -> list[Job]:
        return [job("a", TEXT), job("b", "raise"), job("c", "", TEXT), job("d", TEXT[:-9], TEXT)]

    runs = [
        {j.uid: r for j, r in Asker(Scripted(), 9, 3, MODEL, True).run(jobs(), size)}
        for size in (1, 2, 4)
    ]
    assert runs[0] == runs[1] == runs[2]


def test_distinctness() -> None:
    found = distinctness(["a b"] * 4 + ["c"] * 2 + ["d", "e"])
    assert (found.rows, found.distinct, found.largest, found.commonest) == (8, 4, 4, "a b")
    assert found.entropy == pytest.approx(0.5 * 1 + 0.25 * 2 + 2 * 0.125 * 3)
    assert found.sharing == pytest.approx((16 + 4 + 1 + 1) / 8)
    assert distinctness(["a", "b", "c"]).entropy == pytest.approx(math.log2(3))
    with pytest.raises(ValueError, match="no captions"):
        distinctness([])
