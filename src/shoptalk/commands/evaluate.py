"""How good are generated texts? `shoptalk evaluate new.jsonl --against old.jsonl --baselines`.

    evaluate_texts(Path("new.jsonl"), against=Path("old.jsonl")).sentence

Scores and their intervals are about texts like those of the file; a difference is of the same texts, so that what makes
a text hard counts for both systems alike.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from shoptalk.curate.clean import printable
from shoptalk.curate.generated_texts import GeneratedText, read_generated, same_rows
from shoptalk.decide.pooled import Pooled, gain, level
from shoptalk.errors import SourceError
from shoptalk.evaluate.extractive import baselines as extracts
from shoptalk.evaluate.text_scores import SUPPORT, TextScore, beyond_rouge, require_packages, scores
from shoptalk.report.text_measures_json import ComparedTexts, MeasuredScore, TextMeasures

FEWEST = 2
NEEDS = ("candidate", "reference")
_SAME = (
    "{other} has the same text in every row, so nothing was compared: the interval says only how few rows there are. "
    "Give another system's texts."
)
_TOLD = "chrf"
"""The score of the sentence where there are no sources; else support is told too."""


def evaluate_texts(
    path: Path,
    *,
    against: Path | None = None,
    baselines: bool = False,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> TextMeasures:
    """The scores of a file's texts, and its gains over another file's and over extracts of the sources.

    Args:
        path: rows with a candidate, a reference, and perhaps a source.
        against: the same rows by another system.
        baselines: whether to compare with the beginning of the sources, and of conversations with their longest turn.
        seed: of the bootstrap.
        say: is told what takes time.

    Raises:
        InputError: a package is missing.
        SourceError: a file cannot be read, has fewer than two rows, or says nothing anywhere; the files' rows differ;
            or baselines are asked for without sources.
    """
    require_packages()
    rows = read_generated(path, needs=NEEDS)
    name = printable(path.name)
    if len(rows) < FEWEST:
        raise SourceError(f"{path} has {len(rows)} row: an interval over texts needs {FEWEST} at least. Give more.")
    others: dict[str, list[str]] = {}
    if against is not None:
        theirs = read_generated(against, needs=NEEDS)
        same_rows(rows, theirs, (str(path), str(against)))
        others[printable(against.name) if against.name != path.name else printable(str(against))] = _said(
            theirs, against
        )
    if baselines:
        others |= _extracts(rows, path)
    sources = [row.passages for row in rows] if all(row.passages for row in rows) else None
    if sources is None and any(row.passages for row in rows):
        lacking = next(row.line for row in rows if not row.passages)
        say(f"evaluate: line {lacking} of {name} has no source, so the support of numbers and names is not measured")

    def scored(who: str, texts: Sequence[str]) -> list[TextScore]:
        say(f"evaluate: {len(texts):,} texts of {who}")
        return scores(texts, [row.reference for row in rows], sources)

    candidates = _said(rows, path)
    measured = scored(name, candidates)
    compared = tuple(_compared(measured, scored(who, texts), who, texts, seed) for who, texts in others.items())
    levels = _levels(measured, seed)
    facts = next((score.statistics.sum(axis=0) for score in measured if score.key == SUPPORT), None)
    return TextMeasures(
        name=name,
        texts=len(rows),
        empty=_empty(candidates),
        levels=levels,
        beyond_rouge=beyond_rouge([row.reference for row in rows]),
        stated=None if facts is None else int(facts[1]),
        supported=None if facts is None else int(facts[0]),
        compared=compared,
        sentence=_sentence(name, len(rows), levels, compared)
        + "".join(f" {_SAME.format(other=who)}" for who, texts in others.items() if texts == candidates),
    )


def _said(rows: Sequence[GeneratedText], path: Path) -> list[str]:
    candidates = [row.candidate for row in rows]
    if not any(candidates):
        raise SourceError(
            f"All {len(rows):,} candidates of {path} are empty, so there is nothing to measure. Expected what the "
            "system wrote in 'candidate' (or 'text')."
        )
    return candidates


def _extracts(rows: Sequence[GeneratedText], path: Path) -> dict[str, list[str]]:
    by_baseline = extracts(rows)
    if not by_baseline:
        lacking = next(row.line for row in rows if not row.passages)
        raise SourceError(
            f"--baselines are extracts of the sources, and line {lacking} of {path} has none. Expected a 'source' (or "
            "'passages', or 'turns') in each row; or leave --baselines out."
        )
    return by_baseline


def _empty(texts: Sequence[str]) -> int:
    return sum(not text for text in texts)


def _levels(measured: Sequence[TextScore], seed: int) -> tuple[MeasuredScore, ...]:
    every = [(score, level(score.statistics, score.of, seed=seed)) for score in measured]
    return tuple(_measured(score, measured) for score, measured in every if measured is not None)


def _compared(
    measured: Sequence[TextScore], theirs: Sequence[TextScore], name: str, texts: Sequence[str], seed: int
) -> ComparedTexts:
    pairs = zip(measured, theirs, strict=True)
    gains = [(one, gain(one.statistics, other.statistics, one.of, seed=seed)) for one, other in pairs]
    return ComparedTexts(
        name=name,
        levels=_levels(theirs, seed),
        gains=tuple(_measured(score, measured) for score, measured in gains if measured is not None),
        empty=_empty(texts),
    )


def _measured(score: TextScore, measured: Pooled) -> MeasuredScore:
    return MeasuredScore(
        key=score.key,
        name=score.name,
        value=measured.value,
        interval=(measured.low, measured.high),
        signature=score.signature,
    )


def _sentence(name: str, texts: int, levels: Sequence[MeasuredScore], compared: Sequence[ComparedTexts]) -> str:
    told = [score for score in levels if score.key in (_TOLD, SUPPORT)]
    parts = [f"{score.name} {score.value:.1f} ({_ends(score, '.1f')})" for score in told]
    sentence = f"{name} has, on {texts:,} texts, {' and '.join(parts)}."
    for other in compared:
        shown = [score for score in other.gains if score.key in (_TOLD, SUPPORT)]
        parts = [
            f"{score.name} by {score.value:+.1f} ({_ends(score, '+.1f')}), {_beyond_chance(score)}" for score in shown
        ]
        sentence += f" Against {other.name} it differs in {'; in '.join(parts)}."
    return sentence


def _ends(score: MeasuredScore, form: str) -> str:
    low, high = score.interval
    return f"{low:{form}} to {high:{form}}"


def _beyond_chance(score: MeasuredScore) -> str:
    low, high = score.interval
    return "more than chance" if low > 0 or high < 0 else "which may be chance"
