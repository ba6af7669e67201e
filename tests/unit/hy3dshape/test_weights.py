"""Files of weights as others publish them, and damaged ones."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from hy3dshape.config import build, load_config
from hy3dshape.models.autoencoders.autoencoder import CustomShapeVAE
from hy3dshape.weights import read_state

BASELINE = Path(__file__).parents[3] / "hy3dshape" / "configs" / "Baseline.yaml"
TINY = {"model_depth": 1, "model_dim": 64, "num_latents": 8, "latent_dim": 4}


@torch.enable_grad()
def published(prefix: str, path: Path) -> CustomShapeVAE:
    """A random autoencoder, written as a training run of VecSetX writes it: inner keys, Adam's
    moments, epoch, scaler and the argparse Namespace of the command."""
    torch.manual_seed(3)
    model = CustomShapeVAE(**TINY).eval()
    inner: Any = model.autoencoder
    torch.nn.init.normal_(inner.to_outputs[1].weight)  # zero at first
    optimizer = torch.optim.AdamW(inner.parameters(), 1e-3)
    sum(p.square().sum() for p in inner.parameters()).backward()
    optimizer.step()
    args = argparse.Namespace(blr=5e-5, model="point_vec1024x32_dim1024_depth24_sdf_nb", ema=None,
                              data_path=["a", "b"], distributed=True)  # fmt: skip
    state = {f"{prefix}{k}": v for k, v in inner.state_dict().items()}
    scaler = {"scale": 65536.0, "_growth_tracker": 0}
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "epoch": 110,
                "scaler": scaler, "args": args}, path)  # fmt: skip
    return model


def node(path: Path, **pretrained: Any) -> dict[str, Any]:
    """The autoencoder of Baseline.yaml with its own `pretrained` block, made small."""
    found = copy.deepcopy(load_config(BASELINE)["model"]["params"]["first_stage_config"])
    found["params"] |= TINY
    found["params"]["pretrained"] |= {"ckpt_path": str(path), **pretrained}
    return found


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_of_vecsetx_gives_the_latents_of_its_model(
    prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint-110.pth"
    trained = published(prefix, path)
    loaded = build(node(path), "first_stage").eval()
    cloud = torch.rand(2, 64, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    expected, found = trained.encode(cloud), loaded.encode(cloud)
    assert torch.equal(found, expected)
    assert torch.equal(loaded.decode(found)(cloud), trained.decode(expected)(cloud))
    torch.manual_seed(4)
    assert not torch.equal(CustomShapeVAE(**TINY).eval().encode(cloud), expected)


@pytest.mark.parametrize(
    ("pretrained", "message"),
    [
        ({"strip_prefixes": []}, "missing: point_embed.basis"),
        ({"ckpt_key": "ema"}, "no entry 'ema'; it holds model, optimizer, epoch"),
    ],
)
def test_a_checkpoint_read_otherwise_is_refused(
    pretrained: dict[str, Any], message: str, tmp_path: Path
) -> None:
    published("module.", tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        build(node(tmp_path / "x.pth", **pretrained), "first_stage")


DAMAGED = {  # pickles that end torch's reader in as many ways
    "empty": b"",
    "text": b"garbage",
    "IndexError": b"\x80\x02K",
    "UnicodeDecodeError": b"\x80\x02}q\x00X\x05\x00\x00\x00ab\xff\xfe\xffK\x01s.",
    "number": b"\x80\x02}I12x\nK\x01s.",
    "class": b"\x80\x02cos\nsystem\n.",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_every_damaged_pickle_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(ValueError, match=r"x\.pth: unsafe or damaged: "):
        read_state(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_any_bytes_of_an_archive_may_be_wrong(tmp_path: Path) -> None:
    """Three bytes of a small checkpoint changed at random: read all the same, or named."""
    path, named = tmp_path / "x.pth", 0
    torch.save({"model": {"a": torch.zeros(2)}}, path)
    raw, generator = path.read_bytes(), torch.Generator().manual_seed(0)
    for _ in range(60):
        damaged = bytearray(raw)
        for place, value in torch.randint(0, 256, (3, 2), generator=generator).tolist():
            damaged[place + 50] = value
        path.write_bytes(bytes(damaged))
        try:
            read_state(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            named += 1
    assert named > 20
