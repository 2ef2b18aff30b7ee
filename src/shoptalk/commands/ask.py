"""`shoptalk ask` where a file answers for a person, and what it ends with.

with open_session(run) as session:
    answer_from_file(session, Path("oracle.jsonl"))
    print(result(session))
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class _AnswerLine(NamedTuple):
    number: int
    text: str
    label: str | None


def answer_from_file(session: Session, path: Path) -> int:
    """Answer from a file until nothing more is asked, passing over what it does not know; returns how many those were.

    Raises:
        SourceError: the file cannot be read, or knows nothing of what is asked.
    """
    if session.asks == "texts":
        return prefer_from(session, read_preferences(path))
    return answer_from(session, read_answers(path, session.labels))


def read_answers(path: Path, labels: tuple[str, ...]) -> dict[str, str | None]:
    """The answers of a JSONL file with `text` and `label`, by their texts; a label of null or "" means none of them.

    Raises:
        SourceError: it cannot be read, a row has no text, a label is none of the run's, or a text has two.
    """
    answers: dict[str, str | None] = {}
    unknown: dict[str, int] = {}
    for number, text, label in _lines_of(path):
        if label is not None and labels and label not in labels:
            unknown.setdefault(label, number)
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
    return answers


def read_preferences(path: Path) -> dict[str, tuple[str | None, ...]]:
    """The better texts of a JSONL file with the prompt as `text` and the better text as `label`, by their prompts: of a
    prompt that several rows have there may be several. A label of null or "" means that neither is better.

    Raises:
        SourceError: it cannot be read, or a row has no text.
    """
    preferred: dict[str, tuple[str | None, ...]] = {}
    for _, prompt, label in _lines_of(path):
        preferred[prompt] = (*preferred.get(prompt, ()), label)
    return preferred


def _lines_of(path: Path) -> Iterator[_AnswerLine]:
    if not path.is_file():
        raise SourceError(f"The answers {path} do not exist. Give JSON Lines with a text and a label in each.")
    empty = True
    for number, line in enumerate(read_text(path, most=2**30).removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            given = _GivenAnswer.model_validate_json(line)
        except ValidationError as error:
            raise SourceError(
                f'{path}, line {number}: {complaint(error)}. Expected {{"text": "...", "label": "..."}} in each line.'
            ) from error
        empty = False
        yield _AnswerLine(number, repair(given.text), _label_of(given.label))
    if empty:
        raise SourceError(f'{path} has no answers. Expected {{"text": "...", "label": "..."}} in each line.')


def _label_of(value: str | int | bool | None) -> str | None:
    """As it is read from a labels file ("true", "3"); None where it is empty."""
    return None if value is None else repair(str(value).lower() if isinstance(value, bool) else str(value)) or None


def _first(unknown: Mapping[str, int]) -> list[tuple[str, int]]:
    return list(unknown.items())[:_SHOWN]


def answer_from(session: Session, answers: Mapping[str, str | None]) -> int:
    """`answer_from_file` of labels, or of the replies that were given, by the texts that are asked about."""

    def fitting(question: BlindQuestion) -> list[str | None]:
        text = repair(question.text)
        if text not in answers:
            return []
        label = answers[text]  # of replies the one that is the same text, if any is
        return [label if session.labels or label in question.options else None]

    return _answered(session, fitting, "Give the labels of the messages in the bank.")


def prefer_from(session: Session, preferred: Mapping[str, Sequence[str | None]]) -> int:
    """`answer_from_file` of the better texts, by their prompts. A question is passed over where neither of its texts is
    among those of its prompt, or both are: which of several rows a line is about is known by its text alone.
    """

    def fitting(question: BlindQuestion) -> list[str | None]:
        better = preferred.get(repair(question.text), ())
        hits: list[str | None] = [option for option in question.options if repair(option) in better]
        return hits if hits else [None] if None in better else []

    return _answered(session, fitting, "Give the better text, as its file has it, for prompts on which they differ.")


def _answered(session: Session, fitting: Callable[[BlindQuestion], Sequence[str | None]], give: str) -> int:
    """Answer with what fits, where it is one; returns how many questions were passed over."""
    unknown: set[str] = set()
    while (question := session.question()) is not None:
        answers = fitting(question)
        if len(answers) == 1:
            session.answer(question.key, answers[0])
        else:
            session.pass_over(question.key)
            unknown.add(question.key)
    if unknown and len(unknown) == session.standing.disagree:
        what = "prompts" if session.asks == "texts" else "messages"
        raise SourceError(
            f"The answers know none of the {len(unknown):,} {what} on which {' and '.join(session.systems)} differ. "
            f"{give}"
        )
    return len(unknown)


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
