"""inference.py on a tiny model: names, resume, order, meshes, guidance, failures, manifest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from unit.hy3dshape.tiny_sampler import CHANNELS, TOKENS, class_model, digests, write_model

import inference
from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE

Flags = list[str]


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Flags:
    return class_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven rows of three classes; one has no uid."""
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    rows = [f"{'' if i == 2 else f'u{i}'},{('chair', 'box', 'cube')[i % 3]}" for i in range(7)]
    path.write_text("\n".join(["model_uid,lvis_category", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def whole(flags: Flags, table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of an uninterrupted run over the table."""
    out = tmp_path_factory.mktemp("whole")
    assert sample(flags, out, "--csv", table) == 0
    return digests(out)


def sample(flags: Flags, out: Path, *more: object) -> int:
    return inference.main([*flags, "--out_dir", str(out), *map(str, more)])


def test_direct_names_and_meshes(flags: Flags, tmp_path: Path) -> None:
    assert sample(flags, tmp_path, "--num_samples", 3, "--class_id", 1) == 0
    names = [f"class_1/sample_{i:07d}.glb" for i in range(3)]
    assert sorted(digests(tmp_path)) == names
    for name in names:
        mesh: Any = trimesh.load(tmp_path / name, force="mesh")
        assert mesh.is_watertight and 0.1 < mesh.volume < 4
    assert len(set(digests(tmp_path).values())) == 3
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["counts"]["made"] == 3 and run["latent_scale"] == {
        "value": 0.5,
        "from": "checkpoint",
    }
    assert run["settings"]["dtype"] == "fp32" and len(run["settings"]["checkpoint"]) == 64


def test_table_names(whole: dict[str, str]) -> None:
    expected = {f"class_{(1, 0, 2)[i % 3]}/u{i}.glb" for i in range(7) if i != 2}
    assert set(whole) == {*expected, "class_2/row0000002.glb"}
    assert len(set(whole.values())) == 7


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_size_changes_rounding_alone(
    batch: int, flags: Flags, table: Path, tmp_path: Path
) -> None:
    given = ("--csv", table, "--output_type", "pt")
    assert sample(flags, tmp_path / "a", *given) == 0
    assert sample(flags, tmp_path / "b", *given, "--batch_size", batch) == 0
    names = digests(tmp_path / "a")
    assert len(names) == 7
    for name in names:
        a, b = (torch.load(tmp_path / f / name, weights_only=True) for f in "ab")
        assert torch.allclose(a, b, atol=1e-4) and a.std() > 0.5


def test_shards_in_any_order_make_the_whole(
    flags: Flags, table: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    for part in (2, 0, 1):
        assert sample(flags, tmp_path, "--csv", table, "--shard", f"{part}/3") == 0
    assert digests(tmp_path) == whole
    assert len(list(tmp_path.glob("shard.*-of-3.run.json"))) == 3


def test_resume_and_limit_and_overwrite(
    flags: Flags, table: Path, whole: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    manifest = ["--manifest", tmp_path / "m.csv"]
    assert sample(flags, tmp_path, "--csv", table, "--limit", 2, *manifest) == 0
    assert "2 samples made, 0 existed" in capsys.readouterr().out
    assert sample(flags, tmp_path, "--csv", table, *manifest) == 0
    assert "5 samples made, 2 existed" in capsys.readouterr().out
    assert digests(tmp_path) == whole
    (tmp_path / "class_0/u1.glb").unlink()
    before = (tmp_path / "class_1/u0.glb").stat().st_mtime_ns
    assert sample(flags, tmp_path, "--csv", table, *manifest) == 0
    assert (tmp_path / "class_1/u0.glb").stat().st_mtime_ns == before
    assert sample(flags, tmp_path, "--csv", table, "--overwrite", *manifest) == 0
    assert "7 samples made, 0 existed" in capsys.readouterr().out
    assert digests(tmp_path) == whole
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert len(rows) == 7 == len({row["out_path"] for row in rows})


def test_other_settings_are_refused_by_name(flags: Flags, tmp_path: Path, capsys: Any) -> None:
    base = ("--num_samples", 1, "--class_id", 1)
    assert sample(flags, tmp_path, *base) == 0
    assert sample(flags, tmp_path, *base, "--seed", 1, "--steps", 2) == 1
    assert "(seed: there 0, here 1, steps: there 3, here 2)" in capsys.readouterr().err
    assert sample(flags, tmp_path, "--num_samples", 2, "--class-name", "cube") == 0
    assert sample(flags, tmp_path, *base, "--seed", 1, "--overwrite") == 1
    assert "2 of its samples would stay, as class_2/sample_0000000.glb" in capsys.readouterr().err
    for path in (tmp_path / "class_2").iterdir():
        path.unlink()
    old = digests(tmp_path)
    assert sample(flags, tmp_path, *base, "--seed", 1, "--overwrite", "--shard", "0/2") == 0
    assert not (tmp_path / "run.json").exists() and digests(tmp_path) != old


def test_the_run_that_made_the_weights_knows_its_classes(tmp_path: Path) -> None:
    flags = class_model(tmp_path)
    folder = Path(flags[flags.index("--ckpt") + 1]).parent
    ids = {"kind": 0, "cube": 1, "ball": 2}
    (tmp_path / "classes.json").unlink()
    (folder / "state.json").write_text(json.dumps({"conditions": {"class_ids": ids}}))
    assert sample(flags, tmp_path / "out", "--class-name", "ball") == 0
    assert [p.parent.name for p in (tmp_path / "out").rglob("*.glb")] == ["class_2"]


def test_a_killed_runs_torn_manifest_is_mended(flags: Flags, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    direct = ("--num_samples", 3, "--class_id", 0, "--manifest", manifest)
    assert sample(flags, out, *direct) == 0
    text = manifest.read_text()
    lines = text.splitlines(keepends=True)
    (out / "class_0/sample_0000002.glb").unlink()
    manifest.write_text("".join(lines[:2]) + lines[2][:20])  # killed while writing the second
    assert sample(flags, out, *direct) == 0
    rows = list(csv.DictReader(manifest.open()))
    assert sorted(row["uid"] for row in rows) == [f"sample_000000{i}" for i in range(3)]
    assert all(None not in row.values() and row["ok"] == "1" for row in rows)
    assert {(r["cond_type"], r["cond_id"], r["cond_text"]) for r in rows} == {("lvis", "0", "box")}
    manifest.write_text("a,b\n1,2\n")
    assert sample(flags, out, *direct) == 1


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_formats_hold_the_same_surface(kind: str, flags: Flags, tmp_path: Path) -> None:
    for name in ("a", "b"):
        out = tmp_path / name
        assert sample(flags, out, "--class_id", 2, "--format", kind) == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    mesh: Any = trimesh.load(tmp_path / f"a/class_2/sample_0000000.{kind}", force="mesh")
    assert mesh.is_watertight and len(mesh.faces) > 100


def test_latents_decode_to_the_mesh(flags: Flags, tmp_path: Path) -> None:
    assert sample(flags, tmp_path, "--class_id", 0) == 0
    assert sample(flags, tmp_path / "pt", "--class_id", 0, "--output_type", "pt") == 0
    latent = torch.load(tmp_path / "pt/class_0/sample_0000000.pt", weights_only=True)
    assert latent.shape == (TOKENS, CHANNELS) and latent.dtype == torch.float32
    weights = Path(flags[1]).parent / "autoencoder.safetensors"
    vae = CustomShapeVAE(1, 64, 64, TOKENS, CHANNELS, "learnable",
                         pretrained={"ckpt_path": str(weights)})  # fmt: skip
    vertices, _ = vae.latents2mesh(latent[None], resolution=16)[0]
    mesh: Any = trimesh.load(tmp_path / "class_0/sample_0000000.glb", process=False, force="mesh")
    assert np.allclose(mesh.vertices, vertices, atol=1e-6)


def test_guidance_steps_schedule_and_seed_matter(flags: Flags, tmp_path: Path) -> None:
    variants = {
        "5": (), "0": ("--guidance_scale", 0), "1": ("--guidance_scale", 1),
        "steps": ("--steps", 7), "exact": ("--schedule", "exact"), "seed": ("--seed", 1),
        "interval": ("--guidance-interval", 0.3, 0.6), "scale": ("--z_scale_factor", 0.8),
        "one": ("--steps", 1, "--schedule", "exact"), "released one": ("--steps", 1),
    }  # fmt: skip
    found = {}
    for name, more in variants.items():
        out = tmp_path / name
        given = ("--num_samples", 1, "--class_id", 0, "--output_type", "pt", *more)
        assert sample(flags, out, *given) == 0
        found[name] = digests(out)["class_0/sample_0000000.pt"]
    assert len(set(found.values())) == len(variants)
    out = tmp_path / "null"  # guidance 0 needs no condition, and is the same for every one
    assert sample(flags, out, "--num_samples", 1, "--guidance_scale", 0, "--output_type", "pt") == 0
    assert digests(out)["sample_0000000.pt"] == found["0"]


def test_dense_decoding_and_fine_grids(flags: Flags, tmp_path: Path) -> None:
    given = ("--class_id", 1, "--resolution", 64)
    for decode in ("band", "dense"):
        assert sample(flags, tmp_path / decode, *given, "--decode", decode) == 0
    sizes = []
    for decode in ("band", "dense"):
        mesh: Any = trimesh.load(tmp_path / decode / "class_1/sample_0000000.glb", force="mesh")
        sizes.append((len(mesh.vertices), round(mesh.volume, 4)))
    assert sizes[0] == sizes[1]


def test_resolution_512(flags: Flags, tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"  # a level well inside, so that the surface is small
    small.write_text(f"base: {flags[1]}\nsampling_common: {{mc_level: -0.17}}\n")
    weights = ("--autoencoder", Path(flags[1]).parent / "autoencoder.safetensors")
    flags = ["--config", str(small), *flags[2:]]
    assert sample(flags, tmp_path, "--class_id", 1, "--resolution", 512, *weights) == 0
    mesh: Any = trimesh.load(tmp_path / "class_1/sample_0000000.glb", force="mesh")
    assert mesh.is_watertight and len(mesh.faces) > 10_000 and mesh.extents.max() < 1


def test_a_field_without_surface_fails_alone(
    flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    extract = CustomShapeVAE.latents2mesh

    def second_has_none(self: Any, latents: Any, **options: Any) -> Any:
        calls.append(1)
        return extract(self, latents, **{**options, "level": 9.0 if len(calls) == 2 else 0.0})

    calls: list[int] = []
    monkeypatch.setattr(CustomShapeVAE, "latents2mesh", second_has_none)
    given = ("--num_samples", 3, "--class_id", 0, "--manifest", tmp_path / "m.csv")
    assert sample(flags, tmp_path, *given) == 3
    assert "2 samples made, 0 existed, 1 failed" in capsys.readouterr().out
    (failure,) = json.loads((tmp_path / "failures.json").read_text())
    assert failure["id"] == "sample_0000001" and failure["stage"] == "decode"
    assert "has no outside" in failure["error"]
    assert len(digests(tmp_path)) == 2
    assert [r["ok"] for r in csv.DictReader((tmp_path / "m.csv").open())] == ["1", "0", "1"]
    monkeypatch.setattr(CustomShapeVAE, "latents2mesh", extract)
    assert sample(flags, tmp_path, *given) == 0
    assert not (tmp_path / "failures.json").exists()
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert [r["ok"] for r in rows] == ["1"] * 3 and len({r["uid"] for r in rows}) == 3


def test_half_precision_is_obeyed_on_the_cpu(flags: Flags, tmp_path: Path) -> None:
    assert sample(flags, tmp_path, "--class_id", 0, "--dtype", "bf16") == 0
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["dtype"] == "bf16"


@pytest.mark.parametrize(
    "given, message",
    [
        (["--num_samples", "1"], "a model of kind lvis; give --class_id"),
        (["--text", "a chair"], "give --class_id, not --text"),
        (["--class_id", "3"], "--class_id 3: the model has 3 classes, 0 to 2"),
        (["--class-name", "chiar"], "unknown class 'chiar', did you mean 'chair'?"),
        (["--class_id", "0", "--device", "cuda:9"], "--device cuda:9"),
        (["--class_id", "0", "--device", "tpu"], "--device tpu: expected auto, cpu"),
        (["--class_id", "0", "--steps", "0"], "steps 0: expected 1 or more"),
        (["--class_id", "0", "--guidance_scale", "-1"], "guidance_scale -1.0: expected 0"),
        (["--class_id", "0", "--resolution", "0"], "resolution 0: expected 4 to 1024"),
        (["--class_id", "0", "--num_samples", "0"], "--num_samples 0: expected 1"),
        (["--class_id", "0", "--batch_size", "0"], "--batch_size 0: expected 1"),
        (["--class_id", "0", "--shard", "3/3"], "--shard 3/3: expected i/n"),
        (["--class_id", "0", "--z_scale_factor", "0"], "--z_scale_factor 0.0: expected more"),
        (["--class_id", "0", "--output_type", "pt", "--format", "obj"], "the output is no mesh"),
    ],
)
def test_wrong_values_are_named(
    given: Flags, message: str, flags: Flags, tmp_path: Path, capsys: Any
) -> None:
    if "cuda:9" in given and torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    assert sample(flags, tmp_path, *given) == 1
    assert message in capsys.readouterr().err
    assert not digests(tmp_path)


@pytest.mark.parametrize(
    "given",
    [[], ["--csv", "a.csv", "--num_samples", "2"], ["--csv", "a.csv", "--class_id", "1"],
     ["--class_id", "1", "--text", "a"], ["--class_id", "1", "--num-samples", "2"]],
)  # fmt: skip
def test_wrong_usage(given: Flags, flags: Flags) -> None:
    with pytest.raises(SystemExit) as ended:
        inference.main([*flags, *given])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "rows, message",
    [
        ("model_uid,lvis_category\na,sofa\nb,box", "row 0 (a): unknown class 'sofa'"),
        ("model_uid,category\na,box", "no column 'lvis_category'"),
        ("model_uid,lvis_category\na,box\na,box", "rows 0 and 1 both make class_0/a.glb"),
        ("model_uid,lvis_category\n../a,box", "model_uid '../a' is no file name"),
        ("model_uid,lvis_category", "no rows"),
    ],
)
def test_wrong_tables_are_named(
    rows: str, message: str, flags: Flags, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(rows + "\n")
    assert sample(flags, tmp_path, "--csv", path) == 1
    assert message in capsys.readouterr().err


def test_a_map_of_another_size_is_refused(flags: Flags, tmp_path: Path, capsys: Any) -> None:
    names = tmp_path / "mapping.json"
    names.write_text(json.dumps({f"c{i}": i for i in range(100)}))
    given = ("--class_id", "c2", "--lvis_mapping_json", names)
    assert sample(flags, tmp_path, *given) == 1
    assert "100 classes up to number 99, but the model has 3" in capsys.readouterr().err


def test_the_small_model_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(inference, "SMALL", tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    assert inference.main(["--text", "a chair"]) == 1
    assert "small/config.yaml: the small model is not there" in capsys.readouterr().err
    write_model(tmp_path / "small", "text")
    assert inference.main(["--text", "a chair", "--device", "cpu"]) == 0
    assert list(digests(tmp_path / "samples")) == ["sample_0000000.glb"]
