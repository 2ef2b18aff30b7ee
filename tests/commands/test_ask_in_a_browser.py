"""A person answers on the page of `shoptalk ask`, at a desk and on a phone, by keys alone and without a script."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from shoptalk.commands.ask_desk import Desk
from tests.chromium import open_chromium, without_chromium
from tests.commands.asked_double import LABELS, FakeAsking

pytestmark = [without_chromium, pytest.mark.slow]
PHONE, DESK = 390, 1440
MANY = tuple(
    f"{what} {how}" for what in ("card", "cash", "top up", "transfer", "refund") for how in map(str, range(30))
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as opened:
        yield opened


class Served:
    """An asking that a browser can open, and stop."""

    def __init__(self, session: FakeAsking) -> None:
        self.session, listening = session, socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        self.desk = Desk(session, run="runs/acme", place=f"127.0.0.1:{listening.getsockname()[1]}", linger=60.0)
        config = uvicorn.Config(self.desk.app(), log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        ends = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < ends
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


@contextlib.contextmanager
def opened(
    browser: Any, session: FakeAsking, *, width: int = DESK, complaints: list[str] | None = None, **settings: Any
) -> Iterator[tuple[Any, Served]]:
    """The page, on which nothing may complain and which may ask nothing of another host."""
    served, heard = Served(session), [] if complaints is None else complaints
    context = browser.new_context(viewport={"width": width, "height": 844}, **settings)
    page = context.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request", lambda request: heard.extend([] if request.url.startswith(served.desk.address) else [request.url])
    )
    try:
        page.goto(served.desk.address)
        yield page, served
    finally:
        context.close()
        served.stop()
    assert complaints is not None or heard == []


def ready(page: Any) -> None:
    page.wait_for_selector("body.ready")


def press(page: Any, key: str, number: int | None = None) -> None:
    """A key once the page takes any; `number` is the question that follows."""
    ready(page)
    page.keyboard.press(key)
    if number is not None:
        page.wait_for_selector(f"h1:has-text('Question {number}.')")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_person_answers_by_keys_alone_until_it_is_settled(browser: Any, width: int) -> None:
    fake = FakeAsking(settles_at=8)
    with opened(browser, fake, width=width) as (page, _):
        press(page, "1", 2)
        press(page, "2", 3)
        press(page, "0", 4)  # none of these
        assert page.get_by_role("status").inner_text() == "Kept: none of these."
        press(page, "u", 3)  # undo
        press(page, "1", 4)
        page.reload()
        assert " ".join(page.locator("h1").inner_text().split()) == "Question 4. Which label fits this message?"
        press(page, "s", 4)  # skip
        assert "message 4" in page.locator("#message").inner_text()
        press(page, "n")  # similar messages
        page.wait_for_selector("#near")
        assert "near message 4" in page.locator(".near").inner_text()
        ready(page)
        page.keyboard.press("/")
        page.keyboard.type("EXCHANGE")
        page.keyboard.press("Enter")  # goes to the label,
        page.keyboard.press("Enter")  # and answers with it
        page.wait_for_selector("h1:has-text('Question 5.')")
        for number in (6, 7, 8):
            press(page, "1", number)
        press(page, "3")
        page.wait_for_selector("h1:has-text('Settled by 8 answers: take adapted')")
        labels = [label for _, label in fake.given]
        assert labels == [LABELS[0], LABELS[1], LABELS[0], LABELS[3], LABELS[0], LABELS[0], LABELS[0], LABELS[2]]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.activeElement.id") == "message"


def test_the_interval_is_drawn_as_it_narrows_with_words_beside_it(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, _):
        assert page.locator("aside svg").count() == 0
        for number in range(2, 8):
            press(page, "1", number)
        picture = page.locator("aside .wide svg")
        assert picture.is_visible() and not page.locator("aside .narrow svg").is_visible()
        assert page.get_by_role("img", name="The interval of the gain after 6 answers").count() == 1
        assert "About 6 more would settle it." in page.locator("aside").inner_text()
        page.get_by_text("The numbers of this picture").click()
        assert page.locator("aside tbody tr").count() == 7


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_all_can_be_done_without_a_script(browser: Any, width: int) -> None:
    labels = (*LABELS, *MANY)
    fake = FakeAsking(labels=labels, settles_at=3)
    with opened(browser, fake, width=width, java_script_enabled=False) as (page, _):
        page.get_by_role("button", name=LABELS[1]).first.click()
        assert page.get_by_role("status").inner_text() == f"Kept: {LABELS[1]}"
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("link", name="Similar messages").click()
        assert "near message 0" in page.locator(".near").inner_text()
        page.get_by_label("Another label").fill("refund 29")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("button", name="refund 29").click()
        page.get_by_role("button", name="None of these").click()
        page.get_by_role("button", name=LABELS[0]).first.click()
        assert [label for _, label in fake.given] == ["refund 29", None, LABELS[0]]
        assert "Settled by 3 answers" in page.locator("h1").inner_text()
        page.get_by_role("button", name="Done: end the asking").click()
        assert "The asking has ended" in page.locator("h1").inner_text()


def test_search_narrows_150_labels_as_one_types_and_arrows_walk_through_them(browser: Any) -> None:
    with opened(browser, FakeAsking(labels=MANY, options=MANY[:3])) as (page, served):
        press(page, "/")
        page.keyboard.type("top 7")
        assert page.locator("#matches").inner_text() == "3 of 150 labels"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.innerText") == "top up 17"
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.id") == "search"
        page.keyboard.press("1")  # a letter of the search, not an answer
        assert page.locator("#matches").inner_text() == "No label has these words"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "message" and served.session.given == []
        press(page, "1", 2)


def test_a_key_that_is_held_down_or_pressed_with_another_answers_nothing(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, served):
        ready(page)
        for key in ("Control+1", "Alt+1", "Meta+1", "q", "9", "F1"):
            page.keyboard.press(key)
        assert served.session.given == []
        page.keyboard.down("1")
        page.wait_for_selector("h1:has-text('Question 2.')")
        ready(page)
        for _ in range(5):
            page.keyboard.down("1")  # as a keyboard repeats it
        page.wait_for_timeout(300)
        page.keyboard.up("1")
        assert len(served.session.given) == 1


def test_a_double_click_answers_once(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, served):
        ready(page)
        page.locator("button.option").first.dblclick(no_wait_after=True)
        page.wait_for_selector("h1:has-text('Question 2.')")
        page.locator("button.option").first.click(no_wait_after=True)  # at once: nobody has read it
        page.wait_for_timeout(600)
        assert len(served.session.given) == 1


def test_keys_can_be_turned_off_and_stay_off(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, served):
        page.get_by_text("Keys", exact=True).click()
        page.get_by_label("Single keys answer").uncheck()
        assert not page.locator("button kbd").first.is_visible()
        page.reload()
        press(page, "1")
        page.wait_for_timeout(200)
        assert served.session.given == []
        page.get_by_role("button", name=LABELS[0]).first.click()
        page.wait_for_selector("h1:has-text('Question 2.')")


def test_a_second_window_follows_the_first_one_and_an_old_page_answers_nothing(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, served):
        other = page.context.new_page()
        other.goto(served.desk.address)
        ready(other)
        press(page, "1", 2)
        other.locator("button.option").nth(1).click()  # before it has looked
        other.wait_for_selector("h1:has-text('Question 2.')")
        assert "Nothing was changed" in other.get_by_role("status").inner_text()
        assert served.session.given == [(0, LABELS[0])]
        press(page, "1", 3)
        other.wait_for_selector("h1:has-text('Question 3.')")  # by itself


def test_the_back_button_leads_to_the_question_of_now(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, served):
        press(page, "n")
        page.wait_for_selector("#near")
        press(page, "1", 2)
        press(page, "2", 3)
        page.go_back()
        page.wait_for_selector("h1:has-text('Question 3.')")
        press(page, "1", 4)
        assert [place for place, _ in served.session.given] == [0, 1, 2]


def test_the_page_says_when_the_asking_has_stopped(browser: Any) -> None:
    complaints: list[str] = []  # that a fetch failed is one
    with opened(browser, FakeAsking(), complaints=complaints) as (page, served):
        press(page, "1", 2)
        served.stop()
        page.wait_for_selector("#stopped:visible", timeout=10_000)
        assert "what was answered is kept" in page.get_by_role("alert").inner_text()
        assert page.locator("button.option").first.is_disabled()
    assert all("ERR_CONNECTION_REFUSED" in one for one in complaints)


def test_another_page_of_the_same_browser_can_neither_read_nor_answer(browser: Any, tmp_path: Any) -> None:
    with opened(browser, FakeAsking(), complaints=[]) as (_, served):
        evil = tmp_path / "evil.html"
        evil.write_text(
            f"<form method=post action='{served.desk.address}answer'><input name=turn value=0>"
            "<input name=choice value=o0></form>"
        )
        context = browser.new_context()
        page = context.new_page()
        page.goto(evil.as_uri())
        read = page.evaluate(f"fetch('{served.desk.address}').then(() => 'read', () => 'refused')")
        page.evaluate("document.forms[0].submit()")
        page.wait_for_selector("h1:has-text('This form is refused')")
        framed = page.goto(served.desk.address).headers["x-frame-options"]
        context.close()
        assert (read, framed, served.session.given) == ("refused", "DENY", [])


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_two_replies_are_compared_by_keys(browser: Any, width: int) -> None:
    replies = ("We open at nine.\nOn Sundays at ten.", "Your card is on its way. " * 12)
    fake = FakeAsking(labels=(), options=replies, context=(("customer", "Where is my card?"),), settles_at=3)
    with opened(browser, fake, width=width) as (page, _):
        assert "Which of these two replies fits?" in page.locator("h1").inner_text()
        press(page, "2", 2)
        press(page, "0", 3)
        press(page, "1")
        page.wait_for_selector("h1:has-text('Settled')")
        assert [label for _, label in fake.given] == [replies[1], None, replies[0]]


HOSTILE = (
    '<script>document.title = "taken"</script><img src="https://evil.example/x.png" onerror="alert(1)">',
    "أين بطاقتي؟ لقد طلبتها قبل أسبوعين",
    "word" * 300,
    "line\n" * 200,
    "\u202eright to left by force\u202c 💳",
)


@pytest.mark.parametrize("text", HOSTILE, ids=["markup", "arabic", "one word", "many lines", "override"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_message_or_label_breaks_the_page(browser: Any, text: str, width: int) -> None:
    labels = (text, "💳 card", "b" * 90, *LABELS)
    with opened(browser, FakeAsking(messages=(text,) * 4, labels=labels, options=labels[:4]), width=width) as (
        page,
        served,
    ):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        title = page.title()
        press(page, "1", 2)
        assert served.session.given == [(0, text)]
        assert re.match(r"Question 1 ·", title)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_axe_finds_no_serious_violation_from_the_first_question_to_the_last_page(
    browser: Any, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

    def bad() -> list[tuple[str, str]]:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        violations = axe.Axe().run(page).response["violations"]
        return [(one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in {"serious", "critical"}]

    messages = ("A long one. " * 120, "short", "other")
    fake = FakeAsking(messages=messages, labels=(*LABELS, *MANY), settles_at=3)
    with opened(browser, fake, width=width, color_scheme=scheme, bypass_csp=True, complaints=[]) as (page, _):
        assert bad() == []
        press(page, "n")
        page.wait_for_selector("#near")
        assert bad() == []
        press(page, "1", 2)
        assert bad() == []
        press(page, "1", 3)
        press(page, "1")
        page.wait_for_selector("h1:has-text('Settled')")
        assert bad() == []


TWO_TEXTS = ("The parcel waits at the depot.\n\nNobody has answered. " * 6, "Late parcel.")


def of_texts() -> FakeAsking:
    turns = (("customer", "Where is it? " * 60), ("agent", "Which one?"))
    prompts = tuple(f"Summarise conversation {i}." for i in range(9))
    return FakeAsking(messages=prompts, labels=(), options=TWO_TEXTS, context=turns, kind="texts", settles_at=4)


@pytest.mark.parametrize(("width", "beside"), [(PHONE, False), (DESK, True)])
def test_two_texts_stand_beside_each_other_where_there_is_room_and_are_judged_by_keys(
    browser: Any, width: int, beside: bool
) -> None:
    fake = of_texts()
    with opened(browser, fake, width=width) as (page, _):
        ready(page)
        first, second = (page.locator("button.option").nth(place).bounding_box() for place in (0, 1))
        assert (first["y"] == second["y"]) is beside and (first["x"] == second["x"]) is not beside
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("aside svg").count() == 0
        for number, key in enumerate(("1", "0", "b"), start=2):
            press(page, key, number)
        press(page, "2")
        page.wait_for_selector("h1:has-text('Settled by 4 answers')")
        assert [label for _, label in fake.given] == [TWO_TEXTS[0], None, None, TWO_TEXTS[1]]
        assert page.locator("aside svg").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_axe_finds_no_serious_violation_where_texts_are_judged(browser: Any, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    with opened(browser, of_texts(), width=width, color_scheme=scheme, bypass_csp=True, complaints=[]) as (page, _):
        ready(page)
        violations = axe.Axe().run(page).response["violations"]
        assert [one["id"] for one in violations if one["impact"] in {"serious", "critical"}] == []


def test_every_control_takes_the_focus_in_the_order_of_the_page(browser: Any) -> None:
    with opened(browser, FakeAsking()) as (page, _):
        ready(page)
        seen = []
        for _ in range(14):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
        said = [" ".join(one.split()) for one in seen]
        assert said[:6] == [
            "1 card lost",
            "2 card arrival",
            "3 top up failed",
            "0 None of these",
            "s Skip",
            "n Similar messages",
        ]
        assert said[6:10] == ["search", "All 6 labels", "Keys", "Stop for now"]
