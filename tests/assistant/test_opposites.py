"""What turns a source sentence round: opposites and denials."""

import re

import pytest

from shoptalk.assistant.ground import ground, unsupported
from shoptalk.assistant.opposites import OPPOSED, OPPOSED_BEFORE_THE_SAME, Opposites
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import passages_of
from shoptalk.records import Document

TURNS = """# Ways

## Boats

Turn left at the church for the boats. The boats are open on Monday and closed on Sunday.
Tickets are sold before the tour. A dog travels with a lead. The minimum age is 6 years.
The pool lies above the station.
The kiosk opens at 9 on Monday. Wait in the left hall for the ferry. Wait in the right hall for the train.

## Schiffe

Gehen Sie an der Kirche links zu den Schiffen. Der Kiosk ist am Montag geöffnet. Der Verkauf endet vor der Fahrt.
Ein Hund fährt mit Leine. Das Alter beträgt mindestens 6 Jahre. Das Bad liegt oberhalb der Station.
"""


@pytest.fixture
def ways() -> list[Found]:
    passages = passages_of(Document(id="w.md", source="w.md", text=TURNS))
    return [Found(n, passage, 1.0, 0.5, 1.0) for n, passage in enumerate(passages)]


FRAMES = (
    ("Turn {} at the church.", "left", "right"),
    ("The boats leave on the {} of the church.", "left", "right"),
    ("Take the first {} after the church.", "left", "right"),
    ("Turn sharp {} at the church.", "left", "right"),
    ("The boats lie on the {}-hand side.", "left", "right"),
    ("Wait in the {} hall for the ferry.", "left", "right"),
    ("Tickets are sold {} the tour.", "before", "after"),
    ("The pool lies {} the station.", "above", "below"),
    ("The kiosk is {} on Monday.", "open", "closed"),
    ("The kiosk at the harbour {} at 9.", "opens", "closes"),
    ("A dog travels {} a lead.", "with", "without"),
    ("The {} age is 6 years.", "minimum", "maximum"),
    ("The children are {} 6 years old.", "at least", "at most"),
    ("Gehen Sie an der Kirche {} zu den Schiffen.", "links", "rechts"),
    ("Die Fähre wartet am {} Ufer.", "linken", "rechten"),
    ("Der Verkauf endet {} der Fahrt.", "vor", "nach"),
    ("Das Bad liegt {} der Station.", "oberhalb", "unterhalb"),
    ("Der Kiosk ist am Montag {}.", "geöffnet", "geschlossen"),
    ("Der Kiosk hat am Montag {}.", "offen", "geschlossen"),
    ("Der Kiosk am Hafen {} um 9 Uhr.", "öffnet", "schließt"),
    ("Ein Hund fährt {} Leine.", "mit", "ohne"),
    ("Das Alter beträgt {} 6 Jahre.", "mindestens", "höchstens"),
    ("Das Alter beträgt {} 6 Jahre.", "minimal", "höchstens"),
    ("Das Alter beträgt {} 6 Jahre.", "mindestens", "maximal"),
    ("Parcels of {} 5 kg are free.", "up to", "over"),
    ("Pakete {} 5 kg sind frei.", "bis zu", "über"),
)
BESIDE = "The saloon is not for dogs. Im Salon sind Hunde nicht erlaubt."
"""So that a denial is one that the passage has."""


@pytest.mark.parametrize("back", [False, True], ids=["", "back"])
@pytest.mark.parametrize(("frame", "word", "opposite"), FRAMES)
def test_a_sentence_with_the_opposite_word_of_its_source_is_refused(
    frame: str, word: str, opposite: str, back: bool
) -> None:
    read, said = (frame.format(each) for each in ((opposite, word) if back else (word, opposite)))
    assert unsupported(read, f"{read} {BESIDE}") is None
    assert "the opposite" in str(unsupported(said, f"{read} {BESIDE}"))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("pair", [*OPPOSED, *OPPOSED_BEFORE_THE_SAME])
def test_no_pair_of_opposites_is_untried(pair: Opposites, side: int) -> None:
    sentences = [frame.format(each) for frame, *words in FRAMES for each in words]
    word = pair.frame.format(pair[side])
    assert any(re.search(rf"\b(?:{word})\b", sentence, re.I) for sentence in sentences)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("You can pay with a card at the desk.", "You can pay by card at the desk without a fee."),
        ("Am Sonntag fährt das Schiff nach Oster Quay.", "Am Sonntag fährt das Schiff vor 9 Uhr nach Oster Quay."),
        (
            "Am Sonntag fährt das Schiff nach Oster Quay.",
            "Am Sonntag fährt das Schiff vor 9 Uhr. Es geht nach Oster Quay.",
        ),
        (
            "Refunds are paid after the return.",
            "We pay the refund after the return. Before refunds are paid the return is checked.",
        ),
        (
            "You have the right to return it within 14 days.",
            "Within 14 days of the day you left the shop you may return it.",
        ),
        ("The pool is not open on Sunday.", "The pool is closed on Sunday."),
        (
            "The large heated pool of the hotel isn’t open on Sunday.",
            "The large heated pool of the hotel is closed on Sunday.",
        ),
        ("The pool is closed on Sunday.", "The pool isn’t open on Sunday."),
        ("The pool is open on Sunday.", "None of the pools is closed on Sunday."),
        ("The pool is open on Sunday.", "Neither the pool nor the bar is closed on Sunday."),
        ("The pool is open in winter.", "The pool is not closed in winter."),
        ("A dog does not travel without a lead.", "A dog travels with a lead."),
        ("A dog does not travel with a lead.", "A dog travels without a lead."),
        ("Der Kiosk ist am Montag nicht geöffnet.", "Der Kiosk ist am Montag geschlossen."),
        ("The right door leads to the pool.", "The left door leads to the bar, the right one to the pool."),
        ("Die rechte Tür führt zum Bad.", "Die linke Tür führt zur Bar, die rechte zum Bad."),
        ("After the tour tickets cost 8 crowns.", "Tickets cost 5 crowns before the tour and 8 crowns after."),
        ("A room with breakfast costs 80 crowns.", "A room without breakfast costs 60 crowns, with 80 crowns."),
        ("The pool is on the right of the church.", "The pool is right of the church, the bar on the left."),
        ("You have the right of withdrawal within 14 days.", "Within 14 days send what is left of it by withdrawal."),
        ("The path goes right to the harbour.", "The path goes to the harbour, left of the church."),
    ],
)
def test_a_true_sentence_with_a_word_that_is_no_opposite_there_stands(said: str, read: str) -> None:
    assert unsupported(said, read) is None


def test_where_both_sentences_deny_the_opposite_is_still_one() -> None:
    assert "the opposite" in str(unsupported("No dogs before the tour.", "No dogs after the tour."))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("The pool can’t be used by children.", "The pool can be used by children."),
        ("The pool isn't used by children.", "The pool is used by children."),
        ("None of the children use the pool.", "The children use the pool."),
        ("Weder Hund noch Katze fahren mit.", "Hund und Katze fahren mit."),
        ("Dogs are not allowed where the pool is open.", "Dogs are allowed where the pool is closed."),
        (
            "The large heated pool of the hotel is not open before the tour.",
            "The large heated pool of the hotel is closed after the tour.",
        ),
        ("The pool is not open and not heated on Sunday.", "The pool is closed and heated on Sunday."),
    ],
)
def test_a_denial_that_no_source_has_is_refused_unless_it_denies_the_opposite_alone(said: str, read: str) -> None:
    assert "denies something" in str(unsupported(said, read))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Der Kiosk öffnet am Sonntag nicht.", "Der Kiosk schließt am Sonntag."),
        ("The saloon never lacks a free table.", "The saloon always has a free table."),
    ],
)
def test_a_denial_that_keeps_the_sense_in_another_way_is_refused_a_known_limit(said: str, read: str) -> None:
    assert "denies something" in str(unsupported(said, read))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("The kiosk opens on Sunday.", "The kiosk is closed on Sunday."),
        ("Tickets are sold before the guided tour.", "Tickets are sold after the tour."),
        ("The pool lies left of the church.", "The pool lies right of the church."),
        ("The path goes left at the church.", "The path goes right at the church."),
    ],
)
def test_opposites_beyond_the_few_pass_a_known_limit(said: str, read: str) -> None:
    assert unsupported(said, read) is None


def test_a_word_whose_opposite_stands_beside_it_or_elsewhere_alone_is_no_reason(ways: list[Found]) -> None:
    for said in (
        "The boats are open on Monday. [1]",
        "The boats are closed on Sunday. [1]",
        "Tickets are sold before the tour, and you turn left at the church. [1]",
        "Nach der Kirche gehen Sie links. [2]",
    ):
        assert not ground(said, ways).refused, said
