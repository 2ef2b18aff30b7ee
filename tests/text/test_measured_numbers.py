"""Signs and units of a text's numbers, and numbers that words say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.assistant.ground import unsupported
from shoptalk.text.measured_numbers import Quantity, contradicted, quantities_in
from shoptalk.text.number_words import SPELT, spelt_in
from shoptalk.text.stated_facts import numbers_in

ENGLISH = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DIGITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_words_say_every_number_up_to_ninety_nine() -> None:
    assert {int(number) for number in SPELT.values()} == set(range(100))
    assert SPELT["einundzwanzig"] == "21" and SPELT["fünfunddreissig"] == SPELT["fünfunddreißig"] == "35"
    for ten, tens in enumerate(ENGLISH, start=2):
        for unit, units in enumerate(DIGITS, start=1):
            for joined in (f"{tens}-{units}", f"{tens.capitalize()} {units}"):
                assert spelt_in(f"After {joined} days.") == [(joined.lower(), str(10 * ten + unit))]
    assert spelt_in("Forty days, and nobody won; someone weighs") == [("forty", "40")]
    assert numbers_in("fifty-five") == {"55"} and numbers_in("dreizehn Tage") == {"13"}


@pytest.mark.parametrize(
    ("text", "number", "read"),
    [
        ("at 7 pm", "7", Quantity(False, "pm")),
        ("at 7:00 p.m.", "7", Quantity(False, "pm")),
        ("from 7-9 am", "9", Quantity(False, "am")),
        ("from 7-9 am", "7", Quantity(False, "")),
        ("from 7-9 am", "7-9", Quantity(False, "am")),
        ("it is -5 °C outside", "5", Quantity(True, "°C")),
        ("minus 5 degrees Celsius", "5", Quantity(True, "°C")),
        ("a 2-year warranty", "2", Quantity(False, "y")),
        ("two years", "2", Quantity(False, "y")),
        ("€12.50 a ticket", "12.5", Quantity(False, "€")),
        ("12,50 EUR", "12.5", Quantity(False, "€")),
        ("nach 14 Tagen", "14", Quantity(False, "d")),
        ("cabins 8 -10", "10", Quantity(False, "")),
        ("B-12 vitamins", "12", Quantity(False, "")),
        ("12 months\nand", "12", Quantity(False, "months")),
        ("12 monthly payments", "12", Quantity(False, "")),
        ("5 m", "5", Quantity(False, "")),
    ],
)
def test_a_number_has_the_sign_and_the_unit_that_stand_beside_it(text: str, number: str, read: Quantity) -> None:
    assert read in quantities_in(text)[number]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("The kiosk opens at 7 pm.", "The kiosk opens at 7 am."),
        ("The kiosk opens at 7:30 a.m.", "The kiosk opens at 7:30 p.m."),
        ("The kiosk is open from 7 to 9 am.", "The kiosk is open from 7 to 9 pm."),
        ("The kiosk is open 7-9 am.", "The kiosk is open 7–9 pm."),
        ("The cold store is kept at 5 °C.", "The cold store is kept at -5 °C."),
        ("The cold store is kept at −5 °C.", "The cold store is kept at 5 °C."),
        ("The warranty lasts 2 months.", "The warranty lasts 2 years."),
        ("The warranty lasts two months.", "The warranty lasts 2 years."),
        ("Die Garantie gilt zwei Wochen.", "Die Garantie gilt 2 Jahre."),
        ("A ticket costs $5.", "A ticket costs €5."),
        ("The walk takes 5 km.", "The walk takes 5 minutes."),
    ],
)
def test_another_sign_or_unit_of_the_same_number_is_refused(said: str, read: str) -> None:
    reason = unsupported(said, read, shared=0.5)
    assert reason is not None and reason.startswith("says ") and unsupported(read, read) is None


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("The kiosk opens at 7.", "The kiosk opens at 7 pm."),
        ("The kiosk opens at 7 pm.", "The kiosk opens at 7 in the evening."),
        ("The kiosk opens at 7:00 pm.", "The kiosk opens at 7 p.m."),
        ("The kiosk opens at 7 pm.", "It opens at 7 am on Monday, and at 7 pm on Sunday."),
        ("The warranty lasts 24 months.", "The warranty lasts twenty-four months."),
        ("The kiosk opens from 7 to 9 pm.", "The kiosk opens 7-9 pm."),
        ("Parcels up to 5 kilograms are free.", "Parcels up to 5 kg are free."),
        ("It is -5 °C in the cold store.", "The cold store: minus 5 °C."),
        ("A ticket costs 5 euros.", "A ticket costs €5."),
        ("One day is enough.", "One of the days is enough."),
    ],
)
def test_the_same_quantity_stands_however_it_is_written(said: str, read: str) -> None:
    assert contradicted(said, read) is None and unsupported(said, read, shared=0.5) is None


@given(st.text("0123456789 -−–:.,€$ampykgwordsdays°C%\n", max_size=60))
def test_no_text_contradicts_itself(text: str) -> None:
    assert contradicted(text, text) is None
