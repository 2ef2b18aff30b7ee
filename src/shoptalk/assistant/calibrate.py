"""Which confidence an answer must have so that few of those given are wrong: fitted to questions with known answers.

    questions = read_questions(Path("questions.jsonl"))
    result = calibrate(assistant, questions, max_wrong=0.05)     # leaves RUN/calibration
    result.sentence

One half of the questions fits the confidence and proposes thresholds; the other tests them (`decide/selective.py`).
A question is a row with `question`, and where it has an answer with `document` and `passage`, the words that answer it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from shoptalk.artifact import create, open_artifact, write_text
from shoptalk.assistant.asked_rows import rows_of
from shoptalk.assistant.assistant import Assistant, Considered
from shoptalk.assistant.calibration_file import FILE, FOLDER, PICTURE, Calibration, CalibrationPoint, picture
from shoptalk.assistant.confidence import ConfidenceWeights, fit_confidence
from shoptalk.decide.selective import ERROR, Promise, fewest_answers, promised_threshold, proposed_thresholds
from shoptalk.errors import InputError
from shoptalk.readback import complaint
from shoptalk.records import Frozen, Turn

FEWEST_TO_FIT = 30
"""Questions, right and wrong ones among them, from which the confidence is fitted anew."""
_EXPECTED = "Expected the columns question, document and passage (and also, a list of other places, in JSONL)."


class AskedQuestion(Frozen):
    """A question whose answer is known; without document and passage it must not be answered."""

    text: str
    document: str | None = None
    passage: str | None = None
    also: tuple["AskedQuestion", ...] = ()
    """The same question with other places that answer it as well."""
    before: tuple[Turn, ...] = ()
    """The turns before it, where it stands in a conversation."""

    @property
    def answerable(self) -> bool:
        """Whether there is an answer to it."""
        return self.document is not None or self.passage is not None


@dataclass(frozen=True)
class QuestionTrial:
    """What the assistant would say to one question, and whether that is right."""

    question: AskedQuestion
    considered: Considered
    supported: bool
    """Whether it would be answered from the knowledge if the confidence sufficed, and by nothing that goes before."""
    right: bool

    @property
    def confidence(self) -> float:
        """Of its answer; below every threshold where it would not be given."""
        return self.considered.signals.confidence if self.supported else -1.0


def share_of(text: str) -> float:
    """The share that a text such as "5%" or "0.05" says.

    Raises:
        InputError: it says none between 0 and 1, both excluded.
    """
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise InputError(f"--max-wrong {text!r} is no share. Give one such as 5% or 0.05.")
    return value


def read_questions(path: Path) -> list[AskedQuestion]:
    """The questions of a JSONL or CSV file with the columns question (or text), document and passage.

    Raises:
        InputError: the file cannot be read, or a row has no question.
    """
    questions = []
    for number, value in rows_of(path):
        text = value.get("question") or value.get("text")
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}, line {number}: no question. {_EXPECTED}")
        try:
            questions.append(_question(text, value))
        except ValidationError as error:
            raise InputError(f"{path}, line {number}: {complaint(error)}. {_EXPECTED}") from error
    if not questions:
        raise InputError(f"{path} holds no question. {_EXPECTED}")
    return questions


def _question(text: str, value: dict[str, Any]) -> AskedQuestion:
    others = value.get("also") or []
    return AskedQuestion(
        text=text,
        document=value.get("document") or None,
        passage=value.get("passage") or None,
        also=tuple(
            AskedQuestion.model_validate({"text": text, **(other if isinstance(other, dict) else {"also": other})})
            for other in (others if isinstance(others, list) else [others])
        ),
    )


def try_questions(assistant: Assistant, questions: Sequence[AskedQuestion]) -> list[QuestionTrial]:
    """What the assistant would say to each.

    Raises:
        InputError: a question names a document that is not in the knowledge.
    """
    texts = {document.id: document.text for document in assistant.knowledge.shelf.documents()}
    trials = []
    assistant.embed([question.text for question in questions])  # all at once; they are remembered
    for question in questions:
        wanted = [place for asked in (question, *question.also) for place in _places(asked, texts)]
        considered = assistant.consider([*question.before, Turn(role="visitor", text=question.text)])
        decided = assistant.decided(considered, threshold=0.0)
        right = any(
            considered.hits[sentence.sources[0] - 1].passage.document == document
            and _overlaps(sentence.start, sentence.end, place)
            for sentence in considered.sentences
            for document, place in wanted
        )
        trials.append(QuestionTrial(question, considered, decided.words == "found", right))
    return trials


def calibrate(
    assistant: Assistant, questions: Sequence[AskedQuestion], *, max_wrong: float, error: float = ERROR
) -> Calibration:
    """Fit and test; leaves `RUN/calibration`, which the assistant reads when it is opened."""
    result = calibrated(try_questions(assistant, questions), max_wrong=max_wrong, error=error)
    encoder = open_artifact(assistant.run / "encoder")
    assert encoder is not None
    with create(
        assistant.run / FOLDER,
        kind="calibration",
        config={"max_wrong": max_wrong, "error": error, "questions": len(questions)},
        parents={"encoder": encoder.content, "knowledge": assistant.knowledge.shelf.content},
    ) as folder:
        write_text(folder / FILE, result.model_dump_json(indent=1))
        write_text(folder / PICTURE, picture(result))
    return result


def calibrated(trials: Sequence[QuestionTrial], *, max_wrong: float, error: float = ERROR) -> Calibration:
    """The same from trials, without a folder."""
    fits = np.array([int(sha256(trial.question.text.encode()).hexdigest(), 16) % 2 == 0 for trial in trials])
    right = np.array([trial.right for trial in trials])
    supported = np.array([trial.supported for trial in trials])
    features = np.array([trial.considered.features for trial in trials])
    weights = ConfidenceWeights()
    fitted = fits & supported
    if fitted.sum() >= FEWEST_TO_FIT and 0 < right[fitted].sum() < fitted.sum():
        weights = fit_confidence(features[fitted], right[fitted])
    confidence = np.array([weights(row) if given else -1.0 for row, given in zip(features, supported, strict=True)])
    tests = ~fits
    thresholds = proposed_thresholds(confidence[fits], int(tests.sum()), max_wrong=max_wrong, error=error)
    promise = promised_threshold(confidence[tests], right[tests], thresholds, max_wrong=max_wrong, error=error)
    answerable = sum(trial.question.answerable for trial in trials)
    return _result(promise, weights, len(trials), answerable, max_wrong, error)


def _result(
    promise: Promise, weights: ConfidenceWeights, questions: int, answerable: int, max_wrong: float, error: float
) -> Calibration:
    points = tuple(
        CalibrationPoint(
            threshold=point.threshold,
            coverage=point.answered / max(promise.questions, 1),
            risk=point.risk,
            upper=point.upper,
            answered=point.answered,
            wrong=point.wrong,
        )
        for point in promise.points
    )
    held = next((point for point in points if point.threshold == promise.threshold), None)
    needed = fewest_answers(max_wrong, error=error)
    if held is not None:
        sentence = (
            f"From a confidence of {held.threshold:.3f} on at most {max_wrong:.0%} of the answers are wrong, with "
            f"{1 - error:.0%} certainty: {held.wrong} of {held.answered} tested answers were, and {held.coverage:.0%} "
            "of the tested questions are answered."
        )
    else:
        why = _why(points, promise, needed, max_wrong)
        sentence = f"No threshold can promise at most {max_wrong:.0%} wrong answers. {why}"
    return Calibration(
        weights=weights,
        threshold=promise.threshold,
        max_wrong=max_wrong,
        error=error,
        questions=questions,
        answerable=answerable,
        tested=promise.questions,
        coverage=held.coverage if held else 0.0,
        needed=0 if held else needed,
        points=points,
        sentence=sentence,
    )


def _why(points: Sequence[CalibrationPoint], promise: Promise, needed: int, max_wrong: float) -> str:
    if not points or (points[0].answered < needed and points[0].risk <= max_wrong):
        answered = points[0].answered if points else 0
        return (
            f"A promise needs {needed} tested answers without a wrong one, and there were {answered}: half of "
            f"{promise.questions * 2} questions is tested. Give at least {4 * needed} questions that can be answered."
        )
    first = points[0]
    return (
        f"Of the {first.answered} surest answers {first.wrong} were wrong ({first.risk:.0%}; at most "
        f"{first.upper:.0%} with certainty). Look at the questions answered wrongly, add what is missing to the "
        "knowledge, or allow more with --max-wrong."
    )


def _places(question: AskedQuestion, texts: dict[str, str]) -> list[tuple[str, tuple[int, int] | None]]:
    """The documents that answer it, and where the passage stands in each; without a passage anywhere in it, and without
    a document in each that holds the passage.
    """
    wanted, passage = question.document, question.passage
    if wanted is None and passage is None:
        return []
    named = [id for id in texts if wanted is None or id == wanted or id.endswith(f"/{wanted}")]
    if not named:
        raise InputError(
            f"The question {question.text[:60]!r} names the document {wanted!r}, which is not in the knowledge. "
            "`shoptalk knowledge status RUN` lists what is."
        )
    if passage is None:
        return [(named[0], None)]
    places: list[tuple[str, tuple[int, int] | None]] = [
        (id, (begin, begin + len(passage))) for id in named if (begin := texts[id].find(passage)) >= 0
    ]
    if not places:
        raise InputError(
            f"The question {question.text[:60]!r} names a passage that {named[0] if wanted else 'no document'} "
            f"{'does not hold' if wanted else 'holds'}: {passage[:60]!r}. Give its words as they stand there."
        )
    return places


def _overlaps(start: int | None, end: int | None, wanted: tuple[int, int] | None) -> bool:
    """Whether a sentence is the wanted passage, or at least half of one stands in the other."""
    if wanted is None:
        return True
    if start is None or end is None:
        return False
    shared = min(end, wanted[1]) - max(start, wanted[0])
    return 2 * shared >= min(end - start, wanted[1] - wanted[0])
