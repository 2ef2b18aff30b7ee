"""The page and the inbox in a browser, end to end: nothing complains, nothing comes from elsewhere, all can be read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoptalk.serve.service_settings import ServeSettings
from tests.chromium import without_chromium
from tests.serve.fakes import FakeTranslator
from tests.serve.live import live_server

pytestmark = [pytest.mark.slow, without_chromium]
LOOKS = [(390, "light"), (390, "dark"), (820, "light"), (820, "dark"), (1440, "light"), (1440, "dark")]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with live_server(tmp_path, ServeSettings(turn_seconds=0.2)) as url:
        yield url


class Room:
    """One browser, and what its pages complained of."""

    def __init__(self, browser: Any, address: str, width: int, scheme: str, **settings: Any) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **settings)

    def page(self, path: str) -> Any:
        page = self.context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(self.address) or self.complaints.append(request.url))
        page.goto(self.address + path)
        return page


def say(page: Any, text: str, reply: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")
    page.locator("#log .text").get_by_text(reply).last.wait_for(timeout=10_000)


def fits(page: Any) -> bool:
    inside = "[...document.querySelectorAll('main p, main button, main a, footer *, header *')].every(one => {"
    inside += (
        "const box = one.getBoundingClientRect(); return !box.width || one.closest('.suggested, .wide, .unseen') ||"
    )
    inside += " one.matches('.unseen') || (box.left >= -1 && box.right <= innerWidth + 1); })"
    return bool(page.evaluate(f"document.documentElement.scrollWidth <= innerWidth && {inside}"))


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_visitor_and_an_agent_from_the_first_question_to_coming_back(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    room = Room(browser, address, width, scheme)
    page = room.page("/")
    say(page, "How much is a bicycle?", "A bicycle travels for 4 euros.")
    page.get_by_text("Not helpful").click()
    page.get_by_label("Outdated").check()
    page.get_by_role("button", name="Submit").click()
    page.locator(".thanks").get_by_text("Thank you for telling us.").wait_for()
    say(page, "What will the weather be?", "I cannot help with that.")
    page.get_by_role("button", name="Talk to a person").click()
    page.get_by_text("passing this on").wait_for()
    assert fits(page)

    agent = room.page("/inbox")
    agent.locator("#queue a").first.click()
    agent.get_by_role("button", name="Take over").click()
    agent.locator("a[data-draft]").first.click()
    assert agent.input_value("#text") == "It is 4 euros." and fits(agent)
    agent.get_by_role("button", name="Send").click()
    page.get_by_text("It is 4 euros.").wait_for()
    say(page, "Thank you, live", "Thank you, live")
    agent.locator("#log").get_by_text("Thank you, live").wait_for()
    agent.get_by_role("button", name="Release").click()
    page.get_by_text("talking with the assistant again").wait_for()

    page.close()
    again = room.page("/")
    again.get_by_text("It is 4 euros.").wait_for()
    agent.get_by_text("Why did it say this?").first.click()
    agent.get_by_role("heading", name="3. The passages, with their scores").wait_for()
    assert fits(again) and fits(agent)
    assert room.complaints == []
    room.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_axe_finds_nothing_serious(browser: Any, address: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    room = Room(browser, address, width, scheme, bypass_csp=True)
    page = room.page("/")
    say(page, "How much is a bicycle?", "A bicycle travels for 4 euros.")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    agent = room.page("/inbox")
    agent.locator("#queue a").first.click()
    agent.get_by_text("Why did it say this?").first.wait_for()
    why = room.page(agent.get_by_text("Why did it say this?").first.get_attribute("href"))
    for looked_at in (page, agent, why):
        violations = axe.Axe().run(looked_at).response["violations"]
        bad = [(one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in {"serious", "critical"}]
        assert bad == [], looked_at.url
    room.context.close()


def test_no_word_of_the_name_is_broken_on_a_phone(browser: Any, address: str) -> None:
    page = Room(browser, address, 390, "light").page("/")
    say(page, "How much is a bicycle?", "A bicycle travels for 4 euros.")
    assert page.locator("#anew").is_visible()
    page.evaluate("document.querySelector('h1').textContent = 'Assistants'")
    lines = "const range = document.createRange(); range.selectNodeContents(document.querySelector('h1'));"
    assert page.evaluate(f"(() => {{ {lines} return range.getClientRects().length; }})()") == 1
    page.evaluate("document.querySelector('h1').textContent = 'A'.repeat(80)")
    assert fits(page)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_an_agent_reads_a_thread_in_another_language_and_the_visitor_does_not(
    browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    with live_server(tmp_path, ServeSettings(turn_seconds=0.2), translator=FakeTranslator()) as address:
        room = Room(browser, address, width, scheme, bypass_csp=True)
        page = room.page("/")
        say(page, "How much is a bicycle?", "A bicycle travels for 4 euros.")
        agent = room.page("/inbox")
        agent.locator("#queue a").first.click()
        assert agent.locator(".translation").count() == 0
        agent.get_by_role("link", name="Translate").click()
        agent.get_by_text("<b>de</b>: How much is a bicycle?").wait_for()
        assert agent.locator(".translation").count() == 2 and fits(agent)
        violations = axe.Axe().run(agent).response["violations"]
        assert [one["id"] for one in violations if one["impact"] in {"serious", "critical"}] == []
        say(page, "And a dog, live?", "And a dog, live?")
        agent.locator("#log").get_by_text("And a dog, live?").wait_for()
        agent.get_by_role("link", name="Translate again").click()
        agent.get_by_text("<b>de</b>: And a dog, live?").wait_for()
        assert page.locator(".translation").count() == 0
        agent.get_by_role("link", name="Without translation").click()
        agent.get_by_role("link", name="Translate", exact=True).wait_for()
        assert agent.locator(".translation").count() == 0 and room.complaints == []
        room.context.close()
