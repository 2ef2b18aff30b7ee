"""`finetune --task translate` and `translate`: from a table of pairs to a model that writes."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSeq2SeqLM
from typer.testing import CliRunner

import shoptalk
from shoptalk.artifact import handed_out
from shoptalk.cli.app import app
from shoptalk.commands.pretrain import pretrain
from shoptalk.commands.translate import (
    finetune_translation,
    hold_out,
    left_as_they_are,
    no_nearer,
    read_pairs_apart,
    young_spec,
)
from shoptalk.commands.verify import verify
from shoptalk.config import load
from shoptalk.curate.parallel_text import ParallelPair
from shoptalk.errors import BaseModelError, SourceError, StorageError
from shoptalk.nn.bases import open_model
from shoptalk.nn.scratch_lm import LM_SIZES
from shoptalk.nn.scratch_t5 import T5Size
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.stages.world import World
from shoptalk.training.reporter import Silent
from tests.conftest import Listener

ENGLISH = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "red", "blue", "old", "new")
GERMAN = (
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "rot",
    "blau",
    "alt",
    "neu",
)


@pytest.fixture(autouse=True)
def _a_smaller_nano(monkeypatch: pytest.MonkeyPatch) -> None:
    small = T5Size("scratch:t5-nano", layers=1, width=32, heads=2, hidden=64, vocabulary=420)
    monkeypatch.setitem(LM_SIZES, "scratch:t5-nano", small)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["en\tde"]
    for _ in range(120):
        numbers = rng.permutation(len(ENGLISH))[:6]
        lines.append("\t".join(" ".join(words[number] for number in numbers) for words in (ENGLISH, GERMAN)))
    lines.append("\t")
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def world_of(run: Path) -> World:
    return World(run=run, config=load(overrides=["objectives.translate.batch=16"]), report=Silent())


def test_pairs_make_a_model_that_writes_and_that_opens_elsewhere(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = finetune_translation(world_of(run), "scratch:t5-nano", pairs, columns=("en", "de"), steps=40)
    assert result["learned"] + result["test"]["pairs"] == 120 and result["test"]["pairs"] == 6
    assert result["test"]["bits_per_byte"] < 0.95 * result["base"]["bits_per_byte"]
    low, high = result["test"]["chrf_interval"]
    assert 0 <= low <= result["test"]["chrf"] <= high <= 100 and f"{result['test']['chrf']:.1f}" in result["sentence"]
    assert f"of the sources left as they are: {result['unchanged']['chrf']:.1f})." in result["sentence"]
    assert result["columns"] == ["en", "de"]
    assert AutoModelForSeq2SeqLM.from_pretrained(run / "model").config.shoptalk_base == "scratch:t5-nano"
    assert "AutoModelForSeq2SeqLM" in (run / "model" / "README.md").read_text()
    assert not (run / "work").exists() and verify(run, report=Silent())["damaged"] == []
    model = handed_out(run / "model")
    again = finetune_translation(world_of(run), "scratch:t5-nano", pairs, columns=("en", "de"), steps=40)
    assert again == result and handed_out(run / "model").content == model.content
    with pytest.raises(StorageError, match="holds a finished translator for another question"):
        finetune_translation(world_of(run), "scratch:t5-nano", pairs, columns=("en", "de"), steps=2)
    warmer = load(overrides=["objectives.translate.batch=16", "train.warmup=0.9"])
    with pytest.raises(StorageError, match=r"for another question \(train.warmup: 0.1 -> 0.9\)"):
        finetune_translation(World(run, warmer, Silent()), "scratch:t5-nano", pairs, columns=("en", "de"), steps=40)
    written = shoptalk.translate(run, ["two red"], beams=2)
    assert len(written) == 1 and isinstance(written[0], str)


def test_sources_left_as_they_are_are_scored_as_translations_are() -> None:
    same = [ParallelPair(id=f"p#{n}", source=f"gate {n} is open", target=f"gate {n} is open") for n in range(5)]
    other = [ParallelPair(id=f"q#{n}", source=f"gate {n} is open", target=f"Tor {n} ist auf") for n in range(5)]
    assert left_as_they_are(same) == {"chrf": pytest.approx(100.0), "chrf_interval": pytest.approx([100.0, 100.0])}
    mixed = left_as_they_are(same + other)
    low, high = mixed["chrf_interval"]
    assert left_as_they_are(other)["chrf"] < low < mixed["chrf"] < high < 100


def test_another_question_does_not_go_on_with_what_a_killed_training_left(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shoptalk.commands.translate._result", killed)  # the training's last snapshot is there
        finetune_translation(world_of(tmp_path / "run"), "scratch:t5-nano", pairs, columns=("en", "de"), steps=3)
    rows = pairs.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "other.tsv"
    other.write_text("\n".join(["en\tde", *reversed(rows[1:-1])]), encoding="utf-8")
    for run in ("run", "fresh"):
        finetune_translation(world_of(tmp_path / run), "scratch:t5-nano", other, columns=("en", "de"), steps=3)
    hashes = [handed_out(tmp_path / run / "model").files["model.safetensors"] for run in ("run", "fresh")]
    assert hashes[0] == hashes[1]


def test_a_test_files_sources_are_not_learned_from(pairs: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.tsv"
    test.write_text("\n".join(pairs.read_text(encoding="utf-8").splitlines()[:11]), encoding="utf-8")
    result = finetune_translation(
        world_of(tmp_path / "run"), "scratch:t5-nano", pairs, columns=("en", "de"), test=test, steps=2
    )
    assert (result["learned"], result["test"]["pairs"], result["drops"]["in-test"]) == (110, 10, 10)
    drops = (tmp_path / "run" / "translation" / "drops.jsonl").read_text().splitlines()
    assert len(drops) == sum(result["drops"].values())


def test_nearly_a_test_files_source_is_not_learned_from_either(pairs: Path, tmp_path: Path) -> None:
    rows = pairs.read_text(encoding="utf-8").splitlines()
    seen = [f"the old {word} and the new one are on their way to the harbour today" for word in ENGLISH]
    test = tmp_path / "test.tsv"
    test.write_text("\n".join([rows[0], *(f"{text}\t{text}" for text in seen)]), encoding="utf-8")
    pairs.write_text("\n".join([*rows, *(f"{text}!! right\t{text}" for text in seen)]), encoding="utf-8")
    config = load(overrides=["curate.near_duplicate=0.8"])
    world = World(run=tmp_path / "run", config=config, report=Silent())
    read = read_pairs_apart(pairs, test, ("en", "de"), config, world)
    assert len(read.judged) == len(ENGLISH) and not any("harbour" in pair.source for pair in read.learned)
    assert sum(drop.reason == "in-test" for drop in read.drops) == len(ENGLISH)


def test_a_target_that_the_model_cannot_read_whole_is_left_out_and_told(pairs: Path, tmp_path: Path) -> None:
    """Of it the model would learn to stop in the middle, and few bits would stand for many bytes."""
    model = tiny_encoder_decoder(max_length=48)
    model.save(tmp_path / "model", card="")
    rows = pairs.read_text(encoding="utf-8").splitlines()
    long, test = "sehr lang " * 20, tmp_path / "test.tsv"
    test.write_text("\n".join([*rows[:11], f"one\t{long}"]), encoding="utf-8")
    pairs.write_text("\n".join([*rows, f"the long one\t{long}", "a short one\tkurz"]), encoding="utf-8")
    told = Listener()
    world = World(run=tmp_path / "run", config=load(overrides=["objectives.translate.batch=16"]), report=told)
    columns = ("en", "de")
    result = finetune_translation(world, str(tmp_path / "model"), pairs, columns=columns, test=test, steps=1)
    assert result["drops"]["long-target"] == 2 and result["test"]["pairs"] == 10
    assert any("2 left out (2 long-target)" in line and "its target has 199 tokens" in line for line in told.said)
    opened = open_model(str(tmp_path / "run" / "model"))
    shown = [line.split("\t") for line in rows[1:11]]
    bits = opened.bits_given([source for source, _ in shown], [target for _, target in shown])
    per_byte = bits.sum() / sum(len(target.encode()) for _, target in shown)
    assert result["test"]["bits_per_byte"] == pytest.approx(per_byte, rel=1e-4)


def test_span_corruption_first_and_pairs_then_is_two_commands(pairs: Path, tmp_path: Path) -> None:
    source = tmp_path / "text.jsonl"
    lines = [line.replace("\t", " ") for line in pairs.read_text(encoding="utf-8").splitlines()[1:]]
    source.write_text("\n".join(json.dumps({"text": line}) for line in lines), encoding="utf-8")
    config = load(overrides=["objectives.span.batch=8"], base="scratch:t5-nano")
    pretrain(
        World(run=tmp_path / "span", config=config, report=Silent()), [source], objective="span", steps=4, card="#"
    )
    losses = [json.loads(line)["loss"] for line in (tmp_path / "span" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 4 and losses[-1] < losses[0]
    result = finetune_translation(
        world_of(tmp_path / "run"), str(tmp_path / "span"), pairs, columns=("en", "de"), steps=2
    )
    assert result["test"]["bits_per_byte"] < result["base"]["bits_per_byte"]
    rates = [
        young_spec(ref, world_of(tmp_path).config).lr for ref in ("scratch:t5-nano", str(tmp_path / "span"), "minilm")
    ]
    assert rates[0] == rates[1] == pytest.approx(10 * rates[2])


def test_whole_clusters_of_near_duplicates_are_held_out() -> None:
    sources = [f"the {word} is number {i // 2} of them all, they say" for i, word in enumerate(ENGLISH * 10)]
    sources = [source for source in sources for _ in range(2)]  # each twice
    out = hold_out(sources, 0.99, seed=0)
    assert 1 <= out.sum() <= 0.05 * len(sources)
    assert (out[::2] == out[1::2]).all() and not (hold_out(sources, 0.99, seed=1) == out).all()


def test_the_command_line_reads_and_writes(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ["--set", "objectives.translate.batch=16", "--set", "objectives.translate.passes=0.1", "--budget", "1h"]
    words = ["finetune", "scratch:t5-nano", str(pairs), "--task", "translate", "--columns", "en,de", "--out", str(out)]
    shown = CliRunner().invoke(app, [*words, *settings])
    assert shown.exit_code == 0, shown.output
    assert "bits per byte given its source" in shown.stdout and "->" in shown.stdout
    assert "in the assistant: not used: only 6 translations were judged" in shown.stdout
    written = CliRunner().invoke(app, ["translate", str(out), "two red", "one", "--json"])
    rows = json.loads(written.stdout)
    assert [row["text"] for row in rows] == ["two red", "one"] and all(isinstance(row["written"], str) for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune", "minilm", "--task", "translate", "--out", "x"], "--task translate learns from pairs"),
        (["finetune", "minilm", "p.tsv", "q.tsv", "--task", "translate", "--out", "x"], "give one .tsv"),
        (["finetune", "minilm", "p.tsv", "--task", "translate", "--columns", "en", "--out", "x"], "expected two names"),
        (
            ["finetune", "minilm", "p.tsv", "--task", "translate", "--columns", "en,EN", "--out", "x"],
            "one column twice",
        ),
        (["translate", "minilm"], "No message was given"),
        (
            ["finetune", "minilm", "p.tsv", "--task", "translate", "--method", "setfit", "--multi-label", "--out", "x"],
            "--multi-label, --method is for tasks that learn from labels, and --task translate has none",
        ),
        (["finetune", "minilm", "d", "--task", "ground", "--out-of-scope", "x", "--out", "x"], "--out-of-scope is for"),
        (["translate", "scratch:t5-nano", "x"], "finetune scratch:t5-nano PAIRS.tsv --task translate --out DIR"),
        (["translate", "smollm3", "x"], "`shoptalk finetune --task translate` left for one that translates"),
    ],
)
def test_what_is_missing_is_said(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code != 0 and message in str(shown.exception)


def test_another_kind_of_model_and_too_few_pairs_are_refused(pairs: Path, tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(BaseModelError, match=r"is one of the text encoders.*needs an encoder–decoder"):
        finetune_translation(world_of(tmp_path / "a"), str(tiny_base), pairs, columns=("en", "de"), steps=1)
    with pytest.raises(BaseModelError, match=r"needs an encoder–decoder"):
        shoptalk.translate(tiny_base, ["a"])
    few = tmp_path / "few.tsv"
    few.write_text("\n".join(pairs.read_text(encoding="utf-8").splitlines()[:20]), encoding="utf-8")
    with pytest.raises(SourceError, match="pairs to learn from and 2 to judge by"):
        finetune_translation(world_of(tmp_path / "b"), "scratch:t5-nano", few, columns=("en", "de"), steps=1)


def test_a_text_that_the_model_cannot_read_whole_is_told(tmp_path: Path) -> None:
    product = tiny_encoder_decoder()
    product.save(tmp_path / "model", card="")
    told: list[str] = []
    texts = ["a dog", "a dog " * product.max_length]
    assert len(shoptalk.translate(tmp_path, texts, say=told.append)) == 2
    assert len(told) == 1 and f"1 of 2 texts have more than the {product.room:,} tokens" in told[0]
    assert "the first is number 2: “a dog" in told[0] and "Give them in parts." in told[0]
    assert shoptalk.translate(tmp_path, ["a dog"], say=told.append) and len(told) == 1


def test_translations_that_do_not_beat_the_untouched_sources_are_said_to_be_no_nearer() -> None:
    assert no_nearer(14.7, 13.0, 16.4) == (
        " So its translations are no nearer to the references than the sources left as they are."
    )
    assert "not shown to be nearer" in no_nearer(17.0, 15.0, 16.4) and no_nearer(30.0, 25.0, 16.4) == ""
