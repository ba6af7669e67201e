"""inference.py: forms of checkpoints, what must not be missing, conditions of each kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig
from unit.hy3dshape.tiny_sampler import (
    CHANNELS,
    CONTEXT,
    PACKAGE,
    TOKENS,
    build_state,
    digests,
    tree_of,
    write_model,
)

import inference
from hy3dshape.pipelines import item_noise
from hy3dshape.sampling_model import read_model_config
from hy3dshape.sampling_plan import model_kind

CONFIGS = Path(inference.__file__).parent / "configs"
Flags = list[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class")
    write_model(folder, "class")
    return folder


@pytest.fixture(scope="module")
def text_flags(tmp_path_factory: pytest.TempPathFactory) -> Flags:
    return write_model(tmp_path_factory.mktemp("text"), "text")


@pytest.fixture(scope="module")
def image_flags(tmp_path_factory: pytest.TempPathFactory) -> Flags:
    """A model on images, with a random CLIP of one layer."""
    folder = tmp_path_factory.mktemp("image")
    torch.manual_seed(0)
    layer = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 64,
             "intermediate_size": 64}  # fmt: skip
    vision = CLIPVisionConfig(**layer, image_size=32, patch_size=16)
    text = CLIPTextConfig(**layer, vocab_size=10)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=CONTEXT))
    clip.save_pretrained(folder / "clip")
    params = {"type": "image", "text_embed_dim": CONTEXT, "tower_path": "clip"}
    node = {"target": PACKAGE + "conditioner.MultiConditioner", "params": params}
    tower = {**node, "params": {**params, "tower_path": str(folder / "clip")}}
    flags = write_model(folder, "image", cond_stage_config=tower)
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    tree["model"]["params"]["cond_stage_config"] = node  # beside the configuration
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    return flags


def sample(flags: Flags, out: Path, *more: object) -> int:
    given = ("--output_type", "pt") if "--format" not in more else ()
    return inference.main([*flags, "--out_dir", str(out), *given, *map(str, more)])


def of(model: Path, ckpt: Path) -> Flags:
    return ["--config", str(model / "config.yaml"), "--ckpt", str(ckpt), "--device", "cpu"]


def refused(flags: Flags, out: Path, capsys: Any, *more: object) -> str:
    assert sample(flags, out, *more) == 1
    assert not digests(out)
    return capsys.readouterr().err


def _as_lightning(state: dict[str, Any], folder: Path) -> Path:
    torch.save({"state_dict": state, "global_step": 7}, folder / "last.ckpt")
    return folder / "last.ckpt"


def _as_folder_of_ckpts(state: dict[str, Any], folder: Path) -> Path:
    torch.save({"state_dict": {"model.x": torch.ones(1)}}, folder / "ckpt-step=00000001.ckpt")
    torch.save({"state_dict": state}, folder / "ckpt-step=00000002.ckpt")
    return folder


def _as_index(state: dict[str, Any], folder: Path) -> Path:
    halves = {f"s{i}.safetensors": dict(list(state.items())[i::2]) for i in range(2)}
    for name, part in halves.items():
        save_file(part, folder / name)
    weight_map = {key: name for name, part in halves.items() for key in part}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path


def _as_deepspeed(state: dict[str, Any], folder: Path) -> Path:
    (folder / "checkpoint").mkdir()
    module = {f"_forward_module.{k}": v for k, v in state.items()}
    torch.save({"module": module}, folder / "checkpoint/mp_rank_00_model_states.pt")
    return folder


FORMS = (_as_lightning, _as_folder_of_ckpts, _as_index, _as_deepspeed)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__[4:])
def test_checkpoint_forms(form: Any, model: Path, tmp_path: Path) -> None:
    assert sample(of(model, model / "model.safetensors"), tmp_path / "a", "--class_id", 1) == 0
    folder = tmp_path / "form"
    folder.mkdir()
    ckpt = form(load_file(model / "model.safetensors"), folder)
    assert sample(of(model, ckpt), tmp_path / "b", "--class_id", 1) == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_whole_checkpoint_brings_its_autoencoder(model: Path, tmp_path: Path) -> None:
    tree = tree_of("class")
    params = tree["model"]["params"]["first_stage_config"]["params"]
    state = build_state(tree)
    params["pretrained"] = {"ckpt_path": "not/here.pth", "target_submodule": "autoencoder"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    save_file(state, tmp_path / "whole.safetensors")
    given = ("--class_id", 1, "--format", "ply")
    assert sample(of(tmp_path, tmp_path / "whole.safetensors"), tmp_path / "a", *given) == 0
    assert sample(of(model, model / "model.safetensors"), tmp_path / "b", *given) == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_empty_shards_of_deepspeed_are_told(model: Path, tmp_path: Path, capsys: Any) -> None:
    state = load_file(model / "model.safetensors")
    _as_deepspeed({k: v[:0] if v.ndim else v for k, v in state.items()}, tmp_path)
    message = refused(of(model, tmp_path), tmp_path / "o", capsys, "--class_id", 1)
    assert "zero_to_fp32.py" in message and "model." in message


class Hostile:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


@pytest.mark.parametrize("form", ["truncated", "pickled", "truncated safetensors", "gone"])
def test_damaged_checkpoints_are_named(form: str, model: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "x.ckpt"
    if form == "pickled":
        torch.save({"state_dict": Hostile()}, path)
    elif form == "truncated":
        _as_lightning(load_file(model / "model.safetensors"), tmp_path)
        path.write_bytes((tmp_path / "last.ckpt").read_bytes()[:5000])
    elif form == "truncated safetensors":
        path = tmp_path / "x.safetensors"
        path.write_bytes((model / "model.safetensors").read_bytes()[:5000])
    assert sample(of(model, path), tmp_path / "o", "--class_id", 1) == 1
    told = capsys.readouterr()
    assert path.name in told.err and "ran" not in told.out


@pytest.mark.parametrize(
    "drop, message",
    [
        ("model.final_layer", "less.safetensors: does not fit Diffuser: "),
        ("cond_stage_model.", "has no cond_stage_model: the weights of the class conditioner"),
        ("z_scale_factor", "no z_scale_factor, which scale_by_std says"),
    ],
)
def test_missing_weights_are_named(
    drop: str, message: str, model: Path, tmp_path: Path, capsys: Any
) -> None:
    state = load_file(model / "model.safetensors")
    kept = {k: v for k, v in state.items() if not k.startswith(drop)}
    save_file(kept, tmp_path / "less.safetensors")
    flags = of(model, tmp_path / "less.safetensors")
    assert message in refused(flags, tmp_path / "o", capsys, "--class_id", 1)
    if drop == "cond_stage_model.":
        assert sample(flags, tmp_path / "o", "--class_id", 1, "--allow_missing_conditioner") == 0


def test_an_autoencoder_without_weights_is_refused(
    model: Path, tmp_path: Path, capsys: Any
) -> None:
    shutil.copy(model / "config.yaml", tmp_path)
    flags = of(tmp_path, model / "model.safetensors")
    assert "no weights of the autoencoder" in refused(
        flags, tmp_path / "o", capsys, "--class_id", 1
    )
    given = ("--class_id", 1, "--autoencoder", model / "autoencoder.safetensors")
    assert sample(flags, tmp_path / "o", *given) == 0
    told = refused(flags, tmp_path / "p", capsys, *given[:3], tmp_path / "gone.safetensors")
    assert "gone.safetensors" in told


def test_class_tables_are_not_left_at_random(model: Path, tmp_path: Path, capsys: Any) -> None:
    flags = [*of(model, model / "model.safetensors"), "--cond_from_ckpt_mode", "never"]
    assert "--cond_from_ckpt_mode never" in refused(flags, tmp_path, capsys, "--class_id", 1)


def test_averaged_weights_unless_no_ema(model: Path, tmp_path: Path) -> None:
    state = load_file(model / "model.safetensors")
    other = {
        k: v * 0.9 for k, v in state.items() if k.startswith("model.") and v.is_floating_point()
    }
    average = {"model_ema." + k[6:].replace(".", "_____"): v for k, v in other.items()}
    average |= {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}
    save_file({**state, **average}, tmp_path / "both.safetensors")
    save_file({**state, **other}, tmp_path / "only.safetensors")
    runs = {"ema": "both", "no": "both", "only": "only"}
    found = {}
    for name, file in runs.items():
        more = ["--no_ema"] if name == "no" else []
        flags = of(model, tmp_path / f"{file}.safetensors")
        assert sample(flags, tmp_path / name, "--class_id", 1, *more) == 0
        found[name] = digests(tmp_path / name)
    assert found["ema"] == found["only"] != found["no"]
    assert sample(of(model, model / "model.safetensors"), tmp_path / "p", "--class_id", 1) == 0
    assert digests(tmp_path / "p") == found["no"]


def scale_of(out: Path) -> tuple[float, str]:
    told = json.loads((out / "run.json").read_text())["latent_scale"]
    return told["value"], told["from"]


def test_order_of_latent_scales(model: Path, tmp_path: Path) -> None:
    state = load_file(model / "model.safetensors")
    state.pop("z_scale_factor")
    save_file(state, tmp_path / "none.safetensors")
    latents = tmp_path / "latents"
    latents.mkdir()
    values = [item_noise(0, [i], (TOKENS, CHANNELS))[0] * 4 for i in range(10)]
    for i, value in enumerate(values):
        torch.save(value, latents / f"u{i}.pt")
    clouds = tmp_path / "clouds"
    clouds.mkdir()
    for i in range(3):
        points = item_noise(1, [i], (80, 3))[0].numpy()
        np.savez(clouds / f"c{i}.npz", surface_points=points)
    table = tmp_path / "t.csv"
    table.write_text("model_uid,lvis_category,surface_path\n" + "a,x,clouds/c0.npz\n" * 1)
    names = tmp_path / "names.json"
    names.write_text('["x", "y", "z"]')
    auto, with_latents = "--auto_z_from_std", ("--calib_latents", latents)
    cases: dict[str, tuple[str, tuple[Any, ...], str]] = {
        "a": ("model", (auto, *with_latents), "checkpoint"),
        "b": ("model", (auto, "--z_scale_factor", 0.7), "flag"),
        "c": ("none", (auto, *with_latents), "calibration"),
        "d": ("none", (auto, *with_latents, "--calib_take", 2), "calibration"),
        "e": ("none", (auto, "--calib_surface_dir", clouds), "calibration"),
    }
    found = {}
    for name, (ckpt, more, source) in cases.items():
        path = model / "model.safetensors" if ckpt == "model" else tmp_path / "none.safetensors"
        assert sample(of(model, path), tmp_path / name, "--class_id", 1, *more) == 0
        found[name], told = scale_of(tmp_path / name)
        assert told == source
    assert found["a"] == 0.5 and found["b"] == 0.7
    assert found["c"] == pytest.approx(1 / torch.stack(values[:8]).std().item())
    assert found["d"] == pytest.approx(1 / torch.stack(values[:2]).std().item())
    flags = of(model, tmp_path / "none.safetensors")
    given = ("--csv", table, "--lvis_mapping_json", names, auto)
    assert sample(flags, tmp_path / "f", *given) == 0
    assert scale_of(tmp_path / "f")[1] == "calibration"
    assert sample(flags, tmp_path / "g", "--class_id", 1, auto) == 1


@pytest.mark.parametrize("text", ["a chair", "x" * 2000, "chair " * 333, "стул 椅子 🪑"])
def test_texts_of_any_length(text: str, text_flags: Flags, tmp_path: Path) -> None:
    assert sample(text_flags, tmp_path, "--text", text) == 0
    assert list(digests(tmp_path)) == ["sample_0000000.pt"]


def test_captions_of_a_table(text_flags: Flags, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "t.csv"
    path.write_text('model_uid,caption\na,a chair\nb,"a table, red"\n')
    assert sample(text_flags, tmp_path / "o", "--csv", path) == 0
    assert sample(text_flags, tmp_path / "p", "--text", "a chair") == 0
    files = (tmp_path / "o/a.pt", tmp_path / "p/sample_0000000.pt")
    a, b = (torch.load(path, weights_only=True) for path in files)
    assert torch.allclose(a, b, atol=1e-4)
    path.write_text("model_uid,caption\na,a chair\nb,\n")
    capsys.readouterr()
    told = refused(text_flags, tmp_path / "q", capsys, "--csv", path)
    assert "row 1 (b): no condition" in told
    assert sample(text_flags, tmp_path / "q", "--csv", path, "--empty-caption", "a 3d model") == 0
    told = refused(text_flags, tmp_path / "r", capsys, "--csv", path, "--caption-column", "cap")
    assert "no column 'cap'" in told
    assert "the caption is empty" in refused(text_flags, tmp_path / "s", capsys, "--text", " ")


def test_conditioners_from_checkpoints_are_there(
    text_flags: Flags, tmp_path: Path, capsys: Any
) -> None:
    flags = [*text_flags, "--cond_from_ckpt_mode", "always"]
    told = refused(flags, tmp_path, capsys, "--text", "a chair")
    assert "has no cond_stage_model: the weights of the text conditioner are missing" in told
    assert sample(flags, tmp_path, "--text", "a chair", "--allow_missing_conditioner") == 0


def test_class_ids_of_a_table(tmp_path: Path, capsys: Any) -> None:
    flags = write_model(tmp_path, "class")
    tree = yaml.safe_load((tmp_path / "config.yaml").read_text())
    tree["dataset"]["params"] = {"conditioning_type": "class", "dataset_type": "gobjaverse"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    table = tmp_path / "t.csv"
    table.write_text("model_uid,class_id\na,2\nb,0\n")
    assert sample(flags, tmp_path / "o", "--csv", table) == 0
    assert list(digests(tmp_path / "o")) == ["class_0/b.pt", "class_2/a.pt"]
    table.write_text("model_uid,class_id\na,2\nb,3\n")
    told = refused(flags, tmp_path / "p", capsys, "--csv", table)
    assert "t.csv: row 1: class 3: the model has 3 classes, 0 to 2" in told


def strip(path: Path, views: int = 4) -> Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40 * views, 40, 3), dtype=np.uint8)).save(path)
    return path


def test_strips(image_flags: Flags, tmp_path: Path) -> None:
    image = strip(tmp_path / "s.png")
    whole = Image.open(image)
    found = {}
    for name, more in {
        "first": ("first",), "center": ("center",), "last": ("index", "--image_index", 99),
        "random": ("random",),
    }.items():  # fmt: skip
        given = ("--image_path", image, "--image_views", 4, "--image_pick", *more)
        assert sample(image_flags, tmp_path / name, *given) == 0
        found[name] = list(digests(tmp_path / name).values())
    for name, view in {"first": 0, "center": 2, "last": 3}.items():
        whole.crop((0, 40 * view, 40, 40 * view + 40)).save(tmp_path / "one.png")
        given = ("--image_path", tmp_path / "one.png", "--image_views", 1)
        assert sample(image_flags, tmp_path / f"{name} alone", *given) == 0
        assert list(digests(tmp_path / f"{name} alone").values()) == found[name]
    assert len({tuple(found[name]) for name in ("first", "center", "last")}) == 3


def test_unreadable_images(image_flags: Flags, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "bad.png").write_text("no image")
    told = refused(image_flags, tmp_path / "o", capsys, "--image_path", tmp_path / "bad.png")
    assert "bad.png: not an image" in told
    strip(tmp_path / "good.png")
    table = tmp_path / "t.csv"
    table.write_text("model_uid,view_path\na,good.png\nb,bad.png\nc,gone.png\nd,good.png\n")
    assert sample(image_flags, tmp_path / "p", "--csv", table, "--image_views", 4) == 3
    assert sorted(digests(tmp_path / "p")) == ["a.pt", "d.pt"]
    failures = json.loads((tmp_path / "p/failures.json").read_text())
    assert [(f["id"], f["stage"]) for f in failures] == [("b", "condition"), ("c", "condition")]
    told = refused(image_flags, tmp_path / "q", capsys, "--image_path", tmp_path / "gone.png")
    assert "gone.png" in told
    given = ("--image_path", tmp_path / "good.png", "--image_views", 900)
    assert "expected the views stacked" in refused(image_flags, tmp_path / "r", capsys, *given)


def test_image_models_write_png(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        latent_channels=CHANNELS, block_out_channels=(4, 4), norm_num_groups=2,
        use_quant_conv=False, use_post_quant_conv=False,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(tmp_path / "vae")  # fmt: skip
    target = PACKAGE + "autoencoders.image_encoder.FluxVAE"
    params = {"pretrained_path": str(tmp_path / "vae"), "dtype": "fp32"}
    tree = tree_of("uncond", first_stage_config={"target": target, "params": params},
                   pipeline_cfg={"target": "hy3dshape.pipelines.CustomFlowMatchingPipeline",
                                 "params": {"pipeline_output": "image"}})  # fmt: skip
    torch.manual_seed(0)
    from hy3dshape import config

    task = config.build(tree["model"], "model")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    save_file(task.slim_state(), tmp_path / "m.safetensors")
    flags = of(tmp_path, tmp_path / "m.safetensors")
    assert inference.main([*flags, "--num_samples", "2", "--out_dir", str(tmp_path / "o")]) == 0
    assert list(digests(tmp_path / "o")) == ["sample_0000000.png", "sample_0000001.png"]
    assert Image.open(tmp_path / "o/sample_0000000.png").size == (8, 8)


@pytest.mark.parametrize(
    "file, kind",
    [("Baseline.yaml", "text"), ("Conditioning/LVIS-16-Category.yaml", "lvis"),
     ("Conditioning/Image.yaml", "image")],
)  # fmt: skip
def test_configurations_of_the_paper(file: str, kind: str) -> None:
    assert model_kind(read_model_config(CONFIGS / file)) == kind


@pytest.mark.parametrize("line", [
    'configs/Baseline.yaml --ckpt {} --out_dir outputs_text/ --num_samples 4 --text "a chair"',
    "configs/Conditioning/LVIS-16-Category.yaml --ckpt {} --out_dir out --num_samples 4"
    " --class_id 0",
    "configs/Conditioning/Image.yaml --ckpt {} --out_dir out --num_samples 1"
    " --image_path data_sprite.png --image_views 12 --image_pick random",
])  # fmt: skip
def test_commands_of_the_paper(
    line: str, model: Path, text_flags: Flags, image_flags: Flags, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import shlex

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sources = {"text": Path(text_flags[1]).parent, "class": model,
               "image": Path(image_flags[1]).parent}  # fmt: skip
    kind = next(k for k, word in (("text", "--text"), ("class", "--class"), ("image", "--image"))
                if word in line)  # fmt: skip
    config_path = tmp_path / line.split()[0]
    shutil.copytree(sources[kind], config_path.parent)
    (config_path.parent / "config.yaml").rename(config_path)
    strip(tmp_path / "data_sprite.png", 12)
    words = shlex.split("--config " + line.format(config_path.parent / "model.safetensors"))
    assert inference.main(words) == 0
    count = int(words[words.index("--num_samples") + 1])
    out = tmp_path / words[words.index("--out_dir") + 1]
    folder = out / "class_0" if kind == "class" else out
    assert sorted(digests(folder)) == [f"sample_{i:07d}.glb" for i in range(count)]


def test_other_configurations_are_refused(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model:\n  target: hy3dshape.models.autoencoders.task.AutoencoderTask\n")
    assert inference.main(["--config", str(path), "--ckpt", "x", "--num_samples", "1"]) == 1
    assert "c.yaml: model.target: expected hy3dshape.models" in capsys.readouterr().err
    path.write_text("model: {target: hy3dshape.models.diffusion.flow_matching_sit.Diffuser,"
                    " params: {denoiser_cfgs: {}}}\n")  # fmt: skip
    assert inference.main(["--config", str(path), "--ckpt", "x", "--num_samples", "1"]) == 1
    assert "unknown key 'denoiser_cfgs', did you mean 'denoiser_cfg'?" in capsys.readouterr().err
