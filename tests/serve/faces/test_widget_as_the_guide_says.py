"""The guide's steps, with the real assistant in a process of its own: a site's key, one line on a page, a chat."""

import functools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import command_line
from tests.assistant.small_run import documents_of_harbour, small_run
from tests.chromium import without_chromium
from tests.serve.faces.host_pages import Website
from tests.serve.faces.widget_tabs import Tab, state, told
from tests.serve.test_server_process import QUESTION, Process

pytestmark = [pytest.mark.slow, without_chromium]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(small_run(tmp_path / "run", documents_of_harbour("luggage-and-bicycles.md")))
    yield process
    if process.child is not None and process.child.poll() is None:
        process.end(signal.SIGKILL)


def test_one_line_puts_a_chat_on_a_page_which_outlives_a_killed_server(
    browser: Any, process: Process, site: Website, capsys: Any, monkeypatch: Any
) -> None:
    site.server, site.lang = process.start(), "de"
    call = functools.partial(command_line.call, capsys, monkeypatch)
    listed = json.loads(call("keys", process.run, "--site", "shop", "--origin", site.address, "--json")[1])
    (site.key,) = [row["public_key"] for row in listed["sites"] if row["id"] == "shop"]
    tab = Tab(browser, site)
    page = tab.visit("strict")
    page.get_by_role("button", name="Chat öffnen").click()
    page.locator("shoptalk-chat #text").fill(QUESTION)
    page.keyboard.press("Enter")
    page.locator("shoptalk-chat .assistant .text").nth(1).wait_for(timeout=30_000)
    process.end(signal.SIGKILL)
    page.locator("shoptalk-chat #text").fill("Kann ich bitte mit einem Menschen sprechen?")
    page.keyboard.press("Enter")
    state(page, "Die Verbindung ist unterbrochen.")
    assert process.start() == site.server
    page.get_by_text("Ich gebe das an einen Menschen weiter.").wait_for(timeout=60_000)
    state(page, "Ein Mensch weiß Bescheid")
    assert told(page, QUESTION) == told(page, "Kann ich bitte mit einem Menschen sprechen?") == 1
    assert tab.foreign() == []
    tab.context.close()
