"""Scores of generated texts: BLEU and chrF (sacrebleu), ROUGE (rouge-score), and how far a source supports their facts.

    for score in scores(candidates, references, sources):
        level(score.statistics, score.of, seed=0)

Each score is a function of sums of statistics over texts, so that it can be computed of any resample (`decide.pooled`):
BLEU and chrF of n-gram counts, as corpora are scored; ROUGE of F-measures, whose mean it is, of texts in letters from a
to z; support of numbers and
names that are stated, and of those that the source states too.
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from shoptalk.assistant.fulltext import stems
from shoptalk.decide.pooled import Score
from shoptalk.errors import InputError
from shoptalk.text.stated_facts import NAME, NUMBER, numbers_in, plain_number

_NEEDED = {"sacrebleu": "sacrebleu", "rouge_score": "rouge-score"}
ROUGE = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
SUPPORT = "support"
_WORD, _ROUGE_WORD, _ROUGE_LETTERS = re.compile(r"[^\W_]+"), re.compile(r"[a-z0-9]+"), re.compile(r"[a-z0-9]")


@dataclass(frozen=True)
class TextScore:
    """One score of a system's texts."""

    key: str
    name: str
    statistics: Float[np.ndarray, "N K"]
    """Of each text."""
    of: Score
    """Their sums' score, between 0 and 100."""
    signature: str = ""
    """How it was computed, as published figures state it."""


def require_packages() -> None:
    """Say so where what computes the scores is not installed.

    Raises:
        InputError: a package is missing.
    """
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(
            f"Measuring texts needs the package {missing[0]}. Install it with: pip install 'shoptalk[texts]'"
        )


def scores(
    candidates: Sequence[str], references: Sequence[str], sources: Sequence[Sequence[str]] | None
) -> list[TextScore]:
    """Every score of a system's texts; support where there are sources.

    Raises:
        InputError: a package is missing.
    """
    require_packages()
    every = [*_sacrebleu(candidates, references), *_rouge(candidates, references)]
    return every if sources is None else [*every, support(candidates, sources)]


def _sacrebleu(candidates: Sequence[str], references: Sequence[str]) -> list[TextScore]:
    """Its own statistics of each text, which its significance tests resample, and its own score of their sums."""
    from sacrebleu.metrics import BLEU, CHRF

    every = []
    for key, name, metric in (("bleu", "BLEU", BLEU()), ("chrf", "chrF", CHRF())):
        whole = metric.corpus_score(list(candidates), [list(references)])
        statistics = np.array(metric._extract_corpus_statistics(list(candidates), [list(references)]), dtype=np.float64)
        every.append(TextScore(key, name, statistics, _by(metric), f"{metric.get_signature()}"))
        assert np.isclose(every[-1].of(statistics.sum(axis=0, keepdims=True))[0], whole.score)
    return every


def _by(metric: Any) -> Callable[[Float[np.ndarray, "M K"]], Float[np.ndarray, "M"]]:
    def score(sums: Float[np.ndarray, "M K"]) -> Float[np.ndarray, "M"]:
        return np.array([float(metric._compute_score_from_stats(row).score) for row in sums.tolist()])

    return score


def _rouge(candidates: Sequence[str], references: Sequence[str]) -> list[TextScore]:
    """F-measures with Porter's stemmer; its words are letters from a to z and digits. A text whose reference has no
    such word does not count: even the reference itself would have 0.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    rows = [scorer.score(reference, candidate) for candidate, reference in zip(candidates, references, strict=True)]
    counts = np.array([_ROUGE_LETTERS.search(reference.lower()) is not None for reference in references], dtype=float)
    return [
        TextScore(key, name, np.stack([counts * [row[key].fmeasure for row in rows], counts], axis=1), share)
        for key, name in ROUGE.items()
    ]


def beyond_rouge(references: Sequence[str]) -> float:
    """Of the references' words, the share in per cent with letters that ROUGE does not know: it parts "für" into "f"
    and "r", and of other scripts it sees nothing.
    """
    words = [word for reference in references for word in _WORD.findall(reference.lower())]
    return 100.0 * sum(not _ROUGE_WORD.fullmatch(word) for word in words) / max(1, len(words))


def support(candidates: Sequence[str], sources: Sequence[Sequence[str]]) -> TextScore:
    """Of the numbers and names that a text states, the share that its source states too.

    A number counts in any form ("4,50" and "4.5", "3" and "three"); of a name all words must stand in the source, in
    whatever form. Names that begin a sentence are not told from other words, and are not counted.
    """
    statistics = np.zeros((len(candidates), 2))
    for row, (candidate, passages) in enumerate(zip(candidates, sources, strict=True)):
        source = "\n".join(passages)
        numbers, words = numbers_in(source), set(stems(source))
        stated = [plain_number(number) in numbers for number in dict.fromkeys(NUMBER.findall(candidate))]
        stated += [set(stems(name)) <= words for name in dict.fromkeys(NAME.findall(candidate))]
        statistics[row] = sum(stated), len(stated)
    return TextScore(SUPPORT, "support of numbers and names", statistics, share)


def share(sums: Float[np.ndarray, "M 2"]) -> Float[np.ndarray, "M"]:
    """The first of two sums in per cent of the second; NaN where that is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 1] > 0, 100.0 * sums[:, 0] / sums[:, 1], np.nan)
