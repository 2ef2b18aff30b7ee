"""Websites of others that load the widget: a plain one, and three that make it hard."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARTICLE = (
    "<h1>Skarvik Ferries</h1><p>Boats leave every hour. <a href='/plain'>Timetable</a></p><form><label>Search "
    "<input id='search'></label></form>" + "<p>The crossing takes forty minutes in calm weather.</p>" * 12
)
FRAME = (
    "<!doctype html><html lang='{lang}'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
)
STYLES = {
    "plain": "body { font: 16px/1.5 Georgia, serif; margin: 2rem auto; max-width: 40rem; padding: 0 1rem; }",
    "unset": (
        "* { all: unset !important; } *, *::before, *::after { display: inline !important; color: red !important; }"
    ),
    "reset": (
        "html { font-size: 40px !important; direction: rtl !important; }"
        "*, *::before, *::after { font: italic 700 40px/3 cursive !important; letter-spacing: 9px !important;"
        " text-transform: uppercase !important; z-index: 2147483647 !important; direction: rtl !important;"
        " box-sizing: content-box !important; text-align: center !important; margin: 0; padding: 0;"
        " opacity: 0.5 !important; transform: rotate(1deg) !important; filter: invert(1) !important;"
        " pointer-events: none !important;"
        " --text: red !important; --background: red !important; --panel: red !important; }"
        "#veil { position: fixed; inset: 0; background: rgb(255 0 0 / 10%); }"
        "button, textarea, div, p, section { display: none !important; }"
    ),
    "strict": "",
}
"""What each page does to everything on it."""


def page_of(name: str, server: str, key: str, *, lang: str = "en", more: str = "") -> str:
    """A page's HTML."""
    style = f"<style>{STYLES[name]}</style>" if STYLES[name] else ""
    veil = "<div id='veil'></div>" if name == "reset" else ""
    line = f"<script src='{server}/widget.js' data-site='{key}' {more}></script>"
    return f"{FRAME.format(lang=lang)}<title>Ferries</title>{style}{line}</head><body>{ARTICLE}{veil}</body></html>"


def policy_of(name: str, server: str) -> str | None:
    """Only what the widget needs, on the page that is strict."""
    if name != "strict":
        return None
    return (
        f"default-src 'none'; script-src {server}; connect-src {server}; style-src 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


class Website:
    """One origin with all the pages; `key` is the site key that they show."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.server = ""
        self.key = ""
        self.more = ""
        self.lang = "en"

    def page(self, name: str) -> tuple[bytes, str | None]:
        """A page and its policy."""
        html = page_of(name, self.server, self.key, lang=self.lang, more=self.more)
        return html.encode(), policy_of(name, self.server)


@contextlib.contextmanager
def website() -> Iterator[Website]:
    """A website of an origin of its own, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            if name not in STYLES:
                self.send_response(204)
                self.end_headers()
                return
            html, policy = site.page(name)
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(html)))
            if policy:
                self.send_header("content-security-policy", policy)
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    site = Website(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(10)
