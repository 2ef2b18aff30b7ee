import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from shoptalk.commands import distill as distilling
from shoptalk.commands.distill import cross_validated, distill, parse_vocabulary, split, table
from shoptalk.config import load
from shoptalk.errors import ConfigError, StorageError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.objectives.toy import toy_corpus
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log
from tests.conftest import Listener, SmallWorld

SETTINGS = ["objectives.distil.batch=16", "train.precision=float32"]


def distilled(
    out: Path, model: Path, sources: Sequence[Path], report: Any, *, settings: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    world = World(run=out, config=load(overrides=[*SETTINGS, *settings]), report=report)
    return distill(world, str(model), sources, **{"steps": 4, **more})


@pytest.fixture(scope="module")
def done(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], SmallWorld]:
    world = SmallWorld(tmp_path_factory.mktemp("world"))
    out = tmp_path_factory.mktemp("distilled") / "d"
    result = distilled(out, tiny_base, [world.conversations], Listener(), vocabulary=200, labels=world.labels)
    return out, result, world


def test_teacher_and_student_stand_side_by_side(done: tuple[Path, dict[str, Any], SmallWorld], tiny_base: Path) -> None:
    out, result, _ = done
    assert json.loads((out / "distill.json").read_text()) == result
    teacher, student = result["teacher"], result["student"]
    opened = {"teacher": open_base(str(tiny_base)), "student": open_base(str(out / "encoder"))}
    for name, product in opened.items():
        assert result[name]["parameters"] == sum(p.numel() for p in product.network.parameters())
        assert result[name]["layers"] == len(product.network.backbone.encoder.layer)
        assert result[name]["vocabulary"] == len(product.tokenizer)
    assert (teacher["layers"], student["layers"], student["vocabulary"]) == (2, 1, 200)
    size = (out / "encoder" / "model.safetensors").stat().st_size
    assert student["megabytes"] == round(size / 1e6, 1)
    assert result["speed_ratio"] == pytest.approx(student["texts_per_second"] / teacher["texts_per_second"], rel=1e-3)
    assert result["probe_kept"] == pytest.approx(student["probe"] / teacher["probe"], rel=1e-3)
    assert result["probe_texts"] == 120
    text = table(result)
    assert "linear probe" in text and f"{result['cosine']['mean']:.4f}" in text


def test_the_cosine_is_of_texts_that_nothing_was_trained_on(
    done: tuple[Path, dict[str, Any], SmallWorld], tiny_base: Path
) -> None:
    out, result, _ = done
    corpus = distilling.open_curated(World(run=out, config=load(), report=Listener())).train
    trained, held_out = split(corpus, seed=0)
    assert not {*trained.texts} & {*held_out.texts}
    assert result["cosine"]["texts"] == len(held_out) == len(corpus) // 10
    pair = [embed(open_base(str(ref)), held_out.texts) for ref in (tiny_base, out / "encoder")]
    assert result["cosine"]["mean"] == pytest.approx(float((pair[0] * pair[1]).sum(1).mean()), abs=1e-3)


def test_the_student_opens_without_shoptalk(done: tuple[Path, dict[str, Any], SmallWorld]) -> None:
    out, _, _ = done
    texts = ["my card", "where is my order", "quixotic 7!"]
    theirs = SentenceTransformer(str(out / "encoder"), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs, embed(open_base(str(out / "encoder")), texts), atol=1e-5)


def test_the_same_call_again_is_instant_and_says_the_same(
    done: tuple[Path, dict[str, Any], SmallWorld], tiny_base: Path, listener: Listener
) -> None:
    out, result, world = done
    again = distilled(out, tiny_base, [world.conversations], listener, vocabulary=200, labels=world.labels)
    assert again == result
    assert listener.said == []


def test_another_setting_of_the_objective_does_not_replace_a_student_without_a_word(
    done: tuple[Path, dict[str, Any], SmallWorld], tiny_base: Path, listener: Listener
) -> None:
    out, _, world = done
    more = {"vocabulary": 200, "labels": world.labels, "settings": ["objectives.distil.lr=1e-6"]}
    with pytest.raises(StorageError, match=r"a finished student for another question \(objectives.distil.lr: "):
        distilled(out, tiny_base, [world.conversations], listener, **more)


class _StoppedError(Exception):
    pass


class _Impatient(Listener):
    """Stops the run after two steps."""

    def track(self, steps: Any, *, done: int, total: int, name: str) -> Any:
        for step in steps:
            yield step
            if step.number == 2:
                raise _StoppedError


def test_an_interrupted_call_continues_to_the_same_student(
    done: tuple[Path, dict[str, Any], SmallWorld], tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    whole, _, world = done
    arguments = (tmp_path / "d", tiny_base, [world.conversations])
    more = {"vocabulary": 200, "labels": world.labels, "settings": ["train.snapshot_seconds=1e-9"]}
    with pytest.raises(_StoppedError):
        distilled(*arguments, _Impatient(), **more)
    distilled(*arguments, listener, **more)
    assert "distil 2/4" not in listener.said and "distil 3/4" in listener.said
    assert [row["loss"] for row in read_log(tmp_path / "d")] == [row["loss"] for row in read_log(whole)]
    weights = [(out / "encoder" / "model.safetensors").read_bytes() for out in (whole, tmp_path / "d")]
    assert weights[0] == weights[1]


def test_the_whole_vocabulary_and_chosen_layers_are_kept_where_they_are_asked_for(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    result = distilled(tmp_path / "d", tiny_base, [world.conversations], listener, vocabulary=10**6, layers=2, steps=1)
    assert result["student"]["vocabulary"] == result["teacher"]["vocabulary"]
    assert result["student"]["layers"] == 2
    assert result["probe_kept"] is None and "probe" not in result["student"]
    assert not (tmp_path / "d" / "pruned").exists()
    assert result["cosine"]["mean"] > 0.999  # the teacher itself, one small step on


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layers": 3}, r"layers = 3: .* has 2 layers"),
        ({"vocabulary": 7}, "no room for"),
    ],
)
def test_what_cannot_be_is_refused_before_training(
    more: dict[str, Any], message: str, tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    with pytest.raises(ConfigError, match=message):
        distilled(tmp_path / "d", tiny_base, [world.conversations], listener, **more)
    assert not (tmp_path / "d" / "log.jsonl").exists()


@pytest.mark.parametrize("given", ["", "none", "-5", "0", "1.5"])
def test_a_vocabulary_is_a_number_or_full(given: str) -> None:
    with pytest.raises(ConfigError, match="expected a number of pieces"):
        parse_vocabulary(given)
    assert (parse_vocabulary("8000"), parse_vocabulary("full")) == (8000, None)


@given(st.integers(1, 60), st.integers(0, 5))
@settings(deadline=None)
def test_every_text_is_either_trained_on_or_held_out(conversations: int, seed: int) -> None:
    corpus = toy_corpus(conversations=conversations, turns=1)
    corpus = replace(corpus, items=tuple(f"{i} {text}" for i, text in enumerate(corpus.texts)))
    trained, held_out = split(corpus, seed=seed)
    assert sorted([*trained.texts, *held_out.texts]) == sorted(corpus.texts)
    assert len(held_out) == max(1, conversations // 10)
    assert len({trained.digest, held_out.digest, corpus.digest}) == 3


def test_cross_validation_judges_each_example_by_a_head_that_has_not_seen_it() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 50)
    clear = np.where(labels == "a", 1.0, -1.0)[:, None] + 0.01 * rng.normal(size=(100, 4))
    cluster = np.arange(100)
    assert cross_validated(clear, labels, cluster, seed=0) == 100
    # 60 dimensions fit 100 random labels by heart; unseen ones are guessed: 50 %, standard error 5.
    chance = cross_validated(rng.normal(size=(100, 60)), rng.permutation(labels), cluster, seed=0)
    assert math.isclose(chance, 50, abs_tol=20)
    alone = np.array(["a", "b", "c", "d"])  # each in one fold
    assert cross_validated(clear[:4], alone, cluster[:4], seed=0) == 0
