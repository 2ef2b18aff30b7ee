"""What the numbers of a text are of: units that must not be taken for one another, and temperatures below zero.

    quantities_in("at 7 pm it is -5 °C")             # {"7": {Quantity(None, {"pm"})}, "5": {Quantity(True, {"°C"})}}
    contradicted("at 7 am", "Doors open at 7 pm.")    # "7 am", "7 pm"

A number without a unit that is read here contradicts none: "at 7" stands for "at 7 pm", and the other way round. What
is short for several ("m", "h") is read as any of them. A minus is read of temperatures alone: before other numbers a
dash may part, list or reduce ("Mon–Fri 9 am –5 pm", "-10 % on all tours").
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from shoptalk.text.number_words import spelt_places
from shoptalk.text.stated_facts import NUMBER, plain_number, range_ends

_WORDS = {
    # Before another capital it is German: "ab 12 am Pool".
    "am": r"a\.?m\b\.?(?!\s+(?-i:(?!(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?|Daily)\b)[A-ZÄÖÜ]))",
    "pm": r"p\.?m\b\.?",
    "s": r"seconds?|Sekunden?|secs?",
    "min": r"minutes?|Minuten?|mins?",
    "h": r"hours?|hrs?|Stunden?|Std",
    "d": r"days?|Tage?n?",
    "nights": r"nights?|Nächten?|Nacht",
    "w": r"weeks?|Wochen?",
    "months": r"months?|Monate?n?",
    "y": r"years?|Jahre?n?",
    "mm": r"millimet(?:er|re)s?",
    "cm": r"centimet(?:er|re)s?|Zentimetern?",
    "km/h": r"km/h|kmh|kph|(?:km|kilomet(?:er|re)s?) (?:per|an) hour|(?:km|Kilometern?) (?:pro|je) Stunde|"
    r"Stundenkilometern?",
    "m²": r"m²|sqm|qm|square met(?:er|re)s?|met(?:er|re)s squared|Quadratmetern?",
    "m": r"met(?:er|re)s?|Metern?",
    "km": r"kilomet(?:er|re)s?|Kilometern?",
    "m³": r"m³|cubic met(?:er|re)s?|Kubikmetern?",
    "miles": r"miles?|Meilen?",
    "g": r"grams?|Gramm",
    "kg": r"kilos?|kilograms?|Kilogramm",
    "tonnes": r"tonnes?|Tonnen?",
    "ml": r"millilit(?:er|re)s?|Millilitern?",
    "l": r"lit(?:er|re)s?|Litern?",
    "kWh": r"kWh|kilowatt hours?|Kilowattstunden?",
    "kW": r"kW|kilowatts?",
    "°C": r"°\s?C|degrees? Celsius|Grad Celsius",
    "°F": r"°\s?F|degrees? Fahrenheit|Grad Fahrenheit",
    "%": r"%|per ?cent|Prozent",
    "€": r"€|EUR|euros?",
    "¢": r"cents?",
    "$": r"\$|USD|(?:US )?dollars?",
    "£ lb": r"pounds?",
    "£": r"£|GBP",
    "CHF": r"CHF|Franken|Swiss francs?",
}
"""By what is told nobody, what is read whatever its case; of several, parted by spaces, any is meant."""
_SYMBOLS = {
    "mm": "mm", "cm": "cm", "km": "km", "g": "g", "kg": "kg", "ml": "ml", "l": "l", "m min months": "m",
    "h am pm": "h",
}  # fmt: skip
"""The same in their own case: "5G" is no weight."""
_NAMES = [*_WORDS, *_SYMBOLS]
_PAID = re.compile(r"(?P<sign>€|\$|£|\b(?:EUR|USD|GBP|CHF))\s?$", re.I)
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}
_AFTER = re.compile(
    r"(?:[^\S\n]|-)?(?:"
    + "|".join(
        [
            *(f"(?P<u{number}>(?i:{spelt}))" for number, spelt in enumerate(_WORDS.values())),
            *(f"(?P<u{len(_WORDS) + number}>{symbol})" for number, symbol in enumerate(_SYMBOLS.values())),
        ]
    )
    + r")(?!\w)(?!(?<=[a-z])[/²³])"
)
_MONTHS = {
    name: f"month {number}"
    for number, names in enumerate(
        (
            "January Januar Jan", "February Februar Feb", "March März Mar", "April Apr", "May Mai", "June Juni Jun",
            "July Juli Jul", "August Aug", "September Sept Sep", "October Oktober Oct Okt", "November Nov",
            "December Dezember Dec Dez",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b"
_MONTH_BEHIND = re.compile(rf"(?:st|nd|rd|th|\.)?[^\S\n]*(?:of )?{_MONTH}")
_MONTH_AHEAD = re.compile(rf"\b{_MONTH}\.?[^\S\n]?$")
_NO_NOUN = re.compile(
    r"(?:st|nd|rd|th)?(?:[^\S\n]*(?:$|[.,;:!?)\n–-]|\d{4}\b)|\s(?:and|or|to|until|till|through|at|from|in|for|on)\b)"
)
"""What follows a day behind its month, as "in May 5 people" has none."""
_MINUS = re.compile(r"(?:(?:^|(?<!\d)[\s\u00a0(])[-\u2212\u2013]|\bminus\s)$", re.I)
_BELOW = re.compile(r"[^\S\n]*(?:below zero|unter null)\b", re.I)
_COLD = {"°C", "°F"}
_HALVES = {"am", "pm"}
_LAST_HOUR = 12
_LOOKED_BACK = 12
_KEPT = 32
"""Texts of which it is kept what their numbers are of: every sentence of a reply is looked up in the same passages."""


class Quantity(NamedTuple):
    """What is read about a number."""

    negative: bool | None
    """None where nothing is read of it: only temperatures have signs."""
    units: frozenset[str]
    """Any of which may be meant; empty where none is read."""


_UNKNOWN = Quantity(None, frozenset())


def quantities_in(text: str) -> dict[str, set[Quantity]]:
    """All that is read about each number of a text, by its plain form. Both ends of "2-3 months" have the unit, of "7-9
    pm" the last alone; of "7:00 pm" the full hour has it, too.
    """
    return {plain: set(quantities) for plain, quantities in _stated(text).items()}


def contradicted(said: str, read: str) -> tuple[str, str] | None:
    """The first number that is said with a sign or a unit that it has nowhere in what was `read`, although each of its
    places there has one, as it is said and as it is read; None where there is none.
    """
    there = _stated(read)
    for plain, quantity, written in _read(said):
        known = there.get(plain)
        if known and not any(_agree(quantity, other) for other in known):
            return written, next(iter(known.values()))
    return None


def shared_measures(said: str, read: str) -> list[str]:
    """Every number that is said with a unit or month which it has in what was `read`, too, as it is said."""
    there = _stated(read)
    return [
        written
        for plain, quantity, written in _read(said)
        if any(quantity.units & other.units for other in there.get(plain, ()))
    ]


def is_unit(word: str) -> bool:
    """Whether a word that stands behind a number is its unit, or says that it is a time."""
    return word == "Uhr" or _AFTER.fullmatch(f" {word}") is not None


@lru_cache(maxsize=_KEPT)
def _stated(text: str) -> dict[str, dict[Quantity, str]]:
    """All that is read about each number of a text, and how each of that is written first; nobody may change it."""
    found: dict[str, dict[Quantity, str]] = {}
    for plain, quantity, written in _read(text):
        found.setdefault(plain, {}).setdefault(quantity, written)
    return found


def _agree(one: Quantity, other: Quantity) -> bool:
    signs = one.negative is None or other.negative is None or one.negative == other.negative
    return signs and (not one.units or not other.units or bool(one.units & other.units))


def _read(text: str) -> Iterator[tuple[str, Quantity, str]]:
    """Each number in its plain form, what is read about it, and how that is written. The word "one" is a pronoun, too,
    and left out.
    """
    places = [(number.start(), number.end(), plain_number(number[0])) for number in NUMBER.finditer(text)]
    colder = {low.start(): (high.end(), plain_number(high[0])) for low, high in range_ends(text)}
    for begin, end, plain in sorted([*places, *(place for place in spelt_places(text) if place[2] != "1")]):
        quantity, written = _quantity(text, begin, end, plain)
        if begin in colder and not quantity.units:  # "-5 to 10 °C": the lower end has a sign of its own
            units = _quantity(text, begin, *colder[begin])[0].units
            if units & _COLD:
                quantity, written = _cold(text, begin, end, units)
        hours = plain.replace(":00", "")
        yield hours, quantity, written
        first, _, last = hours.partition("-")
        if last and "-" not in last:  # a range
            yield last, Quantity(None, quantity.units), written
            yield first, _UNKNOWN if quantity.units & _HALVES else Quantity(None, quantity.units), written


def _quantity(text: str, begin: int, end: int, plain: str) -> tuple[Quantity, str]:
    before = text[max(0, begin - _LOOKED_BACK) : begin]
    paid, after = _PAID.search(before), _AFTER.match(text, end)
    if paid is not None and re.search(r"\d\s?$", before[: paid.start()]):  # "12 € 3 hours": of the number before
        paid = None
    if paid is not None:
        sign = paid["sign"].upper()
        return Quantity(None, frozenset([_SIGNS.get(sign, sign)])), text[begin - len(paid[0]) : end]
    if after is None:
        return _dated(text, begin, end, before)
    units = frozenset(_NAMES[int((after.lastgroup or "u0")[1:])].split())
    if units & _HALVES and not _is_hour(plain):  # "ab 80 am Tag"
        return _UNKNOWN, text[begin:end]
    if not units & _COLD:
        return Quantity(None, units), text[begin : after.end()]
    return _cold(text, begin, after.end(), units)


def _dated(text: str, begin: int, end: int, before: str) -> tuple[Quantity, str]:
    """The month of a day, which stands behind it, or before it where no noun follows that it could count."""
    if (behind := _MONTH_BEHIND.match(text, end)) is not None:
        return Quantity(None, frozenset([_MONTHS[behind["month"]]])), text[begin : behind.end()]
    if (ahead := _MONTH_AHEAD.search(before)) is not None and _NO_NOUN.match(text, end):
        return Quantity(None, frozenset([_MONTHS[ahead["month"]]])), text[begin - len(ahead[0]) : end]
    return _UNKNOWN, text[begin:end]


def _cold(text: str, begin: int, end: int, units: frozenset[str]) -> tuple[Quantity, str]:
    """A temperature with its sign, which stands before it or behind its unit."""
    minus, below = _MINUS.search(text[max(0, begin - _LOOKED_BACK) : begin]), _BELOW.match(text, end)
    since = begin - (len(minus[0].lstrip()) if minus is not None else 0)
    until = below.end() if below is not None else end
    return Quantity(minus is not None or below is not None, units), text[since:until]


def _is_hour(plain: str) -> bool:
    """Whether a number, or the end of a range, may stand before am or pm."""
    hour = plain.rpartition("-")[2].partition(":")[0]
    return hour.isdecimal() and int(hour) <= _LAST_HOUR
