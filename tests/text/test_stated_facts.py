"""The numbers that a text states, in one form whatever marks stand in them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.assistant.ground import unsupported
from shoptalk.text.stated_facts import numbers_in, plain_number


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("4,50", "4.5"),
        ("4.50", "4.5"),
        ("1,000", "1000"),
        ("1.000", "1000"),
        ("12.345", "12345"),
        ("1.000.000", "1000000"),
        ("1,000,000", "1000000"),
        ("1.000,50", "1000.5"),
        ("1,000.50", "1000.5"),
        ("1.000.000,05", "1000000.05"),
        ("0.500", "0.5"),
        ("0,125", "0.125"),
        ("10,00", "10"),
        ("1.5.2024", "1.5.2024"),
        ("1234.567", "1234.567"),
        ("8:15", "8:15"),
        ("1,000-2,000", "1000-2000"),
        ("1.000-2.000,50", "1000-2000.5"),
        ("1'000-2'000", "1000-2000"),
        ("4,50-6.00", "4.5-6"),
        ("2024-05-01", "2024-05-01"),
        ("1.5.2024-3.5.2024", "1.5.2024-3.5.2024"),
        ("", ""),
        ("-", "-"),
    ],
)
def test_a_number_has_one_plain_form(written: str, plain: str) -> None:
    assert plain_number(written) == plain


@given(st.integers(1_000, 10**12), st.integers(0, 99))
def test_thousands_are_the_same_number_by_either_mark(whole: int, cents: int) -> None:
    english = f"{whole:,}.{cents:02}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert plain_number(english) == plain_number(german) == plain_number(f"{whole}.{cents:02}")
    assert plain_number(f"{whole:,}") == plain_number(f"{whole:,}".replace(",", ".")) == str(whole)


def test_a_thousand_with_a_dot_is_not_one() -> None:
    passage = "Das Rad kostet 1.000 Euro, der Anhänger 1.250,50 Euro."
    assert numbers_in(passage) == {"1000", "1250.5"}
    assert unsupported("Das Rad kostet 1000 Euro.", passage) is None
    assert unsupported("Der Anhänger kostet 1250,50 Euro.", passage) is None
    assert "the number 1 stands in no" in str(unsupported("Das Rad kostet 1 Euro.", passage))


@pytest.mark.parametrize("said", ["1'000", "1’000", "1\u00a0000", "1\u202f000"])
def test_thousands_set_apart_by_an_apostrophe_or_a_space_that_does_not_break_are_one_number(said: str) -> None:
    assert numbers_in(f"It costs {said} francs.") == {"1000"}
    assert numbers_in(f"It costs {said}'500 francs.") == {"1000500"}
    assert numbers_in("rock'n'roll of '68, 20\u00a030, 5'000'00") >= {"68", "20", "30"}


@pytest.mark.parametrize(
    "passage",
    ["1,000-2,000", "1.000-2.000", "1,000–2,000", "1.000 – 2.000", "1000 - 2000", "1.000 bis 2.000", "1,000 to 2,000"],
)
@pytest.mark.parametrize("said", ["1,000-2,000", "1.000-2.000", "1000-2000", "1,000–2,000", "1000 to 2000"])
def test_a_range_of_thousands_is_the_same_range_however_it_is_written(passage: str, said: str) -> None:
    assert numbers_in(f"A boat costs {passage} marks.") == {"1000", "2000", "1000-2000"}
    assert unsupported(f"A boat costs {said} marks.", f"A boat costs {passage} marks.") is None


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("1-2", "1-2"),
        ("1,000-2", "1,000-2"),
        ("1,500-2,000", "1,500-2,000"),
        ("2,000-1,000", "2,000-1,000"),
        ("1", "1"),
    ],
)
def test_another_range_is_refused_by_its_number(said: str, number: str) -> None:
    told = unsupported(f"A boat costs {said} marks.", "A boat costs 1,000–2,000 marks.")
    assert told == f"the number {number} stands in no passage that it cites"


FORMS = (
    "8-10",
    "8–10",
    "8 – 10",
    "8 - 10",
    "8\u201110",
    "8 to 10",
    "8 up to 10",
    "8 through 10",
    "8 until 10",
    "8 bis um 10",
    "from 8 am to 10 am",
    "8am-10am",
    "€8–€10",
    "€ 8 to € 10",
    "8 bis 10",
    "8 bis zu 10",
    "between 8 and 10",
    "zwischen 8 und 10",
)


WITH_WORDS = (
    "from 8 AM to 10 AM",
    "CHF 8 to CHF 10",
    "8 to 10 CHF",
    "EUR 8 to 10",
    "8 CHF to 10 CHF",
    "between CHF 8 and 10",
    "8 day to 10 days",
)
"""Those that have words of their own, which must stand in a passage, too."""


@pytest.mark.parametrize("passage", [*FORMS, *WITH_WORDS])
def test_each_form_of_a_range_stands_for_every_other(passage: str) -> None:
    for said in FORMS:
        sentence = f"The heated cabins with balcony, sea view and bath are {said}."
        read = sentence.replace(said, passage)
        assert "8-10" in numbers_in(sentence), said
        reason = unsupported(sentence, read)
        if unit_of(said) and unit_of(passage) not in ("", unit_of(said)):
            assert reason is not None and reason.startswith("says "), said  # euros are no hours
        else:
            assert reason is None, said


def unit_of(form: str) -> str:
    """Of a range's ends, as far as units are read: of "8 AM to 10 PM" that of the first."""
    return next((unit for unit in ("am", "€", "EUR", "CHF", "day") if unit.lower() in form.lower()), "").replace(
        "EUR", "€"
    )


@pytest.mark.parametrize("form", [form for form in FORMS if form != "8-10"])
def test_a_range_whose_ends_stand_in_other_ranges_is_refused_in_every_form(form: str) -> None:
    said = f"Cabins {form.replace('8', '1')} are heated."
    read = "Cabins 1 to 4 are small. Cabins 8 to 10 are heated."
    assert str(unsupported(said, read)).startswith("the range 1")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("It is open from 8 to 18.", "It opens at 8 and closes at 18."),
        ("It is open from 8 to 18.", "It opens at 8:00 and closes at 18:00."),
        ("It is open from 8 to 18.", "It is open 8:00–18:00."),
        ("It is open from 8 to 18.", "It is open 8:00-18:00."),
        ("It is open from 8 to 18:00.", "It is open 8:00–18:00."),
        ("It is open from 8 to 10.", "It is open from eight to ten."),
        ("It is open from 8 to 10.", "It is open from 8 o'clock up until 10 o'clock."),
        ("A boat costs 5 to 10 CHF.", "A boat costs CHF 5 in winter and CHF 10 in summer."),
    ],
)
def test_a_range_stands_where_both_ends_stand_in_one_sentence(said: str, read: str) -> None:
    assert unsupported(said, read) is None


@pytest.mark.parametrize(("read", "stands"), [("at 7 am", True), ("at 7:00 am", True), ("at 7:30 am", False)])
def test_a_full_hour_stands_where_its_number_does(read: str, stands: bool) -> None:
    assert (unsupported("The pool opens at 7:00 am.", f"The pool opens {read}.") is None) == stands


@pytest.mark.parametrize("said", ["1–10", "1 to 10", "1 - 10", "1 bis 10", "4 to 8"])
@pytest.mark.parametrize(
    "read",
    [
        "Cabins 1 to 4 are small and cabins 8 to 10 heated.",
        "Cabins 1-4 are small and cabins 8–10 heated.",
        "Cabin 1 and 4 are small. Cabin 8 and 10 are heated.",
    ],
)
def test_ends_of_other_ranges_and_of_other_sentences_make_no_range(said: str, read: str) -> None:
    assert unsupported(f"Cabins {said} are heated.", read) == f"the range {said} stands in no passage that it cites"


@pytest.mark.parametrize("dash", "-–—")
def test_a_dash_at_the_beginning_or_end_of_a_line_makes_no_range(dash: str) -> None:
    for text in (f"It costs 8\n{dash} 10 crowns", f"It costs 8 {dash}\n10 crowns", f"8\n{dash}10", f"8{dash}\n10"):
        assert numbers_in(text) == {"8", "10"}
        assert unsupported("It costs 8 – 10 crowns.", text) is not None
    assert "8-10" in numbers_in(f"Cabins 8 {dash} 10\n{dash} for adults") and "8-10" in numbers_in("from 8\nto 10")


def test_many_numbers_are_looked_through_in_no_time() -> None:
    begun = time.process_time()
    assert unsupported("Cabins 1 to 2 are heated.", f"Cabins {' '.join(map(str, range(2, 20_000)))} are 1heated.")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("dash", ["-", "–", " to "])
def test_a_range_the_other_way_round_is_another_one(dash: str) -> None:
    told = unsupported(f"A boat costs 2,000{dash}1,000 marks.", "A boat costs 1,000–2,000 marks.")
    assert told is not None and f"2,000{dash}1,000 stands in no" in told


@pytest.mark.parametrize(
    "text",
    [
        "Room 8 - 10 people - is heated.",
        "Room 10 - 8 people fit in - is heated.",
        "Rooms 8 and 10.",
        "Bus 10 – 4 crowns.",
    ],
)
def test_a_dash_that_begins_a_remark_makes_no_range(text: str) -> None:
    assert not any("-" in number for number in numbers_in(text))
    assert unsupported(text, text) is None


def test_a_remark_behind_a_dash_supports_no_range() -> None:
    told = unsupported("Room 8-10 is heated.", "Room 8 - 10 people - is heated.")
    assert told == "the number 8-10 stands in no passage that it cites"


def test_times_over_midnight_are_a_range() -> None:
    assert "22:00-6:00" in numbers_in("Quiet hours: 22:00 – 6:00") & numbers_in("Ruhe: 22:00 Uhr bis 6:00 Uhr")
    assert {"8-10", "9-11"} <= numbers_in("Monday 8 - 10, Tuesday 9 - 11")
    assert "9-5" in numbers_in("Open 9 am - 5 pm.") & numbers_in("Open from 9 to 5.")


def test_a_range_may_have_one_word_at_both_ends() -> None:
    assert "3-5" in numbers_in("The fee is 3 crowns to 5 crowns.") & numbers_in("Between 3 Crowns and 5 crowns")
    assert "10-12" not in numbers_in("Walk 10 minutes to 12 Harbour Street.")


def test_numbers_in_two_sentences_are_no_range() -> None:
    assert numbers_in("It opens at 8. To 10 people it is free - 5 pay.") == {"8", "10", "5"}
    assert numbers_in("8–10–12") == {"8", "10", "12", "8-10", "10-12"}
