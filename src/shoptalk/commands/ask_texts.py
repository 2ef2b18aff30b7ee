"""Two systems' texts, judged blind by a person: `shoptalk ask old.jsonl new.jsonl --out judged`.

    with open_texts(Path("old.jsonl"), Path("new.jsonl"), out=Path("judged"), smallest_gain=0.5) as session:
        while (question := session.question()) is not None:
            session.answer(question.key, question.options[0])
        print(session.sentence)

A question is a prompt with both texts, in random order and on random sides; where both are the same nothing is asked.
x is 1 where the new text is better, -1 where the old one is, and 0 where both are equally good or both bad; what
follows from it is what follows for messages and their labels (`decide.disagreements`), of prompts.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shoptalk.artifact import digest, file_digest, locked, write_text
from shoptalk.commands.ask_prepare import AboutAsking, Asking, Disagreement
from shoptalk.commands.ask_session import MOST, Session
from shoptalk.commands.ask_subject import Subject, this_user
from shoptalk.curate.clean import printable
from shoptalk.curate.generated_texts import GeneratedText, read_generated, same_rows
from shoptalk.errors import SourceError, StorageError
from shoptalk.question import Question, claim, question_of
from shoptalk.report.verdict_json import PeopleAnswered

JUDGED = "judged.json"


@contextlib.contextmanager
def open_texts(
    old: Path,
    new: Path,
    *,
    out: Path,
    smallest_gain: float,
    most: int = MOST,
    who: str | None = None,
    twice: bool = True,
) -> Iterator[Session]:
    """The asking about two files of texts, new or resumed; `out` is held while it is open, and keeps the answers.

    Args:
        old: the present system's texts: rows with `prompt` (or a source) and `candidate` (or `text`).
        new: the same rows by the new system.
        out: a folder for answers.jsonl and judged.json.
        smallest_gain: that is worth having, in points: prompts in a hundred.
        most: questions that are asked in all.
        who: answers, for the record; this machine's user by default.
        twice: whether some questions are asked again.

    Raises:
        SourceError: a file cannot be read, a row says not what was asked, or the files' rows differ.
        StorageError: the folder belongs to another command or holds what people judged of other texts, or another
            process is at work in it.
    """
    before, after = (read_generated(path, needs=("candidate",)) for path in (old, new))
    same_rows(after, before, (str(new), str(old)))
    systems = (old.stem, new.stem) if old.stem != new.stem else (str(old), str(new))
    named = (printable(systems[0]), printable(systems[1]))
    asking = _asking(before, after, named, old)
    question = Question.of("ask", {"systems": named}, old=file_digest(old), new=file_digest(new))
    with locked(out):
        _refuse_judged(out, question)
        claim(out, question)
        subject = Subject(out, "texts", smallest_gain, lambda outcome: _kept(out, outcome))
        yield Session(subject, asking, most=most, who=who or this_user(), twice=twice)


def _refuse_judged(out: Path, question: Question) -> None:
    """Refuse a folder with what came of judging other texts: without answers about these it would be deleted."""
    earlier = question_of(out)
    if earlier is None or earlier.command != question.command or not (out / JUDGED).is_file():
        return
    if differences := question.differences(earlier):
        raise StorageError(
            f"{out / JUDGED} says what was judged of other texts ({'; '.join(differences)}). Give another --out to "
            "keep it, or delete it to judge these texts there; answers.jsonl keeps the answers about both."
        )


def _kept(out: Path, outcome: PeopleAnswered | None) -> None:
    """What came of it; nothing where every answer was taken back."""
    if outcome is None:
        (out / JUDGED).unlink(missing_ok=True)
    else:
        write_text(out / JUDGED, json.dumps(outcome.told(), indent=1, ensure_ascii=False))


def _asking(
    before: Sequence[GeneratedText], after: Sequence[GeneratedText], systems: tuple[str, str], old: Path
) -> Asking:
    """The rows on which the two differ, in random order."""
    triples = [
        (_asked(first, old), first.candidate, second.candidate) for first, second in zip(before, after, strict=True)
    ]
    id = digest([list(systems), [list(row) for row in triples]])[:16]
    differ = [place for place, (_, one, other) in enumerate(triples) if one.split() != other.split()]
    rows = tuple(
        Disagreement(
            key=str(place),
            text=triples[place][0],
            answers=triples[place][1:],
            context=_context(before[place]),
        )
        for place in np.random.default_rng(int(id, 16)).permutation(differ).tolist()
    )
    return Asking(id, AboutAsking(systems=systems, labels=(), bank=len(triples), disagree=len(rows), left_out=0), rows)


def _asked(row: GeneratedText, path: Path) -> str:
    """What the system was asked; without a prompt, what it had to read."""
    text = row.prompt or "\n\n".join(row.passages)
    if not text:
        raise SourceError(
            f"Line {row.line} of {path} says not what the texts were written for, so nobody can judge them. Expected a "
            "'prompt', a 'source' or 'turns' beside each 'candidate' (or 'text')."
        )
    return text


def _context(row: GeneratedText) -> tuple[tuple[str, str], ...]:
    """What the system had to read, beside its prompt."""
    if not row.prompt:
        return ()
    if row.spoken:
        return tuple((turn.role, turn.text) for turn in row.context)
    return tuple(("source", passage) for passage in row.passages)
