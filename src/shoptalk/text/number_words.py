"""Numbers that words say, from nought to ninety-nine, in English and German.

spelt_in("After twenty-five minutes, zwei Stunden")   # [("twenty-five", "25"), ("zwei", "2")]
"""

import re

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
        f"{unit.removesuffix('s') if unit == 'eins' else unit}und{tens}": str(10 * ten + number)
        for number, unit in enumerate(_UNITS["de"].split()[1:10], start=1)
        for ten, spellings in enumerate([*_TENS["de"].replace("dreißig", "dreißig/dreissig").split()], start=2)
        for tens in spellings.split("/")
    },
}
"""Numbers by their words, those of two English words ("twenty-five") left out."""
_WORDS = re.compile(
    rf"\b(?P<ten>{'|'.join(_TENS['en'].split())})(?:-|\s)(?P<unit>{'|'.join(_UNITS['en'].split()[1:10])})\b|[^\W\d_]+"
)


def spelt_in(text: str) -> list[tuple[str, str]]:
    """Each word of a text, or two of them, that says a number, in lower case, with the number in digits."""
    return [(text[begin:end].lower(), number) for begin, end, number in spelt_places(text)]


def spelt_places(text: str) -> list[tuple[int, int, str]]:
    """Where each of them begins and ends, with the number in digits."""
    places = []
    for found in _WORDS.finditer(text.lower()):
        number = str(int(SPELT[found["ten"]]) + int(SPELT[found["unit"]])) if found["ten"] else SPELT.get(found[0])
        if number is not None:
            places.append((found.start(), found.end(), number))
    return places
