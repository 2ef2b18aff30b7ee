"""The numbers and names that a text states: what a reader would check first.

plain_number("4,50")                # "4.5"
plain_number("1.000,50")            # "1000.5"
plain_number("1.000-2.000")         # "1000-2000"
plain_number("2.5 million")         # "2500000"
numbers_in("from 8:15, three crowns")   # {"8:15", "8", "15", "3"}
NAME.findall("We sail to Oster Quay.")  # ["Oster Quay"]
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from shoptalk.text.number_words import spelt_in

_APART = "'’\u00a0\u202f"
"""What sets thousands apart in some languages and is no mark of decimals: apostrophes, and spaces that do not break."""
_TIMES = {
    "hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000, "hundert": 100,
    "tausend": 1_000, "millionen": 1_000_000, "milliarde": 1_000_000_000, "milliarden": 1_000_000_000,
}  # fmt: skip
_PARTS_OF_ONE = {"¼": "25", "½": "5", "¾": "75"}
_FRACTIONS = {**_PARTS_OF_ONE, "1/4": "25", "1/2": "5", "3/4": "75"}
NUMBER = re.compile(
    r"(?:(?<![\d.,:/+'’])[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?(?![\d.,:/'’]*\d)"
    rf"|(?:\d++ ?)?[{''.join(_PARTS_OF_ONE)}]|\d++ (?:1/2|1/4|3/4)(?![\d/])"
    rf"|\d+(?:(?:[.,:/\-]|[{_APART}](?=\d{{3}}(?!\d)))\d+)*)"
    rf"(?:\s(?i:{'|'.join(sorted(_TIMES, key=len, reverse=True))})\b)?"
)
"""Digits with what belongs to them: marks of thousands (spaces too, but not of "040 123 456"), of decimals, of times,
dates and ranges; a fraction; and behind them a word such as "million".
"""
_GROUPED = re.compile(r"(?P<whole>[1-9]\d{0,2}(?:([.,])\d{3})(?:\2\d{3})*)(?:(?!\2)[.,](?P<fraction>\d+))?")
"""Thousands set apart by one mark, and perhaps decimals behind the other."""
_PART = re.compile(r"[^:/\-]+")
"""Of a time, a date or a range."""
_LARGE = re.compile(rf"(.+)\s({'|'.join(_TIMES)})", re.I)
_WITH_FRACTION = re.compile(rf"(?:(\d+) ?)?([{''.join(_PARTS_OF_ONE)}])|(\d+) (1/2|1/4|3/4)")
_DATE = re.compile(r"(\d{1,2})([./])(\d{1,2})\2(\d{2}|\d{4})")
_CLOCK = re.compile(r"\b(\d{1,2})\.(\d{2})(?=\s?(?:Uhr\b|[ap]\.?m\b))", re.I)
"""A time with a full stop, as German and some English write it."""
_UNIT = re.compile(r"°C|[€$£%°]|[ap]\.?m\.?|Uhr|h|min|[ckm]?m|k?g|t|l|EUR|CHF|USD", re.I)
_MONEY = r"(?:(?:[€$£]|EUR|CHF|USD)\s?)?"
_SPACE = r"[^\S\n]"
"""Around a dash: one that begins a line begins an item of a list."""
_DASH = "[\\-\u2010-\u2014]"
_ASIDE = re.compile(rf"[^\d.,;:!?\n]*{_SPACE}{_DASH}{_SPACE}")
"""Words and a second dash: what stands between the two is an aside ("Room 8 - 10 people - is heated")."""
_UP_TO = re.compile(
    rf"(?:\s?(?P<unit>{_UNIT.pattern}|(?!up\b)[^\W\d_]+))?"
    rf"(?:(?P<apart>{_SPACE}{_DASH}{_SPACE})|{_SPACE}?{_DASH}{_SPACE}?"
    r"|\s(?:(?:up\s)?to|through|until|bis(?:\s(?:zu|um))?)\s|(?P<and>\s(?:and|und)\s))"
    rf"{_MONEY}",
    re.I,
)
"""What stands between the ends of a range where it is no hyphen alone."""
_BETWEEN = re.compile(rf"\b(?:between|zwischen)\s{_MONEY}$", re.I)
NAME = re.compile(r"(?<![.!?…:\"“„(\n] )(?<!^)(?<![.!?…])\b[A-ZÄÖÜÀ-Þ][\w'’]+(?:[ -][A-ZÄÖÜÀ-Þ][\w'’]+)*")
"""Capitalised words that begin no sentence."""


def numbers_in(text: str) -> set[str]:
    """Every number of a text in its plain form, also the parts of times and dates, and those that words say. A range is
    its two ends, and both with a hyphen between them, in each of the forms that `ranges_in` reads; "8:00-18:00" is
    "8-18" as well.
    """
    stated = list(NUMBER.finditer(text))
    numbers = {plain_number(number[0]) for number in stated}
    divided = (number[0] for number in stated if not _WITH_FRACTION.fullmatch(number[0]))
    numbers |= {plain_number(part) for number in divided for part in _PART.findall(number)}
    numbers |= ranges_in(text).keys() | _spelt(text)
    return numbers | {number.replace(":00", "") for number in numbers if "-" in number}


def ranges_in(text: str) -> dict[str, str]:
    """The ranges of a text by their plain form, as they are written, but for those with a hyphen alone between two
    digits, which `NUMBER` reads as one number.

    Read are "8–10" with any dash or hyphen, "8 – 10", "8 to 10", "8 up to 10", "8 through 10", "8 until 10", "8 bis
    10", "8 bis zu 10", "8 bis um 10", "between 8 and 10" and "zwischen 8 und 10", and each of them with a short unit
    ("8 am to 10 am", "€8–€10") or a word that both numbers have ("1 day to 2 days"). Not read are ranges in words
    ("eight to ten"), and a dash at the end or the beginning of a line.

    A dash with spaces and no unit before it may begin a remark instead. It is read as one where the second number is
    the smaller one and no time, or where another dash follows the words behind it. "Room 8 - 10 people are in it" is
    read as a range.
    """
    return {plain_number(f"{low[0]}-{high[0]}"): text[low.start() : high.end()] for low, high in range_ends(text)}


def with_colons(text: str) -> str:
    """The text with times such as "9.30 Uhr" and "9.30 am" written "9:30"."""
    return _CLOCK.sub(r"\1:\2", text)


def both_ends_apart(plain: str, sentence: str) -> bool:
    """Whether both ends of a range in its plain form stand in a sentence, and neither as the end of another range: "8"
    and "18" of "8-18" do in "It opens at 8:00 and closes at 18:00".
    """
    taken = {end.start() for ends in range_ends(sentence) for end in ends}
    apart = (plain_number(number[0]) for number in NUMBER.finditer(sentence) if number.start() not in taken)
    free = {number.removesuffix(":00") for number in apart} | _spelt(sentence)
    plain = plain.replace(":00", "")
    return any(plain.startswith(f"{low}-") and plain.removeprefix(f"{low}-") in free for low in free)


def range_ends(text: str) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """Both ends of each range that `ranges_in` reads."""
    for low, high in pairwise(NUMBER.finditer(text)):
        between = _UP_TO.fullmatch(text, low.end(), high.start())
        if between is None or (between["and"] and not _BETWEEN.search(text, max(0, low.start() - 20), low.start())):
            continue
        unit = between["unit"]
        if unit and not _UNIT.fullmatch(unit) and not re.match(rf"\s?{unit}", text[high.end() :], re.I):
            continue
        if between["apart"] and not unit and (not _ascending(low[0], high[0]) or _ASIDE.match(text, high.end())):
            continue
        yield low, high


def _spelt(text: str) -> set[str]:
    """The numbers that words say."""
    return {number for _, number in spelt_in(text)}


def _ascending(low: str, high: str) -> bool:
    """Whether two numbers can be the ends of a range; times and dates always can."""
    try:
        return float(plain_number(low)) < float(plain_number(high))
    except ValueError:
        return True


def plain_number(number: str) -> str:
    """4.50, 4,50 and 4.5 are one number; so are 1,000 and 1.000 and 1'000 and 1000, and 1.000,50 and 1,000.50.

    One mark before three digits is taken for that of thousands, whichever it is, except behind a nought: of "1.000"
    nobody can say without its language whether it is a thousand or one, and to take it for one would let a text say 1
    where its source says a thousand. "2½" is 2.5, and "2 million" is 2000000. Of times, dates and ranges each part is
    written so, and hours, days and months without a nought before them. Decimals lose their last noughts, but for one
    where three digits would be left that could be thousands: "1.00100" is 1.0010.
    """
    if parts := _WITH_FRACTION.fullmatch(number):
        return _decimal(parts[1] or parts[3] or "0", _FRACTIONS[parts[2] or parts[4]])
    if date := _DATE.fullmatch(number):
        return date[2].join(str(int(part)) for part in (date[1], date[3], date[4]))
    if not _PART.fullmatch(number):
        plain = re.sub(r"(?:^|(?<=-))0(?=\d:)", "", _PART.sub(lambda part: plain_number(part[0]), number))
        return plain if plain == number else plain_number(plain)
    if large := _LARGE.fullmatch(number):
        plain = plain_number(large[1])
        if not re.fullmatch(r"\d+(?:\.\d+)?", plain):
            return plain
        whole, _, fraction = f"{Decimal(plain) * _TIMES[large[2].lower()]:f}".partition(".")
        return _decimal(whole, fraction)
    number = re.sub(f"[{_APART} ]", "", number)
    if grouped := _GROUPED.fullmatch(number):
        whole, fraction = re.sub("[.,]", "", grouped["whole"]), grouped["fraction"] or ""
    elif re.fullmatch(r"\d+[.,]\d+", number):
        whole, _, fraction = number.replace(",", ".").partition(".")
    else:
        return number
    return _decimal(whole, fraction)


def _decimal(whole: str, fraction: str) -> str:
    """Without noughts at its end, and never in a form that would be read as thousands."""
    plain = f"{whole}.{fraction.rstrip('0')}".rstrip(".")
    return f"{plain}0" if _GROUPED.fullmatch(plain) else plain
