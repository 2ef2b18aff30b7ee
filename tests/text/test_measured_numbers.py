"""Signs and units of a text's numbers, and numbers that words say."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoptalk.assistant.ground import unsupported
from shoptalk.text.measured_numbers import Quantity, contradicted, quantities_in
from shoptalk.text.number_words import SPELT, spelt_in
from shoptalk.text.stated_facts import NUMBER, numbers_in, plain_number

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
    assert [number for _, number in spelt_in("between five and ten, or two, three")] == ["5", "10", "2", "3"]
    assert not spelt_in("two hundred and five people")
    assert numbers_in("fifty-five") == {"55"} and numbers_in("dreizehn Tage") == {"13"}


@pytest.mark.parametrize(
    ("text", "number", "read"),
    [
        ("at 7 pm", "7", Quantity(None, frozenset({"pm"}))),
        ("at 7:00 p.m.", "7", Quantity(None, frozenset({"pm"}))),
        ("from 7-9 am", "9", Quantity(None, frozenset({"am"}))),
        ("from 7-9 am", "7", Quantity(None, frozenset())),
        ("from 7-9 am", "7-9", Quantity(None, frozenset({"am"}))),
        ("2-3 months", "2", Quantity(None, frozenset({"months"}))),
        ("it is -5 °C outside", "5", Quantity(True, frozenset({"°C"}))),
        ("minus 5 degrees Celsius", "5", Quantity(True, frozenset({"°C"}))),
        ("5 °C below zero", "5", Quantity(True, frozenset({"°C"}))),
        ("5 °C", "5", Quantity(False, frozenset({"°C"}))),
        ("Cold store\n−5 °C is kept", "5", Quantity(True, frozenset({"°C"}))),
        ("-10 % on all tours", "10", Quantity(None, frozenset({"%"}))),
        ("9 am –5 pm", "5", Quantity(None, frozenset({"pm"}))),
        ("a 2-year warranty", "2", Quantity(None, frozenset({"y"}))),
        ("two years", "2", Quantity(None, frozenset({"y"}))),
        ("€12.50 a ticket", "12.5", Quantity(None, frozenset({"€"}))),
        ("12,50 EUR", "12.5", Quantity(None, frozenset({"€"}))),
        ("Kajak 12 € 3 Stunden", "3", Quantity(None, frozenset({"h"}))),
        ("Kajak 12 € 3 Stunden", "12", Quantity(None, frozenset({"€"}))),
        ("nach 14 Tagen", "14", Quantity(None, frozenset({"d"}))),
        ("12 am Pool", "12", Quantity(None, frozenset())),
        ("ab 80 am Tag", "80", Quantity(None, frozenset())),
        ("cabins 8 -10", "10", Quantity(None, frozenset())),
        ("B-12 vitamins", "12", Quantity(None, frozenset())),
        ("Cruise 7\nDays at sea", "7", Quantity(None, frozenset())),
        ("12 monthly payments", "12", Quantity(None, frozenset())),
        ("5G coverage", "5", Quantity(None, frozenset())),
        ("5 m", "5", Quantity(None, frozenset({"m", "min", "months"}))),
        ("2 h", "2", Quantity(None, frozenset({"h", "am", "pm"}))),
        ("50 km/h", "50", Quantity(None, frozenset({"km/h"}))),
        ("20 m²", "20", Quantity(None, frozenset({"m²"}))),
        ("5 €/Nacht", "5", Quantity(None, frozenset({"€"}))),
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
        ("It is 5 °C.", "Cold store\n−5 °C is kept."),
        ("The warranty lasts 2 years.", "The warranty lasts 2-3 months."),
        ("The tour takes 2 days.", "The tour takes 2 h."),
        ("The limit is 50 km.", "The limit is 50 km/h."),
        ("The cabin has 20 metres.", "The cabin has 20 m²."),
        ("The warranty lasts 2 months.", "The warranty lasts 2 years."),
        ("The warranty lasts two months.", "The warranty lasts 2 years."),
        ("Die Garantie gilt zwei Wochen.", "Die Garantie gilt 2 Jahre."),
        ("A ticket costs $5.", "A ticket costs €5."),
        ("The walk takes 5 km.", "The walk takes 5 minutes."),
        ("The ferry leaves at 9 am Monday.", "The ferry leaves at 9 pm Monday."),
        ("The water is 5 to 10 °C in May.", "The water is -5 to 10 °C in May."),
        ("The tour takes one hour.", "The tour takes three hours."),
        ("The tour takes an hour.", "The tour takes 3 hours."),
        ("One dog may travel with you.", "Two dogs may travel with you."),
        ("The tour takes one hour.", "The tour takes **two**\nhours."),
        ("The crossing takes an hour.", "The crossing takes half an hour."),
        ("The crossing takes one hour.", "The crossing takes an hour and a half."),
        ("Die Überfahrt dauert eine Stunde.", "Die Überfahrt dauert eine halbe Stunde."),
        ("The tour is on 3 May.", "The tours are on 3 April and 10 May."),
        ("The offer ends on May 3.", "The offer runs from April 3 to 10 May; it ends then."),
        ("Die Tour ist am 3. Mai.", "Die Tour ist am 3. April und am 10. Mai."),
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
        ("A cabin costs 500 € for 4 nights.", "Cabin 500 € 4 nights."),
        ("You save 10% on all tours.", "Discount: -10% on all tours, you save."),
        ("The kiosk closes at 5 pm.", "The kiosk: Mon-Fri 9 am –5 pm, then it closes."),
        ("The cold store is kept at −5 °C.", "Cold store\n−5 °C is kept."),
        ("For one hour a ticket costs €1.", "The ticket costs €1 per hour."),
        ("One week before departure the fee is 50 %.", "A week before departure the fee is 50 %; 1 % after."),
        ("Kinder unter 12 am Pool nur mit Eltern.", "Kinder unter 12 Jahren am Pool nur mit Eltern."),
        ("Die Kabine kostet 80 €.", "Die Kabine kostet ab 80 am Tag."),
        ("It needs 5G coverage for 5 minutes.", "It needs 5G coverage, 5 minutes of it."),
        ("It has 7 nights.", "Cruise 7\nDays at sea: it has nights, 7 of them."),
        ("It was 18 °C below zero.", "It was -18 °C."),
        ("The water is -5 to 10 °C in May.", "The water in May is -5 to 10 °C."),
        ("The limit on the road is 30 km/h.", "The limit on the road is 30 kilometres per hour."),
        ("The hall of the inn has 20 m².", "The hall of the inn has 20 metres squared."),
        ("Der Eintritt kostet 9 Euro.", "Der Eintritt kostet 9 €."),
        ("Der Eintritt beginnt um 9 Uhr.", "Der Eintritt beginnt um 9:00."),
        ("Der Steg öffnet um 9:30 Uhr.", "Der Steg öffnet um 9.30 Uhr."),
        ("The pier opens at 07:00.", "The pier opens at 7:00."),
        ("The tour takes an hour.", "A tour takes 1 hour, the long one 3 hours."),
        ("An hour before departure the gate closes.", "The gate closes an hour before departure, not 2 hours before."),
        ("One of the dogs may travel.", "Two dogs of one owner may travel."),
        ("The lift costs 1,000 euros.", "The lift costs 1 000 euros."),
        ("The bridge cost 5,000,000 euros.", "The bridge cost 5 million euros."),
        ("The walk takes 2.5 hours.", "The walk takes 2½ hours."),
        ("Call 040 123 456 from the pier.", "From the pier, call 040 123 456."),
        ("The crossing takes 2.5 hours.", "The crossing takes two and a half hours."),
        ("Die Überfahrt dauert 2,5 Stunden.", "Die Überfahrt dauert zweieinhalb Stunden."),
        ("The season begins on 3rd of May.", "The season begins on May 3."),
        ("In May 5 boats sail.", "5 boats sail in May; 5 April is free."),
        ("The offer ends on 03.05.2026.", "The offer ends on 3.5.2026."),
        ("A day costs 5 euros.", "Day ticket 5 euros, 2 days 9 euros; it costs less."),
        ("It takes an hour.", "It takes 1 hour."),
        ("The pool is open from 10 am.", "The pool is open 10 am until 10 pm."),
        ("The pool is open until 10 pm.", "The pool is open from 10 am to 10 pm."),
        ("A pizza costs 10 euros.", "A pizza costs 10 euros and a half pizza costs 6 euros."),
        ("Rooms cost €25 a night.", "Rooms cost €25/night."),
        ("It costs 5 euros a week.", "It costs 5 €/week."),
        ("Breakfast is 7:00–9:30.", "Breakfast is 07:00–09:30."),
        ("The office opens at 7 p.m.", "The office opens at 7pm."),
        ("It's Anna's ferry.", "The ferry of Anna."),
        ("It costs four euros.", "It costs 4 €."),
        ("The ferry for O\u0308rebro leaves at 9.", "The ferry for Örebro leaves at 9."),
    ],
)
def test_the_same_quantity_stands_however_it_is_written(said: str, read: str) -> None:
    assert contradicted(said, read) is None and unsupported(said, read, shared=0.5) is None


@given(st.sampled_from(["7 pm", "-5 °C", "−5 °C", "2 months", "€12", "12 €", "3 h", "20 m²", "twenty-five days"]))
def test_what_stands_in_a_passage_word_for_word_is_never_refused(said: str) -> None:
    for passage in (
        said,
        f"Prices\n{said}",
        f"In short: {said}.",
        f"It is {said}, not more.",
        f"({said})",
        f"4 € {said}",
    ):
        assert contradicted(said, passage) is None and contradicted(f"It is {said}.", passage) is None, passage
    assert contradicted("7 am", f"At 7 pm, {said}.") == (("7 am", "7 pm") if said != "7 am" else None)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Come on the twenty-first of May.", "Come on the 21st of May."),
        ("There were twenty thousand people.", "There were 20,000 people."),
        ("It was founded in nineteen ninety-five.", "It was founded in 1995."),
        ("It takes one hundred and twenty-five minutes.", "It takes 125 minutes."),
        ("You get twenty one-way tickets.", "You get 20 one-way tickets."),
        ("İİİ two months long.", "İİİ 2 months long."),
    ],
)
def test_words_of_other_numbers_are_not_taken_for_numbers(said: str, read: str) -> None:
    assert unsupported(said, read, shared=0.3) is None


def test_a_letter_that_grows_in_lower_case_moves_no_number() -> None:
    assert spelt_in("İİİ two months") == [("two", "2")]
    assert unsupported("İİİ two months long", "İİİ two years long", shared=0.3) is not None


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("The lift costs 1 euro.", "The lift costs 1 000 euros."),
        ("The lift costs 234 567 euros.", "The lift costs 1 234 567 euros."),
        ("The pass costs 12 000 crowns.", "The pass costs 12 crowns; there are 5 000 of them."),
        ("The walk takes 2 hours.", "The walk takes 2½ hours."),
        ("The bridge cost 5 thousand euros.", "The bridge cost 5 million euros."),
        ("The bridge cost 5 euros.", "The bridge cost 5 million euros."),
        ("There are three one-hour tours daily.", "There are two one-hour tours daily."),
        ("The inn has six two-bed cabins.", "The inn has four two-bed cabins."),
        ("The walk takes 2 hours.", "The walk takes 2 ½ hours."),
        ("The walk takes 2 hours.", "The walk takes 2 1/2 hours."),
        ("The walk takes 2 hours.", "The walk takes two and a half hours."),
        ("The deposit is ½ crown.", "The deposit is ¼ crown."),
        ("A pizza costs 10.50 euros.", "A pizza costs 10 euros and a half pizza costs 6 euros."),
        ("Es dauert anderthalb Stunden.", "Es dauert zweieinhalb Stunden."),
    ],
)
def test_a_number_is_read_with_all_that_belongs_to_it(said: str, read: str) -> None:
    assert str(unsupported(said, read)).startswith("the number") and unsupported(read, read) is None


@given(st.integers(1_000, 10**12), st.sampled_from([" ", ",", ".", "'", "\u202f"]))
def test_thousands_are_one_number_whatever_sets_them_apart(number: int, mark: str) -> None:
    written = f"{number:,}".replace(",", mark)
    assert plain_number(written) == str(number)
    assert [found[0] for found in NUMBER.finditer(f"It costs {written} a year.")] == [written]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("1.0010", "1.0010"),
        ("1.00100", "1.0010"),
        ("1.001", "1001"),
        ("1.0010 million", "1001000"),
        ("0.0000010010 million", "1.0010"),
        ("1.2340", "1.2340"),
        ("1.2300", "1.23"),
        ("1,234.5670", "1234.567"),
    ],
)
def test_decimals_never_become_thousands_by_losing_their_noughts(written: str, plain: str) -> None:
    assert plain_number(written) == plain


@example("1.0010:")
@given(st.text(alphabet="0123456789 .,:/-½aMm", max_size=30))
def test_any_text_has_a_plain_form_for_each_of_its_numbers(text: str) -> None:
    for found in NUMBER.finditer(f"{text} million"):
        plain = plain_number(found[0])
        assert plain and plain_number(plain) == plain
