"""Is the brand's voice worth it? Measured on conversations that nothing was learned from; refused where it is not."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoptalk.assistant.brand_voice import BrandVoice, VoiceMeasures
from shoptalk.commands import voice as voice_command
from shoptalk.commands.voice import decided, measure_voice
from shoptalk.config import load
from shoptalk.errors import SourceError
from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.tiny import WORDS
from shoptalk.readback import read_record
from shoptalk.records import Document
from shoptalk.training.reporter import Silent
from tests.assistant.small_run import small_run
from tests.command_line import call

MEASURES = VoiceMeasures(
    tried=60, reworded=40, accuracy=92.0, extractive=20.0, voiced=50.0, gain=30.0, interval=(22.0, 38.0),
    facts=100.0, ungated=71.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "choice", "said"),
    [
        ({}, "adopt", r"40 of 60 rewordings pass.*50\.0 % against 20\.0 %.*\+22\.0 to \+38\.0.*no number"),
        ({"facts": None}, "adopt", "Adopted"),
        ({"interval": (-0.5, 60.0)}, "keep_extractive", "no proven gain"),
        ({"gain": 0.0, "interval": (0.0, 0.0), "reworded": 0}, "keep_extractive", "0 of 60 rewordings pass"),
        ({"facts": 98.0}, "keep_extractive", r"2\.0 % of their numbers and names would be lost"),
        ({"accuracy": 66.0}, "keep_extractive", r"tells 66\.0 % of unseen texts right, and below 70 %"),
    ],
)
def test_a_voice_is_adopted_for_a_proven_gain_without_a_loss(changes: dict[str, Any], choice: str, said: str) -> None:
    chosen, sentence = decided(MEASURES.model_copy(update=changes))
    assert chosen == choice
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(sentence)


class Echo:
    """Says a note as the brand's agents would, or changes its number."""

    context = 4_000

    def __init__(self, *, wrong: bool = False, plain: bool = False) -> None:
        self.wrong, self.plain = wrong, plain
        self._read: dict[int, str] = {}
        self.examples: list[str] = []

    def prompt(self, text: str) -> tuple[int, ...]:
        note = text.rpartition("Note: ")[2].partition("\n")[0]
        self.examples = [line[2:] for line in text.splitlines() if line.startswith("- ")]
        self._read[len(self._read)] = note
        return (len(self._read) - 1, 0)

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        texts = []
        for request in requests:
            note = self._read[request.ids[0]]
            texts.append(note if self.plain else f"Sure thing, my dear friend! {note}")
            if self.wrong:
                texts[-1] = texts[-1].replace("1", "7")
        return [Generated(text, (), "stop", 1, 0, 1, 0, 0) for text in texts]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Path, Path]:
    """A run with documents, and conversations whose agents always begin alike."""
    folder, rng = tmp_path_factory.mktemp("voice"), np.random.default_rng(0)
    documents, rows = [], []
    for number in range(90):
        one, two = rng.choice(WORDS, 2, replace=False)
        text = f"The {one} number {1_000 + number} has the {two} behind it."
        documents.append(Document(id=f"{number}.md", source=f"{number}.md", text=text))
        turns = [
            {"role": "customer", "text": f"what of the {one} number {1_000 + number}"},
            {"role": "agent", "text": f"Sure thing, my dear friend! Your {two} is what we will look after for you."},
        ]
        rows.append(json.dumps({"id": f"c{number}", "turns": turns}))
    (folder / "conversations.jsonl").write_text("\n".join(rows) + "\n")
    run = small_run(folder / "run", documents, base=str(tiny_base))
    (run / "assistant.toml").write_text("[assistant]\nthreshold = 0.0\n")
    return run, folder / "conversations.jsonl"


def measured(world: tuple[Path, Path], writer: Echo, monkeypatch: pytest.MonkeyPatch) -> BrandVoice:
    run, conversations = world
    monkeypatch.setattr(voice_command, "open_writer", lambda ref: writer)
    monkeypatch.setattr(voice_command, "base_digest", lambda ref: ref)
    return measure_voice(run, "echo", [conversations], load(), Silent())


def test_words_that_agents_say_again_and_again_gain_and_lose_nothing(
    world: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Echo()
    voice = measured(world, writer, monkeypatch)
    assert voice.manners == ("sure thing my dear friend",)
    assert len(voice.examples) == 4 and list(voice.examples) == writer.examples
    measures = voice.measures
    assert 30 <= measures.tried <= 45 and measures.reworded == measures.tried
    assert (measures.facts, measures.ungated) == (100.0, 100.0) and measures.accuracy > 90
    assert measures.gain > 0 and measures.gain == pytest.approx(measures.voiced - measures.extractive)
    assert voice.choice == "adopt" and measures.interval[0] > 0
    assert read_record(world[0] / "voice" / "voice.json", BrandVoice) == voice


@pytest.mark.parametrize("writer", [Echo(wrong=True), Echo(plain=True)], ids=["wrong", "plain"])
def test_what_changes_numbers_or_says_the_extract_again_is_not_adopted(
    writer: Echo, world: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = measured(world, writer, monkeypatch)
    assert voice.choice == "keep_extractive" and voice.measures.gain == pytest.approx(0.0, abs=1e-4)
    assert voice.measures.facts == 100.0
    assert (voice.measures.reworded == 0, voice.measures.ungated == 100.0) == (writer.wrong, writer.plain)


def test_a_stopped_measurement_goes_on_with_what_is_written_already(
    world: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(Echo):
        batches = 0

        def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
            self.batches += 1
            if self.batches > 2:
                raise KeyboardInterrupt
            return super().write(requests)

    monkeypatch.setattr(voice_command, "BATCH", 10)
    whole = measured(world, Echo(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        measured(world, Stopping(), monkeypatch)
    (work,) = (world[0] / "work" / "voice").glob("*.jsonl")
    assert work.read_bytes().count(b"\n") == 20
    rest = Stopping()
    rest.batches = 2 - -(-(whole.measures.tried - 20) // 10)  # one more than are left would stop it
    assert measured(world, rest, monkeypatch) == whole and rest.batches == 2
    assert not (world[0] / "work" / "voice").exists()


def test_conversations_that_tell_nothing_are_refused_with_what_is_needed(
    world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(world[1].read_text().splitlines()[:20]) + "\n")
    with pytest.raises(SourceError, match=r"Of 10 conversations the assistant answers a question in \d+, and at least"):
        measured((world[0], few), Echo(), monkeypatch)
    nobody = tmp_path / "nobody.jsonl"
    nobody.write_text(world[1].read_text().replace('"agent"', '"Berater"'))
    with pytest.raises(SourceError, match=r"hold no conversation in which an agent speaks.*role is one of assistant"):
        measured((world[0], nobody), Echo(), monkeypatch)


def test_the_command_prints_what_was_decided_and_why(
    world: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_command, "open_writer", lambda ref: Echo(plain=True))
    monkeypatch.setattr(voice_command, "base_digest", lambda ref: ref)
    words = ["voice", world[0], world[1], "--model", "echo"]
    status, out, err = call(capsys, monkeypatch, *words)
    assert status == 0, err
    assert "voice: keep_extractive" in out and "no proven gain" in out and "without the gate 100.0 %" in out
    status, told, _ = call(capsys, monkeypatch, *words, "--json")
    assert status == 0 and json.loads(told)["choice"] == "keep_extractive"
