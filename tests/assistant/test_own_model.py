"""A language model in this process as the assistant's generator: behind the same gate, and in time."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import AssistantSettings, GeneratorSettings, load_settings
from shoptalk.assistant.opened_generator import about_generator, opened_generator
from shoptalk.assistant.own_model import OwnModel
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import passages_of
from shoptalk.errors import ConfigError, InputError
from shoptalk.nn.decoding.generation import Generated, GenerationRequest, Reason
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.tiny import tiny_product
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.records import Document
from tests.assistant.small_run import documents_of_harbour, small_run, visitor

PAGE = "# Tariffs\n\n## Bicycles\n\nA bicycle costs 4 crowns on all lines.\n\n## Dogs\n\nA dog costs 6.50 crowns.\n"
SETTINGS = GeneratorSettings(model="m", most_tokens=64)


@pytest.fixture
def found() -> list[Found]:
    passages = passages_of(Document(id="t.md", source="t.md", text=PAGE))
    return [Found(n, passage, 1.0, 0.5, 1.0) for n, passage in enumerate(passages)]


class Saying:
    """A model that says what it is told to, and keeps what it was asked."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, text: str, reason: Reason = "end", *, waited: float = 0.0
    ) -> None:
        self.asked: list[GenerationRequest] = []
        self.writer = Writer(tiny_language_model(max_length=2_048), slots=1)

        def write(requests: Sequence[GenerationRequest]) -> list[Generated]:
            self.asked += requests
            return [Generated(text, (), reason, 1, 0, 1, 0, 0, waited) for _ in requests]

        monkeypatch.setattr(self.writer, "write", write)

    def model(self, settings: GeneratorSettings = SETTINGS) -> OwnModel:
        return OwnModel(settings, name="Harbour", sentences=3, writer=self.writer)

    @property
    def prompt(self) -> str:
        return str(self.writer.product.tokenizer.decode(self.asked[-1].ids))


def test_it_reads_instructions_passages_and_question(found: list[Found], monkeypatch: pytest.MonkeyPatch) -> None:
    saying = Saying(monkeypatch, " A bicycle costs 4 crowns. [1]\n")
    assert saying.model().words("How much?", found) == "A bicycle costs 4 crowns. [1]"
    for part in ("a visitor of Harbour", "[1] Tariffs – Bicycles", "A dog costs 6.50 crowns.", "visitor:\nHow much?"):
        assert part in saying.prompt
    assert saying.prompt.endswith("a:")
    assert (saying.asked[0].max_tokens, saying.asked[0].seconds) == (64, SETTINGS.timeout)


def test_passages_that_have_no_room_are_left_out_from_the_last(
    found: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    saying = Saying(monkeypatch, "ok")
    long = dataclasses.replace(found[1].passage, text="x " * 900, lines=(dataclasses.replace(
        found[1].passage.lines[0], text="x " * 900),))  # fmt: skip
    many = [found[0], dataclasses.replace(found[1], passage=long)]
    assert saying.model().words("How much?", many) == "ok"
    assert "[1] Tariffs" in saying.prompt and "[2]" not in saying.prompt.split("Passages:")[1]
    assert saying.model().words("How much?", many[1:]) is None


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("NO ANSWER", "end", None),
        ("", "end", None),
        ("It costs 4 crowns. [1] And a d", "length", "It costs 4 crowns. [1]"),
        ("It costs 4.5", "time", None),
        ("It costs 4 crowns.", "time", "It costs 4 crowns."),
        ("A bicycle costs approx. 4", "length", None),
        ("It is free. [1] A bicycle costs approx.", "length", "It is free. [1]"),
        ("It is free. A bicycle costs 4.", "length", "It is free."),
        ("It leaves at 4. [1] A d", "length", "It leaves at 4. [1]"),
        ('He said "yes." And', "length", 'He said "yes."'),
        ("自行车四克朗。[1]狗六", "length", "自行车四克朗。[1]"),
        ("هل هي مجانية؟ نعم", "time", "هل هي مجانية؟"),
        ("साइकिल चार क्राउन। कुत्ता", "context", "साइकिल चार क्राउन।"),
    ],
)
def test_what_is_cut_ends_with_its_last_whole_sentence(
    text: str, reason: Reason, words: str | None, found: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Saying(monkeypatch, text, reason).model().words("q", found) == words


def test_a_model_that_is_too_slow_again_and_again_is_left_alone(
    found: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    saying = Saying(monkeypatch, "", "time")
    model = saying.model(GeneratorSettings(model="m", failures=2, pause=60.0, most_tokens=64))
    assert [model.words("q", found) for _ in range(4)] == [None] * 4
    assert len(saying.asked) == 2


def test_a_model_that_had_no_time_because_others_were_before_it_is_not_left_alone(
    found: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = GeneratorSettings(model="m", failures=2, pause=60.0, most_tokens=64, timeout=8.0)
    for waited, asked in ((8.0, 4), (4.1, 4), (1.0, 2)):
        saying = Saying(monkeypatch, "", "time", waited=waited)
        model = saying.model(settings)
        assert [model.words("q", found) for _ in range(4)] == [None] * 4
        assert len(saying.asked) == asked


@pytest.mark.parametrize("error", [RuntimeError("no memory"), IndexError("cell 3 lies outside"), TypeError("None")])
def test_a_model_that_fails_leaves_the_extractive_answer(
    error: Exception, found: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    saying = Saying(monkeypatch, "never said")
    monkeypatch.setattr(saying.writer, "write", lambda requests: (_ for _ in ()).throw(error))
    assert saying.model().words("q", found) is None


def test_its_time_is_kept(found: list[Found]) -> None:
    writer = Writer(tiny_language_model(max_length=2_048), slots=1)
    settings = GeneratorSettings(model="m", timeout=0.2, most_tokens=900, temperature=1.0)
    begun = time.monotonic()
    OwnModel(settings, name="Harbour", sentences=3, writer=writer).words("How much?", found)
    assert time.monotonic() - begun < 3.0


def test_more_visitors_than_slots_do_not_have_the_model_left_alone(found: list[Found]) -> None:
    """Those who wait in the queue until their time is over get the extractive answer, and are read by nobody."""
    writer = Writer(tiny_language_model(max_length=2_048), slots=1, drafts=0)
    writer.ends = frozenset()
    settings = GeneratorSettings(model="m", failures=1, pause=600.0, timeout=0.05, most_tokens=64)
    model = OwnModel(settings, name="Harbour", sentences=3, writer=writer)
    held = writer.begin(GenerationRequest((0, 5, 6), max_tokens=2_000, temperature=1.0))
    for _ in held:
        assert model.words("How much?", found) is None
        assert not model.breaker.resting
        break


# In an assistant ----------------------------------------------------------------------------------------------------


def test_what_it_makes_up_does_not_pass_the_gate_and_the_extractive_answer_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path / "run", documents_of_harbour("luggage-and-bicycles.md"))
    tiny_language_model(max_length=2_048).save(run / "lm" / "model", card="")
    (run / "assistant.toml").write_text(
        '[assistant]\nthreshold = 0.0\n[assistant.generator]\nmodel = "lm"\nmost_tokens = 64\n', encoding="utf-8"
    )
    assistant = Assistant.open(run)
    assert isinstance(assistant.generator, OwnModel)
    said = ["A bicycle costs 937 crowns. [1]", "A bicycle costs 4 crowns. [1]"]
    monkeypatch.setattr(OwnModel, "words", lambda self, question, found: said.pop(0))
    replies = [assistant.reply(visitor("How much is it to take a bicycle?")) for _ in range(2)]
    assert [(reply.decision, reply.path) for reply in replies] == [("answer", "extractive"), ("answer", "generator")]
    assert "937" not in replies[0].text and "bicycle" in replies[0].text.lower()


def test_a_folder_is_relative_to_the_settings_and_a_name_stays(tmp_path: Path) -> None:
    (tmp_path / "lm").mkdir()
    for model, expected in (("lm", str((tmp_path / "lm").resolve())), ("smollm2", "smollm2")):
        (tmp_path / "assistant.toml").write_text(f'[assistant.generator]\nmodel = "{model}"\n', encoding="utf-8")
        generator = load_settings(tmp_path).generator
        assert generator is not None and generator.model == expected and generator.base_url is None


def test_a_model_that_cannot_serve_is_refused_in_words(tmp_path: Path) -> None:
    def opened(model: str, **numbers: int) -> None:
        opened_generator(AssistantSettings(generator=GeneratorSettings(model=model, **numbers)))

    with pytest.raises(
        ConfigError, match=r"'gpt-9' has no base_url, so it is opened in this process.*No model 'gpt-9'"
    ):
        opened("gpt-9")
    tiny_product().save(tmp_path / "encoder", card="")
    with pytest.raises(InputError, match="one of the text encoders, which write nothing"):
        opened(str(tmp_path / "encoder"))
    tiny_language_model(max_length=256).save(tmp_path / "short", card="")
    with pytest.raises(ConfigError, match=r"reads 256 tokens at once.*leave no room for a passage"):
        opened(str(tmp_path / "short"))
    bare = tiny_language_model(max_length=2_048)
    bare.save(tmp_path / "bare", card="")
    (tmp_path / "bare" / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ConfigError, match="has no chat template"):
        opened(str(tmp_path / "bare"))


def test_what_words_answers_and_what_reads_its_words_are_told_to_the_owner(tmp_path: Path) -> None:
    assert about_generator(tmp_path, AssistantSettings(), marked=False) == ()
    settings = AssistantSettings(generator=GeneratorSettings(model="../lm"))
    model, head = about_generator(tmp_path, settings, marked=False)
    assert model.startswith("Generator: lm, in this process.") and head.startswith("Grounding head: none")
    (tmp_path / "grounding").mkdir()
    assert about_generator(tmp_path, settings, marked=True)[1] == "Grounding head: loaded from grounding of the run."
    (unused,) = about_generator(tmp_path, AssistantSettings(), marked=False)
    assert "is not used: no generator is set" in unused


def test_what_anybody_may_read_of_a_generator_names_no_address_and_no_folder(tmp_path: Path) -> None:
    chosen = {"model": str(tmp_path / "lm"), "base_url": "http://user:secret@10.0.0.7:8000/v1"}
    settings = AssistantSettings.model_validate({"generator": chosen})
    told = " ".join(about_generator(tmp_path, settings, marked=True))
    assert "behind the endpoint" in told and not any(word in told for word in ("secret", "10.0.0.7", str(tmp_path)))
