"""Training and validation sets: what is refused, and what is the same every time."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hy3dshape.data.conditions import ConditionOptions, Conditions
from hy3dshape.data.datamodule import UnifiedDataModule
from hy3dshape.data.latents import group_latents
from hy3dshape.data.loading import EpochBatches
from hy3dshape.data.tables import read_table
from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE

CATEGORIES = ("chair", "box", "toy")


def write_table(path: Path, uids: list[str], **columns: Any) -> str:
    """A table with categories in turn; `columns` add or replace, None leaves one out."""
    rows = [
        {"model_uid": uid, "lvis_category": CATEGORIES[i % 3], "caption": f"a {uid}"}
        for i, uid in enumerate(uids)
    ]
    for i, row in enumerate(rows):
        row.update({k: v[i] if isinstance(v, list) else v for k, v in columns.items()})
    names = [k for k in rows[0] if rows[0][k] is not None]
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Eight shapes of two copies, the first of three tables over them; options of a module."""
    folder = tmp_path / "latents"
    folder.mkdir(parents=True)
    uids = [f"u{i}" for i in range(8)]
    for i, uid in enumerate(uids):
        for copy in range(2):
            torch.save(torch.full((4, 3), 10.0 * i + copy), folder / f"{uid}_aug{copy}.pt")
    return {
        "mode": "latent", "batch_size": 2, "num_workers": 0,
        "train_latent_folder": str(tmp_path / "latents"),
        "train_csv_path": write_table(tmp_path / "train.csv", uids[:6]),
        "val_csv_path": write_table(tmp_path / "val.csv", uids[6:]),
    }  # fmt: skip


def module(data: dict[str, Any], **options: Any) -> UnifiedDataModule:
    return UnifiedDataModule(**{**data, **options})


def epoch(made: UnifiedDataModule, batches: int, done: int = 0, **ranks: int) -> list[Any]:
    stream = made.train_batches(done, **ranks)
    return [
        (b["uid"], b["view_idx"].tolist()) for b, _ in zip(stream, range(batches), strict=False)
    ]


def test_items_depend_on_seed_and_epoch_alone(data: dict[str, Any]) -> None:
    here = epoch(module(data), 9)
    assert here == epoch(module(data, num_workers=2), 9)
    assert here[4:] == epoch(module(data), 5, done=4)  # resumed within the second epoch
    assert here[:3] != here[3:6] and here != epoch(module(data, seed=1), 9)
    copies = dict(zip(*map(np.concatenate, zip(*here[:3], strict=True)), strict=True))
    wide = epoch(module(data, batch_size=6), 1)
    assert copies == dict(zip(*wide[0], strict=True))


def test_processes_share_the_order_of_one(data: dict[str, Any]) -> None:
    alone = epoch(module(data, batch_size=1), 6)
    pair = [epoch(module(data, batch_size=1), 3, rank=r, world=2) for r in (0, 1)]
    assert [b for both in zip(*pair, strict=True) for b in both] == alone


def test_the_training_stream_leaves_the_global_generator_alone(data: dict[str, Any]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    epoch(module(data), 9)
    assert torch.equal(torch.rand(1), expected)


def test_validation_takes_the_first_copy_of_every_shape(data: dict[str, Any]) -> None:
    batches = list(module(data, batch_size=3).val_batches())
    assert [b["uid"] for b in batches] == [["u6", "u7"]]
    assert batches[0]["latents"][:, 0, 0].tolist() == [60.0, 70.0]


def test_a_batch_that_cannot_be_filled(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="6 items fill no batch of 4 on 2 processes"):
        next(module(data, batch_size=4).train_batches(world=2))
    assert len(EpochBatches(5, 2, drop_last=False)) == 3


def test_class_ids_are_those_of_the_training_table(data: dict[str, Any], tmp_path: Path) -> None:
    val = write_table(tmp_path / "v.csv", ["u6", "u7"], lvis_category="toy")
    made = module(data, conditioning_type="class", val_csv_path=val)
    assert made.class_ids == {"box": 0, "chair": 1, "toy": 2}
    assert next(iter(made.val_batches()))["conditioning"].tolist() == [2, 2]
    seen = {u: c for b, _ in zip(made.train_batches(), range(3), strict=False)
            for u, c in zip(b["uid"], b["conditioning"].tolist(), strict=True)}  # fmt: skip
    assert [seen[f"u{i}"] for i in range(6)] == [1, 0, 2, 1, 0, 2]


def test_class_map_and_class_id(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps({"box": 5, "chair": 7, "toy": 9}))
    made = module(data, conditioning_type="lvis", class_map=str(tmp_path / "map.json"))
    assert made.train[0, 0]["conditioning"] == 7
    table = write_table(tmp_path / "t.csv", ["u0", "u1"], class_id=["4", "x"])
    made = module(data, conditioning_type="class", dataset_type="gobjaverse", train_csv_path=table)
    with pytest.raises(ValueError, match=r"t\.csv: u1: class_id: expected a number .*'x'"):
        _ = made.train


def test_an_unknown_validation_class_is_named(data: dict[str, Any], tmp_path: Path) -> None:
    val = write_table(tmp_path / "v.csv", ["u6"], lvis_category="vase")
    with pytest.raises(ValueError, match=r"v\.csv: u6: unknown lvis_category 'vase'; known: box"):
        _ = module(data, conditioning_type="lvis", val_csv_path=val).val


def test_captions_of_either_column(
    data: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert module(data, conditioning_type="text").train[0, 1]["conditioning"] == "a u1"
    assert "captions from column 'caption'" in caplog.text
    both = write_table(tmp_path / "b.csv", ["u0"], cap3d_caption="other")
    with pytest.raises(ValueError, match=r"b\.csv: two caption columns .* name one"):
        _ = module(data, conditioning_type="text", train_csv_path=both).train
    made = module(
        data, conditioning_type="text", train_csv_path=both, caption_column="cap3d_caption"
    )
    assert made.train[0, 0]["conditioning"] == "other"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, r"n\.csv: no caption column among model_uid, lvis_category; name one"),
        ("text", r"n\.csv: no column 'text'; its columns are model_uid, lvis_category"),
    ],
)
def test_a_missing_caption_column(
    data: dict[str, Any], tmp_path: Path, column: str | None, message: str
) -> None:
    table = write_table(tmp_path / "n.csv", ["u0"], caption=None)
    options = {"conditioning_type": "text", "caption_column": column, "train_csv_path": table}
    with pytest.raises(ValueError, match=message):
        _ = module(data, **options).train


def test_empty_captions(data: dict[str, Any], tmp_path: Path) -> None:
    table = write_table(tmp_path / "e.csv", ["u0", "u1"], caption=["", "b"])
    options = {"conditioning_type": "text", "train_csv_path": table}
    with pytest.raises(ValueError, match=r"e\.csv: u0: caption is empty; set empty_caption: drop"):
        _ = module(data, **options).train
    assert module(data, **options, empty_caption="drop").train.uids == ["u1"]
    assert module(data, **options, empty_caption="thing").train[0, 0]["conditioning"] == "thing"


def test_one_caption_for_most_shapes(tmp_path: Path) -> None:
    uids = [f"u{i}" for i in range(12)]
    path = write_table(tmp_path / "t.csv", uids, caption=["a 3d model"] * 7 + uids[7:])
    table = read_table(path)
    with pytest.raises(ValueError, match=r"t\.csv: 7 of 12 shapes have the caption 'a 3d model'"):
        Conditions(ConditionOptions("text"), table, uids)
    assert Conditions(ConditionOptions("text", max_caption_share=1.0), table, uids).uids == uids
    assert Conditions(ConditionOptions("text"), table, uids[2:]).uids == uids[2:]  # half of them


def test_validation_shapes_in_training_are_refused(data: dict[str, Any], tmp_path: Path) -> None:
    val = write_table(tmp_path / "v.csv", ["u0", "u7"])
    with pytest.raises(ValueError, match=r"v\.csv: 1 of 2 validation shapes .*\(u0\)"):
        _ = module(data, val_csv_path=val).val


@pytest.mark.parametrize(
    ("uids", "said", "level"),
    [(["u7", "u9"], "test.csv: holds 1 of 2 validation shapes", logging.WARNING),
     (["u8", "u9"], "test.csv: holds 0 of 2 validation shapes", logging.INFO),
     ([], "test.csv: is not there; whether it holds validation shapes", logging.WARNING)],
)  # fmt: skip
def test_validation_shapes_in_test_are_reported(
    uids: list[str], said: str, level: int, data: dict[str, Any], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    test = tmp_path / "test.csv"
    if uids:
        write_table(test, uids)
    assert module(data, test_csv_path=str(test)).val is not None
    assert [r.levelno for r in caplog.records if said in r.getMessage()] == [level]


@pytest.mark.parametrize(
    ("workers", "content", "message"),
    [
        (0, torch.zeros(5, 3), r"u3_aug0\.pt: expected shape \(4, 3\), found \(5, 3\)"),
        (0, torch.full((4, 3), torch.nan), r"u3_aug0\.pt: holds NaN or infinity"),
        (
            0,
            {"latents": torch.zeros(4, 3)},
            r"u3_aug0\.pt: expected one tensor of floats, found a d",
        ),
        (0, torch.zeros(4, 3, dtype=torch.int64), r"u3_aug0\.pt: expected one tensor of floats"),
        (1, b"no archive", r"u3_aug0\.pt: not a readable tensor file"),
        (0, b"", r"u3_aug0\.pt: not a readable tensor file"),
    ],
)
def test_a_wrong_latent_is_named(
    data: dict[str, Any], workers: int, content: Any, message: str
) -> None:
    path = next(Path(data["train_latent_folder"]).rglob("u3_aug0.pt"))
    path.with_name("u3_aug1.pt").unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message) as caught:
        epoch(module(data, num_workers=workers), 3)
    assert "\n" not in str(caught.value)


def test_pickled_code_is_not_run(data: dict[str, Any]) -> None:
    path = next(Path(data["train_latent_folder"]).rglob("u0_aug0.pt"))
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(ValueError, match=r"u0_aug0\.pt: not a readable tensor file"):
        _ = module(data).train


def test_the_first_tokens_are_a_shorter_set(data: dict[str, Any]) -> None:
    assert module(data, num_latents=2).train[0, 0]["latents"].shape == (2, 3)
    with pytest.raises(ValueError, match="4 tokens, num_latents asks for 5"):
        _ = module(data, num_latents=5).train


def test_a_folder_is_part_of_the_id(tmp_path: Path) -> None:
    (tmp_path / "chairs").mkdir()
    for name in ("001_aug1", "chairs/001_aug1", "chairs/001_aug0"):
        (tmp_path / f"{name}.pt").touch()
    found = {uid: [p.stem for p in files] for uid, files in group_latents(tmp_path).items()}
    assert found == {"001": ["001_aug1"], "chairs/001": ["001_aug0", "001_aug1"]}


def test_a_snapshot_of_other_shapes_is_refused(data: dict[str, Any], tmp_path: Path) -> None:
    options = {"max_dataset_size": 4, "snapshot_dir": str(tmp_path / "split")}
    first = module(data, **options).train.uids
    assert module(data, **options).train.uids == first and len(first) == 4
    (snapshot,) = (tmp_path / "split").glob("*.txt")
    snapshot.write_text("\n".join(reversed(first)))
    assert module(data, **options).train.uids == first[::-1]  # the order of the file is kept
    write_table(tmp_path / "train.csv", [f"u{i}" for i in range(5)])
    with pytest.raises(ValueError, match=r"made with other settings \(available: there 6, here 5"):
        _ = module(data, **options).train
    snapshot.with_suffix(".key.json").unlink()
    snapshot.write_text("u0\nu5\nu1\nu2\n")
    with pytest.raises(ValueError, match=r"1 of 4 shapes have no latents .*\(u5\)"):
        _ = module(data, **options).train


def test_only_the_first_process_writes_the_snapshot(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    options = {"max_dataset_size": 4, "snapshot_dir": str(tmp_path / "split")}
    drawn = module(data, **options).train.uids
    assert not (tmp_path / "split").exists()
    monkeypatch.setenv("RANK", "0")
    assert module(data, **options).train.uids == drawn


def test_image_latents_and_image_conditions(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for i in range(8):
        for view in range(3):
            latent = torch.arange(2 * 4 * 4).reshape(2, 4, 4) + 100.0 * view
            torch.save(latent, tmp_path / "img" / f"u{i}_view{view}.pt")
        strip = np.repeat(np.arange(3, dtype=np.uint8), 5)[:, None].repeat(4, 1)
        Image.fromarray(strip).save(tmp_path / f"u{i}.png")
    table = write_table(tmp_path / "i.csv", ["u0", "u1"], view_path=["u0.png", "u1.png"])
    val = write_table(tmp_path / "j.csv", ["u2", "u3"], view_path=["u2.png", "u3.png"])
    made = module(
        data, train_latent_folder=str(tmp_path / "img"), train_csv_path=table, val_csv_path=val,
        latent_is_image=True, expect_hw=4, expect_c=2, conditioning_type="image", image_views=3,
    )  # fmt: skip
    batch = next(iter(made.val_batches()))
    assert batch["latents"].shape == (2, 16, 2) and batch["view_idx"].tolist() == [1, 1]
    assert batch["latents"][0, 5].tolist() == [105.0, 121.0]  # row 1, column 1 of both channels
    assert [np.unique(np.asarray(image)).tolist() for image in batch["conditioning"]] == [[1], [1]]
    (tmp_path / "u2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"u2\.png: not an image"):
        next(iter(made.val_batches()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_latent_folder": None}, "mode latent needs train_latent_folder"),
        ({"train_latent_folder": "/nowhere"}, "/nowhere: there is no such folder of latents"),
        ({"train_view_policy": "any"}, "view policy 'any'"),
        ({"batch_size": 0}, "batch_size: expected 1 or more"),
        ({"max_dataset_size": 0}, "max_dataset_size: expected 1 or more"),
        ({"train_csv_path": None, "conditioning_type": "text"}, "needs a CSV table"),
        ({"train_csv_path": None, "conditioning_type": "lvis"}, "needs train_csv_path or class_m"),
    ],
)
def test_wrong_options(data: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _ = module(data, **options).train


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_uid,caption\nu0\n", r"t\.csv: line 2 has 1 fields, 2 expected"),
        ("model_uid,caption\n", r"t\.csv: no rows"),
        ("", r"t\.csv: no rows"),
        ("uid\nu0\n", r"t\.csv: no column 'model_uid'; its columns are uid"),
        ("model_uid,caption\nu0,a\nu0,b\n", r"t\.csv: two different rows for model_uid 'u0'"),
        ("model_uid\nzzz\n", "holds no shape of"),
    ],
)
def test_a_wrong_table_is_named(
    data: dict[str, Any], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        _ = module(data, train_csv_path=str(tmp_path / "t.csv")).train


def test_an_encoder_makes_the_same_first_tokens_at_every_length() -> None:
    """What `num_latents` rests on: farthest points are nested, tokens do not see each other."""
    torch.manual_seed(0)
    vae = CustomShapeVAE(model_depth=1, model_dim=64, num_latents=12, latent_dim=4)
    surface = torch.nn.functional.normalize(torch.randn(2, 64, 3), dim=-1)
    with torch.no_grad():
        long, short = vae.encode(surface, 12), vae.encode(surface, 5)
    assert torch.allclose(long[:, :5], short, atol=1e-5)
