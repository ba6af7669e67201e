"""Malformed inputs, built from sound ones: mesh files, tables, retrieval results, shape lists.

Each maker returns {name: Case}; a case is the bytes of a file and what the refusal must say.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import trimesh

GARBAGE = np.random.default_rng(61).integers(0, 256, 3000, np.uint8).tobytes()
SUFFIXES = ("obj", "off", "ply", "stl", "glb", "gltf", "3mf", "dae")
NO_FACES, NOT_FINITE, UNREADABLE = "no faces", "not finite", "not a readable"
RANGE = r"has vertex -?\d+ of \d+"
NO_THREE = r"expected \(n, 3\)"
CUT = r"\d+ of the \d+ faces it announces can be read"


class Case(NamedTuple):
    """A file: its bytes, and what the refusal says (a regular expression)."""

    data: bytes
    says: str


def sphere() -> Any:
    return trimesh.creation.icosphere(1)


def sound(kind: str, **options: Any) -> bytes:
    """A good mesh file of a format: 42 vertices, 80 faces."""
    made = sphere().export(file_type=kind, **options)
    if isinstance(made, dict):
        made = made["model.gltf"]
    return made.encode() if isinstance(made, str) else bytes(made)


def good_meshes() -> dict[str, bytes]:
    """File name to content of meshes that are fine, if unusual."""
    tetrahedron = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"
    huge = tetrahedron.replace("1\n", "1e30\n").replace("1 0 0", "1e30 0 0")
    made = {f"good_{kind}.{kind}": sound(kind) for kind in SUFFIXES if kind != "gltf"}
    whole = sound("obj")
    latin = "# pi\xe8ce\no fonc\xe9\n" + tetrahedron
    return made | {
        "good_from_end.obj": tetrahedron.replace("f 1 3 2", "f -4 -2 -3").encode(),
        "good_1e30.obj": huge.encode(),
        "good_latin_1.obj": latin.encode("latin-1"),
        "good_face_of_two_corners.obj": whole[: whole.rindex(b"f ") + 7],  # a cut no reader can see
        "good_three_faces_on_an_edge.obj": (tetrahedron + "v 1 1 1\nf 1 2 5\nf 1 2 5\n").encode(),
        "good_far_unused_vertex.off": b"OFF\n4 1 0\n0 0 0\n1 0 0\n0 1 0\n9e9 9e9 9e9\n3 0 1 2\n",
    }


def bad_meshes() -> dict[str, Case]:
    """Mesh files, name to Case, that no script can use."""
    return {**_blank(), **_truncated(), **_values(), **_claims(), **_mistaken()}


def _blank() -> dict[str, Case]:
    made: dict[str, Case] = {}
    for kind in SUFFIXES:
        made[f"empty_{kind}.{kind}"] = Case(b"", "empty file")
        made[f"garbage_{kind}.{kind}"] = Case(GARBAGE, f"{UNREADABLE} {kind}|{NO_FACES}|{RANGE}")
    return made


def _truncated() -> dict[str, Case]:
    """Cut where the rest cannot be a whole mesh."""
    made = {
        f"cut_{kind}.{kind}": Case(sound(kind)[: len(sound(kind)) // 2], f"{UNREADABLE}|{CUT}")
        for kind in ("off", "stl", "glb", "3mf", "dae")
    }
    binary, text = sound("ply"), sound("ply", encoding="ascii")
    whole, ascii_stl = sound("obj"), sound("stl_ascii")
    return made | {
        "cut_binary_ply.ply": Case(binary[:-100], UNREADABLE),
        "cut_ply_header.ply": Case(binary[:60], UNREADABLE),
        "cut_ascii_ply.ply": Case(text[: len(text) * 2 // 3], CUT),
        "cut_ascii_ply_in_a_face.ply": Case(text[:-5], CUT),
        "cut_before_faces.obj": Case(whole[: whole.index(b"f ")], NO_FACES),
        "cut_in_a_vertex.obj": Case(b"f 1 2 3\n" + whole[: whole.rindex(b"v ") + 4], NO_THREE),
        "cut_ascii_stl.stl": Case(ascii_stl[: len(ascii_stl) // 2], CUT),
        "cut_stl_header.stl": Case(sound("stl")[:50], NO_FACES),
        "cut_between_faces.off": Case(sound("off").rpartition(b"\n3 ")[0], CUT),
        "cut_off_header.off": Case(b"OFF\n42 80", UNREADABLE),
        "gltf_without_its_buffer.gltf": Case(sound("gltf"), UNREADABLE),
        "cut_gltf.gltf": Case(sound("gltf")[:200], UNREADABLE),
        "cut_glb_header.glb": Case(sound("glb")[:10], UNREADABLE),
    }


def _values() -> dict[str, Case]:
    """Numbers that no mesh can have."""
    triangle = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    off = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    nan_stl = bytearray(sound("stl"))
    nan_stl[96:100] = struct.pack("<f", np.nan)
    inf_ply = bytearray(sound("ply"))
    start = inf_ply.index(b"end_header\n") + 11
    inf_ply[start : start + 4] = struct.pack("<f", np.inf)
    text = {
        "nan.obj": (triangle.replace("v 1", "v nan"), NOT_FINITE),
        "inf.obj": (triangle.replace("v 1", "v inf"), NOT_FINITE),
        "overflow_1e999.obj": (triangle.replace("v 1", "v 1e999"), NOT_FINITE),
        "1e308.obj": (triangle.replace("v 1", "v 1e308"), "too large"),
        "nan.off": (off.replace("1 0 0", "nan 0 0"), NOT_FINITE),
        "no_faces.obj": (triangle.replace("f 1 2 3\n", ""), NO_FACES),
        "points_only.off": ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", f"{NO_FACES}|{UNREADABLE}"),
        "only_lines.obj": (triangle.replace("f 1 2 3", "l 1 2 3"), NO_FACES),
        "only_comments.obj": ("# a mesh\n# without one\n", f"{NO_FACES}|{UNREADABLE}"),
        "beyond_the_end.obj": (triangle.replace("f 1 2 3", "f 1 2 9"), f"{RANGE}|{UNREADABLE}"),
        "face_of_zero.obj": (triangle.replace("f 1 2 3", "f 0 1 2"), f"{RANGE}|{UNREADABLE}"),
        "too_negative.obj": (triangle.replace("f 1 2 3", "f -1 -2 -9"), f"{RANGE}|{UNREADABLE}"),
        "face_of_words.obj": (triangle.replace("f 1 2 3", "f one two three"), UNREADABLE),
        "vertex_of_words.obj": (triangle.replace("v 1 0 0", "v a b c"), UNREADABLE),
        "flat.obj": (triangle.replace(" 0\n", "\n"), NO_THREE),
        "two_coordinates.obj": (triangle.replace("v 1 0 0", "v 1 0"), NO_THREE),
        "huge_index.obj": (triangle.replace("1 2 3", "1 2 99999999999999999999"), "."),
        "beyond_the_end.off": (off.replace("3 0 1 2", "3 0 1 7"), f"{RANGE}|{UNREADABLE}"),
        "negative.off": (off.replace("3 0 1 2", "3 0 1 -2"), f"{RANGE}|{UNREADABLE}"),
    }
    return {name: Case(content.encode(), says) for name, (content, says) in text.items()} | {
        "nan.stl": Case(bytes(nan_stl), NOT_FINITE),
        "inf.ply": Case(bytes(inf_ply), NOT_FINITE),
    }


def _claims() -> dict[str, Case]:
    """Headers that promise what the file does not hold; believing them would eat the memory."""
    ply = sound("ply").replace(b"element vertex 42", b"element vertex 2000000000")
    faces = sound("ply").replace(b"element face 80", b"element face 2000000000")
    text = sound("ply", encoding="ascii").replace(b"vertex 42", b"vertex 2000000000")
    stl = sound("stl")
    none_stl = stl[:80] + struct.pack("<I", 0)
    negative = sound("ply").replace(b"element vertex 42", b"element vertex -42")
    glb = sound("glb")
    return {
        "two_billion_vertices.ply": Case(ply, UNREADABLE),
        "two_billion_faces.ply": Case(faces, UNREADABLE),
        "two_billion_vertices_ascii.ply": Case(text, CUT),
        "minus_42_vertices.ply": Case(negative, UNREADABLE),
        "four_billion_triangles.stl": Case(stl[:80] + b"\xff\xff\xff\xff" + stl[84:], CUT),
        "no_triangles.stl": Case(none_stl, f"{NO_FACES}|{UNREADABLE}"),
        "two_billion_vertices.off": Case(b"OFF\n2000000000 1 0\n0 0 0\n3 0 0 0\n", UNREADABLE),
        "chunk_of_4_gib.glb": Case(glb[:12] + b"\xff\xff\xff\xff" + glb[16:], UNREADABLE),
        "two_billion_zeros.glb": Case(_edited(glb, _two_billion_zeros), UNREADABLE),
        "two_billion_elements.glb": Case(_edited(glb, _two_billion_elements), UNREADABLE),
        "node_in_itself.glb": Case(_edited(glb, _node_in_itself), UNREADABLE),
        "reaches_out.gltf": Case(_reaching_out(), UNREADABLE),
        "bomb.3mf": Case(_bomb("3D/3dmodel.model", 3 << 30), "unpacks to"),
        "without_a_model.3mf": Case(_zip({"readme.txt": b"no model"}), f"{UNREADABLE}|{NO_FACES}"),
        "entities.dae": Case(_billion_laughs(), f"{UNREADABLE}|{NO_FACES}"),
    }


def _mistaken() -> dict[str, Case]:
    """Sound files of another kind under the suffix of a mesh."""
    from PIL import Image

    jpeg = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(jpeg, "JPEG")
    html = b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    return {
        "a_jpeg.obj": Case(jpeg.getvalue(), f"{UNREADABLE}|{NO_FACES}"),
        "an_obj.stl": Case(sound("obj"), f"{UNREADABLE}|{NO_FACES}"),
        "a_ply.off": Case(sound("ply"), UNREADABLE),
        "an_stl.glb": Case(sound("stl"), UNREADABLE),
        "a_web_page.obj": Case(html, f"{UNREADABLE}|{NO_FACES}"),
        "an_lfs_pointer.ply": Case(pointer, UNREADABLE),
        "a_web_page.dae": Case(html, UNREADABLE),
        "a_list.gltf": Case(b"[1, 2, 3]", UNREADABLE),
        "a_zip.stl": Case(_zip({"a.stl": sound("stl")}), CUT),
    }


def _zip(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


def _bomb(name: str, size: int) -> bytes:
    """A zip of a few hundred bytes whose directory says that a member has `size` bytes."""
    made = bytearray(_zip({name: bytes(1 << 20)}))
    place = made.index(b"PK\x01\x02")
    made[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(made)


def _edited(glb: bytes, edit: Callable[[Any], None]) -> bytes:
    """The same .glb, its JSON changed by `edit`."""
    length = struct.unpack("<I", glb[12:16])[0]
    tree = json.loads(glb[20 : 20 + length])
    edit(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I", len(text)) + b"JSON" + text + glb[20 + length :]
    return glb[:8] + struct.pack("<I", 12 + len(body)) + body


def _two_billion_elements(tree: Any) -> None:
    tree["accessors"][0]["count"] = 2_000_000_000


def _two_billion_zeros(tree: Any) -> None:
    """An accessor without a buffer is zeros, by the format; the file holds none of them."""
    for accessor in tree["accessors"]:
        accessor.pop("bufferView")
        accessor["count"] = 2_000_000_000


def _node_in_itself(tree: Any) -> None:
    tree["nodes"] = [{"children": [1], "mesh": 0}, {"children": [0], "mesh": 0}]
    tree["scenes"], tree["scene"] = [{"nodes": [0]}], 0


def _reaching_out() -> bytes:
    """A scene whose coordinates lie in a file that is none of its own, and never ends."""
    tree = json.loads(sound("gltf"))
    tree["buffers"] = [{**buffer, "uri": "/dev/zero"} for buffer in tree["buffers"]]
    return json.dumps(tree).encode()


def _billion_laughs() -> bytes:
    rows = ['<!ENTITY a0 "ha">']
    rows += [f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)]
    return f"<?xml version='1.0'?><!DOCTYPE x [{''.join(rows)}]><x>&a9;</x>".encode()


def sound_table() -> dict[str, Any]:
    """Arrays of a good embedding table of five rows."""
    return {
        "ids": np.array([f"s{i}" for i in range(5)]),
        "categories": np.array(["chair"] * 5),
        "sha256": np.array([""] * 5),
        "kind": np.array("embedding"),
        "settings": np.array("{}"),
        "embeddings": np.arange(15, dtype=np.float32).reshape(5, 3),
    }


def bad_tables() -> dict[str, Case]:
    """NPZ tables that no reader may take."""
    whole = npz()
    broken = bytearray(whole)
    broken[whole.index(b"embeddings.npy") + 160] ^= 0xFF  # in the numbers: the check sum tells
    hole = np.arange(15, dtype=np.float32).reshape(5, 3)
    hole[3, 1] = np.nan
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "pickled_ids": ({"ids": np.array(list("abcde"), object)}, "ids: unreadable"),
        "pickled_rows": ({"embeddings": np.array([[{}]] * 5)}, "embeddings: unreadable"),
        "no_ids": ({"ids": None}, "ids: missing"),
        "no_embeddings": ({"embeddings": None}, "embeddings: missing"),
        "id_twice": ({"ids": np.array(list("abcda"))}, "stands twice"),
        "empty_id": ({"ids": np.array(["a", "b", "", "d", "e"])}, "row 2 is empty"),
        "number_ids": ({"ids": np.arange(5)}, "ids: expected"),
        "four_ids": ({"ids": np.array(list("abcd"))}, "expected"),
        "nan_row": ({"embeddings": hole}, "row 3 is not finite"),
        "inf_row": ({"embeddings": np.full((5, 3), np.inf)}, "row 0 is not finite"),
        "integer_rows": ({"embeddings": np.zeros((5, 3), int)}, "embeddings: expected float"),
        "text_rows": ({"embeddings": np.array([["a"]] * 5)}, "embeddings: expected float"),
        "complex_rows": ({"embeddings": np.zeros((5, 3), complex)}, "embeddings: expected float"),
        "one_dimension": ({"embeddings": np.zeros(5)}, "embeddings: expected float"),
        "no_columns": ({"embeddings": np.zeros((5, 0))}, "embeddings: expected float"),
        "no_rows": ({k: v[:0] if v.ndim else v for k, v in sound_table().items()}, "no rows"),
        "unknown_kind": ({"kind": np.array("hologram")}, "kind: 'hologram'"),
        "another_kind": ({"kind": np.array("lfd")}, "art: missing"),
        "settings_no_json": ({"settings": np.array("{")}, "settings: not JSON"),
        "settings_nested": ({"settings": np.array("[" * 10**5)}, "settings: not JSON"),
        "two_categories": ({"categories": np.array(["a", "b"])}, "categories: expected"),
    }
    made = {name: Case(npz(**change), says) for name, (change, says) in changes.items()}
    files = {
        "empty": b"",
        "garbage": GARBAGE,
        "cut": whole[: len(whole) // 2],
        "cut_at_the_end": whole[:-10],
        "broken": bytes(broken),
        "an_npy": npy(np.zeros((5, 3))),
        "json": b'{"ids": []}',
        "zip_of_text": _zip({"ids.npy": b"text", "embeddings.npy": b"text"}),
        "ten_billion_rows": _zip({"ids.npy": _claiming("(10000000000,)")}),
        "negative_shape": _zip({"ids.npy": _claiming("(-5,)")}),
        "code_as_header": _zip({"ids.npy": _claiming("(__import__('os').getpid(),)")}),
    }
    return made | {name: Case(data, "unreadable|expected|missing") for name, data in files.items()}


def npz(**changes: Any) -> bytes:
    """The good table with some arrays changed; None leaves one out."""
    made = io.BytesIO()
    arrays = {key: a for key, a in (sound_table() | changes).items() if a is not None}
    np.savez(made, allow_pickle=True, **arrays)
    return made.getvalue()


def npy(array: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def _claiming(shape: str) -> bytes:
    """An .npy header of that shape, with no numbers after it."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def bad_json() -> dict[str, Case]:
    """Texts that are JSON of the wrong kind, or none: bad as a result and as a list of shapes."""
    texts: dict[str, bytes] = {
        "empty": b"",
        "blank": b"   \n",
        "garbage": GARBAGE,
        "null": b"null",
        "true": b"true",
        "number": b"17",
        "text": b'"shapes"',
        "list": b"[]",
        "list_of_lists": b"[[1, 2], [3]]",
        "empty_object": b"{}",
        "cut": b'{"shapes": [{"id": "a", "path": "a.obj"}, {"id"',
        "trailing_comma": b'{"shapes": [],}',
        "two_documents": b'{"shapes": []}{"shapes": []}',
        "single_quotes": b"{'shapes': []}",
        "comment": b'{"shapes": []} // all of them',
        "python": b"{'a': None}",
        "utf_16": '{"shapes": []}'.encode("utf-16"),
        "byte_order_mark": b'\xef\xbb\xbf{"shapes": []}',
        "latin_1": '{"shapes": [{"id": "é", "path": "é"}]}'.encode("latin-1"),
        "deep": b'{"a":' * 200_000,
        "deep_list": b"[" * 200_000,
        "long_number": b'{"shapes": ' + b"9" * 10_000 + b"}",
        "key_twice": b'{"shapes": [], "shapes": []}',
        "zip": _zip({"shapes.json": b'{"shapes": []}'}),
    }
    return {name: Case(data, ".") for name, data in texts.items()}


def bad_shapes() -> dict[str, Case]:
    """Lists of shapes that are JSON but unusable."""
    good = {"id": "a", "path": "a.obj", "category": "chair"}
    rows: dict[str, tuple[Any, str]] = {
        "no_shapes": ([], "no meshes|no shapes"),
        "shapes_an_object": ({"a": good}, "list under 'shapes'"),
        "row_a_text": (["a.obj"], r"shapes\[0\]: expected an object"),
        "row_null": ([good, None], r"shapes\[1\]: expected an object"),
        "no_id": ([{"path": "a.obj"}], "'id' must be"),
        "no_path": ([{"id": "a"}], "'path' must be"),
        "number_id": ([{**good, "id": 7}], "'id' must be"),
        "empty_id": ([{**good, "id": ""}], "'id' must be"),
        "list_path": ([{**good, "path": ["a.obj"]}], "'path' must be"),
        "id_twice": ([good, good], "'a'"),
        "id_leads_out": ([{**good, "id": "../../a"}], "cannot be used"),
        "id_absolute": ([{**good, "id": "/a"}], "cannot be used"),
        "id_of_lines": ([{**good, "id": "a\nb"}], "cannot be used"),
        "id_backslash": ([{**good, "id": "..\\a"}], "cannot be used"),
        "id_half_a_pair": ([{**good, "id": "\ud800"}], "cannot be used"),
        "category_null": ([{**good, "category": None}], "'category' must be"),
        "category_list": ([{**good, "category": ["chair"]}], "'category' must be"),
    }
    made = {name: (json.dumps({"shapes": value}), says) for name, (value, says) in rows.items()}
    return {name: Case(text.encode(), says) for name, (text, says) in made.items()}
