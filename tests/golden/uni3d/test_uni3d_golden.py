"""Every stage of Uni3D against the reference program; origin and tolerances: README.md here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import golden_folder
from torch import Tensor

from fpd_eval.embedders.grouping import farthest_points, neighbours, take
from fpd_eval.embedders.uni3d import Shape, Uni3D
from fpd_eval.embedders.uni3d_weights import build, read_state

EMBEDDING, RELATIVE = 2e-6, 1e-5


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = golden_folder(metafunc.config) / "uni3d"
    found = sorted(folder.glob("*.json"))
    assert found, f"{folder}: no cases"
    metafunc.parametrize("case", found, ids=lambda p: p.stem, indirect=True)


class Case:
    """Configuration, model and arrays of one style; float64 on demand."""

    def __init__(self, path: Path) -> None:
        self.weights = path.with_name(f"{path.stem}.weights.safetensors")
        self.shape = Shape(**json.loads(path.read_text()))
        self.model = build(self.weights, read_state(self.weights), self.shape)
        with np.load(path.with_suffix(".npz")) as archive:
            self.arrays = {key: torch.from_numpy(archive[key]) for key in archive.files}

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[key]

    def groups(self) -> tuple[Tensor, Tensor]:
        centres = take(self["points"], self["center_idx"].long())
        return centres, self.model.group(self["points"], self["colors"], centres)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def close(got: Tensor, want: Tensor) -> bool:
    return float((got - want).abs().max()) <= RELATIVE * float(want.abs().max())


def test_centres(case: Case) -> None:
    count = case.shape.num_group
    assert torch.equal(farthest_points(case["points"], count).int(), case["center_idx"])
    plain = farthest_points(case["points"], count, near_origin=-1)
    assert torch.equal(plain.int(), case["center_idx_plain"])


def test_members_of_groups(case: Case) -> None:
    centres = take(case["points"], case["center_idx"].long())
    found = neighbours(case["points"], centres, case.shape.group_size)
    assert torch.equal(found.sort(-1).values.int(), case["knn_sets"])


def test_tokens(case: Case) -> None:
    model, (centres, groups) = case.model, case.groups()
    features = model.encoder(groups.flatten(0, 1)).view(*groups.shape[:2], -1)
    assert close(features, case["tokens_mini_pointnet"])
    assert close(model.encoder2trans(features), case["tokens_transformer"])
    assert close(model.pos_embed(centres), case["pos_tokens"])


def test_trunk(case: Case) -> None:
    model = case.model
    tokens = model.tokens(*case.groups())
    assert close(model.visual.blocks[0](tokens), case["after_block0"])
    assert close(model.visual(tokens), case["cls_after_norm"])


def test_embedding(case: Case) -> None:
    model = case.model
    raw = model(case["points"], case["colors"])
    assert close(raw, case["embedding_raw"])
    unit = torch.nn.functional.normalize(raw, dim=-1)
    assert float((unit - case["embedding"]).abs().max()) <= EMBEDDING
    assert float((unit - case["embedding_f64"]).abs().max()) <= EMBEDDING
    plain = take(case["points"], case["center_idx_plain"].long())
    raw = model.embed_groups(plain, model.group(case["points"], case["colors"], plain))
    unit = torch.nn.functional.normalize(raw, dim=-1)
    assert float((unit - case["embedding_plain"]).abs().max()) <= EMBEDDING


def test_float64_gives_the_float64_reference(case: Case) -> None:
    centres, groups = case.groups()
    state = {k: v.double() for k, v in case.model.state_dict().items()}
    double = Uni3D(case.shape).double().eval()
    double.load_state_dict(state)
    with torch.no_grad():
        raw = double.trans2embed(double.visual(double.tokens(centres.double(), groups.double())))
    unit = torch.nn.functional.normalize(raw, dim=-1)
    assert float((unit - case["embedding_f64"]).abs().max()) <= 1e-7
