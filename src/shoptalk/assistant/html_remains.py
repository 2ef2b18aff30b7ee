"""What is left of web pages in a document, read as a browser shows it: scripts and navigation are no text, blocks part
sentences, and a table's rows become rows.

    shown = without_remains("<script>alert(1)</script><p>Open from 9 to 17 h.</p><p>Closed on Sundays.</p>")

The result is as long as the text, so that places in one are places in the other. What stands in fences or between
backticks of Markdown is shown and stays as it is, and so does a mark within a sentence, which is about HTML. What a
class or an id calls navigation stays, too: pages name their contents so (`nav-tabContent`), and a menu too much does
less harm than opening hours too few.
"""

import re
from collections.abc import Iterator

_CODE = re.compile(r"^ {0,3}(```++|~~~++)[^\n]*\n(?:.*?^ {0,3}\1[`~]*[ \t]*$|.*\Z)|`[^`\n]{1,300}`", re.M | re.S)
_UNREAD = ("script", "style", "noscript", "template")
_BEGINS = r"(?:^|(?<=>))[ \t]*+"
"""Where a mark stands that is none within a sentence: at the beginning of its line, or behind another."""
_OPENS = re.compile(rf"{_BEGINS}(?:(<!--)|<({'|'.join(_UNREAD)})\b[^<>]*>)", re.I | re.M)
_NAVIGATES = re.compile(rf"{_BEGINS}<(nav)\b[^<>]*>", re.I | re.M)
_BLOCK = re.compile(
    r"</?(?:address|article|aside|blockquote|div|dl|dt|fieldset|figure|footer|form|header|hr|li|main|ol|p|pre|section|"
    r"table|td|th|tr|ul)\b[^<>]*>|</dd\s*>",
    re.I,
)
_TABLE = re.compile(r"<(/?)table\b[^<>]*>", re.I)
_ROW = re.compile(r"<tr\b[^<>]*>", re.I)
_CELL = re.compile(r"<t([dh])\b[^<>]*>", re.I)
_MARKS = (
    (_ROW, "\n"),
    (_CELL, "|"),
    (re.compile(r"</tr\s*>", re.I), " |"),
    (re.compile(r"<table\b[^<>]*>|</(?:table|caption)\s*>", re.I), "\n\n"),
)
"""What stands in place of a table's tags, before blanks."""
_LONGEST_CELL = 300
"""Characters of a cell from which a table is taken for the layout of a page."""


def without_remains(text: str) -> str:
    """The text with blanks, line breaks and bars in place of what a browser does not show."""
    if "<" not in text:
        return text
    code = [fence.span() for fence in _CODE.finditer(text)]
    shown = list(text)
    for hidden in (_unread, _menus):  # a mark in a script or a comment ends no menu
        for start, end in hidden(_outside("".join(shown), code)):
            shown[start:end] = _blank(text[start:end])
    seen = _outside("".join(shown), code)
    tables = list(_tables(seen))
    for start, end in tables:
        shown[start:end] = _told_as_rows(seen[start:end], "".join(shown[start:end]))
    for tag in _BLOCK.finditer(_outside("".join(shown), [*code, *tables])):
        shown[tag.start() : tag.start() + 2] = "\n\n"
        shown[tag.start() + 2 : tag.end()] = " " * (tag.end() - tag.start() - 2)
    return "".join(shown)


def _outside(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with blanks in place of the spans, in which nothing is to be found."""
    parts = list(text)
    for start, end in spans:
        parts[start:end] = _blank(text[start:end])
    return "".join(parts)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


# --- what is not shown ------------------------------------------------------------------------------------------------


def _unread(text: str) -> Iterator[tuple[int, int]]:
    """Comments, and the bodies of scripts and the like; what nothing closes hides nothing."""
    place = 0
    last: dict[str, int] = {}
    while opening := _OPENS.search(text, place):
        closing = "-->" if opening[1] else f"</{opening[2].lower()}"
        if closing not in last:
            last[closing] = max((mark.start() for mark in re.finditer(re.escape(closing), text, re.I)), default=-1)
        place = opening.end()
        if place <= last[closing]:
            end = re.compile(rf"{re.escape(closing)}[^<>]*>?" if not opening[1] else "-->", re.I).search(text, place)
            if end is not None:
                place = end.end()
                yield opening.start(), place


def _menus(text: str) -> Iterator[tuple[int, int]]:
    """The elements named nav, with those inside them."""
    begun: list[int] = []
    ends = {}
    for mark in re.finditer(r"<(/?)nav\b[^<>]*>", text, re.I):
        if not mark[1]:
            begun.append(mark.start())
        elif begun:
            ends[begun.pop()] = mark.end()
    hidden = 0
    for opening in _NAVIGATES.finditer(text):
        start = text.index("<", opening.start())
        if start >= hidden and start in ends:
            hidden = ends[start]
            yield start, hidden


# --- tables -----------------------------------------------------------------------------------------------------------


def _tables(text: str) -> Iterator[tuple[int, int]]:
    """The tables that hold no other, without those that lay out a page."""
    begins: int | None = None
    for mark in _TABLE.finditer(text):
        if not mark[1]:
            begins = mark.start()
        elif begins is not None:
            table = text[begins : mark.end()]
            if _ROW.search(table) and max(map(len, _CELL.split(table)[2::2]), default=0) <= _LONGEST_CELL:
                yield begins, mark.end()
            begins = None


def _told_as_rows(table: str, text: str) -> str:
    """A table of HTML as one of Markdown; where its first row is no header, with an empty one. `text` is the table with
    the code in its cells, in which nothing is sought.
    """
    first = [row.start() for row in _ROW.finditer(table)]
    head = table[first[0] : first[1] if first[1:] else len(table)]
    shown = list(text.replace("\n", " ").replace("|", "/"))
    for pattern, mark in _MARKS:
        for tag in pattern.finditer(table):
            shown[tag.start() : tag.end()] = mark.ljust(tag.end() - tag.start())
    caption = re.search(r"</caption\s*>", table[: first[0]], re.I)
    begins = caption.start() if caption else 0
    headed = {cell[1].lower() for cell in _CELL.finditer(head)} == {"h"}
    shown[begins : begins + 6] = "\n\n    " if headed else "\n\n| | "
    return "".join(shown)
