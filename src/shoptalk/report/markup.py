"""HTML and SVG elements whose text is escaped unless it is markup already: forgetting to escape is not possible.

    el("p", "3 < 4, says ", el("b", user_text), class_="note")

Underscores in attribute names become hyphens, and a trailing one (for Python's keywords) falls away.
"""

import html
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# Control characters (but tab and line feed) are not allowed in HTML; lone surrogates cannot be written as UTF-8.
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"meta", "input", "link", "img"})


@dataclass(frozen=True)
class Html:
    """Finished markup."""

    text: str


Child = Html | str | int | None


def clean(text: object) -> str:
    """Text that any encoder and browser accepts; what they would refuse becomes U+FFFD."""
    return _UNWRITABLE.sub("\ufffd", str(text).replace("\r\n", "\n"))


def el(name: str, /, *children: Child, **attributes: str | int | float | None) -> Html:
    """One element; children and attributes that are None are left out."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.6g}" if isinstance(value, float) else clean(value)
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{html.escape(shown)}"')
    if name in _VOID:
        return Html("".join(parts) + ">")
    return Html("".join(parts) + f">{join(*children).text}</{name}>")


def join(*children: Child) -> Html:
    """Children one after the other, without an element around them."""
    return Html(
        "".join(
            child.text if isinstance(child, Html) else html.escape(clean(child), quote=False)
            for child in children
            if child is not None
        )
    )


def paragraphs(*texts: Child) -> Html:
    """One paragraph per text that is there."""
    return join(*(el("p", text) for text in texts if text is not None))


def table(
    caption: Child, head: Sequence[Child], rows: Sequence[Sequence[Child]], *, words: Collection[int] = ()
) -> Html:
    """A table whose first column names the row. Columns are numbers, set right, but for the first and those in `words`.

    Many columns make it a region that scrolls sideways on a small screen, reachable by keyboard.
    """

    def kind(column: int) -> str | None:
        return None if column == 0 or column in words else "number"

    header = el("tr", *(el("th", cell, scope="col", class_=kind(column)) for column, cell in enumerate(head)))
    body = []
    for row in rows:
        cells = [el("th", row[0], scope="row")]
        cells += [el("td", cell, class_=kind(column)) for column, cell in enumerate(row[1:], start=1)]
        body.append(el("tr", *cells))
    made = el("table", el("caption", caption), el("thead", header), el("tbody", *body))
    wide = len(head) > 3
    label = re.sub("<[^>]*>", "", caption.text) if isinstance(caption, Html) else str(caption)
    return el(
        "div",
        made,
        class_="scroll",
        role="region" if wide else None,
        tabindex="0" if wide else None,
        aria_label=label if wide else None,
    )


def disclosure(summary: Child, *content: Child, on_paper: bool = True) -> Html:
    """Content that is folded away until asked for; paper shows it unfolded, or not at all."""
    return el("details", el("summary", summary), *content, class_=None if on_paper else "screen")


def note(*words: Child) -> Html:
    """A paragraph that explains what stands above it."""
    return el("p", *words, class_="note")


def definitions(pairs: Sequence[tuple[Child, Child]], *, class_: str | None = None) -> Html:
    """Terms and their values, side by side as far as there is room."""
    return el("dl", *(el("div", el("dt", term), el("dd", value)) for term, value in pairs), class_=class_)
