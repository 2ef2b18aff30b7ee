"""Scores of generated texts, against the packages that define them and against counts by hand."""

import numpy as np
import pytest

from shoptalk.decide.pooled import level
from shoptalk.evaluate.text_scores import beyond_rouge, scores, support

sacrebleu = pytest.importorskip("sacrebleu", reason="the extra `texts` is not installed")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="the extra `texts` is not installed")

REFERENCES = [
    "The ferry leaves at nine from the old harbour.",
    "A bicycle costs four crowns.",
    "Dogs ride free on all ferries but the night ferry.",
    "Ihr Paket ist auf dem Weg.",
]
CANDIDATES = [
    "The ferry leaves the old harbour at nine.",
    "A bicycle costs 4 crowns.",
    "",
    "Ihr Paket ist noch auf dem Weg.",
]


def whole(key: str) -> float:
    score = next(score for score in scores(CANDIDATES, REFERENCES, None) if score.key == key)
    measured = level(score.statistics, score.of, seed=0)
    assert measured is not None
    return measured.value


def test_bleu_and_chrf_are_those_of_sacrebleu_and_say_how_they_were_computed() -> None:
    assert whole("bleu") == pytest.approx(sacrebleu.corpus_bleu(CANDIDATES, [REFERENCES]).score)
    assert whole("chrf") == pytest.approx(sacrebleu.corpus_chrf(CANDIDATES, [REFERENCES]).score)
    signatures = {score.key: score.signature for score in scores(CANDIDATES, REFERENCES, None)}
    assert "tok:13a" in signatures["bleu"] and "version:" in signatures["chrf"] and signatures["rouge1"] == ""


@pytest.mark.parametrize("key", ["bleu", "chrf"])
def test_the_statistics_of_a_part_of_the_texts_give_the_score_of_that_part(key: str) -> None:
    score = next(score for score in scores(CANDIDATES, REFERENCES, None) if score.key == key)
    part = [0, 3, 3]  # as a resample has it
    wanted = getattr(sacrebleu, f"corpus_{key}")([CANDIDATES[i] for i in part], [[REFERENCES[i] for i in part]]).score
    assert score.of(score.statistics[part].sum(axis=0, keepdims=True))[0] == pytest.approx(wanted)


@pytest.mark.parametrize("key", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_the_mean_f_measure_in_per_cent(key: str) -> None:
    scorer = rouge_scorer.RougeScorer([key], use_stemmer=True)
    pairs = zip(REFERENCES, CANDIDATES, strict=True)
    assert whole(key) == pytest.approx(100 * np.mean([scorer.score(a, b)[key].fmeasure for a, b in pairs]))


@pytest.mark.parametrize("key", ["rouge1", "rouge2", "rougeL"])
def test_a_reference_in_another_script_says_nothing_by_rouge(key: str) -> None:
    russian, english = "Паром отходит в девять.", "The ferry leaves at nine."

    def value(candidates: list[str], references: list[str]) -> float | None:
        score = next(score for score in scores(candidates, references, None) if score.key == key)
        measured = level(score.statistics, score.of, seed=0)
        return None if measured is None else measured.value

    assert value([russian] * 3, [russian] * 3) is None
    assert value([russian, english, "No."], [russian, english, english]) == pytest.approx(50.0)


def test_words_with_letters_that_rouge_does_not_know_are_counted() -> None:
    assert beyond_rouge(["Brot für alle", "Ünder 1,5 m"]) == pytest.approx(100 * 2 / 7)
    assert beyond_rouge(["The ferry.", ""]) == 0 and beyond_rouge(["Паром", "船"]) == 100


def test_support_counts_numbers_in_any_form_and_names_by_their_words() -> None:
    score = support(
        ["It costs 4,50 to Oster Quay.", "We leave at 8:15 with Anna.", "Nothing is said here.", "Pay 12 in Marrow."],
        [
            ["A ticket to Oster Quay is 4.5 crowns"],
            ["Departure 8:15. Three people"],
            ["12"],
            ["Marrow", "twelve crowns"],
        ],
    )
    assert score.statistics.tolist() == [[2, 2], [1, 2], [0, 0], [2, 2]]
    assert score.of(score.statistics.sum(axis=0, keepdims=True))[0] == pytest.approx(100 * 5 / 6)


def test_a_fact_that_is_said_twice_counts_once() -> None:
    assert support(["It is 7, yes, 7."], [["8"]]).statistics.tolist() == [[0, 1]]


def test_support_is_measured_where_there_are_sources_alone() -> None:
    assert "support" not in [score.key for score in scores(CANDIDATES, REFERENCES, None)]
    assert scores(CANDIDATES, REFERENCES, [["a"]] * 4)[-1].key == "support"
