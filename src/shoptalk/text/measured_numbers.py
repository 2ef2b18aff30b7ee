"""What the numbers of a text are of: their signs, and units that must not be taken for one another.

    quantities_in("at 7 pm it is -5 °C")            # {"7": {Quantity(False, "pm")}, "5": {Quantity(True, "°C")}}
    contradicted("at 7 am", "Doors open at 7 pm.")   # "7 am", "7 pm"

A number without a unit that is read here contradicts none: "at 7" stands for "at 7 pm", and the other way round.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from shoptalk.text.number_words import spelt_places
from shoptalk.text.stated_facts import NUMBER, plain_number

_UNITS = {
    "am": r"a\.?m\.?",
    "pm": r"p\.?m\.?",
    "s": r"seconds?|Sekunden?",
    "min": r"min|minutes?|Minuten?",
    "h": r"hours?|hrs|Stunden?|Std",
    "d": r"days?|Tage?n?",
    "nights": r"nights?|Nächten?|Nacht",
    "w": r"weeks?|Wochen?",
    "months": r"months?|Monate?n?",
    "y": r"years?|Jahre?n?",
    "mm": r"mm|millimet(?:er|re)s?",
    "cm": r"cm|centimet(?:er|re)s?|Zentimetern?",
    "m": r"met(?:er|re)s?|Metern?",
    "km": r"km|kilomet(?:er|re)s?|Kilometern?",
    "miles": r"miles?|Meilen?",
    "g": r"g|grams?|Gramm",
    "kg": r"kg|kilos?|kilograms?|Kilogramm",
    "tonnes": r"tonnes?|Tonnen?",
    "ml": r"ml|millilit(?:er|re)s?|Millilitern?",
    "l": r"l|lit(?:er|re)s?|Litern?",
    "°C": r"°\s?C|degrees? Celsius|Grad Celsius",
    "°F": r"°\s?F|degrees? Fahrenheit|Grad Fahrenheit",
    "%": r"%|per ?cent|Prozent",
    "€": r"€|EUR|euros?",
    "$": r"\$|USD|(?:US )?dollars?",
    "£": r"£|GBP",
    "CHF": r"CHF|Franken|Swiss francs?",
}
"""By the name that is told nobody, what is read as the unit. Not read is what is short for several ("m", "t", "h")."""
_AFTER = re.compile(
    rf"[\s\-]?(?:{'|'.join(f'(?P<u{number}>{spelt})' for number, spelt in enumerate(_UNITS.values()))})(?!\w)", re.I
)
_NAMES = list(_UNITS)
_BEFORE = re.compile(r"(?P<unit>€|\$|£|\b(?:EUR|USD|GBP|CHF))\s?$", re.I)
_WRITTEN_BEFORE = {"EUR": "€", "USD": "$", "GBP": "£"}
_MINUS = re.compile(r"(?:(?<!\d)[ \t\u00a0(][-\u2212\u2013]|^[-\u2212]|\bminus\s)$", re.I)
"""A hyphen that touches the number and no word before it. Behind another number it may be the middle of a range."""
_LOOKED_BACK = 12


class Quantity(NamedTuple):
    """What is read about a number."""

    negative: bool
    unit: str
    """Empty where none is read."""


def quantities_in(text: str) -> dict[str, set[Quantity]]:
    """All that is read about each number of a text, by its plain form. Of "7-9 pm" the last part has the unit, too, and
    of "7:00 pm" the full hour.
    """
    found: dict[str, set[Quantity]] = {}
    for plain, quantity, _ in _read(text):
        found.setdefault(plain, set()).add(quantity)
    return found


def contradicted(said: str, read: str) -> tuple[str, str] | None:
    """The first number that is said with a sign or a unit that it has nowhere in what was `read`, although each of its
    places there has one, as it is said and as it is read; None where there is none.
    """
    there: dict[str, list[tuple[Quantity, str]]] = {}
    for plain, quantity, written in _read(read):
        there.setdefault(plain, []).append((quantity, written))
    for plain, quantity, written in _read(said):
        known = there.get(plain)
        if known and not any(_agree(quantity, other) for other, _ in known):
            return written, known[0][1]
    return None


def _agree(one: Quantity, other: Quantity) -> bool:
    return one.negative == other.negative and (not one.unit or not other.unit or one.unit == other.unit)


def _read(text: str) -> Iterator[tuple[str, Quantity, str]]:
    """Each number in its plain form, what is read about it, and how that is written."""
    places = [(number.start(), number.end(), plain_number(number[0])) for number in NUMBER.finditer(text)]
    for begin, end, plain in sorted(places + spelt_places(text)):
        before = text[max(0, begin - _LOOKED_BACK) : begin]
        negative, paid, after = _MINUS.search(before), _BEFORE.search(before), _AFTER.match(text, end)
        unit = ""
        if paid is not None:
            unit = _WRITTEN_BEFORE.get(paid["unit"].upper(), paid["unit"].upper())
        elif after is not None:
            unit = _NAMES[int((after.lastgroup or "u0")[1:])]
        until = after.end() if after is not None and paid is None else end
        since = begin - len((paid or negative or [""])[0].lstrip(" \t\u00a0("))
        written = " ".join(text[since:until].split())
        quantity = Quantity(negative is not None, unit)
        yield plain.replace(":00", ""), quantity, written
        first, _, last = plain.replace(":00", "").partition("-")
        if last and "-" not in last:  # a range: what stands behind it is said of its end
            yield last, Quantity(False, unit), written
            yield first, Quantity(negative is not None, ""), written
