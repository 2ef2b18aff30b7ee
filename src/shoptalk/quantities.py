"""Quantities as people read them."""

import math


def money(euros: float) -> str:
    """1.20 EUR, 0.023 EUR: two decimals, and below that as many as show two digits that matter."""
    decimals = 2 if euros <= 0 else max(2, 1 - math.floor(math.log10(euros)))
    return f"{euros:.{decimals}f} EUR"
