"""What a document says of itself: title, link, from when until when it holds, and whether it is an official answer.

From its metadata (a row's other columns), or from the front matter of a Markdown file:

    ---
    title: Summer timetable
    link: https://example.org/timetable
    from: 2026-05-01
    until: 2026-09-30
    official: yes
    question: When does the first boat leave?
    ---
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from shoptalk.records import Document, Frozen

_FRONT = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.S)
_NAMES = {
    "title": ("title",),
    "link": ("link", "url"),
    "begins": ("from", "valid_from"),
    "ends": ("until", "valid_until"),
    "official": ("official",),
    "question": ("question",),
}
_WEB = re.compile(r"https?://[^\s/]\S*", re.I)
_YES = ("yes", "true", "1", "on")


class DocumentFacts(Frozen):
    """What a document's metadata means to the assistant."""

    title: str = ""
    link: str | None = None
    begins: date | None = None
    ends: date | None = None
    """The last day on which it holds."""
    official: bool = False
    """An official answer, which goes before all other knowledge."""
    question: str | None = None
    """The question that an official answer is for."""
    unread: tuple[str, ...] = ()
    """Dates that are no dates, as "until: next summer", and links that lead to no web page."""

    def holds(self, day: date) -> bool:
        """Whether it holds on a day."""
        return (self.begins is None or self.begins <= day) and (self.ends is None or day <= self.ends)


def facts_of(document: Document) -> tuple[DocumentFacts, int]:
    """What a document says of itself, and where its text begins behind any front matter."""
    front = _FRONT.match(document.text)
    stated: dict[str, Any] = {name.strip().casefold(): value for name, value in document.metadata.items()}
    if front:
        pairs = (line.partition(":") for line in front[1].splitlines() if ":" in line)
        stated |= {name.strip().casefold(): value.strip().strip("\"'") for name, _, value in pairs}
    unread: list[str] = []
    values: dict[str, Any] = {}
    for field, names in _NAMES.items():
        value = next((str(stated[name]).strip() for name in names if stated.get(name) not in (None, "")), "")
        if not value:
            continue
        values[field] = value
        if field in ("begins", "ends"):
            values[field] = _day(value)
            if values[field] is None:
                unread.append(f"{names[0]}: {value}")
        elif field == "link" and _WEB.fullmatch(value) is None:  # whoever reads the API may put it into a page
            values[field] = None
            unread.append(f"{names[0]}: {value}")
        elif field == "official":
            values[field] = value.casefold() in _YES
    return DocumentFacts(**values, unread=tuple(unread)), front.end() if front else 0


def _day(value: str) -> date | None:
    try:
        return datetime.fromisoformat(value).date()
    except ValueError:
        return None


def stated_days(facts: DocumentFacts) -> Mapping[str, str]:
    """The days from and until which a document holds, for people; empty where it always does."""
    days = {"from": facts.begins, "until": facts.ends}
    return {name: day.isoformat() for name, day in days.items() if day is not None}
