"""One asking of two systems: its questions in their order, the answers, and what follows from them so far.

    with open_session(run, bank=Path("new.csv")) as session:
        while (question := session.question()) is not None:
            session.answer(question.key, question.options[0])
        print(session.sentence)

Every answer is on disk before `answer` returns, and the same call again goes on where it was interrupted. Nothing that
a question holds says which system answered what.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shoptalk.artifact import locked
from shoptalk.commands.ask_journal import FILE, AnswerRow, Journal
from shoptalk.commands.ask_prepare import Asking, Disagreement, prepare
from shoptalk.commands.ask_run import is_verdict, open_run, two_systems
from shoptalk.commands.ask_settle import settle
from shoptalk.commands.ask_subject import Subject, this_user
from shoptalk.curate.clean import sample
from shoptalk.decide.disagreements import SKIPPED, Consistency, Standing, path, stand
from shoptalk.errors import InputError
from shoptalk.report.asked_words import asked_sentence, preferred_sentence
from shoptalk.report.question_json import NONES, Asks
from shoptalk.report.verdict_json import Choice, PeopleAnswered
from shoptalk.telling.settled import left_guard
from shoptalk.training.reporter import Reporter, Silent

MOST = 100
"""Questions that a person is asked in one asking, where no other number is given."""
AGAIN = 0.05
"""Of the answered messages, the share that is asked a second time."""
LATER = 5
"""Other answers that lie between the two."""


@dataclass(frozen=True)
class BlindQuestion:
    """A question as a person sees it."""

    key: str
    text: str
    number: int
    """From 1."""
    options: tuple[str, ...]
    """Both systems' answers, and where labels are asked for likely others, in the order of the alphabet; replies and
    texts in a random order, and the other way round when they are asked again."""
    again: bool = False
    """Whether it has been answered before, which is not to be told."""
    context: tuple[tuple[str, str], ...] = ()
    """Turns before it, oldest first: role and text."""


class Session:
    """An asking that goes on; made by `open_session` or `open_texts`, which hold its folder."""

    def __init__(self, subject: Subject, asking: Asking, *, most: int, who: str, twice: bool) -> None:
        self._subject, self._asking, self._most, self._who = subject, asking, most, who
        self._asks_twice = twice
        self._rows = {row.key: row for row in asking.rows}
        self._journal = Journal(subject.folder / FILE, asking=asking.id, keys=self._rows, labels=asking.about.labels)
        self._path: tuple[Standing, ...] = ()
        self._twice = Consistency(twice=0, same=0)
        self._passed: set[str] = set()
        self._count()

    @property
    def systems(self) -> tuple[str, str]:
        """The names of the two, the old one first."""
        return self._asking.about.systems

    @property
    def asks(self) -> Asks:
        """What a person is asked."""
        return self._subject.asks

    @property
    def labels(self) -> tuple[str, ...]:
        """What may be answered; none where replies or texts are asked about."""
        return self._asking.about.labels

    @property
    def smallest_gain(self) -> float:
        """That is worth having, in points."""
        return self._subject.smallest_gain

    @property
    def standing(self) -> Standing:
        """What follows from the answers so far."""
        return self._path[-1]

    @property
    def path(self) -> tuple[Standing, ...]:
        """The same after each question that was answered or skipped, first before any."""
        return self._path

    @property
    def asked(self) -> int:
        """Questions that were answered, those of second times among them; skipped ones are none."""
        return sum(row.given != "skip" for row in self._journal.rows)

    @property
    def others(self) -> int:
        """Answers that the folder keeps of other askings, which do not count here."""
        return self._journal.others

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be asked: it is settled, everything is answered, or as many as were allowed."""
        return self.question() is None

    @property
    def choice(self) -> Choice:
        """What is settled; a challenger that has left its guards is not adopted whatever was answered."""
        return self.outcome().choice

    @property
    def sentence(self) -> str:
        """What came of it, for people."""
        return self.outcome().sentence

    def outcome(self) -> PeopleAnswered:
        """What came of it, as the run's verdict keeps it."""
        standing, twice = self.standing, self._twice
        sentence = self._words(standing, twice)
        choice, reason = standing.choice, self._subject.guarded
        if reason and choice == "adopt":
            choice = "keep_base"
            sentence += f" The base is kept all the same: {reason.rstrip('.')}."
        return PeopleAnswered(
            systems=self.systems,
            choice=choice,
            before=self._subject.before,
            gain=standing.gain,
            interval=(standing.low, standing.high),
            on_bank=(standing.bank_low, standing.bank_high),
            asked=standing.asked,
            right=standing.right,
            wrong=standing.wrong,
            neither=standing.neither,
            disagree=standing.disagree,
            bank=standing.bank,
            twice=twice.twice,
            same=twice.same,
            more=standing.more,
            guarded=reason,
            answered_by=tuple(dict.fromkeys(row.who for row in self._journal.rows)),
            sentence=sentence,
        )

    def _words(self, standing: Standing, twice: Consistency) -> str:
        said: dict[str, Any] = {
            "choice": standing.choice,
            "disagree": standing.disagree,
            "bank": standing.bank,
            "counts": (standing.right, standing.wrong, standing.neither),
            "on_bank": (standing.bank_low, standing.bank_high),
            "interval": (standing.low, standing.high),
            "more": standing.more,
            "consistency": (twice.twice, twice.same) if twice.twice else None,
        }
        return preferred_sentence(alike=self._alike(), **said) if self.asks == "texts" else asked_sentence(**said)

    def conclude(self) -> None:
        """Let what is asked about follow what was answered. To be called when a person stops, whether it is settled or
        not; again changes nothing.
        """
        self._subject.settle(self.outcome() if self._journal.rows else None)

    def question(self) -> BlindQuestion | None:
        """What is to be asked next; the same until it is answered. None where nothing is."""
        if self.standing.settled or self.asked >= self._most:
            return None
        key = self._next()
        return None if key is None else self._shown(key)

    def answer(self, key: str, label: str | None, given: str = "none") -> None:
        """Keep an answer; None where none of the options fits, and then `given` says which of `NONES` it is.

        Raises:
            InputError: that message is not asked, or there is no such label or answer.
            StorageError: it cannot be written.
        """
        row = self._asked(key)
        if label is not None and label not in (self.labels or row.answers):
            raise InputError(self._no_such(label))
        if label is None and given not in ("none", *(none.choice for none in NONES[self.asks])):
            raise InputError(f"There is no answer {given!r} here. Give one of the options, or none.")
        self._keep(row, label, given if label is None else "answer")

    def _no_such(self, label: str) -> str:
        if self.labels:
            return f"There is no label {label!r}. Give one of the run's {len(self.labels)} labels, or none."
        return (
            f"{sample(label)!r} is neither of the two {self.asks} that are asked about. Give one of the question's "
            "options, or none."
        )

    def skip(self, key: str) -> None:
        """Ask that message later, after all others."""
        self._keep(self._asked(key), None, "skip")

    def pass_over(self, key: str) -> None:
        """Ask that message no more while this session is open; nothing is kept of it."""
        self._passed.add(self._asked(key).key)

    def undo(self) -> bool:
        """Take the last answer, or skip, back; whether there was one."""
        undone = self._journal.withdraw() is not None
        self._count()
        return undone

    def neighbours(self, key: str) -> tuple[tuple[str, str | None], ...]:
        """Labelled texts near a message."""
        return tuple((one.text, one.label) for one in self._asked(key).near)

    # --- the order ------------------------------------------------------------------------------------------------

    def _next(self) -> str | None:
        """The key of the next message: one that is due a second time, else the next that is new, else one skipped."""
        firsts = [row.key for row in self._journal.rows if row.given != "skip" and not row.again]
        seconds = {row.key for row in self._journal.rows if row.again}
        early = firsts[: max(0, len(firsts) - LATER)]
        due = [key for key in early if self._comes_again(key) and key not in seconds | self._passed]
        if due:
            return due[0]
        skipped = [row.key for row in self._journal.rows if row.given == "skip"]
        closed, put_off = self._passed.union(firsts), set(skipped)
        unanswered = [row.key for row in self._asking.rows if row.key not in closed]
        new = next((key for key in unanswered if key not in put_off), None)
        if new is not None:
            return new
        # Of those that were skipped, the one that was skipped least often and longest ago.
        return min(unanswered, key=lambda key: (skipped.count(key), skipped.index(key)), default=None)

    def _comes_again(self, key: str) -> bool:
        return self._asks_twice and self._chance(key, "again") < AGAIN

    def _chance(self, key: str, what: str) -> float:
        """A number in [0, 1) that only the asking, the message and `what` decide."""
        drawn = hashlib.sha256(f"{self._asking.id} {key} {what}".encode()).digest()[:7]
        return int.from_bytes(drawn, "big") / 2**56

    def _shown(self, key: str) -> BlindQuestion:
        row = self._rows[key]
        options = sorted({*row.answers, *row.others})
        again = any(one.key == key and one.given != "skip" for one in self._journal.rows)
        # The second time the sides are changed: whoever always takes the first one is not consistent.
        if not self.labels and (self._chance(key, "order") < 0.5) != again:
            options.reverse()
        return BlindQuestion(key, row.text, self.asked + 1, tuple(options), again, row.context)

    # --- the answers ----------------------------------------------------------------------------------------------

    def _asked(self, key: str) -> Disagreement:
        if key not in self._rows:
            raise InputError(f"No message {key!r} is asked about here.")
        return self._rows[key]

    def _keep(self, row: Disagreement, label: str | None, given: str) -> None:
        answered = any(one.key == row.key and one.given != "skip" for one in self._journal.rows)
        self._journal.append(
            AnswerRow.model_validate(
                {
                    "text": row.text,
                    "label": label,
                    "given": given,
                    "systems": dict(zip(self.systems, row.answers, strict=True)),
                    "order": len(self._journal.rows) + 1,
                    "again": answered,
                    "who": self._who,
                    "when": datetime.now(UTC).isoformat(timespec="seconds"),
                    "key": row.key,
                    "asking": self._asking.id,
                }
            )
        )
        self._count()

    def _count(self) -> None:
        """What follows from the answers, anew."""
        firsts = [row for row in self._journal.rows if not row.again]
        seconds = [row for row in self._journal.rows if row.again and row.given != "skip"]
        labels = {row.key: row.label for row in firsts if row.given != "skip"}
        # Each question stays where it was first asked: what people pass over is not like what they answer.
        keys = dict.fromkeys(row.key for row in firsts)
        x = np.array(
            [self._sign(self._rows[key], labels[key]) if key in labels else SKIPPED for key in keys], dtype=np.int64
        )
        self._twice = Consistency(twice=len(seconds), same=sum(labels[row.key] == row.label for row in seconds))
        if self._path:  # the intervals before this answer stay as they were shown
            self._path = (*self._path[: len(x)], self._stand(x))
        else:
            about = self._asking.about
            after_each = path(
                x,
                disagree=about.disagree,
                bank=about.bank,
                smallest_gain=self.smallest_gain,
                consistency=self._consistency,
            )
            self._path = (self._stand(x[:0]), *after_each)

    def _stand(self, x: Int[np.ndarray, "n"]) -> Standing:
        about = self._asking.about
        return stand(
            x,
            disagree=about.disagree,
            bank=about.bank,
            smallest_gain=self.smallest_gain,
            consistency=self._consistency,
        )

    @property
    def _consistency(self) -> Consistency | None:
        """What is known of slips; a file's answers, of which none is asked twice, are taken as right."""
        return self._twice if self._asks_twice or self._twice.twice else None

    def _alike(self) -> tuple[int, int]:
        """Of the answers, those that both are equally good, and that both are bad."""
        first = {row.key: row.given for row in reversed(self._journal.rows) if row.given != "skip" and not row.again}
        given = list(first.values())
        return given.count("equal"), given.count("bad")

    def _sign(self, row: Disagreement, label: str | None) -> int:
        """+1 where the new one was right and the old wrong, -1 where it was the other way, 0 where neither was."""
        old, new = row.answers
        return int(label == new) - int(label == old)


@contextlib.contextmanager
def open_session(
    run: Path,
    *,
    systems: str | None = None,
    bank: Path | None = None,
    most: int = MOST,
    who: str | None = None,
    twice: bool = True,
    report: Reporter | None = None,
) -> Iterator[Session]:
    """The asking of two systems of a finished run, new or resumed; the run's folder is held while it is open.

    Args:
        run: the run's folder.
        systems: their names, the old one first: `base,adapted` (`commands/ask_run.py`).
        bank: messages that the run has not seen, in place of those that it has held out.
        most: questions that are asked in all.
        who: answers, for the record; this machine's user by default.
        twice: whether some questions are asked again: a file would answer them as before, which shows nothing.
        report: is told what takes time.

    Raises:
        InputError: the run cannot be asked about, or the bank is too small or too well known to it.
        ArtifactError: the run has changed or is damaged.
        StorageError: another process is at work in the folder.
    """
    done = open_run(run, report or Silent())
    old, new = two_systems(done, systems)
    with locked(run):
        asking, of_verdict = prepare(done, old, new, bank=bank), is_verdict(old, new)

        def follow(outcome: PeopleAnswered | None) -> None:
            """Where base and challenger were asked about, the run's verdict, its report and what it ships follow."""
            if of_verdict:
                settle(done, outcome, asking=asking.id)

        subject = Subject(
            folder=run,
            asks="labels" if asking.about.labels else "replies",
            smallest_gain=done.world.config.smallest_gain,
            settle=follow,
            before=done.verdict.choice,
            guarded=left_guard(done.verdict) if of_verdict else "",
        )
        yield Session(subject, asking, most=most, who=who or this_user(), twice=twice)
