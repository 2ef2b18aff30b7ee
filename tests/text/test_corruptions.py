import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.text.corruptions import KINDS, CorruptedReply, make_reply
from shoptalk.text.mistakes import Inventory
from shoptalk.text.other_numbers import plain_figure
from shoptalk.text.plain_sentences import sentences
from shoptalk.text.rewordings import FRAMES, framed, reworded

TEXTS = (
    "A bicycle costs **4 crowns** on all lines. Up to 12 fit on board. Return it to Yrsa Holm by 18:30.",
    "A dog costs 6.50 crowns. Dogs may not travel in the saloon. Ask the crew of Tern before you board with a pet.",
    "The last boat from Skarvik leaves at 20:00. It is always on time. Tickets for Lindholm are sold until 19:45.",
    "| Vehicle | Price |\n|---|---|\n| Car | 30 crowns |\n| Van | 45 crowns |",
    "Weather stops the boats two days a year. We tell you by telephone. You can have your money back in 14 days.",
)
INVENTORY = Inventory.of(TEXTS, range(len(TEXTS)))


def reply(item: int, *, step: int = 0, kinds: tuple[str, ...] = tuple(KINDS), clean: float = 0.0) -> CorruptedReply:
    return make_reply(
        [TEXTS[item]], INVENTORY, kinds=kinds, seed=1, step=step, example=item, document=item, clean=clean
    )


def test_sentences_are_told_without_markup_and_rows_with_their_header():
    assert sentences(TEXTS[0])[0] == "A bicycle costs 4 crowns on all lines."
    assert sentences("# Cars\n\n" + TEXTS[3]) == ("Car – Price: 30 crowns", "Van – Price: 45 crowns")
    assert sentences("# Cars\n\nThey ride.", headings=True) == ("Cars", "They ride.")
    assert sentences("- one dog\n- *two* cats, e.g. Tom and Tim") == ("one dog", "two cats, e.g. Tom and Tim")


@given(st.text(max_size=300))
def test_any_text_has_sentences_that_say_something(text: str):
    assert all(any(c.isalnum() for c in sentence) for sentence in sentences(text))


def test_numbers_of_thousands_of_digits_and_sentences_of_thousands_of_numbers_are_changed_in_no_time():
    digits, table = "The key is " + "7" * 5_000 + " today.", "The row is " + " ".join(map(str, range(100, 3_100)))
    for text in (digits, table):
        inventory = Inventory.of([text], [0])
        begun = time.process_time()
        for step in range(4):
            made = make_reply([text], inventory, kinds=("number",), seed=1, step=step, example=0, clean=0.0)
            assert made.kind == "number" and made.text != text
        assert time.process_time() - begun < 2


@given(st.integers(0, 400))
def test_the_marks_of_the_shortest_replies_lie_in_them_whatever_frames_them(step: int):
    made = make_reply(["7"], INVENTORY, kinds=("number",), seed=1, step=step, example=0, clean=0.0)
    ((begin, end),) = made.spans
    assert made.text[begin:end].isalnum()


def test_a_reply_is_a_function_of_seed_step_and_example():
    assert reply(0, step=3) == reply(0, step=3)
    assert len({reply(0, step=step).text for step in range(20)}) > 5


@given(st.integers(0, len(TEXTS) - 1), st.integers(0, 10_000))
def test_spans_lie_in_the_reply_and_a_reply_without_a_kind_has_none(item: int, step: int):
    made = reply(item, step=step, clean=0.4)
    assert bool(made.spans) == bool(made.kind)
    ends = [0, *(place for span in made.spans for place in span), len(made.text)]
    assert ends == sorted(ends)
    assert all(made.text[start:end].strip() for start, end in made.spans)


@given(st.integers(0, 3000))
def test_what_is_not_marked_of_a_reply_that_is_not_reworded_stands_in_its_passage(step: int):
    made = reply(1, step=step, kinds=("number", "unit", "opposite"))
    rest = "".join(c for n, c in enumerate(made.text) if not any(a <= n < b for a, b in made.spans))
    of_frames = words_of(" ".join(frame for frame, _ in FRAMES))
    assert words_of(rest) - words_of(TEXTS[1]) - of_frames <= {"request", "aboard", "animal"}


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_what_it_says_and_marks_it(kind: str):
    made = [reply(item, step=step, kinds=(kind,)) for item in (0, 1, 2, 4) for step in range(12)]
    changed = [one for one in made if one.kind]
    assert {one.kind for one in changed} == {kind}
    assert len(changed) > 8
    marked = [one.text[start:end] for one in changed for start, end in one.spans]
    if kind == "number":
        assert all(words[0].isdigit() or words.isalpha() for words in marked)
    if kind == "unit":
        assert set(marked) <= {"euros", "dollars", "francs", "cents", "pence", "months", "weeks", "hours", "minutes",
                               "seconds", "years", "week", "month", "day", "hour", "minute", "second"}  # fmt: skip
    if kind == "sentence":
        others = {sentence for text in TEXTS for sentence in sentences(text)}
        assert set(marked) <= others


def test_a_sentence_of_its_own_document_is_not_foreign():
    foreign = [reply(2, step=step, kinds=("sentence",)) for step in range(40)]
    assert not any(one.text[a:b] in TEXTS[2] for one in foreign for a, b in one.spans)


def test_where_no_kind_can_be_applied_the_reply_stays_as_it_is():
    inventory = Inventory.of(["we ride with you"], [0])
    made = make_reply(["we ride with you"], inventory, kinds=("number", "unit"), seed=0, step=0, example=0, clean=0.0)
    assert (made.kind, made.spans) == ("", ())
    assert make_reply(["..."], inventory, kinds=("number",), seed=0, step=0, example=0).text == ""


def test_a_denial_that_goes_marks_its_auxiliary_and_one_that_comes_itself():
    texts = [reply(1, step=step, kinds=("negation",)) for step in range(60)]
    marked = {one.text[a:b].lower() for one in texts for a, b in one.spans}
    assert {"may", "without"} <= marked
    affirmed = [reply(4, step=step, kinds=("negation",)) for step in range(30)]
    assert "not" in {one.text[a:b] for one in affirmed for a, b in one.spans}


def test_a_qualifier_that_comes_marks_itself_and_one_that_goes_the_word_before_it():
    texts = ["The shop may only open on Sundays.", "The shop is open in winter."]
    inventory = Inventory.of(texts, range(2))
    marked = set()
    for step in range(80):
        for text in texts:
            made = make_reply([text], inventory, kinds=("qualifier",), seed=1, step=step, example=0, clean=0.0)
            marked |= {(text[9:12], made.text[a:b].lower()) for a, b in made.spans}
    assert ("may", "may") in marked, "only went"
    assert ("may", "must") in marked, "may became must"
    assert ("is ", "rarely") in marked
    assert not {word for _, word in marked} & {"not", "never", "no", "without"}, "a qualifier denies nothing"


def test_a_qualifier_that_the_passage_says_elsewhere_is_not_called_wrong():
    texts = ["The shop is open in summer. It is usually closed in rain.", "Lamps hang from ceilings."]
    inventory = Inventory.of(texts, range(2))
    made = [
        make_reply(texts[:1], inventory, kinds=("qualifier",), seed=1, step=step, example=0, clean=0.0)
        for step in range(120)
    ]
    marked = {one.text[a:b].lower() for one in made for a, b in one.spans}
    assert marked and "usually" not in marked


def test_a_wrong_word_may_stand_in_the_passages_elsewhere():
    texts = ["The kitchen closes after dinner. The garden opens before breakfast.", "Lamps hang from ceilings."]
    inventory = Inventory.of(texts, range(2))
    made = [
        make_reply(texts[:1], inventory, kinds=("word",), seed=1, step=step, example=0, clean=0.0) for step in range(60)
    ]
    near = {one.text[a:b] for one in made for a, b in one.spans} & words_of(texts[0])
    assert {"kitchen", "dinner", "garden"} <= near
    assert any(len(one.spans) == 2 for one in made), "two words in each other's place"


def test_rewording_keeps_numbers_names_and_denials():
    rng = np.random.default_rng(0)
    said = "You cannot bring more than 4.50 crowns (or a card) to Skarvik."
    for _ in range(50):
        again = reworded(said, rng)
        assert "4.50 crowns" in again and "Skarvik" in again
        assert "cannot" in again or "can't" in again


def test_a_frame_is_put_around_the_whole_reply():
    rng = np.random.default_rng(0)
    assert all("ogs ride free." in framed("Dogs ride free.", rng) for _ in range(30))


@pytest.mark.parametrize("text", ["Room 4 has four beds today.", "It opens at 7:00 and, as 07:00 says, early."])
def test_a_number_written_otherwise_is_no_mistake(text: str) -> None:
    inventory = Inventory.of([text], [0])
    for step in range(60):
        made = make_reply([text], inventory, kinds=("number",), seed=1, step=step, example=0, clean=0.0)
        for begin, end in made.spans:
            assert plain_figure(made.text[begin:end]) not in {"4", "7:00"}, made


def test_a_denial_in_one_word_can_go() -> None:
    made = [
        make_reply(["You won’t pay here today."], INVENTORY, kinds=("negation",), seed=1, step=n, example=0)
        for n in range(20)
    ]
    assert "You will pay here today." in {reply.text for reply in made}


def test_without_other_sentences_none_is_foreign() -> None:
    nothing = Inventory.of([], [])
    assert (
        make_reply(["The kiosk opens early."], nothing, kinds=("sentence",), seed=1, step=0, example=0, clean=0.0).kind
        == ""
    )
