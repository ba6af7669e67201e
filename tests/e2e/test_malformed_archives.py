"""Damaged and hostile furniture catalogues: nothing is written outside, the rest is done."""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e import malformed
from e2e.running import run

import fetch_furniture

PROPERTIES = "PluginFurnitureCatalog.properties"
ENTRY = "id#{0}=maker#{1}\nname#{0}={1}\nmodel#{0}=/{1}/{1}.obj\ncategory#{0}=Seats\n"
SIZE = "width#{0}=40\ndepth#{0}=40\nheight#{0}=90\nmultiPartModel#{0}=true\n"
ENTRIES = "id=a\nname=Chairs\n" + "".join(
    (ENTRY + SIZE).format(n, name) for n, name in ((1, "stool"), (2, "bench"))
)
MESH = malformed.good_meshes()["good_obj.obj"]
SOUND = {PROPERTIES: ENTRIES.encode(), "stool/stool.obj": MESH, "bench/bench.obj": MESH}
LINK = 0o120777 << 16


def archive(**changes: bytes | None) -> bytes:
    """A .sh3f of two models; members are changed or added by name, None leaves one out."""
    return packed({k: v for k, v in (SOUND | changes).items() if v is not None})


def packed(members: dict[Any, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in members.items():
            opened.writestr(name, data)
    return made.getvalue()


def with_link(target: bytes) -> bytes:
    info = zipfile.ZipInfo("stool/stool.mtl")
    info.external_attr = LINK
    return packed({**SOUND, info: target})


def lying(size: int) -> bytes:
    """The directory says that a member unpacks to `size` bytes."""
    made = bytearray(archive())
    place = made.index(b"PK\x01\x02", made.index(b"PK\x01\x02") + 1)
    made[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(made)


def damaged() -> bytes:
    made = bytearray(archive())
    made[made.index(b"stool/stool.obj") + 60] ^= 0xFF
    return bytes(made)


def entries(old: str, new: str, count: int = -1) -> bytes:
    """The sound archive with a text of its properties replaced."""
    return archive(**{PROPERTIES: ENTRIES.replace(old, new, count).encode()})


WHOLE = {  # refused as a whole: exit code 1
    "empty": (b"", "not a readable"),
    "garbage": (malformed.GARBAGE, "not a readable"),
    "cut": (archive()[:-30], "not a readable"),
    "no_catalogue": (archive(**{PROPERTIES: None}), "no PluginFurnitureCatalog"),
    "a_table": (malformed.npz(), "no PluginFurnitureCatalog"),
    "parent": (archive(**{"../evil.obj": MESH}), "points outside"),
    "parent_inside": (archive(**{"stool/../../evil.obj": MESH}), "points outside"),
    "absolute": (archive(**{"/tmp/evil.obj": MESH}), "points outside"),
    "drive": (archive(**{"C:/evil.obj": MESH}), "points outside"),
    "backslash": (archive(**{"..\\evil.obj": MESH}), "points outside"),
    "line_break": (archive(**{"a\nb.obj": MESH}), "points outside"),
    "link": (with_link(b"/etc/passwd"), "symbolic link"),
    "bomb": (archive(**{"stool/bomb.obj": bytes(30 << 20)}), "zip bomb"),
    "bomb_said": (lying(4_000_000_000), "zip bomb"),
    "file_and_folder": (archive(**{"stool/a": b"x", "stool/a/b": b"y"}), "cannot be written"),
    "long_name": (archive(**{"stool/" + "n" * 300: b"x"}), "cannot be written"),
    "escape_cut": (archive(**{PROPERTIES: ENTRIES.encode() + b"x=\\u12"}), "."),
    "no_entries": (archive(**{PROPERTIES: b"name=Chairs\n"}), "no model"),
}
PARTLY = {  # one model refused, the other written: exit code 3
    "damaged_member": (damaged(), "damaged|not in the archive"),
    "model_missing": (archive(**{"stool/stool.obj": None}), "not in the archive"),
    "size_of_words": (entries("=90", "=tall", 1), "size"),
    "size_nan": (entries("=90", "=NaN", 1), "size"),
    "size_negative": (entries("=90", "=-3", 1), "size"),
    "rotation": (archive(**{PROPERTIES: ENTRIES.encode() + b"modelRotation#1=1 2 3"}), "rotation"),
    "id_twice": (entries("#bench", "#stool"), "twice"),
    "id_of_dots": (
        entries("=maker#stool", "=../.."),
        "id",
    ),
    "model_a_text": (
        entries("/stool.obj", "/stool.txt"),
        ".",
    ),
    "model_outside": (entries("=/stool/", "=../"), "."),
    "stop_in_name": (
        entries("=/stool/", "=/stool/./"),
        ".",
    ),
}


def fetch(data: bytes, folder: Path) -> tuple[int, Path]:
    """Exit code and output of a run on one catalogue."""
    source, output = folder / "in" / "c.sh3f", folder / "out"
    source.parent.mkdir()
    source.write_bytes(data)
    return fetch_furniture.main(["--sh3f", str(source), "--output", str(output)]), output


def test_the_sound_one(tmp_path: Path) -> None:
    code, output = fetch(archive(), tmp_path)
    assert code == 0
    assert (output / "maker-stool" / "stool.obj").read_bytes() == MESH


@pytest.mark.parametrize("name", WHOLE)
def test_a_bad_catalogue_is_refused(name: str, tmp_path: Path, capsys: Any) -> None:
    data, says = WHOLE[name]
    code, output = fetch(data, tmp_path)
    error = capsys.readouterr().err
    assert code == 1, error
    assert "c.sh3f" in error
    assert re.search(says, error), error
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "out"}
    assert not list(output.rglob("*.obj"))
    assert not Path("/tmp/evil.obj").exists()


@pytest.mark.parametrize("name", PARTLY)
def test_one_bad_model_costs_itself_alone(name: str, tmp_path: Path, capsys: Any) -> None:
    data, says = PARTLY[name]
    code, output = fetch(data, tmp_path)
    error = capsys.readouterr().err
    assert code == 3, error
    rows = json.loads((output / "failures.json").read_text())
    assert len(rows) == 1
    assert re.search(says, rows[0]["error"]), rows
    assert "c.sh3f" in rows[0]["error"]
    index = json.loads((output / "shapes.json").read_text())["shapes"]
    assert len(index) == 1
    assert (output / index[0]["path"]).read_bytes() == MESH
    assert not list(output.glob(".*"))


def test_a_bad_catalogue_among_good_ones_costs_itself_alone(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.sh3f", tmp_path / "bad.sh3f"
    good.write_bytes(archive())
    bad.write_bytes(WHOLE["bomb"][0])
    ended = run("fetch_furniture.py", "--sh3f", bad, good, "--output", tmp_path / "out")
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    assert "bad.sh3f" in ended.err
    assert ended.peak < 500
    assert len(json.loads((tmp_path / "out" / "shapes.json").read_text())["shapes"]) == 2


def test_models_written_before_survive_a_bad_catalogue(tmp_path: Path) -> None:
    _, output = fetch(archive(), tmp_path)
    before = {p: p.read_bytes() for p in output.rglob("*") if p.suffix in (".obj", ".json")}
    (tmp_path / "in" / "c.sh3f").write_bytes(archive()[:-30])
    flags = ["--sh3f", str(tmp_path / "in" / "c.sh3f"), "--output", str(output), "--overwrite"]
    assert fetch_furniture.main(flags) == 1
    assert {p: p.read_bytes() for p in before} == before


def deb(tail: bytes = b"", size: bytes = b"0") -> bytes:
    return b"!<arch>\n" + b"data.tar.xz".ljust(16) + b"0".ljust(32) + size.ljust(10) + b"`\n" + tail


PACKAGES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "garbage": lambda: malformed.GARBAGE,
    "no_members": lambda: b"!<arch>\n",
    "bad_header": lambda: b"!<arch>\nshort",
    "cut": lambda: deb(b"only a part", b"9000"),
    "negative_size": lambda: deb(b"", b"-5"),
    "terabyte": lambda: deb(b"", b"999999999"),
    "no_tar": lambda: deb(b"x" * 20, b"20"),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_bad_package_is_refused(name: str, tmp_path: Path, capsys: Any) -> None:
    package = tmp_path / "p.deb"
    package.write_bytes(PACKAGES[name]())
    code = fetch_furniture.main(["--deb", str(package), "--output", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert code == 1
    assert str(package) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
