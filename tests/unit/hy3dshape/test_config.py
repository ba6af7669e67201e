"""Configuration files: reading, merging, checking against signatures, building."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml

from hy3dshape.coercion import coerce
from hy3dshape.config import build, check, load_config, override, write_config

SCHEDULE = "hy3dshape.utils.trainings.lr_scheduler.LambdaWarmUpCosineFactorScheduler"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def node(target: str = SCHEDULE, **params: Any) -> dict[str, Any]:
    return {"target": target, "params": params}


def test_base_is_merged_relative_to_the_file(tmp_path: Path) -> None:
    write(tmp_path, base="a: {x: 1, y: [1, 2]}\nb: 3\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "v.yaml").write_text("base: ../base.yaml\na: {y: [9]}\n")
    assert load_config(tmp_path / "sub" / "v.yaml") == {"a": {"x": 1, "y": [9]}, "b": 3}


@pytest.mark.parametrize("key", ["base", "base_config"])
def test_both_spellings_and_lists_of_bases(tmp_path: Path, key: str) -> None:
    write(tmp_path, p="a: 1\nb: 1\n", q="b: 2\nc: 2\n", v=f"{key}: [p.yaml, q.yaml]\nc: 3\n")
    assert load_config(tmp_path / "v.yaml") == {"a": 1, "b": 2, "c": 3}


def test_null_removes_and_another_target_replaces(tmp_path: Path) -> None:
    base = "m: {target: A, params: {x: 1}}\nn: {target: A, params: {x: 1}}\nk: 1\n"
    variant = "base: b.yaml\nm: {target: B, params: {y: 2}}\nn: {params: {y: 2}}\nk: null\n"
    write(tmp_path, b=base, v=variant)
    assert load_config(tmp_path / "v.yaml") == {
        "m": {"target": "B", "params": {"y": 2}},
        "n": {"target": "A", "params": {"x": 1, "y": 2}},
    }


def test_a_circle_of_bases_is_named(tmp_path: Path) -> None:
    write(tmp_path, a="base: b.yaml\n", b="base: a.yaml\n")
    with pytest.raises(ValueError, match=r"a\.yaml: base: leads in a circle"):
        load_config(tmp_path / "a.yaml")


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = "common: &c {level: 0.0, chunks: 5}\nlog:\n  <<: *c\n  chunks: 7\nplain: *c\n"
    tree = load_config(write(tmp_path, v=text) / "v.yaml")
    assert tree["log"] == {"level": 0.0, "chunks": 7}
    assert tree["plain"] == {"level": 0.0, "chunks": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", r"the key 'c' stands twice at line 2, column 11"),
        ("- 1\n", "expected a mapping at the top, found list"),
        ("a: [1\n", "not usable YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("1: a\n", "the key 1 is not text"),
        ("a: &a {b: *a}\n", "an anchor holds itself"),
        ("base: {x: 1}\n", "base: expected a file name"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, v=text)
    with pytest.raises(ValueError, match=rf"v\.yaml: .*{message}"):
        load_config(tmp_path / "v.yaml")


def test_exponents_are_numbers_and_survive_writing(tmp_path: Path) -> None:
    tree = load_config(write(tmp_path, v="lr: 1e-4\neps: 2E+3\nname: 1e\n") / "v.yaml")
    assert tree == {"lr": 1e-4, "eps": 2000.0, "name": "1e"}
    write_config(tmp_path / "w.yaml", tree)
    assert load_config(tmp_path / "w.yaml") == tree


def test_overrides() -> None:
    assert override({"a": {"b": 1, "c": 2}}, ["a.b=1e-3", "d.e=[1, 2]"]) == {
        "a": {"b": 1e-3, "c": 2},
        "d": {"e": [1, 2]},
    }
    with pytest.raises(ValueError, match=r"expected key\.path=value"):
        override({}, ["a..b=1"])


def test_build_coerces_by_annotation() -> None:
    made = build(node(warm_up_steps=5e2, f_min="1e-3"), max_decay_steps=1000)
    assert made.warm_up_steps == 500 and isinstance(made.warm_up_steps, int)
    assert made(1000) == 1e-3


def test_build_reaches_torch_optimisers() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    made = build(node("torch.optim.AdamW", betas=[0.9, 0.99], eps="1e-6"), params=weights, lr=1e-4)
    assert isinstance(made, torch.optim.AdamW)
    assert made.defaults["eps"] == 1e-6 and made.defaults["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"warmup_steps": 5}, r"m\.params: unknown key 'warmup_steps', did you mean 'warm_up_st"),
        ({"zzz": 5}, r"m\.params: unknown key 'zzz', known: f_max, "),
        ({"warm_up_steps": "many"}, r"m\.params\.warm_up_steps: expected a number, found 'many'"),
        ({"warm_up_steps": 1.5}, r"m\.params\.warm_up_steps: expected a whole number, found 1\.5"),
        ({"warm_up_steps": True}, r"m\.params\.warm_up_steps: expected a number, found True"),
        ({}, r"m\.params: missing warm_up_steps of LambdaWarmUpCosineFactorScheduler"),
    ],
)
def test_wrong_params_are_named_with_their_place(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check({"m": node(**params)})


def test_what_only_the_program_has_is_missed_on_build() -> None:
    check(node(warm_up_steps=1))
    with pytest.raises(ValueError, match=r"params: missing max_decay_steps"):
        build(node(warm_up_steps=1))
    with pytest.raises(ValueError, match=r"unknown key 'lr'"):
        build(node(warm_up_steps=1), max_decay_steps=5, lr=1)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "is not allowed"),
        ("hy3dshape.config.os.system", "is not allowed"),
        ("hy3dshape.files.write_text", "is not allowed"),
        ("hy3dshape.utils.trainings.lr_scheduler.math.cos", "there is no module"),
        ("hy3dshape.utils.trainings.lr_scheduler.math", "unknown key 'math'"),
        ("hy3dshape.utils.trainings.lr_schedule.X", "there is no module hy3dshape.utils.trai"),
        (SCHEDULE.removesuffix("r"), "did you mean 'LambdaWarmUpCosineFactorScheduler'"),
        ("torch.optim.AdamW.__init__", "there is no module torch.optim.AdamW"),
        ("torch.optim.lr_scheduler.wraps", "unknown key 'wraps'"),
        (["torch.optim.AdamW"], "is not allowed"),
    ],
)
def test_targets_that_are_refused(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^list\[0\]\.target: .*{message}"):
        check({"list": [{"target": target}]})


def test_nested_nodes_are_checked_before_the_outer_one_is_built() -> None:
    tree = node("torch.optim.AdamW", foreach={"target": "os.system"})
    with pytest.raises(ValueError, match=r"opt\.params\.foreach"):
        build(tree, "opt", params=[])


def test_a_key_beside_target_and_params_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.b: unknown key 'parms', did you mean 'params'"):
        check({"a": {"b": {"target": SCHEDULE, "parms": {}}}})


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("1e-4", float | None, 1e-4),
        (None, float | None, None),
        (16, Literal["16", "bf16"], "16"),
        ([1, 2], tuple[float, float], (1.0, 2.0)),
        (["a"], list[Path], [Path("a")]),
        ({"a": "2"}, dict[str, int], {"a": 2}),
        ("x", Any, "x"),
    ],
)
def test_coercion(value: Any, annotation: Any, expected: Any) -> None:
    found = coerce(value, annotation, "p")
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("fp16", Literal["16", "bf16"], r"p: expected '16' or 'bf16', found 'fp16', did you mean"),
        ([1], tuple[float, float], r"p: expected a list of 2, found \[1\]"),
        ("a", list[str], "p: expected a list, found 'a'"),
        ([1, "x"], list[int], r"p\[1\]: expected a number"),
        (1, bool, "p: expected true or false, found 1"),
        (2.5, int | None, "p: expected a whole number"),
        ("a", int | bool, "p: expected int | bool, found 'a'"),
        ("a", torch.nn.Module, "p: expected Module"),
    ],
)
def test_coercion_refuses(value: Any, annotation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coerce(value, annotation, "p")


def test_written_config_has_no_anchors(tmp_path: Path) -> None:
    shared = [1, 2]
    write_config(tmp_path / "c.yaml", {"b": shared, "a": shared})
    text = (tmp_path / "c.yaml").read_text()
    assert "&" not in text and list(yaml.safe_load(text)) == ["b", "a"]
