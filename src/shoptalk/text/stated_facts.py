"""The numbers and names that a text states: what a reader would check first.

plain_number("4,50")                # "4.5"
plain_number("1.000,50")            # "1000.5"
numbers_in("from 8:15, three crowns")   # {"8:15", "8", "15", "3"}
NAME.findall("We sail to Oster Quay.")  # ["Oster Quay"]
"""

import re

_APART = "'’\u00a0\u202f"
"""What sets thousands apart in some languages and is no mark of decimals: apostrophes, and spaces that do not break."""
NUMBER = re.compile(rf"\d+(?:(?:[.,:/\-]|[{_APART}](?=\d{{3}}(?!\d)))\d+)*")
_GROUPED = re.compile(r"(?P<whole>[1-9]\d{0,2}(?:([.,])\d{3})(?:\2\d{3})*)(?:(?!\2)[.,](?P<fraction>\d+))?")
"""Thousands set apart by one mark, and perhaps decimals behind the other."""
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
    """Every number of a text in its plain form, also the parts of times and dates, and those that words say."""
    numbers = {plain_number(number) for number in NUMBER.findall(text)}
    numbers |= {plain_number(part) for number in NUMBER.findall(text) for part in re.split(r"[:/\-]", number) if part}
    return numbers | {SPELT[word] for word in re.findall(r"[^\W\d_]+", text.lower()) if word in SPELT}


def plain_number(number: str) -> str:
    """4.50, 4,50 and 4.5 are one number; so are 1,000 and 1.000 and 1'000 and 1000, and 1.000,50 and 1,000.50.

    One mark before three digits is taken for that of thousands, whichever it is, except behind a nought: of "1.000"
    nobody can say without its language whether it is a thousand or one, and to take it for one would let a text say 1
    where its source says a thousand.
    """
    number = re.sub(f"[{_APART}]", "", number)
    if grouped := _GROUPED.fullmatch(number):
        whole, fraction = re.sub("[.,]", "", grouped["whole"]), grouped["fraction"] or ""
    elif re.fullmatch(r"\d+[.,]\d+", number):
        whole, _, fraction = number.replace(",", ".").partition(".")
    else:
        return number
    return f"{whole}.{fraction.rstrip('0')}".rstrip(".")
