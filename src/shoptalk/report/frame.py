"""The frame of every page: one file with its style and script inside, allowed by their hashes and nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from shoptalk.report.markup import Child, Html, el, join

Section = tuple[str, str, Html]
"""Identifier, heading, content."""


def document(
    title: Html,
    *body: Child,
    script: str | None = "report.js",
    styles: Sequence[str] = ("report.css",),
    answers: bool = False,
    class_: str | None = None,
) -> str:
    """A whole HTML page with the house style; `title` is the element. It requests nothing, and runs only our script.

    With `answers` it is a page of a local server, which it may send forms to and ask things of. `class_` is the body's.
    """
    style = "\n".join(_resource(name) for name in styles)
    code = _resource(script) if script is not None else None
    targets = "'self'" if answers else "'none'"
    rules = ["default-src 'none'", f"style-src {_hashed(style)}", "base-uri 'none'", f"form-action {targets}"]
    if code is not None:
        rules.insert(2, f"script-src {_hashed(code)}")
    if answers:
        rules.append("connect-src 'self'")
    rules.append("img-src data:")  # small pictures lie in the page itself
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content="; ".join(rules)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("link", rel="icon", href="data:,") if answers else None,  # else browsers ask the server for one
        title,
        Html(f"<style>{style}</style>"),
    )
    last = Html(f"<script>{code}</script>") if code is not None else None
    return "<!doctype html>\n" + el("html", head, el("body", *body, last, class_=class_), lang="en").text + "\n"


def contents(sections: Sequence[Section]) -> Html:
    """Links to the sections."""
    links = (el("li", el("a", title, href=f"#{ident}")) for ident, title, _ in sections)
    return el("nav", el("ul", *links), aria_label="Sections of this report")


def sectioned(sections: Sequence[Section]) -> Html:
    """The sections one below the other, each under its heading."""
    return join(
        *(
            el("section", el("h2", title, id=f"{ident}-title"), content, id=ident, aria_labelledby=f"{ident}-title")
            for ident, title, content in sections
        )
    )


def _resource(name: str) -> str:
    return files("shoptalk.report").joinpath(name).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
