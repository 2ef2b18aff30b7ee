"""The frame of every page: one file with its style and script inside, allowed by their hashes and nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from shoptalk.report.markup import Child, Html, el, join

Section = tuple[str, str, Html]
"""Identifier, heading, content."""


def document(title: Html, *body: Child, script: bool = True) -> str:
    """A whole HTML page with the house style; `title` is the element. It requests nothing, and runs only our script."""
    style, code = _resource("report.css"), _resource("report.js")
    rules = ["default-src 'none'", f"style-src {_hashed(style)}", "base-uri 'none'", "form-action 'none'"]
    if script:
        rules.insert(2, f"script-src {_hashed(code)}")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content="; ".join(rules)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        title,
        Html(f"<style>{style}</style>"),
    )
    last = Html(f"<script>{code}</script>") if script else None
    return "<!doctype html>\n" + el("html", head, el("body", *body, last), lang="en").text + "\n"


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
