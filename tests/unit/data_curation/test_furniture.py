"""Furniture catalogues: real ones shrunk to a few entries, damaged ones, hostile ones."""

from __future__ import annotations

import io
import json
import lzma
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fetch_furniture
from data_curation import furniture
from data_curation.meshes import list_meshes, load_arrays
from data_curation.properties import parse

OBJ = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
HEAD = "id=Some#Models\nname=Some catalogue\nlicense=Public  domain\n"
ENTRY = """
id#{n}=Some#chair{n}
name#{n}=Chair \\u2116{n}
tags#{n}=Seat, Wood ,
category#{n}=Office
model#{n}=/some/chair{n}/chair{n}.obj
multiPartModel#{n}=true
width#{n}=50.5
depth#{n}=40
height#{n}=90
creator#{n}=Ren\\u00e9e
"""
Members = dict[str, bytes]


def catalogue(count: int = 2) -> Members:
    text = HEAD + "".join(ENTRY.format(n=n) for n in range(1, count + 1))
    members = {
        "LICENSE.TXT": b"CC0",
        "PluginFurnitureCatalog.properties": text.encode("latin-1"),
        "PluginFurnitureCatalog_fr.properties": "name#1=Chaise \xe9l\xe9gante\n".encode("latin-1"),
        "PluginFurnitureCatalog_zh_CN.properties": b"name#1=\\u6905\ntags#1=\\u6728\\uff0c\\u5ea7",
        "some/chair1.png": b"icon",
    }
    for n in range(1, count + 1):
        members[f"some/chair{n}/chair{n}.obj"] = OBJ
        members[f"some/chair{n}/a.mtl"] = b"newmtl x\n"
        members[f"some/chair{n}/tex/wood.jpg"] = bytes([n])
    return members


def sh3f(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def deb(path: Path, files: Members, compression: str = "xz") -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    packed = {"xz": lzma.compress, "": bytes}[compression](buffer.getvalue())
    ending = f".{compression}" if compression else ""
    blob = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0\n"), (f"data.tar{ending}", packed)):
        blob += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data
        blob += b"\n" * (len(data) % 2)
    path.write_bytes(blob)
    return path


def run(output: Path, *flags: object) -> int:
    return fetch_furniture.main(["--output", str(output), "-q", *map(str, flags)])


def rows(output: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads((output / "shapes.json").read_text())["shapes"]}


def test_models_keep_their_files_names_licences_and_sizes(tmp_path: Path) -> None:
    source = sh3f(tmp_path / "Some.sh3f", catalogue())
    out = tmp_path / "out"
    assert run(out, "--sh3f", source) == 0
    row = rows(out)["Some-chair1"]
    assert row["names"] == {"en": "Chair №1", "fr": "Chaise élégante", "zh_CN": "椅"}
    assert row["tags"] == {"en": ["Seat", "Wood"], "zh_CN": ["木", "座"]}
    assert (row["category"], row["creator"]) == ("Office", "Renée")
    assert (row["licence"], row["size"], row["up"]) == ("Public domain", [0.505, 0.9, 0.4], "y")
    kept = {
        p.relative_to(out / "Some-chair1").as_posix() for p in (out / "Some-chair1").rglob("*.*")
    }
    assert kept == {"chair1.obj", "a.mtl", "tex/wood.jpg"}
    assert (out / "licences/Some.LICENSE.TXT").read_bytes() == b"CC0"
    items = list_meshes(out)
    assert [item.id for item in items] == ["Some-chair1", "Some-chair2"]
    assert len(load_arrays(items[0].path)[1]) == 1


@pytest.mark.parametrize("compression", ["xz", ""])
def test_a_debian_package_is_unpacked_without_its_folders(tmp_path: Path, compression: str) -> None:
    inner = sh3f(tmp_path / "in.zip", catalogue()).read_bytes()
    files = {"./../../evil/Some.sh3f": inner, "./usr/share/doc/x/copyright": b"terms"}
    package = deb(tmp_path / "p.deb", files, compression)
    assert run(tmp_path / "out", "--deb", package) == 0
    assert len(rows(tmp_path / "out")) == 2
    assert (tmp_path / "out/licences/sweethome3d-furniture.txt").read_bytes() == b"terms"
    assert not list(tmp_path.parent.rglob("evil"))


def test_without_a_source_the_package_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = sh3f(tmp_path / "in.zip", catalogue()).read_bytes()
    package = deb(tmp_path / "p.deb", {"Some.sh3f": inner})
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "apt-get"
    script.write_text(f'#!/bin/sh\n[ "$*" = "download sweethome3d-furniture" ] && cp {package} .\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert run(tmp_path / "out") == 0
    script.write_text("#!/bin/sh\necho 'E: no such host' >&2; exit 100\n")
    assert run(tmp_path / "out2") == 1
    assert "no such host" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert run(tmp_path / "out3") == 1
    assert "apt-get is not installed" in capsys.readouterr().err


def test_what_is_complete_is_kept_and_what_is_damaged_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = sh3f(tmp_path / "Some.sh3f", catalogue()), tmp_path / "out"
    run(out, "--sh3f", source)
    (out / "Some-chair1/chair1.obj").write_bytes(b"torn")
    (out / ".Some-chair2.partial").mkdir()
    stamp = (out / "Some-chair2/chair2.obj").stat().st_mtime_ns
    assert run(out, "--sh3f", source) == 0
    assert "1 written, 1 existed" in capsys.readouterr().out
    assert (out / "Some-chair1/chair1.obj").read_bytes() == OBJ
    assert (out / "Some-chair2/chair2.obj").stat().st_mtime_ns == stamp


def edited(old: bytes, new: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        name = "PluginFurnitureCatalog.properties"
        assert old in members[name]
        members[name] = members[name].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda m: m.pop("some/chair1/chair1.obj"),
            "'some/chair1/chair1.obj' is not in the archive",
        ),
        (edited(b"/some/chair1/chair1.obj", b"/some/chair1.png"), "is no mesh"),
        (edited(b"/some/chair1/chair1.obj", b"/../../etc/passwd"), "is not in the archive"),
        (edited(b"width#1=50.5", b"width#1=wide"), "width: expected a size in cm, found 'wide'"),
        (edited(b"height#1=90", b"height#1=-90"), "height"),
        (edited(b"depth#1=40", b"depth#1=nan"), "depth"),
        (edited(b"creator#1", b"modelRotation#1=1 2 3\ncreator#1"), "modelRotation"),
        (edited(b"id#1=Some#chair1", b"id#1=///"), "no letter or digit"),
        (edited(b"id#2=Some#chair2", b"id#2=Some#chair1"), "comes twice"),
    ],
)
def test_a_bad_entry_fails_alone(
    tmp_path: Path, change: Callable[[Members], None], said: str
) -> None:
    members = catalogue(3)
    change(members)
    out = tmp_path / "out"
    assert run(out, "--sh3f", sh3f(tmp_path / "Some.sh3f", members)) == 3
    assert len(rows(out)) == 2
    (failure,) = json.loads((out / "failures.json").read_text())
    assert said in failure["error"]
    assert not list(out.glob(".*"))


@pytest.mark.parametrize(
    "name", ["../evil.obj", "/evil.obj", "some/../../evil.obj", "C:/evil.obj", "some\\..\\evil.obj"]
)
def test_a_member_outside_the_archive_condemns_the_catalogue(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {**catalogue(), name: b"evil"}
    assert run(tmp_path / "out", "--sh3f", sh3f(tmp_path / "Some.sh3f", members)) == 1
    message = capsys.readouterr().err
    assert "Some.sh3f" in message and "refused" in message
    assert not list(tmp_path.parent.rglob("evil.obj"))


def test_links_and_bombs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = sh3f(tmp_path / "link.sh3f", catalogue())
    with zipfile.ZipFile(link, "a") as archive:
        info = zipfile.ZipInfo("some/chair1/b.mtl")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert run(tmp_path / "out", "--sh3f", link) == 1
    assert "symbolic link" in capsys.readouterr().err
    bomb = {**catalogue(), "some/chair1/big.jpg": bytes(30 << 20)}
    assert run(tmp_path / "out", "--sh3f", sh3f(tmp_path / "bomb.sh3f", bomb)) == 1
    message = capsys.readouterr().err
    assert "bomb.sh3f" in message and "big.jpg" in message and "zip bomb" in message


def test_the_sum_of_all_members_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(furniture, "MAX_UNPACKED", 500)
    assert run(tmp_path / "out", "--sh3f", sh3f(tmp_path / "a.sh3f", catalogue())) == 1
    assert "zip bomb" in capsys.readouterr().err


def test_a_broken_catalogue_does_not_stop_the_others(tmp_path: Path) -> None:
    good = sh3f(tmp_path / "good.sh3f", catalogue())
    cut = tmp_path / "cut.sh3f"
    cut.write_bytes(good.read_bytes()[:-40])
    empty = sh3f(tmp_path / "none.sh3f", {"readme.txt": b"no catalogue"})
    odd = {**catalogue(), "PluginFurnitureCatalog_de.properties": b"name#1=\\u12"}
    text = tmp_path / "text.sh3f"
    text.write_bytes(b"hello")
    out = tmp_path / "out"
    sources = (cut, good, empty, sh3f(tmp_path / "odd.sh3f", odd), text)
    assert run(out, "--sh3f", *sources) == 3
    assert len(rows(out)) == 2
    failures = {row["id"]: row["error"] for row in json.loads((out / "failures.json").read_text())}
    assert failures.keys() == {"cut.sh3f", "none.sh3f", "odd.sh3f", "text.sh3f"}
    assert all(name in error for name, error in failures.items())
    assert "PluginFurnitureCatalog_de.properties" in failures["odd.sh3f"]


def test_a_member_with_damaged_bytes_fails_alone(tmp_path: Path) -> None:
    source = tmp_path / "Some.sh3f"
    with zipfile.ZipFile(source, "w") as archive:  # stored, so that the bytes can be found
        for name, data in catalogue().items():
            archive.writestr(
                name, data.replace(b"v 1 0 0", b"v 7 7 7") if "chair2." in name else data
            )
    source.write_bytes(source.read_bytes().replace(b"v 7 7 7", b"v 8 8 8"))
    assert run(tmp_path / "out", "--sh3f", source) == 3
    (failure,) = json.loads((tmp_path / "out/failures.json").read_text())
    assert "some/chair2/chair2.obj: damaged" in failure["error"]
    assert list(rows(tmp_path / "out")) == ["Some-chair1"]


def test_damaged_packages_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = sh3f(tmp_path / "in.zip", catalogue()).read_bytes()
    whole = deb(tmp_path / "p.deb", {"Some.sh3f": inner}).read_bytes()
    cases = {
        "text.deb": b"hello",
        "cut.deb": whole[: len(whole) // 2],
        "header.deb": whole[:90],
        "garbled.deb": whole[:200] + bytes(len(whole) - 200),
        "no_data.deb": whole[:72],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        assert run(tmp_path / "out", "--deb", tmp_path / name) == 1, name
        assert name in capsys.readouterr().err
    nothing = deb(tmp_path / "nothing.deb", {"readme": b""})
    assert run(tmp_path / "out", "--deb", nothing) == 1
    assert "no .sh3f" in capsys.readouterr().err
    assert run(tmp_path / "out", "--deb", tmp_path / "gone.deb") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to build a package")
def test_packages_of_the_real_builder_are_read(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(control)
    sh3f(tree / "Some.sh3f", catalogue())
    for compression in ("xz", "gzip", "zstd"):
        package = tmp_path / f"{compression}.deb"
        command = ["dpkg-deb", "-Z" + compression, "-b", tree, package]
        subprocess.run(command, check=True, capture_output=True)
        assert run(tmp_path / compression, "--deb", package) == 0
        assert len(rows(tmp_path / compression)) == 2


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (b"a=1\nb : 2\nc 3\nd\t=\t4\ne", {"a": "1", "b": "2", "c": "3", "d": "4", "e": ""}),
        (b"# no=1\n  ! no=2\n\n \t\f\n", {}),
        (b"a=1\\\n   2\\\n\t3", {"a": "123"}),
        (b"a=1\\\n# 2", {"a": "1# 2"}),
        (b"a\\=b=c=d", {"a=b": "c=d"}),
        (b"a=\\ b \r\nc=\\\\\r\nd=1", {"a": " b ", "c": "\\", "d": "1"}),
        (b"a=\\t\\n\\q\\:", {"a": "\t\nq:"}),
        (b"a=\xe9\\u00e9\\u6905", {"a": "éé椅"}),
        (b"a=\\ud83d\\ude00", {"a": "😀"}),
        (b"name#1=x\nname#1=y", {"name#1": "y"}),
    ],
)
def test_properties_follow_the_rules_of_java(text: bytes, table: dict[str, str]) -> None:
    assert parse(text, "f") == table


@pytest.mark.parametrize("text", [b"a=\\u12", b"a=\\uzzzz", b"a=\\ud83d"])
def test_malformed_escapes_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="f: "):
        parse(text, "f")


def test_the_up_axis_comes_from_the_rotation(tmp_path: Path) -> None:
    members = catalogue(1)
    edited(b"creator#1", b"modelRotation#1=1 0 0 0 0 1 0 -1 0\ncreator#1")(members)
    assert run(tmp_path / "out", "--sh3f", sh3f(tmp_path / "s.sh3f", members)) == 0
    row = rows(tmp_path / "out")["Some-chair1"]
    assert row["up"] == "z" and row["rotation"] == [1, 0, 0, 0, 0, 1, 0, -1, 0]
