"""The tasks language_model and cloze: what is read of which document, the scores by hand, and bad input."""

import random
import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.curate.hold_out import HoldOut
from shoptalk.errors import ConfigError, InputError
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.probes.bits_per_byte import KEY, general_bits
from shoptalk.records import Document
from shoptalk.tasks import check_reads
from shoptalk.tasks.cloze import CONTEXT, OPTIONS, Gap, cloze, gaps_of
from shoptalk.tasks.cloze import LOOKED_AT as OF_GAPS
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.language_model import JUDGED, LOOKED_AT, MOST, beginnings, language_model, remark_on
from shoptalk.text.corpus import Corpus

MODEL = tiny_language_model()


def corpus_of(*documents: list[str]) -> Corpus:
    sizes = [len(texts) for texts in documents]
    return Corpus(
        items=tuple(text for texts in documents for text in texts),
        conversation=np.repeat(np.arange(len(documents)), sizes),
        turn=np.full(sum(sizes), -1),
        digest="made up",
    )


def ground_of(held_out: Corpus, kind: str = "lm") -> Ground:
    return Ground(kind, (), (), held_out, held_out, (), n_draws=5, seed=0)  # type: ignore[arg-type]


def tariffs(count: int, *, seed: int = 0) -> Corpus:
    rng = random.Random(seed)
    names = ["Harbour Line", "Meridian Gate", "Northwind Pier", "Ostrava Quay", "Palermo Dock", "Quarry Wharf"]
    texts = [
        "A passenger who boards the early ferry of the company on any day but a holiday, and who holds a card, "
        f"goes to {rng.choice(names)} and pays {rng.randint(10, 99)} euros there."
        for _ in range(count)
    ]
    return corpus_of(*[[text] for text in texts])


# Bits per byte ----------------------------------------------------------------------------------------------------


def test_the_mean_score_is_minus_the_bits_per_byte_of_all_pieces_together() -> None:
    corpus = corpus_of(["hello"], ["a longer piece of text"], ["cat, dog"])
    judge = language_model(ground_of(corpus))
    assert judge is not None and judge.tested.shape == (1, 3)
    texts = list(judge.items)
    expected = MODEL.score(texts).sum() / sum(len(text.encode()) for text in texts)
    np.testing.assert_allclose(-judge.look(MODEL).mean(), expected, rtol=1e-6)
    assert judge.measure.level(float(judge.look(MODEL).mean())) == pytest.approx(expected)


def test_a_look_reads_less_of_each_document_than_the_verdict_does() -> None:
    corpus = corpus_of(*[["x" * 5_000]] * 200)
    judge = language_model(ground_of(corpus))
    assert judge is not None
    assert {len(text) for text in judge.items} == {LOOKED_AT} and len(judge.items) == MOST
    assert {len(text) for text in judge.longer} == {JUDGED}


def test_a_piece_is_the_beginning_of_a_document_over_its_passages() -> None:
    corpus = corpus_of(["one", "two", "three"], ["four"])
    assert beginnings(corpus, characters=8, seed=0) == ["one\n\ntwo", "four"]


def test_a_document_that_begins_with_blanks_is_read_at_looks_too() -> None:
    corpus = corpus_of([" " * 200 + "hello there"], ["a"], ["b"])
    judge = language_model(ground_of(corpus))
    assert judge is not None and judge.items == judge.longer == ("hello there", "a", "b")


def test_turns_are_parted_as_where_a_model_trains_on_them() -> None:
    turns = Corpus(items=("Hi", "Hello"), conversation=np.zeros(2, dtype=int), turn=np.arange(2), digest="turns")
    assert beginnings(turns, characters=80, seed=0) == ["Hi\nHello"]


def test_documents_are_the_clusters() -> None:
    judge = language_model(ground_of(corpus_of(["a", "b"], ["c"], ["d"])))
    assert judge is not None and judge.cluster.tolist() == [0, 1, 2]
    assert judge.remark is not None and "Only 3 documents are held out" in judge.remark


def test_too_few_held_out_documents_are_refused_with_what_to_give() -> None:
    with pytest.raises(InputError, match="1 of the sources' documents happened to be held out"):
        language_model(ground_of(corpus_of(["alone"])))


def test_encoders_have_no_judge_and_bases_that_do_not_fit_are_refused() -> None:
    assert language_model(ground_of(tariffs(5), kind="text")) is None
    assert cloze(ground_of(tariffs(5), kind="text")) is None
    with pytest.raises(ConfigError, match="needs one of the language models"):
        check_reads(("language_model",), "minilm", "text")
    with pytest.raises(ConfigError, match="Give --task language_model"):
        check_reads(("intent",), "smollm2", "lm")


def test_documents_without_turns_are_held_out_only_where_that_is_asked_for() -> None:
    documents = [Document(id=f"d{number}", source="x", text="text") for number in range(100)]
    assert not any(map(HoldOut(((0, 0.5),), 100), documents))
    assert 30 < sum(map(HoldOut(((0, 0.5),), 100, plain=True), documents)) < 70


@pytest.mark.parametrize("plain", [False, True])
def test_of_named_files_every_document_is_held_out_and_no_other(plain: bool) -> None:
    hold_out = HoldOut(((0, 0.5),), 10, plain=plain, files=("exam.jsonl",))
    named = [Document(id=f"e{i}", source="exam.jsonl", text="x") for i in range(30)]
    others = [Document(id=f"o{i}", source="other.jsonl", text="x") for i in range(30)]
    assert all(map(hold_out, named)) and not any(map(hold_out, others))


# General text -----------------------------------------------------------------------------------------------------


def test_the_guard_reads_bits_per_byte_of_general_text() -> None:
    texts = ["hello there", "no"]
    reading = general_bits(texts)(MODEL)
    assert reading.key == KEY and reading.n == 2
    assert reading.value == pytest.approx(MODEL.score(texts).sum() / 13)
    assert np.mean(reading.outcomes) == pytest.approx(reading.value)
    with pytest.raises(ValueError, match="got none"):
        general_bits([])


# The cloze --------------------------------------------------------------------------------------------------------


def test_a_gap_is_a_name_or_number_with_alternatives_of_its_kind_and_length() -> None:
    corpus = tariffs(80)
    gaps = gaps_of(corpus, seed=0)
    assert len(gaps) > 30
    for gap in chain.from_iterable(gaps):
        answer, *others = (option.strip() for option in gap.options)
        assert len(gap.options) == OPTIONS == len(set(gap.options))
        assert any(f"{gap.before}{gap.options[0]}" in text for text in corpus.texts)
        assert all(other.isdigit() == answer.isdigit() and abs(len(other) - len(answer)) <= 2 for other in others)
        assert answer not in gap.before


def test_no_alternative_begins_as_the_answer_does_to_its_end_or_the_other_way_round() -> None:
    """Of tokens for single digits "1" is never less probable than "12": such a pair says nothing of the model."""
    before = "A passenger who boards the early ferry of the company on any day but a holiday pays "
    gaps = gaps_of(corpus_of(*[[f"{before}{number} euros."] for number in range(1, 120)]), seed=0)
    assert len(gaps) > 50
    for gap in chain.from_iterable(gaps):
        answer, *others = (option.strip() for option in gap.options)
        assert not any(answer.startswith(other) or other.startswith(answer) for other in others)


def test_a_gaps_score_is_the_probability_of_what_stands_there_among_its_options() -> None:
    judge = cloze(ground_of(tariffs(80)))
    assert judge is not None
    final = judge.final(MODEL).scores[0].tolist()
    for gaps, first, share in zip(judge.gaps, judge.look(MODEL)[0].tolist(), final, strict=True):
        befores = [gaps[0].before[-OF_GAPS:], *(gap.before for gap in (gaps[1:] or gaps))]
        every = MODEL.bits_after(befores, [gap.options for gap in (gaps[0], *(gaps[1:] or gaps))])
        likely = [2.0 ** -bits[0] / sum(2.0**-bit for bit in bits) for bits in every]
        assert likely[0] == pytest.approx(first) and np.mean(likely[1:]) == pytest.approx(share)


def name_less(text: str) -> str:
    return re.sub(r"[A-Z]\w+ [A-Z]\w+", "an island", text)


def test_a_verdict_asks_other_gaps_than_looks_wherever_a_document_has_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with_names = tariffs(40).texts
    judge = cloze(ground_of(corpus_of(*[[text] for text in with_names], *[[name_less(text)] for text in with_names])))
    assert judge is not None and {len(gaps) > 1 for gaps in judge.gaps} == {False, True}
    asked: list[Gap] = []

    def remembering(_: object, befores: list[str], options: list[tuple[str, ...]]) -> list[np.ndarray]:
        asked[:] = [Gap(before, of) for before, of in zip(befores, options, strict=True)]
        return [np.arange(float(OPTIONS)) for _ in asked]

    monkeypatch.setattr(type(MODEL), "bits_after", remembering)
    judge.look(MODEL)
    assert asked == [Gap(first.before[-OF_GAPS:], first.options) for first, *_ in judge.gaps]
    assert {len(gap.before) for gap in asked} == {OF_GAPS} and OF_GAPS < CONTEXT
    judge.final(MODEL)
    assert asked == [gap for gaps in judge.gaps for gap in (gaps[1:] or gaps)]


@pytest.mark.parametrize("bits", [1.0, 5_000.0])
def test_options_that_are_equally_probable_share_the_probability(bits: float, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [np.full(OPTIONS, bits)]
    monkeypatch.setattr(type(MODEL), "bits_after", lambda _, __, endings: every * len(endings))
    judge = cloze(ground_of(tariffs(80)))
    assert judge is not None
    np.testing.assert_allclose(judge.look(MODEL), 1 / OPTIONS)


def test_an_answer_that_is_out_of_the_question_is_scored_without_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [np.array([9_000.0, 1.0, 2.0, 3.0, 4.0])]
    monkeypatch.setattr(type(MODEL), "bits_after", lambda _, __, endings: every * len(endings))
    judge = cloze(ground_of(tariffs(80)))
    assert judge is not None and not judge.look(MODEL).any()


@given(st.integers(0, 5))
def test_gaps_are_the_same_for_the_same_seed_and_the_first_of_each_document_too(seed: int) -> None:
    corpus = tariffs(30)
    gaps = gaps_of(corpus, seed=seed)
    assert gaps == gaps_of(corpus, seed=seed)
    assert 10 < len(gaps) <= 30 == len(corpus)
    assert [of[:1] for of in gaps] == gaps_of(corpus, seed=seed, each=1)


def test_a_document_is_asked_for_different_names_and_numbers() -> None:
    before = "The ferries of the company go from the old harbour to the islands in the north, to "
    towns = [f"{name}{place}" for name in ("Alder", "Birch", "Cedar", "Elm") for place in ("mouth", "haven", "quay")]
    texts = [before + before.join(f"{town}. " for town in [*towns[i:], *towns[:i]]) for i in range(len(towns))]
    gaps = gaps_of(corpus_of(*[[text] for text in texts]), seed=0, each=4)
    assert {len(of) for of in gaps} == {4} and len(gaps) == len(towns)
    assert all(len({gap.options[0] for gap in of}) == 4 for of in gaps)


def test_documents_without_names_and_numbers_have_no_cloze() -> None:
    assert cloze(ground_of(corpus_of(*[["nothing to see here, nothing at all"]] * 5))) is None


def test_that_any_training_beats_random_weights_is_said_beside_the_gain() -> None:
    assert remark_on(100, "documents", 700, random=False) is None
    assert "The base has random weights" in str(remark_on(100, "documents", 700, random=True))
    few = str(remark_on(99, "documents", 700, random=True))
    assert few.startswith("Only 99 documents are held out, and nothing is adopted under 100: about 700 documents")
