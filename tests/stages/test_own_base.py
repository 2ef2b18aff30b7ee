import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from shoptalk.adaptation import adapt
from shoptalk.artifact import open_artifact
from shoptalk.commands.pretrain import pretrain
from shoptalk.config import Config, load
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.nn.bases import open_base
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import embed
from shoptalk.nn.scratch import SIZES, Size
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.own_base import YOUNG_LR, YOUNG_PASSES, base_stage, pretext_for
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log
from tests.conftest import Listener, SmallWorld

TEXTS = ["where is my card", "a refund please"]


@pytest.fixture(autouse=True)
def _a_smaller_mini(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here does not depend on the size."""
    monkeypatch.setitem(SIZES, "scratch:mini", Size("scratch:mini", layers=2, width=32, heads=2, vocabulary=500))


def world_of(folder: Path, listener: Listener, **values: object) -> World:
    small = [f"objectives.{name}.batch=8" for name in ("mlm", "turns")]
    return World(run=folder, config=load(overrides=small, **({"budget": "2ktok"} | values)), report=listener)


def made(sources: SmallWorld, world: World) -> World:
    return base_stage(world, curate_stage(world, [sources.conversations], None, None))


def test_an_ordinary_base_leaves_the_world_as_it_is(world: SmallWorld, tiny_base: Path, tmp_path, listener) -> None:
    one = world_of(tmp_path / "run", listener, base=str(tiny_base))
    assert made(world, one) is one
    assert one.base_name == str(tiny_base)
    assert not (tmp_path / "run" / "base").exists()


def test_a_base_with_random_weights_is_an_artifact_that_opens_and_keeps_its_name(
    world: SmallWorld, tmp_path, listener
) -> None:
    found = made(world, world_of(tmp_path / "run", listener, base="scratch:mini"))
    assert found.base_name == "scratch:mini" and found.config.base == str(tmp_path / "run" / "base")
    artifact = open_artifact(tmp_path / "run" / "base")
    assert artifact is not None and artifact.kind == "base"
    assert set(artifact.parents) == {"corpus", "base"}
    assert artifact.parents["corpus"] == open_artifact(tmp_path / "run" / "corpus").content
    assert artifact.readings["pieces"] == len(open_base(found.config.base).tokenizer)
    assert any("scratch:mini, random weights" in line for line in listener.said)


def test_the_same_corpus_and_seed_make_the_same_base_and_another_seed_another(
    world: SmallWorld, tmp_path, listener
) -> None:
    folders = {"one": 0, "same": 0, "other": 1}
    for name, seed in folders.items():
        made(world, world_of(tmp_path / name, listener, base="scratch:mini", seed=seed))
    one, same, other = (open_artifact(tmp_path / name / "base") for name in folders)
    assert one.content == same.content != other.content
    assert one.files["tokenizer.json"] == other.files["tokenizer.json"]
    written = (tmp_path / "one" / "base" / "manifest.json").read_text()
    made(world, world_of(tmp_path / "one", listener, base="scratch:mini"))
    assert (tmp_path / "one" / "base" / "manifest.json").read_text() == written  # asked again, made once


def test_what_a_base_is_to_be_is_known_before_it_is_made(world: SmallWorld, tmp_path, listener) -> None:
    assert base_digest("scratch:mini") == base_digest("scratch:mini") != base_digest("scratch:small")
    with pytest.raises(BaseModelError, match="scratch:mini, scratch:small"):
        base_digest("scratch:huge")
    found = made(world, world_of(tmp_path / "run", listener, base="scratch:mini"))
    # Equal weights may come with another tokenizer: the made base is all of its folder.
    assert base_digest(found.config.base) == open_artifact(tmp_path / "run" / "base").content


def test_an_extended_vocabulary_leaves_texts_without_the_new_words_as_they_were(
    world: SmallWorld, tiny_base: Path, tmp_path, listener
) -> None:
    text = world.conversations.read_text().replace("card", "chargeback")
    world.conversations.write_text(text)
    found = made(world, world_of(tmp_path / "run", listener, base=str(tiny_base), vocabulary=3))
    assert found.base_name == str(tiny_base)
    words = json.loads((tmp_path / "run" / "base" / "words.json").read_text())
    assert "chargeback" in words and len(words) <= 3
    assert any("words of this text are whole tokens now, such as chargeback" in line for line in listener.said)
    before, after = open_base(str(tiny_base)), open_base(found.config.base)
    np.testing.assert_array_equal(embed(after, TEXTS), embed(before, TEXTS))
    assert after.units(["chargeback"]) == 3


@pytest.mark.parametrize("base", ["scratch:mini", "tiny"])
def test_young_weights_learn_faster_unless_the_user_says_how_fast(base: str, tiny_base: Path) -> None:
    def spec(*overrides: str):
        config = load(overrides=overrides, base=base if base == "scratch:mini" else str(tiny_base))
        return pretext_for(config, "mlm")

    lr, passes = (YOUNG_LR, YOUNG_PASSES) if base == "scratch:mini" else (1.0, 1.0)
    assert (spec().lr, spec().passes) == (5e-5 * lr, 10 * passes)
    assert spec("objectives.mlm.lr=1e-5").lr == 1e-5
    assert spec("objectives.mlm.lr=1e-5").passes == 10 * passes
    assert spec("objectives.mlm.passes=3").passes == 3
    mixture = load(overrides=["objectives.turns.lr=1e-5"], base="scratch:mini")
    assert pretext_for(mixture, "turns+mlm").lr == 1e-5
    assert pretext_for(mixture, "mlm+turns").lr == pytest.approx(YOUNG_LR * 5e-5)
    with pytest.raises(ConfigError, match=r"Did you mean 'lr'"):
        spec("objectives.mlm.lrr=1")


def test_an_encoder_that_began_with_random_weights_is_young_in_its_next_training_too(
    world: SmallWorld, tmp_path, listener
) -> None:
    one = world_of(tmp_path / "a", listener, base="scratch:mini")
    pretrain(one, [world.conversations], objective="mlm", steps=3, card="")
    assert (tmp_path / "a" / "base" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "a" / "plan.json").read_text())["lr"] == pytest.approx(YOUNG_LR * 5e-5)
    before, after = (
        load_file(tmp_path / "a" / name / "model.safetensors")["embeddings.word_embeddings.weight"]
        for name in ("base", "encoder")
    )
    assert before.shape == after.shape and not np.array_equal(before, after)
    other = world_of(tmp_path / "b", listener, base=str(tmp_path / "a" / "encoder"))
    pretrain(other, [world.conversations], objective="turns", steps=3, card="")
    assert max(row["lr"] for row in read_log(tmp_path / "b")) == pytest.approx(YOUNG_LR * 1e-4)
    assert not (tmp_path / "b" / "base").exists()


def test_the_same_pretraining_again_is_instant(world: SmallWorld, tmp_path, listener) -> None:
    settings = world_of(tmp_path / "a", listener, base="scratch:mini")
    first = pretrain(settings, [world.conversations], objective="mlm", steps=2, card="")
    again = Listener()
    assert pretrain(world_of(tmp_path / "a", again, base="scratch:mini"), [world.conversations], objective="mlm",
                    steps=2, card="") == first  # fmt: skip
    assert again.said == []


def adapted(sources: SmallWorld, out: Path, listener: Listener, config: Config) -> dict:
    return adapt([sources.conversations], out=out, config=config, report=listener, labels=sources.labels).told()


@pytest.mark.slow
def test_a_run_from_random_weights_names_the_base_as_it_was_asked_for(world: SmallWorld, tmp_path, listener) -> None:
    config = load(
        overrides=["objectives.mlm.batch=8"], base="scratch:mini", budget="4ktok", draws=5, shots=2, candidates=("mlm",)
    )
    out = tmp_path / "run"
    verdict = adapted(world, out, listener, config)
    card = (out / "encoder" / "README.md").read_text()
    assert "scratch:mini" in card and str(out) not in card
    assert str(out) not in json.dumps(verdict)
    assert json.loads((out / "plan.json").read_text())["specs"]["mlm"]["lr"] == pytest.approx(YOUNG_LR * 5e-5)
    again = Listener()
    assert adapted(world, out, again, config) == verdict
    assert again.said == []
    open_base(str(out / "encoder"))


def test_an_unknown_size_is_refused_before_anything_is_read(world: SmallWorld, tmp_path, listener) -> None:
    with pytest.raises(BaseModelError, match=r"no base 'scratch:huge'.*scratch:mini, scratch:small"):
        pretrain(world_of(tmp_path / "a", listener, base="scratch:huge"), [world.conversations], objective="mlm",
                 steps=1, card="")  # fmt: skip
    assert not (tmp_path / "a" / "corpus").exists()
