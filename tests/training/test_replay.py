"""General text of a run: read once, without what the run is judged on, and refused where nothing replays it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoptalk.artifact import open_artifact
from shoptalk.config import Config, load
from shoptalk.curate.curation import count_drops
from shoptalk.errors import ConfigError, SourceError
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Key, Material
from shoptalk.objectives.autoregressive.clm import ClmSpec
from shoptalk.objectives.toy import toy_corpus
from shoptalk.probes.bits_per_byte import SENTENCES, general_bits
from shoptalk.probes.forgetting import general_pairs
from shoptalk.text.corpus import Corpus
from shoptalk.training.replay import general_corpus, refuse_unfit, replay_digest, replay_files, replayed
from tests.training.processes import together

HELD_OUT = ("The early ferry goes to Palermo Dock on market days and costs twelve euros for each person.",)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    source = tmp_path / "general.jsonl"
    texts = [f"River number {number} carries sand and stones from its spring to the sea." for number in range(20)]
    rows = [{"text": text} for text in [*texts, *HELD_OUT, *(pair.a for pair in general_pairs()), general_pairs()[3].b]]
    source.write_text("\n".join(map(json.dumps, rows)))
    return Config.model_validate({"replay": {"sources": [str(source)]}})


def read(settings: Config, run: Path, *, after: str = "corpus", said: list[str] | None = None) -> Corpus | None:
    say = (said if said is not None else []).append
    return general_corpus(run, settings, judged=HELD_OUT, after=after, say=say)


def test_what_is_replayed_is_neither_held_out_nor_read_by_the_guard(settings: Config, tmp_path: Path) -> None:
    said: list[str] = []
    corpus = read(settings, tmp_path / "run", said=said)
    assert corpus is not None
    assert all(text.startswith("River number") for text in corpus.texts) and 0 < len(corpus) <= 20
    judged = set(HELD_OUT) | {pair.a for pair in general_pairs()[:SENTENCES]}
    assert not judged & set(corpus.texts)
    drops = count_drops(tmp_path / "run" / "replay" / "text")
    assert drops["judged-text"] >= len(judged) - 20 and any("judged-text" in line for line in said)


def test_general_text_is_read_once_and_again_where_what_is_judged_has_changed(settings: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, said = read(settings, run), []
    again = read(settings, run, said=said)
    assert first is not None and again is not None and first.digest == again.digest and said == []
    read(settings, run, after="another corpus", said=said)
    assert said


def replayed_rows_of(settings: Config, run: Path) -> list[Any]:
    """What a process replays: its general text, and the first batch with it."""
    said: list[str] = []
    own, product = toy_corpus(), tiny_language_model()
    general = replayed(run, read(settings, run, said=said), product)
    assert general is not None
    spec = ClmSpec(batch=2, context=64, replay_percent=50.0)
    batch = spec.collate(Material(own, product, product.inputs(own), None, general))([0, 1], Key(0, 0))
    return [general.corpus.digest, batch.ids.tolist(), bool(said)]


@pytest.mark.slow
def test_the_first_process_reads_general_text_and_all_replay_the_same(settings: Config, tmp_path: Path) -> None:
    first, second = together(2, replayed_rows_of, settings, tmp_path / "two")
    alone = replayed_rows_of(settings, tmp_path / "one")
    assert first[:2] == second[:2] == alone[:2] and len(first[1]) == 4
    assert (first[2], second[2]) == (True, False)


def test_without_sources_there_is_none_and_nothing_is_left_behind(tmp_path: Path) -> None:
    config = load()
    assert read(config, tmp_path / "run") is None and replay_digest(config, sources={}, out=tmp_path) is None
    assert replayed(tmp_path / "run", None, tiny_language_model()) is None
    assert not (tmp_path / "run").exists() and replay_files(config, out=tmp_path) == {}


def test_its_inputs_are_kept_and_are_those_of_the_product(settings: Config, tmp_path: Path) -> None:
    product, corpus = tiny_language_model(), read(settings, tmp_path / "run")
    material = replayed(tmp_path / "run", corpus, product)
    assert material is not None and corpus is not None
    np.testing.assert_array_equal(material.inputs[2], product.inputs(corpus)[2])
    assert open_artifact(tmp_path / "run" / "replay" / "inputs") is not None


def test_general_text_that_is_learned_from_anyway_is_refused(settings: Config, tmp_path: Path) -> None:
    files = replay_files(settings, out=tmp_path)
    copied = {"the-same-under-another-name.jsonl": next(iter(files.values()))}
    with pytest.raises(ConfigError, match=r"is among the sources, too.*give other text"):
        replay_digest(settings, sources=copied, out=tmp_path)


def test_the_hash_follows_the_files_and_not_where_they_lie(settings: Config, tmp_path: Path) -> None:
    source = Path(settings.replay.sources[0])
    before = replay_digest(settings, sources={}, out=tmp_path)
    (tmp_path / "elsewhere").mkdir()
    moved = source.rename(tmp_path / "elsewhere" / source.name)
    elsewhere = Config.model_validate({"replay": {"sources": [str(moved)]}})
    assert (
        replay_digest(elsewhere, sources={}, out=tmp_path) == before and settings.of_answers() == elsewhere.of_answers()
    )
    moved.write_text('{"text": "Another."}')
    assert replay_digest(elsewhere, sources={}, out=tmp_path) != before


def test_a_source_of_which_nothing_may_be_replayed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "judged.txt").write_text("\n".join(pair.a for pair in general_pairs()))
    config = Config.model_validate({"replay": {"sources": [str(tmp_path / "judged.txt")]}})
    with pytest.raises(SourceError, match=r"Nothing of the general text is left to replay.*judged-text"):
        read(config, tmp_path / "run")


def test_general_text_and_what_replays_it_are_refused_without_each_other(settings: Config) -> None:
    plain, sharing = ClmSpec(), ClmSpec(replay_percent=25.0)
    with pytest.raises(ConfigError, match=r"nothing that is trained \(clm\) replays any.*clm-replay-25"):
        refuse_unfit(settings, {"clm": (plain,)})
    with pytest.raises(
        ConfigError, match=r"clm-replay-25 replays general text, and replay\.sources names none.*--replay"
    ):
        refuse_unfit(load(), {"clm": (plain,), "clm-replay-25": (sharing,)})
    refuse_unfit(settings, {"clm": (plain,), "clm-replay-25": (sharing,)})
    refuse_unfit(load(), {"clm": (plain,)})


def test_all_that_the_guard_reads_is_among_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """`general_corpus` leaves out all shipped pairs, of which the guard reads some."""
    asked: set[str] = set()

    def score(self: LanguageModel, items: list[str]) -> np.ndarray:
        asked.update(items)
        return np.ones(len(items))

    monkeypatch.setattr(LanguageModel, "score", score)
    assert general_bits()(tiny_language_model()).n == SENTENCES
    assert asked <= {text for pair in general_pairs() for text in (pair.a, pair.b)}
