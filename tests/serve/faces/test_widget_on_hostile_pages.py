"""A visitor and an agent through the widget, end to end, on pages that make it hard."""

from typing import Any

import pytest

from tests.chromium import without_chromium
from tests.serve.faces.host_pages import Website
from tests.serve.faces.widget_tabs import Tab, heard, say, state, told

pytestmark = [pytest.mark.slow, without_chromium]
LOOKS = [
    ("unset", 390, "light"), ("unset", 1440, "dark"), ("reset", 820, "light"), ("reset", 390, "dark"),
    ("strict", 1440, "light"), ("strict", 820, "dark"),
]  # fmt: skip


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
