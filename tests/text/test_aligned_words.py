import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.assistant import opposites
from shoptalk.text.aligned_words import AROUND, DENIAL, FEATURES, LONGEST, compared, with_neighbours, words_of

PRESENT, AFTER, BEFORE, BETWEEN, SAME, INSTEAD, MORE, FEWER, OTHERS, COVERED = range(FEATURES)
PASSAGE = "You do not pay four crowns. Call us at 18:30, not at 19:15."
TEXTS = st.lists(
    st.sampled_from(
        ["card", "isn't", "4", "four", ".", "?", "_", "Über", "価格", "\n", "not", "ca.", "e\u0301", "\u00ad"]
    ),
    max_size=20,
)


def features_of(reply: str, *passages: str) -> dict[str, list[float]]:
    """Those of each word of a reply, which has none twice."""
    words = words_of(reply)
    rows = compared(words, [words_of(passage) for passage in passages or (PASSAGE,)]).tolist()
    assert len(set(words.forms)) == len(words.forms)
    return dict(zip(words.forms, rows, strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("You don't pay", "you do not PAY"),
        ("it can’t, it cannot", "it can not, it can't"),
        ("we won't: who's that", "we will not: who is that"),
        ("four or 1,000", "4 or 1000"),
        ("zwei Hunde", "2 hunde"),
        ("twenty-five, twenty five or fünfundzwanzig", "25, 25 or 25"),
        ("1 000, 1,000 and 1.000,50", "1000, 1000 and 1000.5"),
        ("４ at １８:３０", "4 at 18:30"),
        ("2½ hours, 2 million", "2.5 hours, 2000000"),
        ("um 18.30 Uhr", "um 18:30 Uhr"),
        ("shan’t", "shall not"),
        ("a caf\u00e9 f\u00fcnf", "a cafe\u0301 fu\u0308nf"),
        ("zoo\u00adkeeper, zoo\u200bkeeper", "zookeeper, zookeeper"),
        ("\u304c", "\u304b\u3099"),
    ],
)
def test_what_is_written_in_two_ways_is_one_form(one: str, other: str) -> None:
    assert words_of(one).forms == words_of(other).forms


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("ca. 5 km, wo sie wohnen", ("ca", ".", "5", "km", ",", "wo", "sie", "wohnen")),
        ("8-10 rooms on 2026-01-05", ("8", "-", "10", "rooms", "on", "2026", "-", "01", "-", "05")),
        ("nineteen ninety-five", ("19", "90", "-", "5")),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 no", ("\u0939\u093f\u0928\u094d\u0926\u0940", "no")),
    ],
)
def test_what_only_looks_like_one_form_is_left(text: str, forms: tuple[str, ...]) -> None:
    assert words_of(text).forms == forms


def test_every_word_stands_where_the_text_has_it() -> None:
    text = "Twenty-five caf\u0065\u0301s, ca\u00adrd: 1 000 ４-５ can't"
    words = words_of(text)
    places = zip(words.begins.tolist(), words.ends.tolist(), strict=True)
    assert [text[begin:end] for begin, end in places] == [
        "Twenty-five", "cafe\u0301s", ",", "ca\u00adrd", ":", "1 000", "４", "-", "５", "ca", "n't",
    ]  # fmt: skip
    assert words.forms == ("25", unicodedata.normalize("NFC", "cafe\u0301s"), ",", "card", ":", "1000", "4", "-", "5",
                           "can", "not")  # fmt: skip


def test_a_script_without_spaces_is_read_letter_by_letter() -> None:
    assert words_of("価格は4円").forms == ("価", "格", "は", "4", "円")


def test_sentences_end_at_their_marks_and_lines_and_a_table_is_cut() -> None:
    assert words_of("Go on. At 18:30? Yes\nno").sentences() == [
        ("go", "on", "."), ("at", "18:30", "?"), ("yes",), ("no",),
    ]  # fmt: skip
    assert [len(part) for part in words_of("card " * (2 * LONGEST + 1)).sentences()] == [LONGEST, LONGEST, 1]


def test_neither_a_colon_nor_an_abbreviation_nor_a_decimal_ends_a_sentence() -> None:
    text = "Adults: approx. 5 crowns, incl. tax. It is 4.5 km, e.g. on 3. Juli."
    assert [len(sentence) for sentence in words_of(text).sentences()] == [11, 14]


def test_prices_that_were_exchanged_between_two_sentences_are_told_apart() -> None:
    words = words_of("Adults: 4 crowns. Children: 2 crowns.")
    assert not compared(words, [words])[:, INSTEAD].any()
    instead = compared(words, [words_of("Adults: 2 crowns. Children: 4 crowns.")])[:, INSTEAD]
    assert [form for form, other in zip(words.forms, instead, strict=True) if other] == ["4", "2"]


def test_a_reply_in_other_forms_of_the_same_words_is_the_same_everywhere() -> None:
    for row in features_of("you don't pay 4 crowns.").values():
        assert row[PRESENT] == row[SAME] == row[COVERED] == 1
        assert row[INSTEAD] == row[MORE] == row[FEWER] == row[OTHERS] == 0


def test_another_number_stands_in_the_place_of_one_word() -> None:
    five = features_of("You do not pay 5 crowns.")["5"]
    assert five[:4] == [0, 0, 0, 0]
    assert (five[SAME], five[INSTEAD], five[OTHERS]) == (0, 1, 0.25)
    assert five[COVERED] == pytest.approx(6 / 7)


def test_numbers_that_changed_places_stand_in_the_passages_but_not_there() -> None:
    features = features_of("Call us at 19:15, not 18:30.")
    for number in ("19:15", "18:30"):
        assert features[number][PRESENT] == 1 and features[number][SAME] == 0
    assert features["19:15"][INSTEAD] == 1


def test_a_not_that_came_is_more_and_one_that_went_leaves_its_mark_on_the_word_before() -> None:
    came = features_of("The pool is not open.", "The pool is open. This is not a pool.")["not"]
    assert (came[PRESENT], came[AFTER], came[BEFORE], came[SAME], came[MORE]) == (1, 1, 0, 0, 1)
    went = features_of("You do pay four crowns.")
    assert (went["do"][SAME], went["do"][FEWER], went["do"][OTHERS]) == (1, 1, 0.25)
    assert went["pay"][FEWER] == went["you"][FEWER] == 0


def test_what_a_reply_leaves_out_at_either_end_of_a_sentence_is_no_mark() -> None:
    assert all(row[FEWER] == 0 for row in features_of("not pay four", "You do not pay four crowns.").values())


@pytest.mark.parametrize(
    ("reply", "source", "marked"),
    [
        ("Park here.", "Do not park here.", "park"),
        ("Park here.", "Don't park here.", "park"),
        ("Hunde sind erlaubt.", "Keine Hunde sind erlaubt.", "hunde"),
        ("He comes", "He comes, but not today", "comes"),
        ("Er kommt", "Er kommt nicht", "kommt"),
    ],
)
def test_a_denial_that_went_at_either_end_of_a_sentence_leaves_its_mark(reply: str, source: str, marked: str) -> None:
    features = features_of(reply, source)
    assert [form for form, row in features.items() if row[FEWER]] == [marked]
    assert features[marked][OTHERS] > 0


def test_the_words_that_deny_are_those_of_the_gates_rules() -> None:
    alternatives = opposites._NOT.pattern.replace("(?!(?<=\\w )(?-i:No)\\s\\d)no(?!\\.\\s?\\d)", "no")
    alternatives = alternatives.removeprefix("\\b(?:").removesuffix(")\\b")
    split = ("cannot|", "\\w+n['’]t|")  # which are two words each
    for part in split:
        assert part in alternatives
        alternatives = alternatives.replace(part, "")
    assert DENIAL.pattern == alternatives


def test_a_sentence_is_laid_beside_the_one_that_shares_its_rare_words() -> None:
    passages = ("The fee of the card is 4.", "The fee of the red boat is 9.", "The bus is late.")
    features = features_of("The fee of a red boat is 4.", *passages)
    assert features["4"][PRESENT] == 1 and features["4"][INSTEAD] == 1
    assert features["boat"][SAME] == 1


def test_of_several_nearest_sentences_the_same_one_is_taken() -> None:
    words = words_of("fee high")
    assert (compared(words, [words_of("high fee\nthe high fee\nfee high")])[:, SAME] == 1).all()


def test_of_a_sentence_that_shares_nothing_every_feature_is_nought() -> None:
    assert not np.any(list(features_of("Wonderful weather today", "The bus is late.").values()))
    assert compared(words_of("Yes"), []).tolist() == [[0.0] * FEATURES]


def test_a_word_has_the_features_of_its_neighbours_beside_its_own() -> None:
    features = np.arange(3 * FEATURES, dtype=np.float32).reshape(3, FEATURES)
    wide = with_neighbours(features).reshape(3, 2 * AROUND + 1, FEATURES)
    assert np.array_equal(wide[:, AROUND], features)
    assert np.array_equal(wide[0, AROUND + 1], features[1]) and np.array_equal(wide[2, 0], features[0])
    assert (wide[0, :AROUND] == -1).all() and (wide[2, AROUND + 1 :] == -1).all()


@given(TEXTS.map(" ".join), st.lists(TEXTS.map(" ".join), max_size=3))
def test_any_texts_can_be_compared(reply: str, passages: list[str]) -> None:
    words = words_of(reply)
    features = compared(words, [words_of(passage) for passage in passages])
    assert features.shape == (len(words.forms), FEATURES) and ((features >= 0) & (features <= 1)).all()
    assert [form for sentence in words.sentences() for form in sentence] == list(words.forms)


@given(st.one_of(st.text(max_size=60), TEXTS.map(" ".join)), st.text(max_size=60))
def test_beside_an_equal_text_every_word_is_the_same_and_beside_any_other_features_are_bounded(
    text: str, other: str
) -> None:
    words = words_of(text)
    same = compared(words, [words_of(other), words_of(text)])
    assert (same[:, [PRESENT, SAME, COVERED]] == 1).all() and not same[:, [INSTEAD, MORE, FEWER, OTHERS]].any()
    features = with_neighbours(compared(words, [words_of(other)]))
    assert features.shape == (len(words.forms), (2 * AROUND + 1) * FEATURES)
    assert ((features >= -1) & (features <= 1)).all()
    assert all(words.forms) and (words.begins < words.ends).all() and (words.begins[1:] >= words.ends[:-1]).all()


def test_thousands_of_lines_beside_hundreds_of_sentences_take_no_second_for_each_thousand() -> None:
    reply = words_of("\n".join(["the", "card", "fee", "bus"] * 1000))
    passage = words_of(" ".join(f"The card {number} is the fee of a bus." for number in range(190)))
    begun = time.process_time()
    compared(reply, [passage])
    assert time.process_time() - begun < 4
