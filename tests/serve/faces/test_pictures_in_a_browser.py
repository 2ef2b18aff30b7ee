"""A visitor shows a picture, on the page and in the widget, and an agent sees it."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.chromium import without_chromium
from tests.serve.faces.host_pages import Website
from tests.serve.faces.widget_tabs import QUICK, Tab, heard, join
from tests.serve.live import live_server
from tests.serve.picture_addresses import Looking

pytestmark = [pytest.mark.slow, without_chromium]


def photograph() -> dict[str, Any]:
    file = io.BytesIO()
    Image.effect_noise((2048, 512), 60).convert("RGB").save(file, "PNG")
    return {"name": "photograph.png", "mimeType": "image/png", "buffer": file.getvalue()}


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[str]:
    with live_server(tmp_path, QUICK, assistant=Looking()) as address:
        yield address


def test_the_page_sends_a_picture_made_smaller_and_the_agent_sees_it(browser: Any, looking: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(looking)
    page.locator("#text").fill("What is this?")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Send a picture").click()
    chooser.value.set_files(photograph())
    page.get_by_text("It is 1024 wide. You say 'What is this?'.").wait_for()
    shown = page.locator("img.shown")
    shown.wait_for()
    assert shown.evaluate("one => one.naturalWidth") == 1024
    page.reload()
    assert page.locator("img.shown").evaluate("one => one.complete && one.naturalWidth") == 1024
    assert page.locator("#text").input_value() == "" and complaints == []
    agent = browser.new_context().new_page()
    agent.goto(f"{looking}/inbox")
    agent.locator(".queue a").first.click()
    agent.locator("img.shown").wait_for()
    assert agent.locator("img.shown").evaluate("one => one.naturalWidth") == 1024
    context.close()


@pytest.mark.parametrize("kind", ["plain", "strict"])
def test_the_widget_sends_a_picture_whatever_the_pages_policy(
    browser: Any, looking: str, site: Website, kind: str
) -> None:
    join(site, looking)
    tab = Tab(browser, site)
    page = tab.visit(kind)
    page.locator("shoptalk-chat .launcher").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Send a picture").click()
    chooser.value.set_files(photograph())
    heard(page, "It is 1024 wide. You say ''.")
    page.locator("shoptalk-chat .shown canvas").wait_for()
    page.reload()
    heard(page, "It is 1024 wide. You say ''.")
    page.locator("shoptalk-chat .shown canvas").wait_for()
    assert page.locator("shoptalk-chat .shown").get_attribute("aria-label") == "Picture"
    assert tab.complaints == []
    tab.context.close()


def test_a_file_that_is_no_picture_is_not_sent(browser: Any, looking: str, site: Website) -> None:
    join(site, looking)
    tab = Tab(browser, site)
    page = tab.visit("plain")
    page.locator("shoptalk-chat .launcher").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Send a picture").click()
    chooser.value.set_files({"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.get_by_text("Your message could not be sent.").first.wait_for()
    assert not any("/messages" in url or url.endswith("/v1/conversations") for url in tab.asked)
    tab.context.close()
