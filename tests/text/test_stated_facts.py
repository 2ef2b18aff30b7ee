"""The numbers that a text states, in one form whatever marks stand in them."""

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


def test_numbers_in_two_sentences_are_no_range() -> None:
    assert numbers_in("It opens at 8. To 10 people it is free - 5 pay.") == {"8", "10", "5"}
    assert numbers_in("8–10–12") == {"8", "10", "12", "8-10", "10-12"}
