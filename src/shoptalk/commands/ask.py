"""`shoptalk ask` where a file answers for a person, and what it ends with.

with open_session(run) as session:
    answer_from(session, read_answers(Path("oracle.jsonl"), session.labels))
    print(result(session))
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shoptalk.commands.ask_session import BlindQuestion, Session
from shoptalk.config import did_you_mean
from shoptalk.curate.clean import repair
from shoptalk.errors import SourceError
from shoptalk.readback import complaint, read_text
from shoptalk.records import Frozen

_SHOWN = 3


class _GivenAnswer(Frozen):
    text: str
    label: str | int | bool | None = None


def read_answers(path: Path, labels: tuple[str, ...]) -> dict[str, str | None]:
    """The answers of a JSONL file with `text` and `label`, by their texts; a label of null or "" means none of them.

    Raises:
        SourceError: it cannot be read, a row has no text, a label is none of the run's, or a text has two.
    """
    if not path.is_file():
        raise SourceError(f"The answers {path} do not exist. Give JSON Lines with a text and a label in each.")
    answers: dict[str, str | None] = {}
    unknown: dict[str, int] = {}
    for number, line in enumerate(read_text(path, most=2**30).removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            given = _GivenAnswer.model_validate_json(line)
        except ValidationError as error:
            raise SourceError(
                f'{path}, line {number}: {complaint(error)}. Expected {{"text": "...", "label": "..."}} in each line.'
            ) from error
        label = _label_of(given.label)
        if label is not None and labels and label not in labels:
            unknown.setdefault(label, number)
        text = repair(given.text)
        if answers.setdefault(text, label) != label:
            raise SourceError(
                f"{path}, line {number}: this text has the label {label!r} and stands above with "
                f"{answers[text]!r}. Leave one of the two."
            )
    if unknown:
        shown = "; ".join(f"{label!r} (line {at}). {did_you_mean(label, labels)}" for label, at in _first(unknown))
        raise SourceError(
            f"{path} has {len(unknown)} labels that the run does not know: {shown} Expected the labels of the run, or "
            "null for none of them."
        )
    if not answers:
        raise SourceError(f'{path} has no answers. Expected {{"text": "...", "label": "..."}} in each line.')
    return answers


def _label_of(value: str | int | bool | None) -> str | None:
    """As it is read from a labels file ("true", "3"); None where it is empty."""
    return None if value is None else repair(str(value).lower() if isinstance(value, bool) else str(value)) or None


def _first(unknown: Mapping[str, int]) -> list[tuple[str, int]]:
    return list(unknown.items())[:_SHOWN]


def answer_from(session: Session, answers: Mapping[str, str | None]) -> int:
    """Answer from a file until nothing more is asked, passing over what it does not know; returns how many those were.

    Raises:
        SourceError: the file knows none of the messages that are asked.
    """
    unknown: set[str] = set()
    while (question := session.question()) is not None:
        text = repair(question.text)
        if text in answers:
            session.answer(question.key, _fitting(question, answers[text], session))
        else:
            session.pass_over(question.key)
            unknown.add(question.key)
    if unknown and len(unknown) == session.standing.disagree:
        raise SourceError(
            f"The answers know none of the {len(unknown):,} messages on which {' and '.join(session.systems)} differ. "
            "Give the labels of the messages in the bank."
        )
    return len(unknown)


def _fitting(question: BlindQuestion, label: str | None, session: Session) -> str | None:
    """The label; of replies the one that is the same text, if any is."""
    return label if session.labels or label in question.options else None


def result(session: Session) -> dict[str, Any]:
    """What `ask --json` prints."""
    outcome = session.outcome()
    return {
        "choice": outcome.choice,
        "gain": outcome.gain,
        "interval": list(outcome.interval),
        "asked": outcome.asked,
        "bank": outcome.bank,
        "disagree": outcome.disagree,
        "sentence": outcome.sentence,
    }
