"""Records of meshes found in folders: flat, ShapeNet or Objaverse layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .meshes import Item
from .shapes_index import Record, relative

SHAPENET = re.compile(r"(?:.*/)?(\d{8})/([^/]+)/(?:models/)?model(?:_normalized)?$")
OBJAVERSE = re.compile(r"[0-9a-f]{32}$")
NAME_END = re.compile(r"[,(\d]|\b(?:with|without|on|of|in|for|and)\b")  # after the noun's head
LAYOUTS = ("auto", "flat", "shapenet", "objaverse")

# The 55 classes of ShapeNetCore v2 by WordNet offset: https://shapenet.org, taxonomy.json
SYNSETS = {
    "02691156": "airplane",
    "02747177": "trash bin",
    "02773838": "bag",
    "02801938": "basket",
    "02808440": "bathtub",
    "02818832": "bed",
    "02828884": "bench",
    "02843684": "birdhouse",
    "02871439": "bookshelf",
    "02876657": "bottle",
    "02880940": "bowl",
    "02924116": "bus",
    "02933112": "cabinet",
    "02942699": "camera",
    "02946921": "can",
    "02954340": "cap",
    "02958343": "car",
    "02992529": "cellphone",
    "03001627": "chair",
    "03046257": "clock",
    "03085013": "keyboard",
    "03207941": "dishwasher",
    "03211117": "display",
    "03261776": "earphone",
    "03325088": "faucet",
    "03337140": "file cabinet",
    "03467517": "guitar",
    "03513137": "helmet",
    "03593526": "jar",
    "03624134": "knife",
    "03636649": "lamp",
    "03642806": "laptop",
    "03691459": "loudspeaker",
    "03710193": "mailbox",
    "03759954": "microphone",
    "03761084": "microwave",
    "03790512": "motorbike",
    "03797390": "mug",
    "03928116": "piano",
    "03938244": "pillow",
    "03948459": "pistol",
    "03991062": "flowerpot",
    "04004475": "printer",
    "04074963": "remote control",
    "04090263": "rifle",
    "04099429": "rocket",
    "04225987": "skateboard",
    "04256520": "sofa",
    "04330267": "stove",
    "04379243": "table",
    "04401088": "telephone",
    "04460130": "tower",
    "04468005": "train",
    "04530566": "watercraft",
    "04554684": "washing machine",
}


def detect(items: Iterable[Item], annotated: bool) -> str:
    """Layout of a folder's meshes: what all of them fit, else flat."""
    names = [item.path.with_suffix("").as_posix() for item in items]
    if all(SHAPENET.match(name) for name in names):
        return "shapenet"
    if annotated or all(OBJAVERSE.search(name) for name in names):
        return "objaverse"
    return "flat"


def records_of(
    items: Iterable[Item], layout: str, labels: Mapping[str, str], folder: Path
) -> list[Record]:
    """Records of mesh files with paths relative to `folder`.

    Args:
        items:  what list_meshes found.
        layout: flat, shapenet or objaverse.
        labels: category by object id, for objaverse.
    """
    make = {"flat": _flat, "shapenet": _shapenet, "objaverse": _objaverse}[layout]
    return [{**make(item, labels), "path": relative(item.path, folder)} for item in items]


def _flat(item: Item, labels: Mapping[str, str]) -> Record:
    return {"id": item.id, "path": "", "category": item.category}


def _shapenet(item: Item, labels: Mapping[str, str]) -> Record:
    match = SHAPENET.match(item.path.with_suffix("").as_posix())
    if match is None:
        raise ValueError(
            f"{item.path}: not in ShapeNet layout (synset/model/models/model_normalized.obj); "
            "use --layout flat"
        )
    synset, model = match.groups()
    row: Record = {"id": f"{synset}-{model}", "path": "", "category": synset}
    name = SYNSETS.get(synset)
    return {**row, "categories": {"en": name}, "names": {"en": name}} if name else row


def _objaverse(item: Item, labels: Mapping[str, str]) -> Record:
    uid = item.path.stem
    row: Record = {"id": uid, "path": "", "category": labels.get(uid, "")}
    name = labels.get(uid, "").replace("_", " ")
    return {**row, "categories": {"en": name}, "names": {"en": name}} if name else row


def labels_of(table: Any, place: str) -> dict[str, str]:
    """Category by object id from LVIS annotations `{category: [uid, ...]}`.

    Raises:
        ValueError: another form, or an id under two categories.
    """
    labels: dict[str, str] = {}
    if not isinstance(table, dict):
        raise ValueError(f"{place}: expected an object {{category: [uid, ...]}}")
    for category, uids in table.items():
        if not isinstance(uids, list) or not all(isinstance(uid, str) for uid in uids):
            raise ValueError(f"{place}: {category!r}: expected a list of object ids")
        for uid in uids:
            if labels.setdefault(uid, category) != category:
                raise ValueError(f"{place}: {uid!r} is under {labels[uid]!r} and {category!r}")
    return labels


def words_of(given: Sequence[str]) -> dict[str, str]:
    """Category by word, of `CATEGORY=WORD,...` each. ValueError: another form, or a word twice."""
    found: dict[str, str] = {}
    for text in given:
        category, _, words = text.partition("=")
        for word in words.lower().split(","):
            if not (category and re.fullmatch(r"[^\W\d]+", word)):
                raise ValueError(f"--category-words {text}: expected CATEGORY=WORD,WORD,...")
            if word in found:
                raise ValueError(f"--category-words: {word!r} stands twice")
            found[word] = category
    return found


def head_of(name: str) -> str:
    """The noun that an English name is about: "Bar chair with cushion" -> "chair"; "" if none."""
    words = re.findall(r"[^\W\d]+", NAME_END.split(name.lower())[0])
    return str(words[-1]) if words else ""


def by_words(records: Iterable[Record], words: Mapping[str, str]) -> list[Record]:
    """The records whose English name is headed by one of the words, under that word's category.

    Raises:
        ValueError: there are none.
    """
    heads = [(row, head_of(str((row.get("names") or {}).get("en") or ""))) for row in records]
    kept = [{**row, "category": words[head]} for row, head in heads if head in words]
    if not kept:
        raise ValueError(f"no shape of {len(heads)} has a name headed by {', '.join(words)}")
    return kept
