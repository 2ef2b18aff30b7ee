"""Further bases: measured as the first is, and refused where they cannot be compared."""

from pathlib import Path

import numpy as np
import pytest
from transformers import MPNetConfig, MPNetModel

from shoptalk.config import Config, load
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.nn.encoder import Encoder, TextEncoder
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.other_bases import check_bases
from shoptalk.stages.world import World
from tests.conftest import Listener, SmallWorld
from tests.tiny import tiny_product


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random MPNet as an encoder folder."""
    folder = tmp_path_factory.mktemp("mpnet")
    tokenizer = tiny_product().tokenizer
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    backbone = MPNetModel(MPNetConfig(vocab_size=len(tokenizer), max_position_embeddings=66, **sizes))
    TextEncoder(Encoder(backbone).eval(), tokenizer, 64, "another").save(folder, card="# another\n")
    return folder


def config_for(*bases: Path, **values: object) -> Config:
    return load(bases=tuple(map(str, bases)), draws=5, shots=2, budget="12ktok", **values)


def baseline_of(world: SmallWorld, run: Path, config: Config, listener: Listener, *, labels: bool = True) -> Baseline:
    inside = World(run, config, listener)
    curated = curate_stage(inside, [world.conversations], world.labels if labels else None, None)
    return baseline_stage(inside, curated)


def test_every_base_is_measured_as_the_first_is_and_only_once(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path, listener: Listener
):
    config = config_for(tiny_base, another)
    baseline = baseline_of(world, tmp_path / "run", config, listener)
    ((name, other),) = baseline.others.items()
    alone = baseline_of(world, tmp_path / "alone", config_for(another), listener)
    assert name == other.name == str(another)
    assert baseline.measured.values()["intent"] != other.measured.values()["intent"]
    for key, scores in alone.measured.scores.items():
        np.testing.assert_array_equal(other.measured.scores[key], scores)
    assert baseline.final is not None and other.final is not None
    assert other.final.scores.shape == baseline.final.scores.shape
    assert baseline.price is not None and baseline.price.megabytes > other.price.megabytes > 0
    assert (other.price.ms_per_message or 0) > 0
    again = Listener()
    repeated = baseline_of(world, tmp_path / "run", config, again)
    assert not [line for line in again.said if "measuring" in line]
    assert repeated.others[name].price == other.price


def test_bases_that_cannot_be_compared_are_refused_before_anything_is_read(tiny_base: Path, another: Path):
    copy = another.parent / "copy"
    copy.exists() or copy.symlink_to(another)
    with pytest.raises(ConfigError, match=r"copy' and '.*mpnet.*' have the same weights\. Leave one of them out"):
        check_bases(config_for(another, copy))
    with pytest.raises(ConfigError, match=r"'scratch:mini' is random weights.*put it first"):
        check_bases(load(bases=(str(tiny_base), "scratch:mini")))
    with pytest.raises(BaseModelError, match=r"No model 'nowhere'"):
        check_bases(load(bases=(str(tiny_base), "nowhere")))
    check_bases(load(bases=("scratch:mini", str(tiny_base))))


def test_without_labels_there_is_nothing_to_compare_bases_by_and_a_line_says_so(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path, listener: Listener
):
    baseline = baseline_of(world, tmp_path / "run", config_for(tiny_base, another), listener, labels=False)
    assert baseline.others == {}
    assert any("nothing to compare bases by" in line and str(another) in line for line in listener.said)
