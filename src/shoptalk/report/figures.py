"""Facts that know where they stand, so that every figure on the page can say which reading it is.

    facts = Fact(read_facts(text))
    fig(signed, facts.verdict.gain)     # <span data-reading="/verdict/gain" data-as="signed">+2.3</span>

A test walks the page: it resolves each `data-reading`, formats what it finds there as `data-as` says, and compares.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shoptalk.report.markup import Html, clean, el, join
from shoptalk.report.wording import NONE, number, words


@dataclass(frozen=True)
class Fact:
    """A place in the facts: the value there, and the JSON pointer (RFC 6901) that leads to it.

    Fields of a record are attributes; what a list or a mapping holds is taken by its position or key. Where the name of
    a field is only known as the page is made, it is a key too.
    """

    value: Any
    pointer: str = ""

    def __getattr__(self, name: str) -> "Fact":
        """A record's field; a fact of None where there is no record.

        Raises:
            AttributeError: the record has no such field.
        """
        if self.value is None:
            return self._at(name, None)
        fields = type(self.value).model_fields if isinstance(self.value, BaseModel) else {}
        if name not in fields:
            raise AttributeError(f"{type(self.value).__name__} at {self.pointer or '/'} has no field {name}.")
        return self._at(fields[name].serialization_alias or name, getattr(self.value, name))

    def __getitem__(self, key: str | int) -> "Fact":
        """What stands under a key or a position; a fact of None where there is nothing."""
        if isinstance(self.value, BaseModel):
            names = {field.serialization_alias: name for name, field in type(self.value).model_fields.items()}
            return self.__getattr__(names.get(str(key), str(key)))
        found = None
        if isinstance(self.value, Mapping):
            found = self.value.get(key)
        elif isinstance(self.value, Sequence) and isinstance(key, int) and -1 < key < len(self.value):
            found = self.value[key]
        return self._at(key, found)

    def _at(self, key: str | int, value: Any) -> "Fact":
        step = str(key).replace("~", "~0").replace("/", "~1")
        return Fact(value, f"{self.pointer}/{step}")

    def __iter__(self) -> Iterator["Fact"]:
        """The items of a list; nothing where there is none."""
        return (self[place] for place in range(len(self) if isinstance(self.value, list | tuple) else 0))

    def __len__(self) -> int:
        return len(self.value) if isinstance(self.value, list | tuple | dict) else 0

    def __bool__(self) -> bool:
        return bool(self.value)

    def items(self) -> list[tuple[str, "Fact"]]:
        """The keys of a mapping, or the fields of a record, and what stands under them; nothing where there is none."""
        if isinstance(self.value, BaseModel):
            return [(name, self[name]) for name in type(self.value).model_fields]
        return [(key, self[key]) for key in self.value] if isinstance(self.value, Mapping) else []

    @property
    def number(self) -> float | None:
        """The value where it is a finite number."""
        return number(self.value)

    @property
    def pair(self) -> tuple[float, float] | None:
        """Both ends of an interval where both are known."""
        low, high = self[0].number, self[1].number
        return None if low is None or high is None else (low, high)


def fig(how: Callable[..., str], *places: Fact, tag: str = "span", class_: str | None = None) -> Html:
    """The values at `places`, as `how` (a function of `wording.py`) writes them; a dash where that is nothing."""
    known = all(place.value is not None for place in places)
    said = clean(how(*(place.value for place in places))) if known else NONE
    if said in (NONE, ""):
        return el(tag, NONE, class_=class_) if class_ else join(NONE)
    reading = " ".join(place.pointer for place in places)
    return el(tag, said, data_reading=reading, data_as=how.__name__, class_=class_)


def told(place: Fact, how: Callable[..., str] = words) -> Html:
    """The user's own words, or the run's: their writing direction stays inside the element."""
    return fig(how, place, tag="bdi") if place.value is not None else join(None)


def keyed(place: Fact, how: Callable[..., str] = words) -> Html:
    """The key under which a fact stands: a package, a candidate, a measure."""
    key = place.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    return breaking(el("bdi", clean(how(key)), data_reading=place.pointer, data_as=f"key {how.__name__}"))


def named(place: Fact) -> Html:
    """A name, which may break after `_`, `@`, `/` and `-` where a column is narrow."""
    return breaking(told(place))


def breaking(name: Html) -> Html:
    """The same element, whose text may break."""
    made = name.text
    opened, closed = made.find(">") + 1, made.rfind("<")
    if closed < opened:
        return Html(made)
    broken = re.sub(r"(?<=[_@/-])(?=\w)", "<wbr>", made[opened:closed])
    return Html(made[:opened] + broken + made[closed:])


def listed(places: Sequence[Html], last: str = " and ") -> Html:
    """Several things one after the other: a, b and c."""
    if len(places) < 2:
        return join(*places)
    commas = [part for place in places[1:-1] for part in (", ", place)]
    return join(places[0], *commas, last, places[-1])


def embedded(value: Any) -> str:
    """JSON that can stand in a `<script type="application/json">`: nothing in it ends the element or opens a comment.

    Raises:
        ValueError: a number in it is not finite.
    """
    text = json.dumps(_cleaned(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _cleaned(value: Any) -> Any:
    """The same with every text as `clean` leaves it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list | tuple) else value
