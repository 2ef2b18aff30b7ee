"""Whether a translator's held-out figure is good enough for people to read what it writes (docs/decisions/0037).

why_unused(low=25.4, unchanged=16.3, written=200)     # "its chrF may be as low as 25.4, and ..."; None: it is used
"""

FLOOR = 50.0
"""chrF that the interval must lie above: where half of the words are wrong a text has 48, and translators that people
use have 52 to 69.
"""
FEWEST = 50
"""Translations that an interval must rest on: over fewer resampled texts it comes out too narrow."""


def why_unused(*, low: float, unchanged: float | None, written: int) -> str | None:
    """Why nobody should be shown what it writes, in half a sentence; None where its figure allows it.

    Args:
        low: the lower end of chrF's 95 % interval on pairs that training has not seen.
        unchanged: chrF of the sources left as they are, against the same targets; None where it was not measured.
        written: how many translations were judged.
    """
    if unchanged is None:
        return "it was judged by an earlier version, which did not score the sources left as they are beside it"
    if written < FEWEST:
        return f"only {written:,} translations were judged, and fewer than {FEWEST} tell too little"
    if not low > unchanged:
        return f"its chrF may be as low as {low:.1f}, and the sources left as they are have {unchanged:.1f}"
    if not low > FLOOR:
        return f"its chrF may be as low as {low:.1f}, and {FLOOR:.0f} is the least that people can work with"
    return None
