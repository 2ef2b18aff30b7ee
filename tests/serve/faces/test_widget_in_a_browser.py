"""The widget on pages of other sites, in a browser: hostile styles, a strict policy, a visitor, an agent, breaks."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.reply import Reply, Sentence, Source, Versions
from shoptalk.serve.service_settings import ServeSettings
from tests.chromium import open_chromium, without_chromium
from tests.serve.faces.host_pages import Website, website
from tests.serve.fakes import FakeAssistant
from tests.serve.live import live_server

pytestmark = [pytest.mark.slow, without_chromium]
QUICK = ServeSettings(turn_seconds=0.2, per_visitor=600)
LOOKS = [
    ("unset", 390, "light"), ("unset", 1440, "dark"), ("reset", 820, "light"), ("reset", 390, "dark"),
    ("strict", 1440, "light"), ("strict", 820, "dark"),
]  # fmt: skip
NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"{{7*7}}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture
def site() -> Iterator[Website]:
    with website() as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path, site: Website) -> Iterator[Website]:
    """The website, beside a server that knows it."""
    with live_server(tmp_path, QUICK) as address:
        join(site, address)
        yield site


def join(site: Website, address: str, *, origins: list[str] | None = None) -> None:
    body = {"id": "main", "name": "main", "origins": [site.address] if origins is None else origins}
    site.server, site.key = address, httpx2.post(f"{address}/v1/sites", json=body).json()["public_key"]


class Tab:
    """A browser of one visitor, and what its pages complained of."""

    def __init__(self, browser: Any, site: Website, width: int = 1440, scheme: str = "light", **settings: Any) -> None:
        self.site, self.complaints, self.asked = site, [], []
        self.context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **settings)

    def open(self, address: str) -> Any:
        page = self.context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(address)
        return page

    def visit(self, name: str = "plain") -> Any:
        page = self.open(f"{self.site.address}/{name}")
        page.locator("shoptalk-chat .launcher, shoptalk-chat .panel").locator("visible=true").first.wait_for()
        return page

    def foreign(self) -> list[str]:
        return [url for url in self.asked if not url.startswith((self.site.address, self.site.server))]


def say(page: Any, text: str, reply: str) -> None:
    page.locator("shoptalk-chat #text").fill(text)
    page.keyboard.press("Enter")
    heard(page, reply)


def heard(page: Any, text: str) -> None:
    page.locator("shoptalk-chat .log .text").get_by_text(text, exact=True).last.wait_for(timeout=20_000)


def state(page: Any, text: str) -> None:
    page.locator("shoptalk-chat .state").get_by_text(text).wait_for(timeout=20_000)


def told(page: Any, text: str) -> int:
    return int(page.locator("shoptalk-chat .log .text").get_by_text(text, exact=True).count())


FITS = """() => {
  const chat = document.querySelector("shoptalk-chat"), part = (name) => chat.shadowRoot.querySelector(name);
  const shown = (one) => one.checkVisibility();
  const inside = ({ left, top, right, bottom }) =>
    left >= -1 && top >= -1 && right <= innerWidth + 1 && bottom <= innerHeight + 1;
  const bad = [];
  for (const one of chat.shadowRoot.querySelectorAll(".launcher, .panel, .top *, .ask *, .more button, .state")) {
    const box = one.getBoundingClientRect();
    if (shown(one) && box.width && !one.matches(".unseen") && !inside(box)) bad.push("outside: " + one.className);
  }
  const log = part(".log");
  if (log.scrollWidth > log.clientWidth) bad.push("the log scrolls sideways");
  const front = shown(part(".panel")) ? part(".ask button") : part(".launcher");
  const { left, top, width, height } = front.getBoundingClientRect();
  if (document.elementFromPoint(left + width / 2, top + height / 2) !== chat) bad.push("something lies above it");
  if (Math.min(width, height) < 44) bad.push("too small for a finger");
  const root = getComputedStyle(part(".root")), host = getComputedStyle(chat);
  const wanted = [
    [root.fontSize, "16px"], [root.letterSpacing, "normal"], [root.textTransform, "none"], [root.direction, "ltr"],
    [host.opacity, "1"], [host.filter, "none"], [host.transform, "none"], [host.pointerEvents, "auto"],
  ];
  for (const [is, should] of wanted) if (is !== should) bad.push(`${is} and not ${should}`);
  if (root.color === "rgb(255, 0, 0)") bad.push("the page's colour");
  return bad;
}"""
"""What of the widget is not where and as it should be."""


@pytest.mark.parametrize(("name", "width", "scheme"), LOOKS)
def test_a_visitor_and_an_agent_through_the_widget_on_pages_that_make_it_hard(
    browser: Any, served: Website, name: str, width: int, scheme: str
) -> None:
    tab = Tab(browser, served, width, scheme)
    page = tab.visit(name)
    assert page.evaluate(FITS) == []
    page.locator("shoptalk-chat .launcher").click()
    say(page, "How much is a bicycle?", "A bicycle travels for 4 euros.")
    page.locator("shoptalk-chat .sources summary").get_by_text("Tariff").click()
    page.get_by_text("Not helpful").click()
    page.get_by_label("Outdated").check()
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("Thank you for telling us.").wait_for()
    say(page, "And on Sundays?", "A bicycle travels for 4 euros.")
    say(page, "What will the weather be?", "I cannot help with that.")
    say(page, "This is useless!", "I am sorry. I am passing you on to a person.")
    state(page, "A person has been told and will answer you here.")
    assert page.evaluate(FITS) == []

    agent = tab.open(f"{served.server}/inbox")
    agent.locator("#queue a").first.click()
    agent.get_by_role("button", name="Take over").click()
    state(page, "A person has this conversation")
    agent.locator("a[data-draft]").first.click()
    agent.get_by_role("button", name="Send").click()
    heard(page, "It is 4 euros.")
    say(page, "Thank you, live", "Thank you, live")
    agent.locator("#log").get_by_text("Thank you, live").wait_for()
    agent.get_by_role("button", name="Release").click()
    page.get_by_text("talking with the assistant again").wait_for()
    page.get_by_role("button", name="Talk to a person").click()
    state(page, "A person has been told")

    page.close()  # leaves; the agent answers meanwhile; comes back
    agent.goto(f"{served.server}/inbox")
    agent.locator("#queue a").first.click()
    agent.fill("#text", "Are you still there?")
    agent.get_by_role("button", name="Send").click()
    agent.locator("#log .text").get_by_text("Are you still there?").wait_for()
    again = tab.visit(name)
    again.locator("shoptalk-chat .count").get_by_text("1").wait_for()
    again.get_by_role("button", name="Open the chat (1)").click()
    heard(again, "Are you still there?")
    assert told(again, "It is 4 euros.") == 1 and told(again, "How much is a bicycle?") == 1
    assert again.get_by_text("Thank you for telling us.").count() == 1
    assert again.evaluate(FITS) == []
    again.reload()
    if width > 480:  # it was open, and is; over the whole screen of a telephone it comes back after a reload too
        assert again.get_by_role("dialog").is_visible()
    heard(again, "Are you still there?")
    assert tab.complaints == [] and tab.foreign() == []
    tab.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_axe_finds_nothing_serious_in_the_widget(browser: Any, served: Website, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    tab = Tab(browser, served, width, scheme, bypass_csp=True)
    page = tab.visit("plain")

    def bad() -> list[Any]:
        found = axe.Axe().run(page).response["violations"]
        return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}]

    assert bad() == []
    page.locator("shoptalk-chat .launcher").click()
    say(page, "How much is a bicycle?", "A bicycle travels for 4 euros.")
    page.get_by_text("Not helpful").click()
    page.locator("shoptalk-chat .sources summary").first.click()
    page.get_by_role("button", name="Talk to a person").click()
    state(page, "A person has been told")
    assert bad() == []
    tab.context.close()


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
