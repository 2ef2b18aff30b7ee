"""What an asking is about, beside its questions: where answers are kept, and what follows from them."""

from collections.abc import Callable
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

from shoptalk.report.question_json import Asks
from shoptalk.report.verdict_json import Choice, PeopleAnswered


@dataclass(frozen=True)
class Subject:
    """What two systems are told apart for."""

    folder: Path
    """Where the answers are kept."""
    asks: Asks
    smallest_gain: float
    """That is worth having, in points: of messages that are answered rightly, whatever a verdict's measure is; of
    prompts on which the new text is better."""
    settle: Callable[[PeopleAnswered | None], None]
    """Is told what came of it when a person stops; None where nothing was answered."""
    before: Choice = "inconclusive"
    """What was decided without answers."""
    guarded: str = ""
    """Why the new one may not be adopted whatever is answered; empty where it may."""


def this_user() -> str:
    """Who is logged in; empty where that has no name."""
    try:
        return getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return ""
