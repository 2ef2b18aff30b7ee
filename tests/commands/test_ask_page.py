"""The page of `shoptalk ask` without a browser: what it shows, what it takes, and from whom."""

import contextlib
import html
import os
import re
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.cli import ask_terminal
from shoptalk.commands import ask_page
from shoptalk.commands.ask_desk import Desk
from shoptalk.commands.ask_page import ask_on_page
from shoptalk.errors import InputError, StorageError
from tests.commands.asked_double import LABELS, FakeAsking

PLACE = "127.0.0.1:8123"
ROOT = Path(__file__).parents[2]


class Reader:
    """A browser without a script: it follows forms of the page that it has."""

    def __init__(self, session: FakeAsking, **choices: float) -> None:
        self.session = session
        self.desk = Desk(session, run="runs/acme", place=PLACE, linger=choices.get("linger", 60.0))
        self.client = TestClient(self.desk.app(), base_url=f"http://{PLACE}", follow_redirects=True)
        self.path = f"/{self.desk.secret}/"

    def page(self, query: str = "") -> str:
        answer = self.client.get(self.path + query)
        assert answer.status_code == 200
        return answer.text

    def send(self, verb: str, choice: str = "", *, turn: int | None = None, **headers: str) -> tuple[int, str]:
        data = {"turn": str(self.desk.turn if turn is None else turn), "choice": choice}
        answer = self.client.post(
            self.path + verb, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        return answer.status_code, answer.text


@pytest.fixture
def reader() -> Reader:
    return Reader(FakeAsking())


def words(page: str) -> str:
    """The text that a reader sees."""
    body = re.sub(r"<(style|script|title)[^>]*>.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_question_is_shown_with_its_options_in_the_order_of_the_session(reader: Reader) -> None:
    said = words(reader.page())
    assert "Question 1. Which label fits this message?" in said
    assert "message 0: where has my card gone?" in said
    assert re.search(r"1 card lost 2 card arrival 3 top up failed 0 None of these s Skip", said)


def test_nothing_before_the_end_tells_which_system_gave_which_answer() -> None:
    fake = FakeAsking()
    one, other = Reader(fake).page(), Reader(FakeAsking(systems=("adapted", "base"))).page()
    without = [re.sub(r"(?s)<aside.*", "", page) for page in (one, other)]
    assert re.sub(r"\w{30,}", "", without[0]) == re.sub(r"\w{30,}", "", without[1])


@pytest.mark.parametrize(("choice", "label"), [("o0", LABELS[0]), ("o2", LABELS[2]), ("l4", LABELS[4]), ("none", None)])
def test_an_option_a_searched_label_or_none_of_these_is_kept_and_told(
    reader: Reader, choice: str, label: str | None
) -> None:
    status, page = reader.send("answer", choice)
    assert status == 200 and reader.session.given == [(0, label)]
    assert f"Kept: {label or 'none of these.'}" in words(page) and "Question 2." in words(page)


@pytest.mark.parametrize("choice", ["", "o3", "o-1", "o²", "l6", "l99999999999", "x", "nonesuch", "o0o0", "O0"])
def test_a_choice_that_the_page_does_not_have_is_refused_and_nothing_is_kept(reader: Reader, choice: str) -> None:
    status, page = reader.send("answer", choice)
    assert status == 400 and "It does not belong to this question." in words(page)
    assert reader.session.given == [] and reader.desk.turn == 0


def test_an_unknown_verb_is_refused(reader: Reader) -> None:
    assert reader.send("delete", "o0")[0] == 400 and reader.session.given == []


def test_a_skipped_question_makes_way_for_another(reader: Reader) -> None:
    _, page = reader.send("skip", "skip")
    assert reader.session.skipped == [0] and "message 1:" in words(page) and "Skipped: it is asked again" in words(page)


def test_undo_takes_the_last_answer_back_and_asks_it_again(reader: Reader) -> None:
    assert "u Undo" not in words(reader.page())
    reader.send("answer", "o0")
    assert "u Undo n Similar messages" in words(reader.page())
    _, page = reader.send("undo", "undo")
    assert reader.session.given == []
    assert "message 0:" in words(page) and "The last answer is taken back." in words(page)


def test_undo_where_there_is_nothing_says_so(reader: Reader) -> None:
    assert "There is nothing to take back." in words(reader.send("undo", "undo")[1])


def test_an_answer_to_an_earlier_question_changes_nothing_and_says_so(reader: Reader) -> None:
    reader.page()
    reader.send("answer", "o0", turn=0)  # from one window
    _, page = reader.send("answer", "o1", turn=0)  # from another, which still shows the first question
    assert reader.session.given == [(0, LABELS[0])]
    assert "Nothing was changed; this is the question now." in words(page) and "message 1:" in words(page)
    assert "Nothing was changed" not in words(reader.page())


def test_an_answer_from_before_an_undo_is_of_the_past_though_the_question_is_the_same(reader: Reader) -> None:
    reader.send("answer", "o0")
    reader.send("undo", "undo")
    reader.send("answer", "o1", turn=0)
    assert reader.session.given == []


def test_the_second_half_of_a_double_click_changes_nothing_and_needs_no_words(reader: Reader) -> None:
    reader.send("answer", "o0", turn=0)
    _, page = reader.send("answer", "o0", turn=0)
    assert len(reader.session.given) == 1 and "Kept: card lost" in words(page)


def test_each_answer_is_with_the_session_before_the_next_page(reader: Reader) -> None:
    for count in range(1, 6):
        reader.send("answer", "o0")
        assert len(reader.session.given) == count


def test_neighbours_come_on_demand_with_their_labels(reader: Reader) -> None:
    assert "near message" not in words(reader.page())
    said = words(reader.page("?near=1"))
    assert "my card is gone labelled card lost" in said and "near message 0 no label" in said


def test_search_works_without_a_script_and_does_not_mind_case_accents_and_underscores() -> None:
    reader = Reader(FakeAsking(labels=(*LABELS, "carte_perdue", "Crédit refusé"), options=LABELS[:2]))
    page = reader.page("?q=CARTE+perdue")
    assert "1 of 8 labels" in words(page) and 'value="l6"' in page and 'value="l5"' not in page
    assert 'value="l7"' in reader.page("?q=credit")
    assert "No label has these words." in words(reader.page("?q=weather"))


def test_there_is_no_search_where_the_options_are_all_labels() -> None:
    reader = Reader(FakeAsking(labels=LABELS[:3]))
    assert "Another label" not in words(reader.page())


def test_two_replies_are_asked_about_after_the_conversation() -> None:
    replies = ("We open at nine.", "Your card is on its way.")
    turns = (("customer", "Where is it?"), ("agent", "Which one?"), ("customer", "My card."))
    reader = Reader(
        FakeAsking(labels=(), options=replies, context=turns, messages=("customer: Where is it?", "Another"))
    )
    said = words(reader.page())
    assert "Which of these two replies fits?" in said and "Another label" not in said and "customer:" not in said
    assert (
        "customer Where is it? agent Which one? customer My card. 1 We open at nine. 2 Your card is on its way." in said
    )
    assert "0 Neither, or both alike" in said
    reader.send("answer", "o1")
    assert reader.session.given == [(0, replies[1])]


def test_it_stops_by_itself_and_says_what_was_settled() -> None:
    reader = Reader(FakeAsking(settles_at=3))
    for _ in range(3):
        _, page = reader.send("answer", "o0")
    said = words(page)
    assert "Settled by 3 answers: take adapted" in said and "Which label" not in said
    assert reader.session.sentence in said and "the command has ended" not in said.lower().partition("settled")[2]
    assert not reader.desk.ended()  # the last answer may still be taken back
    _, page = reader.send("undo", "undo")
    assert "Question 3." in words(page) and not reader.desk.ended()


def test_a_challenger_that_may_not_be_adopted_is_not_said_to_be_taken() -> None:
    reader = Reader(FakeAsking(settles_at=1, guarded=True))
    said = words(reader.send("answer", "o0")[1])
    assert "Settled by 1 answer: keep base" in said and "take adapted" not in said


def test_an_asking_that_stops_while_it_is_open_says_so_and_how_to_go_on() -> None:
    reader = Reader(FakeAsking(settles_at=30, most=2))
    reader.send("answer", "o0")
    said = words(reader.send("answer", "o1")[1])
    assert "Open after 2 answers" in said and "--most allows more" in said
    exhausted = Reader(FakeAsking(messages=("one",), settles_at=30))
    said = words(exhausted.send("answer", "o0")[1])
    assert "Open after 1 answer" in said and "--most" not in said


def test_the_last_page_ends_the_command_after_a_while() -> None:
    reader = Reader(FakeAsking(settles_at=1), linger=0.0)
    assert not reader.desk.ended()
    reader.send("answer", "o0")
    assert reader.desk.ended()


def test_the_command_ends_though_the_browser_was_closed_after_the_last_answer() -> None:
    reader = Reader(FakeAsking(settles_at=1), linger=0.0)
    reader.client.post(f"{reader.path}answer", data={"turn": "0", "choice": "o0"}, follow_redirects=False)
    assert reader.desk.ended()


def test_a_question_is_no_answer_to_a_finished_asking() -> None:
    reader = Reader(FakeAsking(settles_at=1))
    reader.send("answer", "o0")
    assert reader.send("answer", "o0")[0] == 400 and len(reader.session.given) == 1


def test_done_ends_it_and_later_forms_are_told_so() -> None:
    reader = Reader(FakeAsking(settles_at=1))
    reader.send("answer", "o0")
    _, page = reader.send("close", "close")
    assert "The asking has ended" in words(page) and "shoptalk ask runs/acme" in words(page)
    assert reader.client.get(f"{reader.path}turn").status_code == 410
    reader.send("undo", "undo")
    assert len(reader.session.given) == 1


def test_an_answer_that_cannot_be_kept_ends_the_command_with_its_reason(reader: Reader) -> None:
    def full(key: str, label: str | None) -> None:
        raise StorageError("There is no space left where the answers go.")

    reader.session.answer = full  # type: ignore[method-assign]
    status, page = reader.send("answer", "o0")
    assert (
        status == 500 and "There is no space left" in words(page) and "Every answer before that is kept." in words(page)
    )
    assert isinstance(reader.desk.failure, StorageError)


ACTIONS = st.tuples(st.sampled_from([0, 1]), st.sampled_from(["look", "o0", "o2", "l4", "none", "skip", "undo", "o9"]))


@settings(deadline=None, max_examples=10)
@given(st.lists(ACTIONS, max_size=12))
def test_of_two_windows_only_the_one_that_shows_the_question_of_now_can_change_anything(
    actions: list[tuple[int, str]],
) -> None:
    fake = FakeAsking(settles_at=4)
    reader, shown, kept = Reader(fake), [0, 0], []
    for window, action in actions:
        before, now = list(fake.given), reader.desk.turn
        finished = fake.question() is None
        if action != "look":
            verb = action if action in ("skip", "undo") else "answer"
            status, _ = reader.send(verb, action, turn=shown[window])
            refused = action == "o9" or (finished and verb != "undo")
            current = shown[window] == now
            assert status == (400 if current and refused else 200)
            if current and not refused:
                kept.append(verb)
                assert reader.desk.turn == now + 1
                assert len(fake.given) - len(before) == {"answer": 1, "skip": 0, "undo": -bool(before)}[verb]
            else:
                assert (fake.given, reader.desk.turn) == (before, now)
        shown[window] = int(re.search(r'data-turn="(\d+)"', reader.page()).group(1))  # type: ignore[union-attr]
    assert reader.desk.turn == len(kept) and reader.desk.failure is None


# --- others on this machine, and other pages of the same browser ------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/answer", "/once/wrong", "/wrong/turn", "/a/b/c", "/%C3%A9/"])
def test_without_the_secret_there_is_nothing_here(reader: Reader, method: str, path: str) -> None:
    answer = getattr(reader.client, method)(path)
    assert answer.status_code in (404, 405) and "card lost" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8123", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8123.evil"]
)
def test_another_name_for_this_machine_is_refused(reader: Reader, host: str) -> None:
    assert reader.client.get(reader.path, headers={"host": host}).status_code == 421
    assert reader.send("answer", "o0", host=host)[0] == 421
    assert reader.session.given == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": f"https://{PLACE}"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
def test_a_form_of_another_page_answers_nothing(reader: Reader, headers: dict[str, str]) -> None:
    status, page = reader.send("answer", "o0", **headers)
    assert status == 403 and "It comes from another site." in words(page) and reader.session.given == []


def test_a_form_of_its_own_page_is_taken(reader: Reader) -> None:
    assert reader.send("answer", "o0", origin=f"http://{PLACE}", sec_fetch_site="same-origin")[0] == 200
    assert len(reader.session.given) == 1


def test_the_address_for_the_browser_leads_there_once(reader: Reader) -> None:
    first = reader.client.get(reader.desk.address_for_once)
    once = f"/once/{reader.desk.address_for_once.rpartition('/')[2]}"
    assert first.status_code == 200 and "Question 1." in words(first.text)
    again = reader.client.get(first.history[0].url)
    assert again.status_code == 404 and once != first.history[0].url.path


@pytest.mark.parametrize(
    "body", [b"", b"turn=0&choice=%FF", b"turn=0&choice=o0" + b"x" * 5000, b"&".join(b"a%d=1" % i for i in range(30))]
)
def test_a_form_that_cannot_be_read_is_refused(reader: Reader, body: bytes) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = reader.client.post(f"{reader.path}answer", content=body, headers=kind)
    assert reader.session.given == []
    assert answer.status_code == (400 if body else 200)  # an empty form is of no turn, and so of the past


def test_a_form_of_another_kind_is_refused(reader: Reader) -> None:
    answer = reader.client.post(f"{reader.path}answer", json={"turn": "0", "choice": "o0"})
    assert answer.status_code == 400 and reader.session.given == []


def test_no_page_may_be_framed_kept_or_named_to_others(reader: Reader) -> None:
    for answer in (reader.client.get(reader.path), reader.client.get("/")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_the_page_allows_its_own_script_and_style_by_their_hashes_alone(reader: Reader) -> None:
    policy = html.unescape(re.search(r'Policy" content="([^"]*)"', reader.page()).group(1))  # type: ignore[union-attr]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "form-action 'self'" in policy
    assert len(re.findall(r"'sha256-[^']+'", policy)) == 2


def test_markup_in_messages_labels_and_replies_stays_text() -> None:
    evil = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    fake = FakeAsking(messages=(evil, evil), options=(evil, "</button>"), labels=(evil, "</button>", "plain"))
    reader = Reader(fake)
    for page in (reader.page("?near=1"), reader.page(f"?q={evil}"), reader.send("answer", "o0")[1]):
        assert "<img" not in page and "alert(1)</script>" not in page
    assert fake.given == [(0, evil)]


def test_a_label_with_an_emoji_or_line_breaks_comes_back_as_it_is() -> None:
    labels = ("💳 card", "two\nlines\r\n", " spaces ", "أين")
    reader = Reader(FakeAsking(labels=labels, options=labels[:2]))
    for place in range(4):
        reader.send("answer", f"l{place}")
    assert [label for _, label in reader.session.given] == list(labels)


def test_a_long_label_may_break_at_its_marks_and_nowhere_else() -> None:
    labels = ("card_payment_fee_charged", "<b>_&amp;_", "plain")
    page = Reader(FakeAsking(labels=labels, options=labels[:2])).page()
    assert "<bdi>card_<wbr>payment_<wbr>fee_<wbr>charged</bdi>" in page
    assert "<bdi>&lt;b&gt;_&amp;amp;_</bdi>" in page


def test_a_port_that_another_program_has_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match=r"Cannot listen at 127.0.0.1:.* Another program may be there"):
            ask_on_page(FakeAsking(), run="runs/acme", port=other.getsockname()[1], open_browser=False)


@pytest.mark.parametrize(
    ("browser", "opens"),
    [(webbrowser.GenericBrowser("lynx"), False), (webbrowser.BackgroundBrowser("firefox"), True)],
)
def test_a_browser_that_would_take_the_terminal_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, browser: webbrowser.GenericBrowser, opens: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(browser, "open", opened.append, raising=False)
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    ask_page._open("http://127.0.0.1:1/once/x")
    assert opened == (["http://127.0.0.1:1/once/x"] if opens else [])


def test_a_machine_without_a_browser_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    ask_page._open("http://127.0.0.1:1/once/x")


def test_a_page_and_a_file_of_answers_are_not_asked_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--page is for a person and --answers for a file"):
        ask_terminal.ask(tmp_path, answers=tmp_path / "answers.jsonl", page=True)


def test_the_words_of_the_picture_are_there_for_who_does_not_see_it(reader: Reader) -> None:
    for _ in range(4):
        reader.send("answer", "o0")
    page = reader.page()
    described = re.search(r"<desc[^>]*>([^<]*)</desc>", page)
    assert described is not None
    assert re.match(r"It went from −\d.\d to \+\d.\d points at first. Now it goes from", described.group(1))
    assert "About 8 more would settle it." in words(page)
    assert re.search(r"<title>Question 5 · About 8 more would settle it</title>", page)


# --- the command's process --------------------------------------------------------------------------------------------

PROGRAM = """
import sys

from shoptalk.commands.ask_page import ask_on_page
from tests.commands.asked_double import FakeAsking

fake, linger = FakeAsking(settles_at=2), float(sys.argv[1])
try:
    ask_on_page(fake, run="runs/acme", tell=lambda line: print(line, flush=True), open_browser=False, linger=linger)
except KeyboardInterrupt:
    print("interrupted")
finally:
    print(len(fake.given), "answers")
"""


@contextlib.contextmanager
def process(linger: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """A process that asks, and a client of its page."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    command = [sys.executable, "-c", PROGRAM, str(linger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as running:
        assert running.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/\S+/", running.stdout.readline())
        assert address is not None
        with httpx2.Client(base_url=address.group(), follow_redirects=True) as client:
            try:
                yield running, client
            finally:
                running.kill()


@pytest.mark.slow
def test_ctrl_c_ends_the_page_cleanly_and_keeps_what_was_answered() -> None:
    with process() as (running, client):
        assert "Question 2." in client.post("answer", data={"turn": "0", "choice": "o0"}).text
        running.send_signal(signal.SIGINT)
        assert running.communicate(timeout=20)[0].split("\n")[:2] == ["interrupted", "1 answers"]
        assert running.returncode == 0


@pytest.mark.slow
def test_ctrl_c_on_the_last_page_is_no_interruption() -> None:
    with process(linger=60.0) as (running, client):
        for turn in ("0", "1"):
            client.post("answer", data={"turn": turn, "choice": "o0"})
        running.send_signal(signal.SIGINT)
        assert running.communicate(timeout=20)[0] == "2 answers\n"


@pytest.mark.slow
def test_the_command_ends_by_itself_once_it_is_settled() -> None:
    with process() as (running, client):
        client.post("answer", data={"turn": "0", "choice": "o0"})
        assert "Settled" in client.post("answer", data={"turn": "1", "choice": "o0"}).text
        assert running.communicate(timeout=20)[0].split("\n")[0] == "2 answers"


@pytest.mark.slow
def test_many_at_once_are_taken_one_after_the_other() -> None:
    """Twenty clients answer the same question together: one answer is kept."""
    with process() as (_, client), ThreadPoolExecutor(20) as threads:
        form = {"turn": "0", "choice": "o0"}
        pages = list(threads.map(lambda _: client.post("answer", data=form).text, range(20)))
        assert all("Question 2." in page for page in pages)
