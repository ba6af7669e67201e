"""Words of names: cleaned, in the singular, cut to the noun phrase; labels by rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_curation import classes, words
from data_curation.lexicon import Lexicon

FOLDER = Path(classes.__file__).parents[1] / "classes"


@pytest.mark.parametrize(
    ("plural", "single"),
    [
        ("chairs", "chair"), ("batteries", "battery"), ("boxes", "box"), ("dresses", "dress"),
        ("benches", "bench"), ("brushes", "brush"), ("vases", "vase"), ("horses", "horse"),
        ("shelves", "shelf"), ("gloves", "glove"), ("knives", "knife"), ("people", "person"),
        ("buses", "bus"), ("potatoes", "potato"), ("shoes", "shoe"), ("cookies", "cookie"),
        ("scissors", "scissors"), ("glass", "glass"), ("cactus", "cactus"), ("bus", "bus"),
        ("tennis", "tennis"), ("sheep", "sheep"), ("sunglasses", "sunglasses"), ("sizes", "size"),
    ],
)  # fmt: skip
def test_singular(plural: str, single: str) -> None:
    assert words.singular(plural) == single
    assert words.singular(single) == single
    assert words.is_plural(plural) == (plural != single)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Oak_Coffee Table (v2, 120cm)", ["oak", "coffee", "table"]),
        ("L\u2011shaped ﬁne sofa", ["l-shaped", "fine", "sofa"]),
        ("Sofa 3 seats", ["sofa", "with", "seats"]),
        ("Child\u2019s chair", ["child's", "chair"]),
        ("Стул, красный", ["стул", "красный"]),
        ("1998 / 308", []),
    ],
)
def test_words_of(text: str, expected: list[str]) -> None:
    assert words.words_of(text) == expected


def test_noun_phrase_ends_at_the_first_preposition() -> None:
    assert words.noun_phrase(["a", "table", "with", "a", "glass", "top"]) == ["table"]
    assert words.noun_phrase(["with", "wheels"]) == ["with", "wheels"]


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("armchair", "an"), ("chair", "a"), ("unicycle", "a"), ("hourglass", "an"),
     ("L-shaped sofa", "an"), ("used car", "a")],
)  # fmt: skip
def test_article(phrase: str, expected: str) -> None:
    assert words.article(phrase) == expected


def test_classes_that_ship_have_ranks_as_ids() -> None:
    for path in sorted(FOLDER.glob("*.json")):
        ids = classes.read_classes(path)
        assert ids == classes.ids_of(ids), path
    assert classes.read_classes(FOLDER / "lvis16.json")["box"] == 0
    assert len(classes.read_classes(FOLDER / "lvis16.json")) == 16
    named = set(classes.read_synonyms(FOLDER / "synonyms.txt").values())
    assert "sofa" in named


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"box": 14, "chair": 20}', "need the ids 0 to 1"),
        ('{"box": 0, "chair": 0}', "need the ids 0 to 1"),
        ('{"box": true}', "expected"),
        ('["box", "box"]', "'box' stands twice"),
        ("[]", "at least one"),
        ('"box"', "expected"),
    ],
)
def test_class_lists_that_are_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=problem):
        classes.read_classes(path)


def test_class_list_as_text_and_written_again(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeffbox\r\n\r\nchair\r\n".encode())
    ids = classes.read_classes(tmp_path / "names.txt")
    assert ids == {"box": 0, "chair": 1}
    classes.write_classes(tmp_path / "classes.json", ids)
    assert json.loads((tmp_path / "classes.json").read_text()) == ids


def test_synonyms_of_another_form_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("# a comment\ncouch: sofa\ncouch: bed\n")
    with pytest.raises(ValueError, match="line 3"):
        classes.read_synonyms(path)


NAMES = ["car_(automobile)", "chair", "coffee_table", "table", "bow_(weapon)", "bow_(ribbon)",
         "monitor_(computer_equipment) computer_monitor", "scissors", "sofa", "glass"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "status", "label", "runner_up"),
    [
        ("Oak coffee table with drawers", "head", "coffee_table", "table"),
        ("Cars", "exact", "car_(automobile)", ""),
        ("old computer monitor", "head", NAMES[6], "monitor"),
        ("Futon couch", "synonym", "sofa", ""),
        ("a chair made of glass", "exact", "chair", ""),
        ("wine glass", "head", "glass", ""),
        ("bow", "ambiguous", "", "bow_(weapon)"),
        ("chairlift", "none", "", ""),
        ("", "none", "", ""),
        ("Pair of scissors", "none", "", ""),
    ],
)
def test_labels_by_the_head_of_the_phrase(
    text: str, status: str, label: str, runner_up: str
) -> None:
    found = Lexicon(NAMES, {("couch",): "sofa"}).label(text)
    assert (found.status, found.label) == (status, label)
    if runner_up not in ("", "monitor"):
        assert found.runner_up == runner_up
        assert found.margin >= 0


def test_tags_and_category_come_after_the_name() -> None:
    lexicon = Lexicon(NAMES, {}, ["blend", "swap"])
    assert lexicon.label("Beetle", ["Car", "Blend Swap"]).label == "car_(automobile)"
    assert lexicon.label("Beetle", ["Car", "Chair"]).status == "ambiguous"
    assert lexicon.label("Beetle", [], "Tables").status == "category"
    assert lexicon.label("chair", ["Car"], "Tables").status == "exact"
