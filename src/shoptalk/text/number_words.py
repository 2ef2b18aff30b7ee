"""Numbers that words say, from nought to ninety-nine, in English and German.

    spelt_in("After twenty-five minutes, zwei Stunden")   # [("twenty-five", "25"), ("zwei", "2")]
    with_halves_in_digits("an hour and a half")      # "1.5 hour"

Larger ones are not read, nor what looks like a part of one: no word of "twenty thousand", of "nineteen ninety-five" or
of "twenty-first", and not the zero of "below zero".
"""

import re
from itertools import pairwise

_UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
}
SPELT = {
    **{word: str(number) for words in _UNITS.values() for number, word in enumerate(words.split())},
    **{word: str(10 * number) for words in _TENS.values() for number, word in enumerate(words.split(), start=2)},
    "dreissig": "30",
    **{
        f"{'ein' if unit == 'eins' else unit}und{spelling}": str(10 * ten + number)
        for number, unit in enumerate(_UNITS["de"].split()[1:10], start=1)
        for ten, tens in enumerate(_TENS["de"].split(), start=2)
        for spelling in dict.fromkeys((tens, tens.replace("ß", "ss")))
    },
}
"""Numbers by their words, those of two English words ("twenty-five") left out."""
_LARGER = frozenset({"hundred", "hundreds", "thousand", "thousands", "million", "millions", "hundert", "tausend"})
_TEN = "|".join(_TENS["en"].split())
_ORDINAL = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth"
_WORDS = re.compile(
    rf"\b(?:(?P<ordinal>(?:{_TEN})[-\s](?:{_ORDINAL})\b)"
    rf"|(?P<ten>{_TEN})(?:-|\s(?!\w+-))(?P<unit>{'|'.join(_UNITS['en'].split()[1:10])})\b"
    rf"|(?P<degrees>(?:below|above|unter|über)\s(?:zero|null)\b))|[^\W\d_]+",
    re.I,
)
_ONE_NUMBER = re.compile(r"[-\s]+")
_AFTER_LARGER = re.compile(r"[-\s]+(?:and[-\s]+)?")
"""What stands between two words of one number, and behind its hundreds: "five and ten" are two numbers."""
_COMPOUND = re.compile(r"-[^\W\d_]")
"""Behind a number that is of a word: "three one-hour tours" are three, where "twenty one-way tickets" may be 21."""
_TWENTY = 20


_HALVES = {
    "anderthalb": "1.5", "eineinhalb": "1.5", "einhalb": "0.5",
    **{f"{word}einhalb": f"{number}.5" for number, word in enumerate(_UNITS["de"].split()[2:10], start=2)},
}  # fmt: skip
_WHOLE = "|".join(["an?", *_UNITS["en"].split()[1:13], r"\d+"])
_HALVED = "(?:hour|day|week|month|year|minute|mile|(?:kilo)?met(?:er|re)|lit(?:er|re)|kilo)s?"
_HALF = re.compile(
    rf"(?<![-\w])(?:(?P<whole>{_WHOLE})(?P<noun>\s{_HALVED})?\sand\sa\shalf(?!\s(?:board|price|portion|pension|ticket)|-)"
    rf"|(?P<only>half\san?|(?:eine[nr]?\s)?halbe[nrs]?)|(?P<german>{'|'.join(_HALVES)}))\b",
    re.I,
)
"""Not "10 euros and a half pizza": of what stands between the number and its half only times and lengths are read."""


def with_halves_in_digits(text: str) -> str:
    """ "half an hour", "an hour and a half" and "zweieinhalb Stunden" as 0.5, 1.5 and 2.5 of them."""
    return _HALF.sub(_half, text)


def _half(found: re.Match[str]) -> str:
    if found["only"]:
        return "0.5"
    if found["german"]:
        return _HALVES[found["german"].lower()]
    whole = found["whole"].lower()
    number = whole if whole.isdecimal() else SPELT.get(whole, "1")
    return f"{number}.5{found['noun'] or ''}"


def spelt_in(text: str) -> list[tuple[str, str]]:
    """Each word of a text, or two of them, that says a number, in lower case, with the number in digits."""
    return [(text[begin:end].lower(), number) for begin, end, number in spelt_places(text)]


def spelt_places(text: str) -> list[tuple[int, int, str]]:
    """Where each of them begins and ends, with the number in digits."""
    spoken = [(word, number) for word in _WORDS.finditer(text) if (number := _number(word)) is not None]
    parts = {
        place
        for (one, number), (other, next_number) in pairwise(spoken)
        if (_ONE_NUMBER if number else _AFTER_LARGER).fullmatch(text, one.end(), other.start())
        and not (number and next_number and int(number) < _TWENTY and _COMPOUND.match(text, other.end()))
        for place in (one.start(), other.start())
    }
    return [(word.start(), word.end(), number) for word, number in spoken if number and word.start() not in parts]


def _number(word: re.Match[str]) -> str | None:
    """In digits; empty of a number that is not read, None of what is none."""
    if word["ten"]:
        return str(int(SPELT[word["ten"].lower()]) + int(SPELT[word["unit"].lower()]))
    if word["ordinal"] or word["degrees"]:
        return None
    lower = word[0].lower()
    return "" if lower in _LARGER else SPELT.get(lower)
