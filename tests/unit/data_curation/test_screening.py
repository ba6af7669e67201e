"""Screening: rules, words of colour and material, readings of a model's answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filter_caption_label_pairs
from data_curation import answers, judging
from data_curation.screening import RuleScreener
from data_curation.simplify import COLOURS, LISTED, leaks, simplify

WORDS = [*sorted(LISTED), "a", "an", "the", "chair", "table", "with", "of", "in", "and", "or", ",",
                          "legs", "made", "dark", "round", "orange", "on", "top", "."]  # fmt: skip


@pytest.mark.parametrize(
    ("caption", "label", "expected"),
    [
        ("a dark red wooden chair with gold legs, made of oak", "", "a chair with legs"),
        ("a wine glass", "", "a wine glass"),
        ("an orange", "", "an orange"),
        ("an iron", "", "an iron"),
        ("An orange chair", "", "A chair"),
        ("a gold sword", "sword", "a sword"),
        ("a black, leather sofa", "", "a sofa"),
        ("red and white striped chair", "", "striped chair"),
        ("a statue of bronze", "", "a statue"),
        ("a bowl of oranges", "", "a bowl of oranges"),
        ("a wooden table with a white cloth", "", "a table with a cloth"),
        ("a chair in red", "", "a chair"),
        ("a chair made of wood and metal", "", "a chair"),
        ("child\u2019s red chair", "", "child's chair"),
        ("a light blue vase with flowers", "", "a vase with flowers"),
        ("a wood stove", "wood stove", "a wood stove"),
    ],
)
def test_colour_and_material_go_and_nouns_stay(caption: str, label: str, expected: str) -> None:
    assert simplify(caption, label.split()) == expected
    assert not leaks(expected, label.split())


@given(st.lists(st.sampled_from(WORDS), max_size=9))
@settings(max_examples=300, deadline=None)
def test_simplifying_twice_changes_nothing_more(picked: list[str]) -> None:
    once = simplify(" ".join(picked), ["table"])
    assert simplify(once, ["table"]) == once
    assert len(re.findall(r"\btable\b", once)) == picked.count("table")


def test_leaks_name_what_is_left() -> None:
    assert leaks("a red glass vase") == ["red", "glass"]
    assert not leaks("a wine glass")
    assert "orange" in COLOURS


@pytest.mark.parametrize(
    ("caption", "label", "keep", "reason"),
    [
        ("Chair with cushion", "chair", "yes", ""),
        ("black and white chair", "chair", "yes", ""),
        ("Couch", "sofa", "yes", ""),
        ("a pair of scissors", "scissors", "yes", ""),
        ("Sofa 3 seats", "sofa", "yes", ""),
        ("a door", "door", "yes", ""),
        ("a set of chairs", "chair", "no", "set"),
        ("two chairs", "chair", "no", "set"),
        ("Tulips", "flower", "no", "set"),
        ("Shower head and faucet", "faucet", "no", "set"),
        ("leg of a chair", "chair", "no", "part"),
        ("a modern living room", "chair", "no", "scene"),
        ("Japanese lantern", "lamp", "no", "other class"),
        ("...", "chair", "no", "empty"),
    ],
)
def test_rules(caption: str, label: str, keep: str, reason: str) -> None:
    found = RuleScreener({("couch",): "sofa"})(caption, label)
    assert (found.keep, found.reason) == (keep, reason)
    assert 0 < found.confidence <= 1


KEYS = {"keep": ("decision",), "simple_caption": ("caption",)}
GOOD = {"keep": "yes", "simple_caption": "a chair, {two} legs"}


@pytest.mark.parametrize(
    ("text", "step"),
    [
        (json.dumps(GOOD), "plain"),
        (f"Here it is:\n```json\n{json.dumps(GOOD)}\n```\nDone.", "fenced"),
        (f"Sure! {json.dumps(GOOD)} I hope that helps {{x}}", "embedded"),
        ("{'keep': 'yes', 'simple_caption': 'a chair, {two} legs',}", "repaired"),
        ('{keep: "yes", simple_caption: "a chair, {two} legs"}', "repaired"),
        ('{"keep": "yes", "simple_caption": "a chair, {two} legs"', "repaired"),
        ('{"Decision": "yes", "Simple Caption": "a chair, {two} legs"}', "plain"),
        ('{"keep": "yes", "simple_caption": "a chair, {two} legs', "cut"),
    ],
)
def test_ladder_of_readings(text: str, step: str) -> None:
    found = answers.parse(text, KEYS)
    assert (found.value, found.step) == (GOOD, step)


@pytest.mark.parametrize("text", ["", "yes", "[1]", '{"keep": "yes"}', '{"keep": ', "{" * 50_000])
def test_no_step_makes_up_a_value(text: str) -> None:
    with pytest.raises(ValueError, match="no "):
        answers.parse(text, KEYS)


class Scripted:
    """Answers by caption, in turn; "raise" stands for an error of the whole batch."""

    def __init__(self, script: dict[str, list[str]]) -> None:
        self.script, self.calls = script, []

    def __call__(self, batch: Sequence[judging.Messages], tokens: int) -> list[str]:
        self.calls.append((len(batch), tokens))
        names = [m[1]["content"].splitlines()[1].removeprefix("Caption: ") for m in batch]
        if any(self.script[name][0] == "raise" for name in names):
            raise RuntimeError("out of memory")
        return [
            self.script[n].pop(0) if len(self.script[n]) > 1 else self.script[n][0] for n in names
        ]


def answer(keep: str, caption: str = "") -> str:
    return json.dumps({"keep": keep, "simple_caption": caption})


def test_model_answers_are_read_retried_and_never_made_up() -> None:
    script = {
        "red chair": [answer("yes", "red chair")],
        "two chairs": [answer("no")],
        "cut": [answer("yes", "chair")[:-6], answer("yes", "chair")],
        "prose": ["I cannot say."],
        "maybe": [answer("maybe", "chair")],
        "later": ["", answer("No")],
        "bad": ["raise"],
    }
    ask = Scripted(script)
    rows = [judging.Row(name, name, "chair") for name in script]
    found = dict(judging.judge(ask, rows, 4, 10, 3, lambda attempt: None))
    made = {row.uid: value for row, value in found.items()}
    assert made["red chair"]["keep"] == "yes"
    assert made["red chair"]["caption"] == "chair"
    assert made["two chairs"] | {"raw": ""} == {
        "keep": "no", "reason": "model", "confidence": 1.0, "caption": "", "step": "plain",
        "attempts": 1, "raw": "",
    }  # fmt: skip
    assert (made["cut"]["keep"], made["cut"]["attempts"]) == ("yes", 2)
    assert (made["later"]["keep"], made["later"]["attempts"]) == ("no", 2)
    for name in ("prose", "maybe", "bad"):
        assert made[name]["keep"] == "failed", name
    assert "out of memory" in made["bad"]["reason"]
    assert made["prose"]["raw"] == "I cannot say."
    assert max(tokens for _, tokens in ask.calls) >= 20  # the cut answer had twice the tokens


PAIRS = "uid,caption,label,sim\r\na,red chair,chair,0.9\r\nb,two chairs,chair,0.8\r\n" \
        'c,"oak, old chair",chair,0.7\r\na,table,chair,0.1\r\n'  # fmt: skip


def screen(folder: Path, *flags: str) -> tuple[int, str, list[str]]:
    code = filter_caption_label_pairs.main(
        ["--in_csv", str(folder / "in.csv"), "--out_csv", str(folder / "out.csv"), "-q", *flags]
    )
    every = folder / "out.all.csv"
    return code, (folder / "out.csv").read_text(), every.read_text().splitlines()


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(PAIRS.encode("utf-8-sig"))
    code, kept, every = screen(tmp_path)
    assert code == 0
    assert kept == "uid,keep,caption,label\na,yes,chair,chair\nc,yes,old chair,chair\n"
    assert [line.split(",")[:3] for line in every[1:]] == [
        ["a", "yes", ""], ["b", "no", "set"], ["c", "yes", ""], ["a", "no", "uid stands before"]
    ]  # fmt: skip


def test_resumed_sharded_and_shuffled_runs_agree(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(PAIRS)
    _, kept, every = screen(tmp_path)
    rows = tmp_path / "out.rows.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join(lines[:2]) + "\n" + lines[2][:9])  # killed in mid-write
    assert screen(tmp_path) == (0, kept, every)
    other = tmp_path / "shards"
    other.mkdir()
    (other / "in.csv").write_text(PAIRS)
    for i in (1, 0):
        argv = ["--in_csv", str(other / "in.csv"), "--out_csv", str(other / "out.csv"), "-q"]
        assert filter_caption_label_pairs.main([*argv, "--shard", f"{i}/2"]) == 0
        assert not (other / "out.csv").exists()
    assert screen(other)[1:] == (kept, every)


@pytest.mark.parametrize("content", ["", "uid,caption,label\n"])
def test_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.csv").write_text(content)
    assert screen(tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,chair,chair\n", "no header"),
        ("uid,label\na,chair\n", "no column for the caption"),
        ("uid,caption,cap3d_caption,label\na,b,c,d\n", "2 columns for the caption"),
        ("uid,caption,label\na,b,c,d\n", "line 2 has 4 fields"),
        ("uid,caption,label\na,b\n", "without uid or label"),
        ("uid,uid,label\na,b,c\n", "stands twice"),
        ('uid,caption,label\na,"b,c\n', "not a CSV"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, problem: str
) -> None:
    (tmp_path / "in.csv").write_text(content)
    argv = ["--in_csv", str(tmp_path / "in.csv"), "--out_csv", str(tmp_path / "o.csv"), "-q"]
    assert filter_caption_label_pairs.main(argv) == 1
    assert problem in capsys.readouterr().err


def test_missing_weights_are_an_error_not_a_fallback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text(PAIRS)
    (tmp_path / "empty").mkdir()
    argv = ["--in_csv", str(tmp_path / "in.csv"), "--out_csv", str(tmp_path / "o.csv"), "-q"]
    more = ["--backend", "llm", "--model_name", str(tmp_path / "empty")]
    assert filter_caption_label_pairs.main([*argv, *more]) == 1
    assert "--backend lexicon" in capsys.readouterr().err


def test_agreement_with_labelled_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text(
        "uid,caption,label,keep\na,chair,chair,yes\nb,chairs,chair,yes\nc,bed,chair,no\n"
    )
    assert filter_caption_label_pairs.main(["--calibrate", str(path), "-q"]) == 0
    assert "agrees in 2 of 3; of those it keeps in 1 of 1" in capsys.readouterr().out


def tiny_chat(folder: Path) -> None:
    """A random Qwen3 of two layers with a tokenizer trained on three lines."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<pad>", "<end>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=special, vocab_size=300, initial_alphabet=alphabet)
    core.train_from_iterator(["yes no", "a chair", '{"keep": "yes"}'], trainer)
    made: Any = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    made.chat_template = "{% for m in messages %}{{ m['content'] }}<end>{% endfor %}"
    made.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(made), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


def test_a_language_model_end_to_end(tmp_path: Path) -> None:
    tiny_chat(tmp_path / "model")
    (tmp_path / "in.csv").write_text(PAIRS)
    model = ("--model_name", str(tmp_path / "model"), "--device", "cpu", "--retry_backoff", "0")
    code, _, every = screen(tmp_path, "--backend", "llm", *model, "--max_new_tokens", "4")
    assert code == 3  # noise is no answer: failed, not "no"
    assert [line.split(",")[1] for line in every[1:]] == ["failed"] * 3 + ["no"]
    stored = [json.loads(line) for line in (tmp_path / "out.rows.jsonl").read_text().splitlines()]
    assert all(value["raw"] for _, value in stored[1:])
    failures = json.loads((tmp_path / "out.csv.failures.json").read_text())
    assert [row["id"] for row in failures] == ["a", "b", "c"]


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    from data_curation.generator import Chat

    tiny_chat(tmp_path / "model")
    chat = Chat(str(tmp_path / "model"), "cpu")
    asked = [[{"role": "user", "content": text}] for text in ("a", "a much longer caption", "b c")]
    together = chat.yes(asked)
    alone = [chat.yes([one])[0] for one in asked]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 3
    both = chat(asked, 6)
    assert both == [chat([one], 6)[0] for one in asked]  # padding is on the left
