"""Sweet Home 3D furniture catalogues (.sh3f) and the Debian package that holds five of them.

A .sh3f is a zip with `PluginFurnitureCatalog.properties` (entries `name#1`, `model#1`, ...), the
same with `_<language>` before the suffix for translations, and OBJ models with their MTL files and
textures, one folder each (www.sweethome3d.com/pluginFurnitureCatalog.jsp). A .deb is an `ar`
archive (deb(5)). Archives come from outside: names, sizes and links are checked before use.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from .meshes import SUFFIXES
from .properties import parse

BASE = "PluginFurnitureCatalog"
MAX_UNPACKED = 4 << 30  # bytes of one archive; the largest known has 0.2e9
MAX_RATIO = 200  # of a member above 1 MiB; the largest known is 12
_LANGUAGE = re.compile(BASE + r"_([A-Za-z]{2,3}(?:_[A-Za-z]{2,4})?)\.properties")


class Model(NamedTuple):
    """One entry of a catalogue."""

    id: str
    member: str  # of the mesh, in the archive
    files: list[str]  # all members to keep: the mesh's folder, or the mesh alone
    record: dict[str, Any]


class Catalogue:
    """A .sh3f opened and checked.

    Raises:
        ValueError: no zip, truncated, an unsafe member, a bomb, no catalogue properties, a
            malformed escape; names the file and the member.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise ValueError(f"{path}: not a readable .sh3f (a zip): {error}") from error
        check_members(self.archive, path)
        names = {info.filename for info in self.archive.infolist()}
        if f"{BASE}.properties" not in names:
            raise ValueError(f"{path}: no {BASE}.properties; is this a furniture catalogue?")
        self.members = sorted(name for name in names if not name.endswith("/"))
        self.main = self._properties(f"{BASE}.properties")
        found = ((name, _LANGUAGE.fullmatch(name)) for name in self.members)
        self.translations = {m[1]: self._properties(name) for name, m in found if m}
        self.name = self.main.get("name", path.stem)

    def _properties(self, member: str) -> dict[str, str]:
        return parse(self.read(member), f"{self.path}: {member}")

    def read(self, member: str) -> bytes:
        """Bytes of a member. Raises ValueError when it is damaged or encrypted."""
        try:
            return self.archive.read(member)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise ValueError(f"{self.path}: {member}: damaged ({error})") from error

    def numbers(self) -> list[str]:
        """The n of all `model#n`, in numerical order."""
        found = {key.partition("#")[2] for key in self.main if re.match(r"(model|id)#", key)}
        return sorted(found, key=lambda n: (len(n), n))

    def licences(self) -> list[str]:
        """Members at the top level that hold licence texts."""
        return [name for name in self.members if "/" not in name and "LICEN" in name.upper()]

    def model(self, number: str) -> Model:
        """Entry `number`. Raises ValueError when its model is missing or a value is unusable."""
        get = {key: self.main.get(f"{key}#{number}", "") for key in _KEYS}
        place = f"{self.path}: entry {number} ({get['id'] or get['name']})"
        member = get["model"].strip().lstrip("/")
        if member not in self.members:
            raise ValueError(f"{place}: model {member!r} is not in the archive")
        if PurePosixPath(member).suffix.lower() not in SUFFIXES:
            raise ValueError(f"{place}: model {member!r} is no mesh; one of {', '.join(SUFFIXES)}")
        folder = member.rpartition("/")[0] + "/"
        whole = get["multiPartModel"].strip().lower() == "true" and folder != "/"
        kept = [name for name in self.members if name.startswith(folder)] if whole else [member]
        try:
            name = identifier(get["id"] or f"{self.name}#{PurePosixPath(member).stem}")
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        return Model(name, member, kept, self._record(number, name, member, get, place))

    def _record(
        self, number: str, name: str, member: str, get: dict[str, str], place: str
    ) -> dict[str, Any]:
        sizes = [_number(get[key], f"{place}: {key}") for key in ("width", "height", "depth")]
        record: dict[str, Any] = {
            "id": name,
            "path": f"{name}/{PurePosixPath(member).name}",
            "category": get["category"].strip(),
            "names": self._by_language("name", number),
            "tags": {k: _list(v) for k, v in self._by_language("tags", number).items() if _list(v)},
            "categories": self._by_language("category", number),
            "creator": get["creator"].strip(),
            "licence": " ".join(self.main.get("license", "").split()),
            "size": [round(size / 100.0, 6) for size in sizes],
            "up": _up(get["modelRotation"], place),
            "catalogue": self.name,
            "source": f"{self.path.name}:{member}",
        }
        if get["modelRotation"]:
            record["rotation"] = _rotation(get["modelRotation"], place)
        return record

    def _by_language(self, key: str, number: str) -> dict[str, str]:
        tables = {"en": self.main, **self.translations}
        found = {lang: table.get(f"{key}#{number}", "").strip() for lang, table in tables.items()}
        return {lang: text for lang, text in sorted(found.items()) if text}


_KEYS = (
    "id",
    "name",
    "model",
    "multiPartModel",
    "category",
    "creator",
    "width",
    "height",
    "depth",
    "modelRotation",
)


def identifier(text: str) -> str:
    """An id that can be a folder name: "Kator Legaz#screen-door" -> "Kator_Legaz-screen-door"."""
    made = re.sub(r"[^A-Za-z0-9._-]+", "_", text.replace("#", "-")).strip("._-")
    if not made:
        raise ValueError(f"id {text!r} has no letter or digit")
    return made[:120]


def _list(text: str) -> list[str]:
    return [part for part in (word.strip() for word in re.split(r"[,\u3001\uff0c]", text)) if part]


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 < value < 1e6:
        raise ValueError(f"{place}: expected a size in cm, found {text!r}")
    return value


def _rotation(text: str, place: str) -> list[float]:
    """Nine numbers, row by row, of the matrix that turns the model upright and to the front."""
    try:
        matrix = np.array([float(x) for x in text.split()])
    except ValueError:
        matrix = np.zeros(0)
    square = matrix.reshape(3, 3) if matrix.size == 9 else np.zeros((3, 3))
    if not np.allclose(square @ square.T, np.eye(3), atol=0.01):
        raise ValueError(f"{place}: modelRotation: expected a 3 x 3 rotation, found {text!r:.60}")
    return [float(x) for x in matrix]


def _up(text: str, place: str) -> str:
    """The model's axis that points up once it is turned: y, -y, x, -x, z or -z."""
    if not text:
        return "y"
    row = np.reshape(_rotation(text, place), (3, 3))[1]  # R^T applied to (0, 1, 0)
    axis = int(np.argmax(np.abs(row)))
    return ("-" if row[axis] < 0 else "") + "xyz"[axis]


def check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse absolute names, `..`, links and archives that unpack to far more than they are.

    Also names that no file system takes, and a file that is a folder, too.
    """
    total = 0
    plain = {info.filename for info in archive.infolist() if not info.is_dir()}
    for info in archive.infolist():
        name = info.filename
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or re.search(r"[\x00-\x1f\\]|^[A-Za-z]:", name):
            raise ValueError(f"{path}: member {name!r} points outside the archive; refused")
        folders = map(str, PurePosixPath(name).parents)
        if any(len(part.encode()) > 200 for part in parts) or not plain.isdisjoint(folders):
            raise ValueError(f"{path}: member {name!r:.99} cannot be written as a file; refused")
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise ValueError(f"{path}: member {name!r} is a symbolic link; refused")
        total += info.file_size
        heavy = info.file_size > 1 << 20 and info.file_size > MAX_RATIO * max(info.compress_size, 1)
        if heavy or total > MAX_UNPACKED:
            raise ValueError(
                f"{path}: member {name!r} unpacks to {info.file_size:,} bytes from "
                f"{info.compress_size:,} (all so far: {total:,}); looks like a zip bomb, refused"
            )


def unpack_deb(path: Path, folder: Path) -> list[Path]:
    """Write the .sh3f files and the copyright file of a .deb into `folder`, by their bare names.

    Returns:
        The .sh3f files, sorted. `folder`/copyright is there when the package has one.

    Raises:
        ValueError: no .deb, truncated, no .sh3f inside.
    """
    found = []
    try:
        with _data_tar(path) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if not member.isfile() or not (name.endswith(".sh3f") or name == "copyright"):
                    continue
                source = tar.extractfile(member)
                if member.size > MAX_UNPACKED or source is None:
                    raise ValueError(f"{path}: {member.name}: {member.size:,} bytes; refused")
                with (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                found += [folder / name] if name != "copyright" else []
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: damaged package: {error}") from error
    if not found:
        raise ValueError(f"{path}: no .sh3f catalogue in this package")
    return sorted(found)


def _data_tar(path: Path) -> tarfile.TarFile:
    """The data.tar of a .deb, whatever its compression."""
    for name, data in _ar_members(path):
        if not name.startswith("data.tar"):
            continue
        if not name.endswith(".zst"):
            return tarfile.open(fileobj=io.BytesIO(data), mode="r:*")
        if shutil.which("dpkg-deb") is None:
            raise ValueError(f"{path}: {name} needs dpkg-deb to unpack; it is not installed")
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True)
        if done.returncode:
            raise ValueError(f"{path}: dpkg-deb: {done.stderr.decode(errors='replace')}")
        return tarfile.open(fileobj=io.BytesIO(done.stdout))
    raise ValueError(f"{path}: no data.tar in this package")


def _ar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the members of an `ar` archive: 60-byte headers, even-aligned data."""
    with path.open("rb") as handle:
        if handle.read(8) != b"!<arch>\n":
            raise ValueError(f"{path}: not a Debian package (no ar archive)")
        while header := handle.read(60):
            size = header[48:58].strip()
            if len(header) < 60 or header[58:] != b"`\n" or not size.isdigit():
                raise ValueError(f"{path}: damaged package: bad ar header")
            data = handle.read(int(size))
            if len(data) < int(size):
                raise ValueError(f"{path}: truncated package: {len(data)} of {int(size)} bytes")
            handle.read(int(size) % 2)
            yield header[:16].decode("latin-1").strip().rstrip("/"), data
