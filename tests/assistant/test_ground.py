import contextlib
import json
import re
import socket
import threading
import time
import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from shoptalk.assistant.assistant_settings import GeneratorSettings
from shoptalk.assistant.generator import Generator
from shoptalk.assistant.ground import ground, sentences_of, unsupported
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import passages_of
from shoptalk.errors import ConfigError
from shoptalk.records import Document

ROOT = Path(__file__).parents[2]
TEXT = """# Tariffs

## Bicycles

A bicycle costs 4 crowns on all lines. Up to twelve fit on board. Return it to Yrsa Holm by 18:30.

## Dogs

A dog costs 6.50 crowns. The notice says "dogs on a lead". Dogs do not travel in the saloon.
"""


@pytest.fixture
def found() -> list[Found]:
    passages = passages_of(Document(id="t.md", source="t.md", text=TEXT))
    return [Found(n, passage, 1.0, 0.5, 1.0) for n, passage in enumerate(passages)]


def test_a_sentence_that_stands_in_what_it_cites_is_kept_with_its_source(found: list[Found]) -> None:
    grounded = ground("A bicycle costs 4 crowns. [1] A dog costs 6,50 crowns [2].", found)
    assert [(s.text, s.sources) for s in grounded.sentences] == [
        ("A bicycle costs 4 crowns.", (1,)),
        ("A dog costs 6,50 crowns.", (2,)),
    ]
    assert not grounded.refused


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("A bicycle costs 5 crowns. [1]", "the number 5"),
        ("A bicycle costs 4 crowns. [2]", "the number 4"),
        ("A bicycle costs nine crowns. [1]", "the number 'nine'"),
        ("Return the bicycle by 19:30. [1]", "the number 19:30"),
        ("Return the bicycle to Marta Lund on board. [1]", "the name 'Marta Lund'"),
        ('The notice says "cats on a lead". [2]', "the quotation"),
        ("A bicycle costs 4 crowns. [7]", "cites \\[7\\]"),
        ("Pigeons may fly wherever the captain pleases. [1]", "telling words"),
        ("A bicycle costs 4 crowns, see https://evil.example [1]", "a link"),
        ("A bicycle does not cost 4 crowns. [1]", "denies something"),
        ("He did. [1]", "says nothing that could be looked up"),
        ("Vouchers are handed out at the museum on Sundays.", "cites nothing"),
    ],
)
def test_what_does_not_stand_there_goes_with_the_reason(said: str, reason: str, found: list[Found]) -> None:
    grounded = ground(said, found)
    assert grounded.sentences == ()
    ((_, told),) = grounded.refused
    assert re.search(reason, told)


def test_one_wrong_sentence_goes_and_the_others_stay(found: list[Found]) -> None:
    grounded = ground("A bicycle costs 4 crowns. [1] It costs 9 crowns on Sundays. [1]", found)
    assert [s.text for s in grounded.sentences] == ["A bicycle costs 4 crowns."]
    assert len(grounded.refused) == 1


def test_a_sentence_without_a_citation_gets_the_passage_that_it_stands_in(found: list[Found]) -> None:
    (sentence,) = ground("A dog costs 6.50 crowns.", found).sentences
    assert sentence.sources == (2,)


def test_the_ends_of_a_range_are_numbers_however_they_are_written() -> None:
    text = "# Fees\n\nThe fee of the office is 4.50-6.00 crowns."
    (passage,) = passages_of(Document(id="f.md", source="f.md", text=text))
    grounded = ground("The fee of the office is 4.50 crowns. [1]", [Found(0, passage, 1.0, 0.5, 1.0)])
    assert len(grounded.sentences) == 1, grounded.refused


def test_a_sentence_of_common_words_stands_only_where_it_stands_word_for_word() -> None:
    (passage,) = passages_of(Document(id="f.md", source="f.md", text="# Dogs\n\nMay I take a dog? Yes, you may."))
    hits = [Found(0, passage, 1.0, 0.5, 1.0)]
    assert [s.text for s in ground("You may. You may not. It is. He did.", hits).sentences] == ["You may."]


def test_a_number_in_words_is_the_number(found: list[Found]) -> None:
    assert not ground("Up to 12 bicycles fit on board. [1]", found).refused


@pytest.mark.parametrize(
    "said",
    [f"[{'1' * 36} x.", f"[{'1 ' * 50_000}x.", f"{' ' * 50_000}[x.", f"[{'9' * 5_000}]."],
    ids=["digits", "numbers", "spaces", "a long number"],
)
def test_brackets_that_cite_nothing_are_read_in_no_time(said: str, found: list[Found]) -> None:
    said = f"It costs {said}"
    begun = time.process_time()
    assert ground(said, found).sentences == ()
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize("cited", ["[1]", "[1, 2]", "[1;2]", "[1 2]", "[1][2]", "[2,1,]"])
def test_citations_are_read_however_they_are_separated(cited: str, found: list[Found]) -> None:
    (sentence,) = ground(f"A bicycle costs 4 crowns {cited}.", found).sentences
    assert sentence.text == "A bicycle costs 4 crowns."
    assert sentence.sources == tuple(int(number) for number in re.findall(r"\d", cited))


def test_items_of_a_list_are_no_range() -> None:
    text = "# Cabins\n\n- Cabins for adults cost 8\n- 10 crowns a night for the lift\n"
    (passage,) = passages_of(Document(id="c.md", source="c.md", text=text))
    for dash in "-–":
        said = f"Cabins for adults cost 8{dash}10 crowns. [1]"
        assert not ground(said, [Found(0, passage, 1.0, 0.5, 1.0)]).sentences


def test_every_sentence_of_the_example_stands_in_its_own_document() -> None:
    for path in sorted((ROOT / "examples/harbour/documents").glob("*.md")):
        passages = passages_of(Document(id=path.name, source=path.name, text=path.read_text("utf-8")))
        whole = "\n".join(f"{passage.heading}\n{passage.text}\n{passage.sought}" for passage in passages)
        for line in {line.text for passage in passages for line in passage.lines}:
            assert [unsupported(sentence, whole) for sentence in sentences_of(line)] == [None] * len(
                sentences_of(line)
            ), line


def answer(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


class Endpoint:
    """A mock of the endpoint: answers what it is given in turn, errors included."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers, self.bodies = list(answers), list[dict[str, object]]()

    def __call__(self, address: str, headers: dict[str, str], body: bytes, seconds: float) -> bytes:
        self.bodies.append(json.loads(body))
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


def generator(endpoint: Endpoint, **settings: float) -> Generator:
    chosen = GeneratorSettings.model_validate({"model": "m", "base_url": "http://x/v1", **settings})
    return Generator(chosen, name="Harbour", sentences=3, post=endpoint)


def broken(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", code, "", Message(), None)


def test_the_generator_reads_the_passages_and_its_words_come_back(found: list[Found]) -> None:
    endpoint = Endpoint(answer("A bicycle costs 4 crowns. [1]"))
    assert generator(endpoint).words("How much?", found) == "A bicycle costs 4 crowns. [1]"
    assert "[2] Tariffs – Dogs" in json.dumps(endpoint.bodies[0], ensure_ascii=False)


def test_a_failure_that_may_pass_is_tried_again_and_another_is_not(found: list[Found]) -> None:
    assert generator(Endpoint(broken(503), answer("ok")), retries=1).words("q", found) == "ok"
    refused = Endpoint(broken(401), answer("never asked"))
    assert generator(refused, retries=3).words("q", found) is None
    assert len(refused.bodies) == 1


def test_after_failures_in_a_row_it_is_left_alone(found: list[Found]) -> None:
    endpoint = Endpoint(*[TimeoutError()] * 2, answer("not asked"))
    asked = generator(endpoint, retries=0, failures=2, pause=60.0)
    assert [asked.words("q", found) for _ in range(4)] == [None] * 4
    assert asked.breaker.resting
    assert len(endpoint.bodies) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"choices": []}', answer(""), answer("NO ANSWER"), b"\xff"])
def test_an_answer_that_is_none_leaves_the_extractive_one(body: bytes, found: list[Found]) -> None:
    assert generator(Endpoint(body), retries=0).words("q", found) is None


BREAKING_OFF = [
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
]


@pytest.mark.parametrize("sent", BREAKING_OFF, ids=["no status", "a chunk cut off", "nested too deeply"])
def test_an_endpoint_that_breaks_off_is_asked_again_and_counts_as_failing(sent: bytes, found: list[Found]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        requests: list[bytes] = []

        def answer_all() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    requests.append(connection.recv(65_536))
                    connection.sendall(sent)

        thread = threading.Thread(target=answer_all)
        thread.start()
        settings = GeneratorSettings.model_validate(
            {"model": "m", "base_url": f"http://127.0.0.1:{server.getsockname()[1]}/v1", "retries": 1, "failures": 1}
        )
        asked = Generator(settings, name="Harbour", sentences=3)
        assert asked.words("q", found) is None and asked.breaker.resting
        thread.join(10)
    assert len(requests) == 2 and requests[0].startswith(b"POST /v1/chat/completions")


def test_a_key_that_is_not_in_the_environment_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARBOUR_KEY", raising=False)
    with pytest.raises(ConfigError, match="'HARBOUR_KEY', which is not set"):
        Generator(GeneratorSettings(model="m", base_url="http://x", key_env="HARBOUR_KEY"), name="n", sentences=1)


def test_a_name_with_a_title_is_one_sentence() -> None:
    assert sentences_of("Ask Dr. Brown. [1] He knows, e.g. on Monday.\n- It is free. [2]") == [
        "Ask Dr. Brown. [1]",
        "He knows, e.g. on Monday.",
        "It is free. [2]",
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("-5 °C is the lowest. [1]", ["-5 °C is the lowest. [1]"]),
        ("- 5 °C is the highest. [1]", ["5 °C is the highest. [1]"]),
        ("1. Take the ferry. [1]\n2) Buy a ticket. [1]", ["Take the ferry. [1]", "Buy a ticket. [1]"]),
        ("Sie beginnt am 3. Juli. Sie endet im August.", ["Sie beginnt am 3. Juli.", "Sie endet im August."]),
        ("3. Mai: Beginn der Saison.", ["3. Mai: Beginn der Saison."]),
        ("It takes 45 min. from the old pier.", ["It takes 45 min. from the old pier."]),
        ("It takes 45 min. Dogs ride free.", ["It takes 45 min.", "Dogs ride free."]),
    ],
)
def test_marks_of_lists_go_and_neither_minus_nor_date_does(text: str, parts: list[str]) -> None:
    assert sentences_of(text) == parts


@pytest.mark.parametrize("text", ["A. " * 20_000, "e.g. " * 20_000], ids=["letters", "abbreviations"])
def test_abbreviations_without_end_are_read_in_no_time(text: str) -> None:
    begun = time.process_time()
    assert sentences_of(text)
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Mondays the kiosk at the harbour is open.", "Tuesdays the kiosk at the harbour is open."),
        ("Bus line A stops at the harbour.", "Bus line B stops at the harbour."),
        ("The cabin is on deck 3A near the stairs.", "The cabin is on deck 3B near the stairs."),
        ("The spa is on deck B.", "The spa is on deck A."),
    ],
)
def test_weekdays_and_letters_are_names(said: str, read: str) -> None:
    assert "the name" in str(unsupported(said, read)) and unsupported(read, read) is None


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("We open at Marta's kiosk.", "We open at the kiosk of Marta."),
        ("Room no. 5 is on the first floor.", "Room 5 is on the first floor."),
        ("Wear a T-shirt on the boat.", "Wear a t-shirt on the boat."),
        ("Take tram No 5 to the harbour.", "Tram no. 5 goes to the harbour, take it."),
    ],
)
def test_neither_whose_it_is_nor_a_number_s_abbreviation_refuses_a_sentence(said: str, read: str) -> None:
    assert unsupported(said, read) is None


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("There is no 24-hour reception.", "There is a 24-hour reception."),
        ("There is no 5 pm ferry.", "There is a 5 pm ferry."),
        ("There are no 2-bed rooms.", "There are 2-bed rooms."),
    ],
)
def test_no_before_a_number_denies(said: str, read: str) -> None:
    assert unsupported(said, read) == "denies something, and nothing that it cites does"


def test_a_unit_that_nothing_read_has_beside_its_number_must_stand_there() -> None:
    assert "telling words" in str(unsupported("The tour lasts 5 hours.", "The tour has 5 guides."))


def test_an_endpoint_that_drips_is_given_up_when_its_time_is_over(found: list[Found]) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                with contextlib.suppress(OSError):
                    while not over.wait(0.05):
                        connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        settings = GeneratorSettings.model_validate(
            {
                "model": "m",
                "base_url": f"http://127.0.0.1:{server.getsockname()[1]}/v1",
                "retries": 0,
                "failures": 1,
                "timeout": 0.3,
            }
        )
        asked, begun = Generator(settings, name="Harbour", sentences=3), time.monotonic()
        assert asked.words("q", found) is None and asked.breaker.resting
        assert time.monotonic() - begun < 5.0
        over.set()
        thread.join(10)


@pytest.mark.parametrize(
    "said", ["„", "one dog ", "before after ", "the right the left ", "e.g. ", "3 May ", "half an "]
)
def test_what_a_looping_model_says_is_judged_in_no_time(said: str) -> None:
    said = said * (30_000 // len(said))
    begun = time.process_time()
    unsupported(said, said)
    unsupported(said, "The kiosk opens at 9.")
    assert time.process_time() - begun < 8.0
