"""The widget in a browser: keyboard, screen readers, tokens, breaks, reloads, and what attackers write."""

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.reply import Reply, Sentence, Source, Versions
from shoptalk.serve.service_settings import ServeSettings
from tests.chromium import without_chromium
from tests.serve.faces.host_pages import Website
from tests.serve.faces.widget_tabs import QUICK, Tab, heard, join, say, state, told
from tests.serve.fakes import FakeAssistant
from tests.serve.live import live_server

pytestmark = [pytest.mark.slow, without_chromium]
NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"{{7*7}}'


def test_the_keyboard_alone_is_enough_and_the_page_hears_nothing_of_it(browser: Any, served: Website) -> None:
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.evaluate("window.heard = []; document.addEventListener('keydown', (event) => window.heard.push(event.key))")
    active = "document.activeElement.shadowRoot?.activeElement?.{}"
    page.locator("#search").focus()
    page.keyboard.press("Tab")
    assert page.evaluate(active.format("getAttribute('aria-label')")) == "Open the chat"
    page.keyboard.press("Enter")
    assert page.evaluate(active.format("id")) == "text"
    page.keyboard.type("A bicycle?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Or two?")
    page.keyboard.press("Enter")
    heard(page, "A bicycle travels for 4 euros.")
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate(active.format("textContent")) == "Helpful"
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert page.evaluate(active.format("className")) == "launcher"
    assert page.evaluate("window.heard") == ["Tab"]
    tab.context.close()


def test_over_the_whole_screen_the_keyboard_stays_in_the_chat(browser: Any, served: Website) -> None:
    tab = Tab(browser, served, 390)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()
    assert page.get_by_role("dialog").get_attribute("aria-modal") == "true"
    for key in ("Tab", "Shift+Tab"):
        for _ in range(12):
            page.keyboard.press(key)
            assert page.evaluate("document.activeElement.localName") == "shoptalk-chat"
    tab.context.close()


WATCHED = """
  const attach = Element.prototype.attachShadow;
  window.live = [];
  Element.prototype.attachShadow = function (how) {
    const shadow = attach.call(this, how);
    const note = ({ target }) => {
      if (target.className === "log" && target.children.length > 1) live.push(target.getAttribute("aria-live"));
    };
    new MutationObserver((records) => records.forEach(note)).observe(shadow, { childList: true, subtree: true });
    return shadow;
  };
"""
"""Notes what a screen reader is to do with each message as it is added."""


def test_what_is_said_is_announced_and_what_was_said_before_is_not(browser: Any, served: Website) -> None:
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()
    log = page.locator("shoptalk-chat .log")
    assert page.locator("shoptalk-chat [role=status].state").count() == 1
    say(page, "A bicycle?", "A bicycle travels for 4 euros.")
    assert log.get_attribute("aria-live") == "polite"
    page.add_init_script(WATCHED)
    page.reload()
    heard(page, "A bicycle travels for 4 euros.")
    before = page.evaluate("window.live")
    assert before and set(before) == {"off"}
    page.wait_for_timeout(700)
    say(page, "What will the weather be?", "I cannot help with that.")
    assert page.evaluate("window.live.at(-1)") == "polite"
    tab.context.close()


class Nasty(FakeAssistant):
    """Whatever it shows is what an attacker wrote."""

    def __init__(self) -> None:
        super().__init__()
        texts = {f"face.{word}": f"{word} {NASTY}" for word in ("send", "person", "sources", "up", "writing", "log")}
        self.settings = AssistantSettings(name=NASTY, greeting=f"Hello {NASTY}", texts=texts)

    def reply(self, turns: Any, **_: Any) -> Reply:
        links = ("javascript:window.hacked=1", "data:text/html,<script>1</script>", "https://a.example/x?<b>", None)
        sources = tuple(
            Source(f"d#{rank}", NASTY, NASTY, f"section {NASTY}", 0, 9, link, NASTY, 0.9, rank, True)
            for rank, link in enumerate(links, start=1)
        )
        text = f"Answer {NASTY}"
        return Reply(
            "answer", "supported", text, (Sentence(text, (1,)),), sources, 0.9, None, "rule", Versions("r", "e", "i")
        )


def test_whatever_anybody_writes_stands_in_the_widget_as_text(browser: Any, tmp_path: Path, site: Website) -> None:
    with live_server(tmp_path, QUICK, assistant=Nasty()) as address:
        join(site, address)
        tab = Tab(browser, site)
        page = tab.visit("plain")
        page.locator("shoptalk-chat .launcher").click()
        say(page, f"Question {NASTY}", f"Answer {NASTY}")
        for summary in page.locator("shoptalk-chat .sources summary").all():
            summary.click()
        (conversation,) = {url.split("/")[5] for url in tab.asked if "/events" in url}
        place = f"{address}/v1/conversations/{conversation}"
        httpx2.post(f"{place}/handover", json={}).raise_for_status()
        httpx2.post(f"{place}/reply", json={"text": f"Agent {NASTY}"}).raise_for_status()
        for text in (f"Question {NASTY}", f"Agent {NASTY}", f"Hello {NASTY}"):
            heard(page, text)
        assert page.get_by_text(f"section {NASTY}").count() == 4
        assert page.locator("shoptalk-chat h2").text_content() == NASTY
        links = [link.get_attribute("href") for link in page.locator("shoptalk-chat a").all()]
        assert links == ["https://a.example/x?<b>"]
        assert page.locator("shoptalk-chat img, shoptalk-chat script").count() == 0
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked ?? 'no'") == "no" and tab.complaints == []
        tab.context.close()


def test_a_reply_is_shown_as_it_is_written(browser: Any, served: Website) -> None:
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()
    begun = 'event: delta\ndata: {"id": "msg_half", "text": "A bicycle"}\n\n'
    page.route(
        "**/events?*",
        lambda route: route.fulfill(
            body=begun, content_type="text/event-stream", headers={"access-control-allow-origin": served.address}
        ),
        times=1,
    )
    page.locator("shoptalk-chat #text").fill("A bicycle?")
    page.keyboard.press("Enter")
    heard(page, "A bicycle")
    assert page.locator("shoptalk-chat .log").get_attribute("aria-busy") == "true"
    heard(page, "A bicycle travels for 4 euros.")  # the stream that broke off goes on
    tab.context.close()


def test_a_token_is_renewed_before_it_ends(browser: Any, tmp_path: Path, site: Website) -> None:
    with live_server(tmp_path, ServeSettings(turn_seconds=0.0, token_minutes=0.05, per_visitor=600)) as address:
        join(site, address)
        tab = Tab(browser, site)
        page = tab.visit("plain")
        statuses: list[int] = []
        page.on("response", lambda response: statuses.append(response.status))
        page.locator("shoptalk-chat .launcher").click()
        for _ in range(3):
            say(page, "A bicycle?", "A bicycle travels for 4 euros.")
            page.wait_for_timeout(2_600)
        renewals = [url for url in tab.asked if url.endswith("/v1/widget/token")]
        assert len(renewals) >= 3 and 401 not in statuses
        page.wait_for_timeout(3_100)  # it ended while the visitor did nothing
        say(page, "What will the weather be?", "I cannot help with that.")
        assert 401 not in statuses and tab.complaints == []
        tab.context.close()


def test_a_page_that_the_site_does_not_name_is_told_so_in_words(browser: Any, served: Website) -> None:
    join(served, served.server, origins=["https://another.example"])
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()
    state(page, "This chat cannot be used on this page.")
    assert not page.locator("shoptalk-chat #text").is_visible()
    words = [text for text in tab.complaints if text.startswith("Shoptalk:")]
    assert len(words) == 1 and served.address in words[0] and "shoptalk keys" in words[0]
    tab.context.close()


def test_who_waits_with_the_chat_closed_sees_that_something_came(browser: Any, served: Website) -> None:
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()
    page.get_by_role("button", name="Talk to a person").click()
    state(page, "A person has been told")
    page.keyboard.press("Escape")
    (conversation,) = {url.split("/")[5] for url in tab.asked if "/events" in url}
    httpx2.post(f"{served.server}/v1/conversations/{conversation}/release").raise_for_status()
    page.locator("shoptalk-chat .count").get_by_text("1").wait_for()
    page.locator("shoptalk-chat [role=status]").get_by_text("New message: Harbour").wait_for(state="attached")
    page.locator("shoptalk-chat .launcher").click()
    page.get_by_text("talking with the assistant again").wait_for()
    assert page.get_by_role("button", name="Talk to a person").is_visible()
    tab.context.close()


def test_a_new_conversation_begins_where_the_visitor_wants_one(browser: Any, served: Website) -> None:
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.evaluate("document.querySelector('shoptalk-chat').open()")
    say(page, "A bicycle?", "A bicycle travels for 4 euros.")
    page.get_by_role("button", name="Start a new conversation").click()
    assert told(page, "A bicycle?") == 0
    say(page, "What will the weather be?", "I cannot help with that.")
    page.reload()
    heard(page, "I cannot help with that.")
    assert told(page, "A bicycle?") == 0 and len({url.split("/")[5] for url in tab.asked if "/events" in url}) == 2
    tab.context.close()


@pytest.mark.parametrize(("name", "pictures"), [("plain", 1), ("strict", 0)])
def test_where_the_page_lets_no_picture_through_a_letter_stands_for_the_logo(
    browser: Any, tmp_path: Path, site: Website, name: str, pictures: int
) -> None:
    square = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><rect width='9' height='9'/></svg>"
    (tmp_path / "logo.svg").write_text(square, encoding="utf-8")
    assistant = FakeAssistant()
    assistant.settings = AssistantSettings(name="Acme", logo="logo.svg")
    with live_server(tmp_path, QUICK, assistant=assistant) as address:
        join(site, address)
        tab = Tab(browser, site)
        page = tab.visit(name)
        page.locator("shoptalk-chat .launcher").click()
        page.wait_for_timeout(500)
        assert page.locator("shoptalk-chat img").count() == pictures
        assert page.locator("shoptalk-chat .top .letter").count() == 1 - pictures
        assert tab.foreign() == []
        tab.context.close()


def test_what_was_written_while_the_server_was_away_is_there_once_it_is_back(
    browser: Any, tmp_path: Path, site: Website
) -> None:
    with live_server(tmp_path, QUICK) as address:
        join(site, address)
        tab = Tab(browser, site)
        page = tab.visit("plain")
        page.locator("shoptalk-chat .launcher").click()
        say(page, "A bicycle?", "A bicycle travels for 4 euros.")
    page.locator("shoptalk-chat #text").fill("And two bicycles?")
    page.keyboard.press("Enter")
    state(page, "The connection is interrupted.")
    with live_server(tmp_path, QUICK, port=int(address.rpartition(":")[2])):
        heard(page, "And two bicycles?")
        deadline = time.monotonic() + 40
        while told(page, "A bicycle travels for 4 euros.") < 2:
            assert time.monotonic() < deadline
            page.wait_for_timeout(100)
        page.reload()
        heard(page, "And two bicycles?")
        assert told(page, "And two bicycles?") == 1 and told(page, "A bicycle travels for 4 euros.") == 2
        tab.context.close()


def test_a_message_whose_answer_is_lost_in_a_reload_is_there_once(browser: Any, served: Website) -> None:
    tab = Tab(browser, served)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()

    def lose(route: Any) -> None:
        route.fetch()  # it arrives at the server, and its answer nowhere
        route.abort()

    page.route("**/v1/conversations", lose, times=1)
    page.locator("shoptalk-chat #text").fill("A bicycle?")
    with page.expect_event("requestfailed"):
        page.keyboard.press("Enter")
    page.reload()
    heard(page, "A bicycle travels for 4 euros.")
    assert told(page, "A bicycle?") == 1
    tab.context.close()


def test_the_widget_is_written_from_the_right_where_the_page_is(browser: Any, served: Website) -> None:
    served.lang = "ar"
    tab = Tab(browser, served, 820)
    page = tab.visit("plain")
    box = page.locator("shoptalk-chat .launcher").bounding_box()
    assert box["x"] < 100
    page.locator("shoptalk-chat .launcher").click()
    say(page, "A bicycle?", "A bicycle travels for 4 euros.")
    page.get_by_role("button", name="التحدث إلى شخص").wait_for()
    close, title = (page.locator(f"shoptalk-chat .top {name}").bounding_box() for name in ("button", "h2"))
    assert close["x"] < title["x"]
    tab.context.close()
