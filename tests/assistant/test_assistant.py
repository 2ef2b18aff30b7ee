import subprocess
import sys
from pathlib import Path

import pytest

from shoptalk.assistant.asked_turn import AskedTurn
from shoptalk.assistant.assistant import Assistant
from tests.assistant.small_run import documents_of_harbour, small_run, visitor


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(
        tmp_path_factory.mktemp("run"), documents_of_harbour("tariffs.md", "pets.md", "luggage-and-bicycles.md")
    )


@pytest.fixture(scope="module")
def assistant(run: Path) -> Assistant:
    return Assistant.open(run)


def test_a_question_about_a_price_is_answered_with_the_amount_and_its_document(assistant: Assistant) -> None:
    reply = assistant.reply(visitor("How much is it to take a bicycle?"))
    assert (reply.decision, reply.reason, reply.path) == ("answer", "supported", "extractive")
    assert "4" in reply.text
    assert {source.document for source in reply.cited} <= {"documents/tariffs.md", "documents/luggage-and-bicycles.md"}


def test_each_sentence_stands_in_its_document_where_the_reply_says(assistant: Assistant, run: Path) -> None:
    texts = {document.id: document.text for document in assistant.knowledge.shelf.documents()}
    reply = assistant.reply(visitor("How much is it to take a bicycle?"))
    assert reply.sentences
    for sentence in reply.sentences:
        source = reply.sources[sentence.sources[0] - 1]
        assert source.used
        assert sentence.start is not None
        assert sentence.text.split()[0].strip("*") in texts[source.document][sentence.start : sentence.end]
        assert texts[source.document][source.start : source.end] == source.text


def test_a_follow_up_is_read_with_the_turn_before_it(assistant: Assistant) -> None:
    def about_dogs(*texts: str) -> int:
        return sum("dog" in source.text.lower() for source in assistant.reply(visitor(*texts)).sources[:4])

    asked = "And how much is that?"
    assert about_dogs("I have a dog.", "Dogs are welcome on every ship.", asked) > about_dogs(asked)


def test_only_what_the_answer_rests_on_is_cited(assistant: Assistant) -> None:
    reply = assistant.reply(visitor("How much is it to take a bicycle?"))
    ranks = {rank for sentence in reply.sentences for rank in sentence.sources}
    assert {source.rank for source in reply.cited} == ranks
    assert len(reply.sources) > len(reply.cited)


def test_a_wish_for_a_person_is_announced(assistant: Assistant) -> None:
    reply = assistant.reply(visitor("I want to talk to a person"))
    assert (reply.decision, reply.reason) == ("escalate", "customer_request")
    assert "a person" in reply.text
    assert not reply.cited


def test_an_unreadable_message_is_asked_for_again(assistant: Assistant) -> None:
    assert assistant.reply(visitor(" ... ")).reason == "nothing_to_read"
    assert assistant.reply(visitor("\ud800")).decision == "clarify"


@pytest.mark.parametrize(
    "written",
    [
        "H\u200bow mu\u00adch is it to take a bi\u2060cycle?\ufeff",
        "\u202eHow much is it to take a bicycle?\u202c",
        "".join(chr(ord(sign) + 0xFEE0) if sign != " " else "\u3000" for sign in "How much is it to take a bicycle?"),
    ],
)
def test_a_question_with_unseen_signs_or_wide_letters_is_read_as_it_looks(assistant: Assistant, written: str) -> None:
    plain = "How much is it to take a bicycle?"
    turns = visitor(written)
    assert assistant.reply(turns).text == assistant.reply(visitor(plain)).text
    assert AskedTurn.of(turns).message == plain
    assert turns == visitor(written)  # what is stored of it stays as it was sent


def test_signs_that_words_are_spelt_with_and_what_we_said_stay() -> None:
    persian, family = "\u0645\u06cc\u200c\u0631\u0648\u062f", "\U0001f469\u200d\U0001f467"
    asked = AskedTurn.of(visitor("A cabin of 9\u00a0m\u00b2?", "It has 9\u00a0m\u00b2.", f"{persian} {family}"))
    assert asked.message == f"{persian} {family}"
    assert (asked.before, asked.last) == (("A cabin of 9\u00a0m\u00b2?",), "It has 9\u00a0m\u00b2.")


def test_a_message_of_unseen_signs_alone_is_asked_for_again(assistant: Assistant) -> None:
    assert assistant.reply(visitor("\u200b\u2060")).reason == "nothing_to_read"


def test_the_assistant_is_opened_without_anything_that_trains(run: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from shoptalk.assistant.assistant import Assistant\n"
        f"assistant = Assistant.open(pathlib.Path({str(run)!r}))\n"
        "heavy = {'transformers', 'sklearn', 'shoptalk.training', 'shoptalk.objectives', 'shoptalk.stages'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=120, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_a_reply_can_be_imported_without_torch() -> None:
    code = "import sys, shoptalk.assistant.reply; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
