"""Conditioner: null condition, dropout, checks, what a checkpoint may hold of it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
)
from unit.hy3dshape import tiny_clip

from hy3dshape.models import clip
from hy3dshape.models.conditioner import MultiConditioner
from hy3dshape.models.towers import TextTower


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip.write(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def text(clip_folder: Path) -> MultiConditioner:
    return MultiConditioner("text", text_embed_dim=64, tower_path=str(clip_folder)).eval()


def _labels(form: str) -> object:
    ids = [0, 3, 2]
    forms = {"list": ids, "tuple": tuple(ids), "tensor": torch.tensor(ids), "array": np.array(ids)}
    return forms.get(form, [torch.tensor(i) for i in ids])


@pytest.mark.parametrize("form", ["list", "tuple", "tensor", "array", "list of tensors"])
def test_class_labels_come_in_many_forms(form: str) -> None:
    conditioner = MultiConditioner("class", 4, 8).eval()
    found = conditioner(_labels(form))["main"]
    assert torch.equal(found[:, 0], conditioner.embedder.embedding.weight[[0, 3, 2]])


@pytest.mark.parametrize("wrong", [4, -1, 1.5, True, "chair"])
def test_class_out_of_range_is_named(wrong: object) -> None:
    conditioner = MultiConditioner("class", 4, 8)
    with pytest.raises(ValueError, match=rf"condition 1: class id {wrong!r} .* 4 classes, 0 to 3"):
        conditioner([0, wrong])


def test_one_class_id_is_not_a_batch() -> None:
    for wrong in (3, torch.tensor(3)):
        with pytest.raises(ValueError, match=r"class ids are .*3.*; expected a list"):
            MultiConditioner("class", 4, 8)(wrong)


def test_dropout_is_per_sample_from_the_generator_and_in_training_only() -> None:
    conditioner = MultiConditioner("class", 1, 8, p_uncond=0.3)
    null = conditioner.unconditional(1)["main"][0]

    def dropped(seed: int) -> torch.Tensor:
        found = conditioner([0] * 2000, torch.Generator().manual_seed(seed))["main"]
        return (found == null).all(dim=(1, 2))

    first = dropped(1)
    assert 0.26 < first.float().mean() < 0.34
    assert torch.equal(first, dropped(1)) and not torch.equal(first, dropped(2))
    conditioner.eval()
    assert not dropped(1).any()


@pytest.mark.parametrize("p, share", [(0.0, 0.0), (1.0, 1.0)])
def test_dropout_never_and_always(p: float, share: float) -> None:
    conditioner = MultiConditioner("class", 1, 8, p_uncond=p)
    found = conditioner([0] * 50)["main"]
    assert (found == conditioner.unconditional(1)["main"]).all(dim=(1, 2)).float().mean() == share


def test_dropped_rows_teach_the_null_row() -> None:
    conditioner = MultiConditioner("class", 2, 8, p_uncond=1.0)
    conditioner([0, 1])["main"].sum().backward()
    grad = conditioner.embedder.embedding.weight.grad
    assert (grad[:2] == 0).all() and (grad[2] == 2).all()


def test_no_condition() -> None:
    conditioner = MultiConditioner("uncond")
    assert conditioner([None, None]) == {} == conditioner.unconditional(3)
    assert conditioner.frozen_prefixes() == () and not conditioner.state_dict()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"type": "lvis"}, "conditioner type 'lvis'; expected one of uncond, class, text, image"),
        ({"type": "class"}, "num_classes is None"),
        ({"type": "uncond", "p_uncond": 1.5}, "p_uncond is 1.5"),
        ({"type": "text", "tower": "dinov2"}, "tower 'dinov2' for type text"),
        ({"type": "class", "num_classes": 3, "tower": "clip"}, "tower 'clip' for type class"),
        ({"type": "text", "l2_normalized": True}, "l2_normalized is for images"),
        ({"type": "text", "tower_path": "./nowhere"}, "./nowhere: no such folder; give tower_path"),
        ({"type": "text", "tower": "sentence"}, "text_embed_dim is 512, but minilm gives 384"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiConditioner(**options)


def test_text_and_its_null(text: MultiConditioner) -> None:
    found = text(["a chair", "", "a chair"])["main"]
    assert found.shape == (3, 77, 64)
    assert torch.equal(found[0], found[2]) and not torch.allclose(found[0], found[1])
    assert torch.equal(found[1:2], text.unconditional(1)["main"])
    with pytest.raises(ValueError, match="condition 1 is NoneType None; expected text"):
        text(["a chair", None])
    with pytest.raises(ValueError, match="expected a list"):
        text("a chair")


def test_long_text_is_cut_before_its_end_token(
    text: MultiConditioner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = text(["lamp " * 400])["main"]  # 2,000 characters
    assert "text cut by 325 tokens to 77: 'lamp lamp" in caplog.text
    assert torch.allclose(found, text(["lamp " * 75])["main"], atol=1e-6)  # 75 words and two ends


def test_text_does_not_depend_on_its_neighbours(text: MultiConditioner) -> None:
    text.embedder.forget()
    together = text(["a chair", "a table lamp", "a vase"])["main"]
    text.embedder.forget()
    assert torch.equal(text(["a table lamp"])["main"][0], together[1])


def test_texts_are_remembered_within_bounds() -> None:
    class Counting(TextTower):
        tokens, dim, device = 2, 3, torch.device("cpu")
        asked: list[str] = []  # noqa: RUF012

        def embed(self, texts: list[str]) -> torch.Tensor:
            self.asked.extend(texts)
            return torch.stack([torch.full((2, 3), float(len(t))) for t in texts])

    tower = Counting(cache_bytes=2 * 2 * 3 * 4)  # two texts
    assert tower(["a", "bb", "a"])[:, 0, 0].tolist() == [1, 2, 1]
    tower(["a"])  # now "bb" is the older one
    tower(["ccc"])
    assert tower.asked == ["a", "bb", "ccc"] and list(tower.cache) == ["a", "ccc"]
    assert tower(["a", "bb", "ccc", "dddd"])[:, 0, 0].tolist() == [1, 2, 3, 4]
    tower.to(torch.float64)
    assert not tower.cache


def test_frozen_tower_stays_in_evaluation_mode(text: MultiConditioner) -> None:
    text.train()
    assert text.training and not any(m.training for m in text.embedder.modules())
    assert not any(p.requires_grad for p in text.parameters())
    text.eval()


@pytest.mark.parametrize("kind", ["text", "image"])
def test_whole_checkpoint_in_either_layout(clip_folder: Path, kind: str, tmp_path: Path) -> None:
    dim = {"text": 64, "image": 24}[kind]
    made = MultiConditioner(kind, text_embed_dim=dim, tower_path=str(clip_folder))
    torch.manual_seed(1)
    other = CLIPModel(CLIPModel.from_pretrained(clip_folder).config).state_dict()
    openai = {f"embedder.clip_model.{k}": v for k, v in clip.transformers_to_openai(other).items()}
    ours = {f"embedder.clip_model.{k}": v for k, v in other.items()}
    made.load_checkpoint(ours, "ours")
    first = {k: v.clone() for k, v in made.state_dict().items()}
    assert all(torch.equal(v, ours[k]) for k, v in first.items())
    made = MultiConditioner(kind, text_embed_dim=dim, tower_path=str(clip_folder))
    buffers = {"embedder._mean": torch.zeros(3), "embedder._std": torch.ones(3)}
    made.load_checkpoint(openai | (buffers if kind == "image" else {}), "openai")
    assert all(torch.equal(v, first[k]) for k, v in made.state_dict().items())
    file = tmp_path / "model.pt"  # the released layout of a whole checkpoint
    torch.save({"state_dict": {f"cond_stage_model.{k}": v for k, v in openai.items()}}, file)
    direct = MultiConditioner(kind, text_embed_dim=dim, tower_path=str(file))
    assert all(torch.equal(v, first[k]) for k, v in direct.state_dict().items())
    assert direct.state_dict().keys() == first.keys()


def test_slim_and_half_checkpoints(text: MultiConditioner) -> None:
    text.load_checkpoint({}, "slim")  # the tower is where it was
    state = text.state_dict()
    assert all(k.startswith(text.frozen_prefixes()) for k in state)
    half = dict(list(state.items())[:3])
    with pytest.raises(ValueError, match=rf"half: .* {len(state) - 3} missing"):
        text.load_checkpoint(half, "half")
    with pytest.raises(ValueError, match=r"odd: .* 1 unexpected: embedder\.embedding\.weight"):
        text.load_checkpoint({**state, "embedder.embedding.weight": torch.zeros(1)}, "odd")


def test_file_without_the_tower(tmp_path: Path) -> None:
    torch.save({"state_dict": {"x.weight": torch.zeros(2)}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt: no CLIP text tower in OpenAI's key layout"):
        MultiConditioner("text", tower_path=str(tmp_path / "a.pt"))


@pytest.mark.parametrize("tower, dim", [("clip", 24), ("dinov2", 16)])
def test_images(tower: str, dim: int, clip_folder: Path, tmp_path: Path) -> None:
    folder = clip_folder
    if tower == "dinov2":
        folder = tmp_path
        config = Dinov2Config(**tiny_clip.SMALL | {"hidden_size": 16}, image_size=32, patch_size=16)
        Dinov2Model(config).save_pretrained(folder)
    made = MultiConditioner("image", text_embed_dim=dim, tower=tower, tower_path=str(folder)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = made([Image.fromarray(pixels), Image.new("L", (50, 40))])["main"]
    assert found.shape == (2, 5, dim)
    assert (made.unconditional(2)["main"] == torch.zeros(2, 5, dim)).all()
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255  # already of the tower's size
    assert torch.allclose(made(tensor)["main"][0], found[0], atol=1e-5)
    assert torch.allclose(made(tensor * 2 - 1)["main"][0], found[0], atol=1e-5)
    with pytest.raises(ValueError, match=r"conditions are the one .*; expected a list"):
        made(Image.new("RGB", (4, 4)))
    with pytest.raises(ValueError, match="condition 0 is str; expected an image"):
        made(["image.png"])
    with pytest.raises(ValueError, match=r"expected \(b, 3, h, w\)"):
        made(torch.zeros(2, 1, 8, 8))
    short = MultiConditioner(
        "image", None, dim, images_cls_only=True, l2_normalized=True, tower=tower,
        tower_path=str(folder),
    )  # fmt: skip
    assert torch.allclose(short.eval()(tensor)["main"].norm(dim=-1), torch.ones(1, 1))


def test_minilm_is_the_sentence_encoder_of_the_package() -> None:
    """Numbers of sentence-transformers 6.2.0, `SentenceTransformer(folder).encode`, all-MiniLM."""
    made = MultiConditioner(
        "text", text_embed_dim=384, l2_normalized=True, tower="sentence", pooling="mean"
    ).eval()
    found = made(["a chair", "", "a red racing car with a large rear wing"])["main"]
    expected = [
        [0.0098446384, 0.0388611890, -0.0684299916, 0.0221867692],
        [-0.1188383847, 0.0482986830, -0.0025481139, -0.0110111786],
        [0.0063807676, 0.0830477998, -0.0676794499, 0.0443207941],
    ]
    error = (found[:, 0, :4] - torch.tensor(expected)).abs().max().item()
    print(f"minilm: error {error:.2e}, allowed 1.00e-05")
    assert found.shape == (3, 1, 384) and error < 1e-5
    assert made.describe() == {
        "type": "text", "p_uncond": 0.1, "tower": "sentence", "path": "minilm", "tokens": 1,
        "dim": 384, "pooling": "mean", "l2_normalized": True,
    }  # fmt: skip


def test_sentence_tokens_end_in_zeros(caplog: pytest.LogCaptureFixture) -> None:
    made = MultiConditioner("text", text_embed_dim=384, tower="sentence", text_len=8).eval()
    found = made(["a chair", "lamp " * 400])["main"]  # start, two words, end
    assert found.shape == (2, 8, 384)
    assert (found[0, :4] != 0).any(dim=-1).all() and (found[0, 4:] == 0).all()
    assert "text cut by 394 tokens to 8" in caplog.text
