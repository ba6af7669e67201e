"""Every configuration that ships: real keys, nothing said twice, what it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hy3dshape.config import Training, check_node, load_config
from hy3dshape.config import nodes as nodes_of
from hy3dshape.sampling_flags import Numbers

CONFIGS = Path(__file__).parents[3] / "hy3dshape" / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
TRAINED = [path for path in FILES if "model" in load_config(path)]
OWN_TABLES = ("quickstart.yaml", "quickstart_class.yaml")  # made ones, whose splits are disjoint
VARIANTS = [path for path in FILES if "base" in yaml.safe_load(path.read_text())]


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def leaves(tree: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, below in tree.items():
            yield from leaves(below, (*place, key))
    else:
        yield place, tree


@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_every_key_is_one_of_the_signature(path: Path) -> None:
    tree = load_config(path)
    Training.resolve(tree.get("training"))
    for place, node in nodes_of(tree):
        check_node(node, place)


@pytest.mark.parametrize("path", VARIANTS, ids=name)
def test_a_variant_says_only_what_differs(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    base = dict(leaves(load_config(path.parent / said.pop("base"))))
    missing = object()
    repeated = [".".join(p) for p, value in leaves(said) if base.get(p, missing) == value]
    assert not repeated


@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_condition_of_data_and_model_agree(path: Path) -> None:
    tree = load_config(path)
    params = tree["model"]["params"]
    if "cond_stage_config" not in params:
        return
    fed = tree["dataset"]["params"].get("conditioning_type", "uncond")
    taken = params["cond_stage_config"]["params"]["type"]
    assert {"lvis": "class", "gobjaverse": "class"}.get(fed, fed) == taken


@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_latents_and_denoiser_agree(path: Path) -> None:
    params = load_config(path)["model"]["params"]
    first = params.get("first_stage_config", {}).get("params", {})
    if "denoiser_cfg" in params and "num_latents" in first:
        denoiser = params["denoiser_cfg"]["params"]
        assert denoiser["max_seq_len"] == first["num_latents"]
        assert denoiser["in_channels"] == first["latent_dim"]


@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_inference_reads_how_to_sample(path: Path) -> None:
    numbers = Numbers.resolve(load_config(path).get("sampling_common"), {})
    assert path.parent.name != "Guidance" or numbers.guidance_scale == float(path.stem)


@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_tables_of_a_file_lie_together(path: Path) -> None:
    """Validation of the published tables lies inside test, which only a test table can show."""
    params = load_config(path)["dataset"]["params"]
    if "train_csv_path" in params and path.parts[-1] not in OWN_TABLES:
        places = {s: Path(params[f"{s}_csv_path"]) for s in ("train", "val", "test")}
        assert {p.parent for p in places.values()} == {places["train"].parent}
        assert {s: p.stem for s, p in places.items()} == {s: s for s in places}


@pytest.mark.parametrize("size", ["Baseline.yaml", "Size/Small.yaml"])
def test_four_devices_make_the_batch_of_the_paper(size: str) -> None:
    tree = load_config(CONFIGS / size)
    options = Training.resolve(tree["training"], {"num_gpus": 4})
    batch = tree["dataset"]["params"]["batch_size"]
    assert batch * options.update_every * options.num_gpus == 512


def test_full_files_over_base_config_mean_the_same(tmp_path: Path) -> None:
    """The form of the paper's files: everything written out, `base_config:`, anchors."""
    whole = load_config(CONFIGS / "Baseline.yaml")
    (tmp_path / "Full.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "Again.yaml").write_text("base_config: Full.yaml\n" + yaml.safe_dump(whole))
    assert load_config(tmp_path / "Again.yaml") == whole
