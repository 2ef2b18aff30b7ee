"""The numbers and names that a text states: what a reader would check first.

plain_number("4,50")                # "4.5"
plain_number("1.000,50")            # "1000.5"
plain_number("1.000-2.000")         # "1000-2000"
numbers_in("from 8:15, three crowns")   # {"8:15", "8", "15", "3"}
NAME.findall("We sail to Oster Quay.")  # ["Oster Quay"]
"""

import re
from itertools import pairwise

_APART = "'’\u00a0\u202f"
"""What sets thousands apart in some languages and is no mark of decimals: apostrophes, and spaces that do not break."""
NUMBER = re.compile(rf"\d+(?:(?:[.,:/\-]|[{_APART}](?=\d{{3}}(?!\d)))\d+)*")
_GROUPED = re.compile(r"(?P<whole>[1-9]\d{0,2}(?:([.,])\d{3})(?:\2\d{3})*)(?:(?!\2)[.,](?P<fraction>\d+))?")
"""Thousands set apart by one mark, and perhaps decimals behind the other."""
_PART = re.compile(r"[^:/\-]+")
"""Of a time, a date or a range."""
_UP_TO = re.compile(r"\s?[–—]\s?|\s-\s|\s(?:to|bis)\s")
"""What stands between the ends of a range where it is no hyphen alone."""
NAME = re.compile(r"(?<![.!?…:\"“„(\n] )(?<!^)(?<![.!?…])\b[A-ZÄÖÜÀ-Þ][\w'’]+(?:[ -][A-ZÄÖÜÀ-Þ][\w'’]+)*")
"""Capitalised words that begin no sentence."""
SPELT = {
    word: str(number)
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve",
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    )
    for number, word in enumerate(words.split())
}
"""Numbers by their words."""


def numbers_in(text: str) -> set[str]:
    """Every number of a text in its plain form, also the parts of times and dates, and those that words say. A range is
    its two ends, and both with a hyphen between them, however it is written ("8–10", "8 to 10").
    """
    stated = list(NUMBER.finditer(text))
    numbers = {plain_number(number[0]) for number in stated}
    numbers |= {plain_number(part) for number in stated for part in _PART.findall(number[0])}
    numbers |= {
        plain_number(f"{low[0]}-{high[0]}")
        for low, high in pairwise(stated)
        if _UP_TO.fullmatch(text, low.end(), high.start())
    }
    return numbers | {SPELT[word] for word in re.findall(r"[^\W\d_]+", text.lower()) if word in SPELT}


def plain_number(number: str) -> str:
    """4.50, 4,50 and 4.5 are one number; so are 1,000 and 1.000 and 1'000 and 1000, and 1.000,50 and 1,000.50.

    One mark before three digits is taken for that of thousands, whichever it is, except behind a nought: of "1.000"
    nobody can say without its language whether it is a thousand or one, and to take it for one would let a text say 1
    where its source says a thousand. Of times, dates and ranges each part is written so.
    """
    if not _PART.fullmatch(number):
        return _PART.sub(lambda part: plain_number(part[0]), number)
    number = re.sub(f"[{_APART}]", "", number)
    if grouped := _GROUPED.fullmatch(number):
        whole, fraction = re.sub("[.,]", "", grouped["whole"]), grouped["fraction"] or ""
    elif re.fullmatch(r"\d+[.,]\d+", number):
        whole, _, fraction = number.replace(",", ".").partition(".")
    else:
        return number
    return f"{whole}.{fraction.rstrip('0')}".rstrip(".")
