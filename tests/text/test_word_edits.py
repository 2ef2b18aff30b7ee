import re
import time
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.text.mistakes import Case, Inventory, MistakenText, of_own_kind
from shoptalk.text.rewordings import BOTH_WAYS, ONE_WAY
from shoptalk.text.word_edits import addition, common, omission

EDITS = (common, addition, omission)
Edit = Callable[[str, Case], MistakenText | None]
BOAT = "The big boat does not leave early in spring and costs you ten crowns."
GARDEN = "The kitchen closes after dinner. The garden opens before breakfast."
LAMPS = "Lamps hang from tall ceilings."
WORDS = re.findall(
    r"\w+",
    "you may not wait here until five days after dinner without the big boat and nobody pays or cannot at twenty",
)


def edits(edit: Edit, sentence: str, *others: str, most: int = 60) -> list[MistakenText]:
    """What the edit makes of a sentence, in a corpus of it and others."""
    inventory = Inventory.of([sentence, *others], range(1 + len(others)))
    made = (edit(sentence, Case(sentence, 0, inventory, np.random.default_rng(seed))) for seed in range(most))
    return [one for one in made if one is not None]


def marked(made: Iterable[MistakenText]) -> set[str]:
    return {one.text[begin:end] for one in made for begin, end in one.spans}


@given(st.sampled_from(EDITS), st.lists(st.sampled_from(WORDS), min_size=1, max_size=12))
def test_no_edit_puts_in_leaves_out_or_marks_a_denial_a_unit_or_a_number(edit: Edit, words: list[str]):
    sentence = " ".join(words)
    for made in edits(edit, sentence, BOAT, most=8):
        assert [word for word in made.text.split() if of_own_kind(word)] == [w for w in words if of_own_kind(w)]
        assert not any(map(of_own_kind, marked([made])))
        assert made.text != sentence


@given(st.sampled_from(EDITS), st.text(max_size=80))
def test_any_text_is_edited_or_left_and_what_is_marked_lies_in_it(edit: Edit, text: str):
    for made in edits(edit, text, most=4):
        ((begin, end),) = made.spans
        assert made.text[begin:end].isalpha() and abs(len(made.text.split()) - len(text.split())) <= 1


def test_a_word_more_marks_itself_and_may_stand_in_the_passages_elsewhere():
    made = edits(addition, GARDEN, LAMPS)
    for one in made:
        ((begin, end),) = one.spans
        assert one.text[:begin] + one.text[end + 1 :] == GARDEN
    assert marked(made) & set(re.findall(r"\w+", GARDEN)) and marked(made) & set(re.findall(r"\w+", LAMPS))


def test_a_word_fewer_marks_the_word_before_it():
    words, gone = BOAT.split(), set[tuple[str, str]]()
    for made in edits(omission, BOAT):
        at = next(n for n, word in enumerate(words) if made.text.split()[n] != word)
        gone.add((*marked([made]), words[at]))
        assert made.text.split() == words[:at] + words[at + 1 :] and marked([made]) == {words[at - 1]}
    assert {("boat", "does"), ("leave", "early")} <= gone
    assert not {"not", "ten", "crowns"} & {word for pair in gone for word in pair}


def test_a_common_word_becomes_another_common_one_that_does_not_say_the_same():
    text, others = (
        "You must wait until the boat leaves each day.",
        ("Stay till noon in town.", "Take every boat on time."),
    )
    pairs = set[tuple[str, str]]()
    for made in edits(common, text, *others, most=300):
        ((begin, end),) = made.spans
        pairs.add((text.split()[made.text[:begin].count(" ")], made.text[begin:end]))
    assert len(pairs) > 20 and ("until", "in") in pairs
    assert not pairs & {*BOTH_WAYS, *ONE_WAY} and ("each", "every") not in pairs
    assert {word for pair in pairs for word in pair} <= set(Inventory.of([text, *others], range(3)).common)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("text", ["a" * 20_000, "word " * 4_000, "a" * 4_000 + " a b"])
def test_edits_of_long_lines_take_no_time(edit: Edit, text: str):
    inventory = Inventory.of([text], [0])
    begun = time.process_time()
    edit(text, Case(text, 0, inventory, np.random.default_rng(0)))
    assert time.process_time() - begun < 1


def test_names_of_other_alphabets_stay_and_their_small_words_are_edited():
    czech = "V ulici jela Škodou nová rodina z Česka do domu."
    russian = "Утром большой паром уходит из гавани на север."
    for edit in EDITS:
        assert all({"Škodou", "Česka"} <= set(re.findall(r"\w+", made.text)) for made in edits(edit, czech, czech))
        assert edits(edit, russian, russian)
    assert not any(word[0].isupper() for word in Inventory.of([czech], [0]).common)
