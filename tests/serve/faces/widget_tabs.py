"""A visitor's browser with the widget in it, for tests."""

from typing import Any

import httpx2

from shoptalk.serve.service_settings import ServeSettings
from tests.serve.faces.host_pages import Website

QUICK = ServeSettings(turn_seconds=0.2, per_visitor=600)


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
