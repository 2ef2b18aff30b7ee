"""Extracts in the brand's words: nothing added, nothing lost, else the extract itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.artifact import create
from shoptalk.assistant import brand_voice
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.brand_voice import FILE, FOLDER, BrandVoice, Voice, VoiceMeasures, opened_voice
from shoptalk.assistant.ground import unsupported
from shoptalk.assistant.reply import Sentence
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import passages_of
from shoptalk.errors import ArtifactError
from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.records import Document
from tests.assistant.small_run import small_run, visitor

PAGE = "# Tariffs\n\nA bicycle costs 4 crowns on all lines. Dogs may not travel on the Lindholm shuttles.\n"
MANNERS = ("happy to help", "it costs nothing")
MEASURES = VoiceMeasures(
    tried=40, reworded=30, accuracy=90.0, extractive=10.0, voiced=60.0, gain=50.0, interval=(40.0, 60.0),
    facts=100.0, ungated=80.0,
)  # fmt: skip


class Reworder:
    """Writes what it is told to, and keeps what it was asked."""

    def __init__(self, text: str, *, reason: Any = "stop", context: int = 2_000) -> None:
        self.text, self.reason, self.context = text, reason, context
        self.read: list[str] = []
        self.asked: list[GenerationRequest] = []

    def prompt(self, text: str) -> tuple[int, ...]:
        self.read.append(text)
        return tuple(range(len(text.split())))

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        self.asked += requests
        return [Generated(self.text, (), self.reason, 1, 0, 1, 0, 0) for _ in requests]


def found() -> list[Found]:
    (passage,) = passages_of(Document(id="t.md", source="t.md", text=PAGE))
    other = passages_of(Document(id="o.md", source="o.md", text="# Ice\n\nAn ice costs 2 crowns at the kiosk.\n"))[0]
    return [Found(1, other, 1.0, 0.5, 1.0), Found(0, passage, 1.0, 0.5, 1.0)]


BICYCLE = Sentence("A bicycle costs 4 crowns on all lines.", (2,))
DOGS = Sentence("Dogs may not travel on the Lindholm shuttles.", (2,))


@pytest.mark.parametrize(
    ("said", "extract", "kept"),
    [
        ("On all lines a bicycle costs you 4 crowns.", [BICYCLE], True),
        ("Happy to help! A bicycle costs 4 crowns on all our lines.", [BICYCLE], True),
        ("A bicycle costs you a few crowns on all lines.", [BICYCLE], False),  # a number is lost
        ("A bicycle costs 4 crowns on all lines, or 6 with a trailer.", [BICYCLE], False),  # one is added
        ("A bicycle costs 4 crowns on all lines.", [BICYCLE, DOGS], False),  # a sentence is lost
        ("Dogs may travel on the Lindholm shuttles.", [DOGS], False),  # a denial is lost
        ("Dogs may not travel on the shuttles.", [DOGS], False),  # a name is lost
        ("We cannot take dogs on the Lindholm shuttles; they may not travel.", [DOGS], True),
        ("A bicycle costs 4 crowns on all lines. We love your bicycle very much indeed.", [BICYCLE], False),
        ("An ice costs 2 crowns. A bicycle costs 4 crowns on all lines.", [BICYCLE], False),  # of another passage
        ("", [BICYCLE], False),
    ],
)
def test_a_rewording_goes_out_where_it_adds_nothing_and_loses_nothing(
    said: str, extract: list[Sentence], kept: bool
) -> None:
    sentences = Voice((), MANNERS, Reworder(said)).reworded(extract, found())
    assert bool(sentences) == kept
    if kept:
        assert " ".join(sentence.text for sentence in sentences) == said
        assert {sentence.sources for sentence in sentences} <= {(2,), ()} and (2,) in {s.sources for s in sentences}


@given(st.lists(st.sampled_from([*BICYCLE.text.split(), "Happy to help!", "not", "5", "Oster", "free."]), max_size=12))
def test_whatever_is_written_what_goes_out_stands_in_the_passages_and_holds_the_extract(words: list[str]) -> None:
    said = " ".join(words)
    sentences = Voice((), MANNERS, Reworder(said)).reworded([BICYCLE], found())
    if sentences:
        text = " ".join(sentence.text for sentence in sentences)
        assert unsupported(BICYCLE.text, text) is None
        assert all(unsupported(sentence.text, PAGE) is None for sentence in sentences if sentence.sources)
        assert "5" not in text and "Oster" not in text


def test_a_word_that_the_grounding_head_marks_sends_the_extract() -> None:
    class Marking:
        def marked(self, sentences: Sequence[str], passages: Sequence[str]) -> tuple[str, ...]:
            return tuple("you" if " you " in sentence else "" for sentence in sentences)

    voice = Voice((), MANNERS, Reworder("On all lines a bicycle costs you 4 crowns."))
    assert voice.reworded([BICYCLE], found()) and voice.reworded([BICYCLE], found(), Marking()) == ()


def test_the_model_reads_the_agents_replies_and_the_extract_and_what_is_cut_or_has_no_room_is_not_taken() -> None:
    right = "On all lines a bicycle costs you 4 crowns."
    writer = Reworder(right)
    assert Voice(("Sure thing, see you on board.",), (), writer).reworded([BICYCLE], found())
    assert "- Sure thing, see you on board.\n" in writer.read[0] and writer.read[0].endswith(
        f"Note: {BICYCLE.text}\nAgent:"
    )
    assert writer.asked[0].seconds == brand_voice.SECONDS and writer.asked[0].stop == ("\n",)
    assert Voice((), (), Reworder(right, reason="time")).reworded([BICYCLE], found()) == ()
    small = Reworder(right, context=170)
    assert Voice((), (), small).reworded([BICYCLE], found()) == () and not small.asked


def test_a_model_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    class Failing(Reworder):
        def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
            self.asked += requests
            raise RuntimeError("no memory")

    writer = Failing("")
    voice = Voice((), (), writer)
    assert [voice.reworded([BICYCLE], found()) for _ in range(5)] == [()] * 5
    assert len(writer.asked) == brand_voice.FAILURES


# --- in the assistant -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("voiced")
    documents = [Document(id="t.md", source="t.md", text=PAGE.partition(" Dogs")[0])]
    return small_run(folder / "run", documents, base=str(tiny_base))


def left(run: Path, choice: Any, *, model: str, digest: str) -> None:
    voice = BrandVoice(
        choice=choice, sentence="So it is.", model=model, examples=("Sure.",), manners=MANNERS, measures=MEASURES
    )
    with create(run / FOLDER, kind="voice", config={}, parents={"model": digest}) as inside:
        (inside / FILE).write_text(voice.model_dump_json())


def test_an_adopted_voice_words_the_answer_and_keeps_its_sources(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = AssistantSettings(threshold=0.0)
    asked = visitor("How much is a bicycle on all lines?")
    plain = Assistant.open(run, settings=settings).reply(asked)
    assert (plain.path, plain.text) == ("extractive", BICYCLE.text)
    left(run, "adopt", model="m", digest="d")
    monkeypatch.setattr("shoptalk.nn.digests.base_digest", lambda ref: "d")
    for said, path in (("A bicycle costs you 4 crowns on all lines.", "generator"), ("5 crowns.", "extractive")):
        monkeypatch.setattr("shoptalk.nn.decoding.writer.open_writer", lambda ref, said=said: Reworder(said))
        reply = Assistant.open(run, settings=settings).reply(asked)
        assert (reply.path, reply.text) == (path, said if path == "generator" else plain.text)
        assert [source.document for source in reply.cited] == ["t.md"] and reply.decision == "answer"


def test_what_was_not_adopted_is_not_opened_and_another_model_is_refused(run: Path, tmp_path: Path) -> None:
    tiny_language_model(max_length=256).save(tmp_path / "model", card="# A model\n")
    left(run, "keep_extractive", model="nothing-there", digest="d")
    assert opened_voice(run) is None
    left(run, "adopt", model=str(tmp_path / "model"), digest="of another")
    with pytest.raises(ArtifactError, match=r"measured with another model than .* Run `shoptalk voice .*` again"):
        opened_voice(run)
