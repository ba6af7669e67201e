"""Measurements on shapes whose answers are known, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh

from mvcaption import slices, validate, wording
from mvcaption.measure import Facts, measure


def box(size: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> Any:
    made = trimesh.creation.box(size)
    made.apply_translation(at)
    return made


def joined(*parts: Any) -> tuple[np.ndarray, np.ndarray]:
    whole = trimesh.util.concatenate(parts)
    return np.asarray(whole.vertices), np.asarray(whole.faces)


def legs(places: list[tuple[float, float]], height: float) -> list[Any]:
    return [box((0.06, height, 0.06), (x, height / 2, z)) for x, z in places]


CORNERS = [(0.4, 0.4), (-0.4, 0.4), (0.4, -0.4), (-0.4, -0.4)]
SEAT = box((1, 0.1, 1), (0, 0.8, 0))


def upright(mesh: Any) -> tuple[np.ndarray, np.ndarray]:
    """A trimesh primitive, whose axis is z, with y up."""
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
    return np.asarray(mesh.vertices) @ turn.T, np.asarray(mesh.faces)


def facts_of(*parts: Any) -> Facts:
    return measure(*joined(*parts))


def test_a_chair() -> None:
    facts = facts_of(SEAT, *legs(CORNERS, 0.75), box((1, 1, 0.08), (0, 1.3, -0.46)))
    assert facts.contacts == 4
    assert facts.back is True
    assert facts.sides is False
    assert facts.mirrors == ("left-right",)
    assert facts.turns == 0
    assert facts.parts == 6
    assert facts.holes is None
    assert any(0.4 < level < 0.5 for level, _ in facts.plates)
    assert facts.open_top is False
    about = wording.About("Wooden chair", "Living room", ("Seat",), (0.5, 0.9, 0.5))
    made = wording.captions(about, facts)
    assert made.phrase == "a tall four-legged chair"
    assert "a level seat" in made.sentence
    assert "an upright back" in made.sentence
    assert "four separate legs" in made.paragraph
    assert "50 cm wide, 90 cm high and 50 cm deep" in made.paragraph
    assert not validate.problems(made._asdict(), validate.MEASURED, shape_only=True)


def test_arms_and_a_three_legged_table() -> None:
    arms = [box((0.1, 0.4, 0.9), (x, 1.0, 0.05)) for x in (-0.45, 0.45)]
    facts = facts_of(SEAT, *legs(CORNERS, 0.75), box((1, 1, 0.08), (0, 1.3, -0.46)), *arms)
    assert facts.back is True
    assert facts.sides is True
    table = facts_of(SEAT, *legs([(0, 0.4), (0.35, -0.3), (-0.35, -0.3)], 0.75))
    assert table.contacts == 3
    assert table.back is None
    said = wording.captions(wording.About("table"), table)
    assert said.phrase == "a three-legged table"
    assert "a flat top" in said.sentence


@pytest.mark.parametrize(
    ("make", "turns", "mirrors"),
    [
        (lambda: upright(trimesh.creation.cylinder(0.5, 1.0, sections=64)), 37, 2),
        (lambda: joined(box((1, 1, 1))), 4, 2),
        (lambda: joined(box((1, 1, 0.5))), 2, 2),
        (lambda: upright(trimesh.creation.cylinder(0.5, 1.0, sections=6)), None, 2),
        (lambda: joined(box((1, 0.2, 0.2)), box((0.2, 0.5, 0.2), (0.4, 0.2, 0.1))), 0, 0),
    ],
    ids=["round", "square", "oblong", "six-sided", "none"],
)
def test_symmetries(
    make: Callable[[], tuple[np.ndarray, np.ndarray]], turns: int | None, mirrors: int
) -> None:
    facts = measure(*make())
    assert facts.turns == turns
    assert len(facts.mirrors) == mirrors


def test_bases_hollows_and_holes() -> None:
    block = facts_of(box((1, 0.3, 1)))
    assert (block.contacts, block.holes, block.parts) == (1, 0, 1)
    assert block.base == pytest.approx(1.0, abs=0.05)
    lamp = facts_of(box((0.1, 1, 0.1), (0, 0.5, 0)), box((0.6, 0.2, 0.6), (0, 1.1, 0)))
    assert lamp.base is not None
    assert lamp.base < 0.1
    pot = measure(*upright(trimesh.creation.annulus(0.4, 0.5, 1.0)))
    assert pot.holes == 1
    assert pot.openings[2] == 1
    walls = [box((1, 1, 0.1), (0, 0.5, z)) for z in (-0.45, 0.45)]
    walls += [box((0.1, 1, 1), (x, 0.5, 0)) for x in (-0.45, 0.45)]
    assert facts_of(*walls, box((1, 0.1, 1), (0, 0.05, 0))).open_top is True
    assert facts_of(*walls[:3], box((1, 0.1, 1), (0, 0.05, 0))).open_top is False  # it drains
    frame = facts_of(*walls[2:], box((1, 0.1, 1), (0, 0.05, 0)), box((1, 0.1, 1), (0, 0.95, 0)))
    assert frame.openings == (1, 0, 0)


def test_shelves_are_counted() -> None:
    boards = [box((1, 0.03, 0.3), (0, y, 0)) for y in (0.1, 0.6, 1.1, 1.6)]
    facts = facts_of(*boards, *[box((0.03, 1.7, 0.3), (x, 0.85, 0)) for x in (-0.5, 0.5)])
    assert facts.openings[0] == 3


def test_unsure_is_not_said() -> None:
    """Feet of different lengths: the four cuts disagree."""
    feet = [box((0.1, 0.8 - 0.012 * i, 0.1), (x, 0.4 + 0.006 * i, z))
            for i, (x, z) in enumerate(CORNERS)]  # fmt: skip
    facts = facts_of(SEAT, *feet)
    assert facts.contacts is None
    made = wording.captions(wording.About("table"), facts)
    assert "legged" not in made.phrase
    assert "rests on" not in made.paragraph


def test_measurements_know_no_order_scale_or_place() -> None:
    vertices, faces = joined(SEAT, *legs(CORNERS, 0.75))
    facts = measure(vertices, faces)
    order = np.random.default_rng(0).permutation(len(faces))
    moved = measure(vertices * 37.0 + [5, -3, 100], faces[order])
    assert replace(moved, plates=facts.plates) == facts
    assert np.allclose(moved.plates, facts.plates, atol=2e-3)
    assert measure(vertices, faces) == facts


@pytest.mark.parametrize("vertices", [np.zeros((3, 3)), np.eye(3)[[0, 1, 1]]])
def test_nothing_to_measure(vertices: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot be measured"):
        measure(vertices.astype(float), np.array([[0, 1, 2]]))


def test_sections_do_not_need_closed_surfaces() -> None:
    vertices, faces = joined(box((1, 1, 1)))
    segments = slices.section(vertices, faces, 0.0)
    cells = slices.filled_cells(segments, np.array([-0.5, -0.5]), 1.0)
    assert cells.sum() == pytest.approx(slices.CELLS**2, rel=0.03)
    assert slices.count_parts(cells) == 1
    assert len(slices.section(vertices, faces, 2.0)) == 0


PLAIN = Facts(
    (1.0, 0.5, 1.0), ("left-right",), 0, None, None, (), None, None, None, (0, 0, 0), 1, None
)


def test_sizes_that_disagree_with_the_mesh_are_left_out() -> None:
    fits = wording.About("box", size=(2.0, 1.0, 2.0))
    swapped = wording.About("box", size=(1.0, 2.0, 2.0))
    assert not wording.size_disagrees(fits, PLAIN)
    assert wording.size_disagrees(swapped, PLAIN)
    assert "200 cm wide" in wording.captions(fits, PLAIN).paragraph
    assert "cm" not in wording.captions(swapped, PLAIN).paragraph


def test_every_clause_has_its_source_and_is_in_the_paragraph() -> None:
    about = wording.About("Red oak stool", "Kitchen", ("Seat", "Red"), (2.0, 1.0, 2.0))
    made = wording.captions(about, replace(PLAIN, contacts=3, openings=(2, 1, 0)))
    assert {clause.source for clause in made.clauses} == {"metadata", "geometry"}
    for clause in made.clauses:
        assert clause.text.lower() in made.paragraph.lower()
    assert "red" not in made.paragraph.lower().replace("shared", "")
    assert "oak" not in made.paragraph


def test_metadata_alone_and_geometry_alone() -> None:
    about = wording.About("Japanese lantern", "Lights", (), (0.2, 0.5, 0.2))
    assert wording.captions(about, None).phrase == "a Japanese lantern"
    assert wording.captions(about, None).sentence == (
        "A Japanese lantern, 20 cm wide, 50 cm high and 20 cm deep."
    )
    assert wording.captions(None, PLAIN).phrase == "an object"
    with pytest.raises(ValueError, match="neither"):
        wording.captions(wording.About(), None)


GOOD = {
    "phrase": "a chair with four legs",
    "sentence": "A chair with a curved back and four thin legs.",
    "paragraph": "The chair has a square seat. Its back is tall and curved. "
    "Four thin legs stand at the corners of the seat.",
}


@pytest.mark.parametrize(
    ("level", "text", "problem"),
    [
        ("phrase", "chair", "1 words"),
        ("phrase", "a chair with legs.", "full stop"),
        ("phrase", "two chairs with legs", "more than one object"),
        ("sentence", "A rendered chair with a curved back.", "forbidden word (rendered)"),
        ("sentence", "A chair viewed from the front.", "forbidden word (viewed)"),
        ("sentence", "A chair seen from multiple angles.", "multiple angles"),
        ("sentence", "A red chair with a curved back.", "colour or material (red)"),
        ("sentence", "", "no text"),
        ("sentence", "A set of chairs with curved backs.", "more than one object"),
        ("paragraph", GOOD["paragraph"] + " The background is plain.", "background"),
        ("paragraph", "One sentence of text " * 6 + ".", "1 sentences"),
        ("paragraph", "The material is unknown. " + GOOD["paragraph"], "unknown"),
    ],
)
def test_problems(level: str, text: str, problem: str) -> None:
    assert validate.problems(GOOD, validate.MODEL, shape_only=True) == []
    found = validate.problems(GOOD | {level: text}, validate.MODEL, shape_only=True)
    assert len(found) == 1
    assert problem in found[0]
    assert "(" not in validate.kind(found[0])


def test_words_that_only_look_forbidden() -> None:
    text = "A pair of scissors in a photo frame with a view port."
    assert not validate.problems(GOOD | {"sentence": text}, validate.MODEL, shape_only=True)
