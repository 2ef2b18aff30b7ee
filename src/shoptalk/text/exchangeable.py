"""Words that are exchanged for each other when a reply is corrupted: units, denials, qualifiers, opposites."""

import re

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "about above after again against also although among another any anyone are around because been "
        "before being below between both but cannot could does doing done down during each either else ever "
        "every everyone first from further have having here hers herself himself however into itself just "
        "last less like made make many might more most much must near never next none nothing often once only "
        "other others ought ours ourselves over perhaps quite rather really same shall should since some "
        "something such than that their theirs them themselves then there these they this those though "
        "through together until upon very want well were what whatever when where whether which while whom "
        "whose will with within without would your yours yourself always still away back even them able down "
        "please took take taken give given gives went goes going come came comes ",
    )
)
"""Words of four letters and more that say little by themselves."""
UNITS = (
    ("second", "minute", "hour", "day", "week", "month", "year"),
    ("centimetre", "metre", "kilometre", "mile", "inch", "foot"),
    ("centimeter", "meter", "kilometer", "yard"),
    ("gram", "kilogram", "kilo", "tonne", "ounce"),
    ("crown", "euro", "dollar", "franc", "cent", "penny"),
    ("litre", "liter", "gallon", "pint"),
    ("cm", "km", "mm"),
    ("kg", "g"),
    ("am", "pm"),
    ("a.m.", "p.m."),
    ("a.m", "p.m"),
    ("€", "$", "£"),
    ("morning", "afternoon", "evening", "night"),
    ("daily", "weekly", "monthly", "yearly", "hourly"),
    ("degree", "percent"),
)
"""Units of which one is exchanged for another of its group; words in singular or plural."""
_IRREGULAR = {"foot": "feet", "inch": "inches", "penny": "pence"}


def _unit_forms() -> dict[str, tuple[str, ...]]:
    """Each unit in each number, and the others of its group in the same."""
    forms: dict[str, tuple[str, ...]] = {}
    for group in UNITS:
        countable = len(group[0]) > 4 and not group[0].endswith("ly")
        for each in (lambda unit: unit, _plural) if countable else (lambda unit: unit,):
            words = [each(unit) for unit in group]
            forms |= {word: tuple(other for other in words if other != word) for word in words}
    return forms


def _plural(unit: str) -> str:
    return _IRREGULAR.get(unit, f"{unit}s")


UNIT_FORMS = _unit_forms()
UNIT = re.compile(
    rf"(?<![\w.'’])(?:{'|'.join(sorted(map(re.escape, UNIT_FORMS), key=len, reverse=True))})(?![\w'’])"
    r"|(?<=\d)(?:cm|km|mm|kg|g|am|pm)\b",
    re.I,
)
"""A unit as a word of its own, or written to its number."""
POLAR = (
    ("with", "without"), ("always", "never"), ("all", "no"), ("every", "no"), ("everyone", "nobody"), ("some", "no"),
    ("any", "no"), ("nothing", "everything"), ("nobody", "everybody"), ("allowed", "forbidden"), ("never", "always"),
    ("without", "with"), ("no", "some"), ("none", "all"), ("yes", "no"), ("possible", "impossible"),
)  # fmt: skip
QUALIFIERS = (
    ("must", "may", "should"),
    ("can", "must"),
    ("will", "may"),
    ("all", "most", "some", "few"),
    ("each", "every second"),
    ("both", "either"),
    ("only", "even", "also", "mainly"),
    ("usually", "often", "sometimes", "rarely", "seldom", "occasionally"),
    ("exactly", "about", "almost"),
    ("already", "still", "soon"),
    ("at least", "at most", "exactly"),
    ("up to", "more than", "exactly"),
    ("from", "until"),
    ("immediately", "eventually"),
    ("today", "tomorrow", "yesterday"),
    ("during", "before", "after"),
    ("once", "twice"),
    ("in", "under", "behind", "above"),
    ("on", "off"),
    ("to", "from"),
    ("and", "or"),
    ("if", "because"),
    ("we", "you", "they"),
    ("our", "your", "their"),
    ("this", "another"),
)
"""Words that say how many, how often, how surely, where, whose, and whether one may or must, none of which denies; of a
group one is exchanged for another.
"""
INSERTED = ("only", "usually", "rarely", "sometimes", "partly", "mainly", "seldom", "hardly", "soon", "still", "almost")
"""Qualifiers that may come or go behind an auxiliary."""
OPPOSITES = (
    ("before", "after"), ("more", "less"), ("open", "closed"), ("opens", "closes"), ("first", "last"),
    ("early", "late"), ("earlier", "later"), ("earliest", "latest"), ("inside", "outside"), ("include", "exclude"),
    ("included", "excluded"), ("cheap", "expensive"), ("cheaper", "dearer"), ("small", "large"), ("smaller", "larger"),
    ("minimum", "maximum"), ("above", "below"), ("over", "under"), ("friendly", "rude"), ("clean", "dirty"),
    ("good", "bad"), ("great", "terrible"), ("best", "worst"), ("better", "worse"), ("quiet", "noisy"),
    ("comfortable", "uncomfortable"), ("fast", "slow"), ("delicious", "tasteless"), ("hot", "cold"), ("long", "short"),
    ("longer", "shorter"), ("full", "empty"), ("left", "right"), ("up", "down"), ("front", "back"), ("free", "paid"),
    ("many", "few"), ("most", "least"), ("near", "far"), ("new", "old"), ("public", "private"), ("high", "low"),
    ("higher", "lower"), ("arrival", "departure"), ("arrive", "depart"), ("adult", "child"), ("adults", "children"),
    ("required", "optional"), ("same", "different"), ("summer", "winter"), ("day", "night"), ("easy", "difficult"),
    ("polite", "impolite"), ("enough", "too little"), ("loved", "hated"), ("happy", "unhappy"), ("big", "tiny"),
    ("return", "single"), ("online", "in person"), ("on foot", "by car"), ("indoor", "outdoor"), ("top", "bottom"),
)  # fmt: skip
