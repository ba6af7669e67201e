"""The report: self-contained, pictures in their places, hostile texts, missing renders."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import datacopying_test
import memorization_report
from datacopying import plots
from datacopying.fragments import chance, esc, number, percent
from datacopying.selection import select

FORMATS = Path(__file__).parents[3] / "formats" / "examples"
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
VOID = {"meta", "img", "br", "line", "circle"}
COLOURS = {"generated": 0, "train": 1, "test": 2}


class Page(HTMLParser):
    """Tags with attributes, the text, and whether tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data + " "

    def images(self) -> dict[str, tuple[int, ...]]:
        """Colour of the first pixel by alternative text."""
        found = {}
        for tag, attrs in self.tags:
            if tag == "img":
                data = base64.b64decode(str(attrs["src"]).removeprefix("data:image/webp;base64,"))
                picture = Image.open(io.BytesIO(data)).convert("RGB")
                found[str(attrs["alt"])] = picture.getpixel((5, 5))
        return found


def colour(side: str, name: str) -> tuple[int, int, int]:
    """A colour of its own for each shape, by side and number."""
    return COLOURS[side] * 100 + 20, (int(name[1:]) * 37) % 200 + 20, 128


def add_views(folder: Path, side: str, name: str, views: int = 6) -> None:
    """What render_views.py leaves, in one flat colour."""
    place = folder / name
    place.mkdir(parents=True)
    for view in range(views):
        Image.new("RGB", (32, 32), colour(side, name)).save(place / f"view_{view:02d}.png")
    (place / "views.json").write_text(json.dumps({"views": views}))


def retrieval(side: str, distances: list[float]) -> dict[str, Any]:
    letter = {"generated": "g", "test": "p"}[side]
    return {
        f"{letter}{i:03d}": [
            {"model_id": f"t{i % 25:03d}", "category_id": "chair", "distance": d},
            {"model_id": f"t{(i + 1) % 25:03d}", "category_id": "mug", "distance": d + 50},
        ]
        for i, d in enumerate(distances)
    }


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result with 8 copies among 60 generated shapes, and renders of all shapes."""
    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    test = [float(d) for d in rng.integers(200, 2000, 120)]
    gen = [float(d) for d in rng.integers(1, 60, 8)]
    gen += [float(d) for d in rng.integers(250, 2000, 52)]
    for side, distances in (("generated", gen), ("test", test)):
        (folder / f"{side}.json").write_text(json.dumps(retrieval(side, distances)))
    flags = ["-q", "--bootstrap", "100", "--output", str(folder / "result.json")]
    inputs = [str(folder / "generated.json"), str(folder / "test.json")]
    assert datacopying_test.main([*inputs, *flags]) == 0
    for i in range(60):
        add_views(folder / "views" / "generated", "generated", f"g{i:03d}")
    for i in range(25):
        add_views(folder / "views" / "train", "train", f"t{i:03d}")
    for i in range(120):
        add_views(folder / "views" / "test", "test", f"p{i:03d}")
    return folder


def report(audit: Path, output: Path, *flags: str, result: Path | None = None) -> int:
    views = [f"--{side}-views={audit / 'views' / side}" for side in ("generated", "train")]
    source = str(result or audit / "result.json")
    return memorization_report.main([source, *views, "--output", str(output), *flags])


def load(audit: Path) -> Any:
    return json.loads((audit / "result.json").read_text())


def test_verdict_and_numbers(audit: Path, tmp_path: Path) -> None:
    assert report(audit, tmp_path / "r.html", "--title", "Model 7 & co") == 0
    page, result = Page((tmp_path / "r.html").read_text()), load(audit)
    text = " ".join(page.text.split())
    assert "Model 7 & co" in text
    assert result["verdict"]["sentence"] in text
    assert "More near-copies than chance explains" in text
    assert "8 of 60 generated" in text
    assert percent(result["excess"]["excess_share"], sign=True) in page.text
    assert f"{result['zu']['auc']:.3f}" in text
    assert f"{result['zu']['z_u']:+.2f}".replace("-", "\u2212") in text
    assert text.count("60 generated, 120 held-out shapes") >= 5
    for side in ("gen", "test"):
        assert result["inputs"][side]["sha256"] in text
    assert "settings.bootstrap" in text  # the run record of the test is quoted


def test_quality_stands_beside_with_what_it_cannot_see(audit: Path, tmp_path: Path) -> None:
    example = FORMATS / "good" / "quality.four_metrics.json"
    assert report(audit, tmp_path / "r.html", "--quality", str(example)) == 0
    text = " ".join(Page((tmp_path / "r.html").read_text()).text.split())
    assert "FD, KID and 1-NNA do not see copies" in text
    made = json.loads(example.read_text())
    assert len(made["metrics"]) == 4
    for row in made["metrics"]:
        low, high = map(number, row["interval"])
        beside = row["equal_n"]
        place = f"({beside['of']}, n = {beside['n']})"
        shown = f"{number(row['value'])} {low} to {high} {number(beside['generated'])} "
        assert f"{shown} {number(beside['baseline'])} {place}".replace("  ", " ") in text
        assert row["reads"] in text
    assert made["inputs"]["train"]["sha256"] in text
    example = FORMATS / "good" / "quality.distances_alone.json"
    assert report(audit, tmp_path / "r.html", "--quality", str(example)) == 0
    assert "needs feature rows, and there are only distances" in (tmp_path / "r.html").read_text()
    assert report(audit, tmp_path / "r.html") == 0
    assert "no embeddings were given" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    "path", sorted((FORMATS / "bad").glob("quality.*.json")), ids=lambda p: p.stem
)
def test_bad_quality_is_refused_by_name(
    audit: Path, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(audit, tmp_path / "r.html", "--quality", str(path)) == 1
    assert path.name in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_nothing_comes_from_outside(audit: Path, tmp_path: Path) -> None:
    assert report(audit, tmp_path / "r.html") == 0
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    active = {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert not {tag for tag, _ in page.tags} & active
    for tag, attrs in page.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "action"):
                assert str(value).startswith(("data:image/", "#")), (tag, name, value)
    assert not re.findall(r"url\((?!#)|@import", text)
    assert text.count("<svg") >= 2


def test_each_pair_shows_its_own_pictures(audit: Path, tmp_path: Path) -> None:
    assert report(audit, tmp_path / "r.html", "--pairs", "10", "--typical", "4") == 0
    page, samples = Page((tmp_path / "r.html").read_text()), load(audit)["samples"]
    seen = page.images()
    for row in [*samples[:10], *samples[28:32]]:
        for side, role, name in (
            ("generated", "generated", row["id"]),
            ("train", "training", row["nearest_id"]),
        ):
            found = seen.pop(f"Views of the {role} shape {name}", None)
            if found is not None:  # a training shape may stand in two pairs
                assert found == pytest.approx(colour(side, name), abs=6)
    assert not [name for name in seen if "generated" in name]
    flags = [attrs for tag, attrs in page.tags if tag == "span" and attrs.get("class") == "flag"]
    assert len(flags) == 8


def test_views_are_spread_over_those_there_are(audit: Path, tmp_path: Path) -> None:
    """Of six views four are 0, 1, 3, 4; two are 0 and 3."""
    name = load(audit)["samples"][0]["id"]
    folder = tmp_path / "views" / name
    folder.mkdir(parents=True)
    for view in range(6):
        Image.new("RGB", (32, 32), (view * 50, 0, 0)).save(folder / f"view_{view:02d}.png")
    (folder / "views.json").write_text('{"views": 6}')
    for count, expected in ((2, [0, 3]), (4, [0, 1, 3, 4]), (6, [0, 1, 2, 3, 4, 5]), (9, None)):
        flags = ["--pairs=1", "--typical=0", f"--views={count}", "--output", str(tmp_path / "r")]
        sources = [f"--generated-views={tmp_path / 'views'}", f"--train-views={tmp_path}"]
        assert memorization_report.main([str(audit / "result.json"), *sources, *flags]) == 3
        src = next(a["src"] for t, a in Page((tmp_path / "r").read_text()).tags if t == "img")
        data = base64.b64decode(str(src).partition(",")[2])
        strip = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)
        tile = memorization_report.TILE
        places = range(len(expected or [0] * 6))
        seen = [strip[p // 4 * tile + 100, p % 4 * tile + 100, 0] for p in places]
        assert np.abs(np.array(seen) - 50 * np.array(expected or range(6))).max() < 12


def test_same_input_same_bytes(audit: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        assert report(audit, tmp_path / name) == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_missing_picture_is_said_and_counted(
    audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = load(audit)["samples"]
    generated = tmp_path / "generated"
    for row in samples[:3]:
        add_views(generated, "generated", row["id"])
    (generated / samples[1]["id"] / "view_00.png").write_bytes(b"no picture")
    (generated / samples[2]["id"] / "views.json").write_text("[]")
    flags = [f"--generated-views={generated}", f"--train-views={audit / 'views' / 'train'}"]
    flags += ["--output", str(tmp_path / "r.html"), "--pairs", "4", "--typical", "0"]
    assert memorization_report.main([str(audit / "result.json"), *flags]) == 3
    out, err = capsys.readouterr()
    assert "3 pictures are missing" in out
    text = " ".join(Page((tmp_path / "r.html").read_text()).text.split())
    for row in samples[1:4]:
        assert f"no render of {row['id']}" in text
        assert f"generated shape {row['id']}: " in err
    assert f"no render of {samples[0]['id']}" not in text


def test_list_ids_are_those_the_report_shows(
    audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--pairs", "5", "--typical", "3"]
    views = f"--test-views={audit / 'views' / 'test'}"
    assert report(audit, tmp_path / "r.html", *common, views, "--held-out", "4") == 0
    alts = set(Page((tmp_path / "r.html").read_text()).images())
    capsys.readouterr()
    listed = set()
    for side, role in (("generated", "generated"), ("train", "training"), ("test", "held-out")):
        flags = [*common, "--list-ids", side, views, "--held-out", "4"]
        assert memorization_report.main([str(audit / "result.json"), *flags]) == 0
        names = capsys.readouterr().out.split()
        assert names == sorted(set(names))
        listed |= {f"Views of the {role} shape {name}" for name in names}
    assert listed == alts


def test_closest_held_out_shapes(audit: Path, tmp_path: Path) -> None:
    views = f"--test-views={audit / 'views' / 'test'}"
    assert report(audit, tmp_path / "r.html", views, "--held-out", "3") == 0
    rows = json.loads((audit / "test.json").read_text())
    nearest = sorted(rows, key=lambda name: rows[name][0]["distance"])[:3]
    text = (tmp_path / "r.html").read_text()
    places = [text.index(f"held-out shape {name}") for name in nearest]
    assert places == sorted(places)
    assert len(re.findall("Views of the held-out shape", text)) == 3


def test_held_out_file_that_changed_is_refused(
    audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = load(audit)
    result["inputs"]["test"]["path"] = "elsewhere/test.json"
    (tmp_path / "result.json").write_text(json.dumps(result))
    views = f"--test-views={audit / 'views' / 'test'}"
    flags = (tmp_path / "r.html", views)
    assert report(audit, *flags, result=tmp_path / "result.json") == 1
    assert "elsewhere/test.json" in capsys.readouterr().err
    (tmp_path / "test.json").write_text((audit / "test.json").read_text() + "\n")
    assert report(audit, *flags, result=tmp_path / "result.json") == 1
    assert "changed since" in capsys.readouterr().err
    (tmp_path / "test.json").write_text((audit / "test.json").read_text())
    assert report(audit, *flags, result=tmp_path / "result.json") == 0


@pytest.mark.parametrize("name", [HOSTILE, "../../secret", "/etc", "a\0b", "'; DROP $title ${x}"])
def test_hostile_texts_stay_texts(audit: Path, tmp_path: Path, name: str) -> None:
    """In every place a text can come from; an id does not lead out of the folder of renders."""
    add_views(tmp_path / "views" / "x" / "generated", "generated", "g000")
    (tmp_path / "views" / "x" / "generated" / "g000").rename(tmp_path / "views" / "secret")
    result = load(audit)
    for row in [*result["samples"][:3], *result["training_shapes"][:3]]:
        row |= {key: name for key in ("id", "nearest_id", "category") if key in row}
    result["categories"]["rows"][0]["category"] = name
    result["categories"]["reason"] = name
    result["verdict"] |= {"sentence": name, "warnings": [name]}
    result["provenance"] |= {"metric": name, "gen": {name: [name]}}
    result["inputs"]["gen"]["path"] = name
    result["notes"] = {name: name}
    (tmp_path / "result.json").write_text(json.dumps(result))
    views = [f"--generated-views={tmp_path / 'views/x/generated'}", "--train-views", str(tmp_path)]
    flags = ["--output", str(tmp_path / "r.html"), "--title", name.replace("\0", "")]
    assert memorization_report.main([str(tmp_path / "result.json"), *views, *flags]) == 3
    page = Page((tmp_path / "r.html").read_text())
    assert not {tag for tag, _ in page.tags} & {"script", "link"}
    assert not [a for _, a in page.tags if any(k.startswith("on") for k in a)]
    assert page.images() == {}
    assert name.replace("\0", "\ufffd") in page.text


@pytest.mark.parametrize("path", sorted((FORMATS / "good").glob("zu_result.*.json")), ids=str)
def test_good_results_make_a_page(path: Path, tmp_path: Path) -> None:
    """Without any renders: every place says so."""
    flags = ["--output", str(tmp_path / "r.html")]
    views = [f"--generated-views={tmp_path}", f"--train-views={tmp_path}"]
    assert memorization_report.main([str(path), *views, *flags]) == 3
    page = Page((tmp_path / "r.html").read_text())
    samples = json.loads(path.read_text())["samples"]
    assert page.text.count("no render of") >= len(samples)
    if any(row["distance"] is None for row in samples):
        assert "∞" in page.text


TOLERATED = {"zu_result.unknown_section", "zu_result.input_not_hashed"}  # nothing the page needs


@pytest.mark.parametrize(
    "path",
    [p for p in sorted((FORMATS / "bad").glob("zu_result.*.json")) if p.stem not in TOLERATED],
    ids=lambda p: p.stem,
)
def test_bad_results_are_refused_by_name(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views = [f"--generated-views={tmp_path}", f"--train-views={tmp_path}"]
    code = memorization_report.main([str(path), *views, "--output", str(tmp_path / "r.html")])
    assert code == 1
    assert path.name in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_every_key_the_page_needs_is_checked(
    audit: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each section and each key of the first row, taken out: refused by its name or not needed."""
    for name in ("histogram", "cumulative"):  # slow, and no reader of keys
        monkeypatch.setattr(plots, name, lambda gen, test, threshold: "")
    whole = json.dumps(load(audit))
    paths = [(name,) for name in json.loads(whole)]
    paths += [(n, k) for n, v in json.loads(whole).items() if isinstance(v, dict) for k in v]
    paths += [("samples", 0, k) for k in json.loads(whole)["samples"][0]]
    for path in paths:
        result = json.loads(whole)
        inner: Any = result
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        (tmp_path / "result.json").write_text(json.dumps(result))
        flags = ("--pairs", "1", "--typical", "0")
        code = report(audit, tmp_path / "r.html", *flags, result=tmp_path / "result.json")
        err = capsys.readouterr().err
        assert code == 0 or (code == 1 and str(path[-1]) in err), path


@pytest.mark.parametrize("flags", [[], ["--output", "x"], ["--views", "0"], ["--pairs", "-1"]])
def test_wrong_usage(audit: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        memorization_report.main([str(audit / "result.json"), *flags])
    assert stopped.value.code == 2


# parts


@given(st.integers(1, 60), st.integers(0, 30), st.integers(0, 12), st.integers(0, 60))
def test_selection(count: int, pairs: int, typical: int, flagged: int) -> None:
    rows = [
        {"id": f"g{i}", "nearest_id": f"t{i % 3}", "flagged": i < flagged} for i in range(count)
    ]
    trained = [{"id": f"t{i}", "flagged": i < flagged} for i in range(3)]
    chosen = select({"samples": rows, "training_shapes": trained}, pairs, typical, 2)
    first = [row["rank"] for row in chosen.flagged + chosen.close]
    middle = [row["rank"] for row in chosen.typical]
    assert first == list(range(1, min(pairs, count) + 1))
    assert len(middle) == min(typical, max(count - pairs, 0))
    assert not set(first) & set(middle)
    if middle and min(middle) > pairs + 1 and max(middle) < count:  # free to lie in the middle
        assert abs(np.mean(middle) - (count + 1) / 2) <= 1
    assert len(chosen.copied) == min(2, flagged)
    for row in chosen.copied:
        near = [r for r in rows if r["nearest_id"] == row["id"]]
        assert row["copies"] == [r["id"] for r in near if r["flagged"]]


def lines(svg: str) -> ET.Element:
    return ET.fromstring(svg)


@pytest.mark.parametrize(
    ("gen", "test", "threshold"),
    [
        ([1.0, 2.0, 5.0], [2.0, 3.0], 2.0),
        ([0.0, 0.0], [0.0], 0.0),
        ([None, None], [None], None),
        ([1.0, None], [1e9], 5.0),
        ([1e-12], [1e-12, 2e-12], 1e-12),
    ],
)
def test_plots_of_odd_distances(gen: list[Any], test: list[Any], threshold: float | None) -> None:
    for draw in (plots.histogram, plots.cumulative):
        svg = draw(gen, test, threshold)
        texts = [e.text for e in lines(svg).iter() if e.tag.endswith("text")]
        assert f"generated (n = {len(gen)})" in texts
        assert f"held-out (n = {len(test)})" in texts
        assert any(str(t).startswith("flagged below") for t in texts) == (threshold is not None)
        assert svg == draw(gen, test, threshold)


def test_cumulative_plot_rises_to_the_share_of_finite_distances() -> None:
    """Curve heights in the SVG: 2 of 4 generated are finite, so its curve ends halfway up."""
    svg = plots.cumulative([1.0, 2.0, None, None], [1.0, 2.0, 3.0, 4.0], None)
    curves = {}
    for name, colour in (("gen", plots.GENERATED), ("test", plots.HELD_OUT)):
        path = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {colour}[^>]*stroke-width: 1.6', svg)[0]
        heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
        curves[name] = (heights[0], heights[-1])
    bottom, top = curves["test"]
    assert curves["gen"] == pytest.approx((bottom, (bottom + top) / 2), abs=0.01)


def test_plots_of_many_distances_stay_small() -> None:
    many = np.random.default_rng(0).gamma(3, 100, 50_000).tolist()
    for draw in (plots.histogram, plots.cumulative):
        assert len(draw(many, many, 20.0)) < 200_000


def test_numbers_in_words() -> None:
    assert number(None) == "∞"
    assert number(1234567.8) == "1,234,568"
    assert number(-0.00012345) == "\u22120.0001234"
    assert percent(-0.012, sign=True) == "\u22121.2\u202f%"
    assert chance(None) == "not defined"
    assert "0.0001" in chance(1e-9)
    assert esc('<a b="c">\x07') == "&lt;a b=&quot;c&quot;&gt;\ufffd"


def test_the_test_itself_needs_no_plotting_library() -> None:
    """Only the report imports matplotlib and Pillow, and only when it draws."""
    for module in ("datacopying.plots", "datacopying.pictures", "datacopying.page"):
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        top = [line for line in Path(spec.origin).read_text().splitlines() if line[:1].strip()]
        assert not [t for t in top if re.match(r"(import|from) (matplotlib|PIL)", t)]
