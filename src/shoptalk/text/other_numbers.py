"""Another number of the same form, near the one that a sentence states: what a mistaken reply would say."""

import re
from collections.abc import Sequence

import numpy as np

from shoptalk.text.rewordings import NUMBERS
from shoptalk.text.stated_facts import plain_number

LONGEST_NUMBER = 15
"""Digits of a number that is reckoned with; of a longer one the last digit changes."""


def plain_figure(stated: str) -> str:
    """A number in digits ("four" is 4, and "07:00" 7:00); anything else in small letters."""
    return plain_number(stated) if stated[0].isdigit() else str(NUMBERS.get(stated.lower(), stated.lower()))


def shape_of(number: str) -> str:
    """Times with times, prices with prices, whole numbers with whole numbers."""
    return re.sub(r"\d+", "0", number)


def other_number(number: str, rng: np.random.Generator) -> str:
    """A number of the same form near it: each part of a time stays in its range."""
    parts = re.split(r"([.,:/])", number)
    while plain_figure(new := "".join(_other_part(part, parts, rng) for part in parts)) == plain_figure(number):
        pass
    return new


def _other_part(part: str, parts: Sequence[str], rng: np.random.Generator) -> str:
    if not part.isdigit():
        return part
    if len(part) > LONGEST_NUMBER:
        return f"{part[:-1]}{(int(part[-1]) + int(rng.integers(1, 10))) % 10}"
    value = int(part)
    if ":" in parts:
        limit = 24 if part is parts[0] else 60
        return f"{(value + int(rng.choice([0, 1, 2, 5, 10, 15, 30]))) % limit:0{len(part)}d}"
    steps = (value + 1, max(value - 1, 0), value * 2, value + 5, value * 10, max(value // 2, 1), value + 2)
    return f"{int(rng.choice(steps))}".zfill(len(part))[: max(len(part), 6)]
