"""`ask`: two systems of a run are told apart by a person's answers, in the terminal, on a page, or from a file.

In the terminal, a question is a message, its likely labels with numbers, and what else may be typed. Questions are
written on standard error and what came of them on standard output, as everywhere.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoptalk.cli.options import Json, show
from shoptalk.errors import InputError
from shoptalk.progress import Console
from shoptalk.report.question_page import matching

if TYPE_CHECKING:
    from shoptalk.commands.ask_session import BlindQuestion, Session

commands = typer.Typer()
_HELP = "a number; letters to search all labels; 0 none of these; s skip; u undo; n labelled messages nearby; q stop"
_HELP_REPLIES = "1 or 2; 0 neither, or both as well; s skip; u undo; q stop"
_WIDTH = 48
_MOST_LISTED = 9


@commands.command()
def ask(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    bank: Annotated[
        Path | None, typer.Option(help="Unlabelled messages that the run has not seen; else those it has held out.")
    ] = None,
    systems: Annotated[
        str | None, typer.Option(help="Two systems of the run, the present one first; base,adapted by default.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="JSON Lines with text and label, which answer for a person.")
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Ask on a page of this machine, in the browser, not in the terminal.")
    ] = False,
    most: Annotated[int, typer.Option(min=1, help="Questions in all.")] = 100,
    as_json: Json = False,
) -> None:
    """Settle a verdict with the fewest answers: a person is asked where two systems differ; resumes."""
    if page and answers is not None:
        raise InputError("--page is for a person and --answers for a file: give one of the two.")
    from shoptalk.commands.ask import answer_from, read_answers, result
    from shoptalk.commands.ask_session import open_session

    who = None if answers is None else f"file {answers.name}"
    by_file = answers is not None
    with (
        Console() as console,
        open_session(run, systems=systems, bank=bank, most=most, who=who, twice=not by_file, report=console) as session,
    ):
        if answers is not None:
            unknown = answer_from(session, read_answers(answers, session.labels))
            if unknown:
                typer.echo(f"{answers.name} has no answer to {unknown} of the messages asked about", err=True)
        elif not session.finished and page:
            from shoptalk.commands.ask_page import ask_on_page

            ask_on_page(session, run=str(run), tell=_say)
        elif not session.finished:
            _converse(session)
        if session.asked >= most and not session.standing.settled:
            _say(f"As many as --most allows ({most:,}) are answered; a larger --most goes on.")
        session.conclude()
        outcome = result(session)
    show(outcome, as_json, lambda: _printed(outcome))


def _printed(outcome: dict[str, Any]) -> str:
    return f"choice: {outcome['choice']}\n{outcome['sentence']}"


def _converse(session: "Session") -> None:
    """Ask until it is settled, or whoever answers stops.

    Raises:
        InputError: nobody is there to answer.
    """
    if not sys.stdin.isatty():
        raise InputError(
            "There is no terminal to ask in. Run this in one, or give --page to be asked in a browser, or --answers "
            "FILE, JSON Lines with a text and a label in each, which answers for a person."
        )
    _say(f"What is right? ({_HELP if session.labels else _HELP_REPLIES}) With --page, a browser shows more.")
    while (question := session.question()) is not None:
        if not _asked(session, question):
            return


def _asked(session: "Session", question: "BlindQuestion") -> bool:
    """Put one question until something comes of it; whether to go on."""
    options = list(question.options)
    _put(question, options, labelled=bool(session.labels))
    while True:
        typer.echo("> ", err=True, nl=False)
        line = sys.stdin.readline()
        typed = line.strip()
        if not line or typed.casefold() == "q":
            return False
        if typed.casefold() == "u":
            if not session.undo():
                _say("There is nothing to undo.")
                continue
        elif typed.casefold() == "s":
            session.skip(question.key)
        elif typed.casefold() == "n" and session.labels:
            for text, label in session.neighbours(question.key):
                _say(f"  {label}: {' '.join(text.split())}")
            continue
        elif typed.isdecimal() and int(typed) <= len(options):
            session.answer(question.key, options[int(typed) - 1] if int(typed) else None)
        elif typed and not typed.isdecimal() and session.labels:
            options = _search(typed, session.labels) or options
            _list(options)
            continue
        else:
            _say(f"Expected {_HELP if session.labels else _HELP_REPLIES}.")
            continue
        _say(drawn(session))
        return True


def _put(question: "BlindQuestion", options: list[str], *, labelled: bool) -> None:
    _say("")
    for role, text in question.context:
        _say(f"  {role or 'turn'}: {' '.join(text.split())}")
    if labelled:
        _say(f"{question.number}. {' '.join(question.text.split())}")
    else:
        _say(f"{question.number}. Which of these two replies fits?")
    _list(options)


def _list(options: list[str]) -> None:
    for number, option in enumerate(options, start=1):
        _say(f"  {number} {' '.join(option.split())}")


def _search(typed: str, labels: tuple[str, ...]) -> list[str]:
    """The labels that hold all words of what was typed, as on the page."""
    hits = [label for _, label in matching(labels, typed)]
    if not hits:
        _say(f"No label has {typed!r} in it.")
    elif len(hits) > _MOST_LISTED:
        _say(f"{len(hits)} labels have it; the first {_MOST_LISTED}:")
    return hits[:_MOST_LISTED]


def drawn(session: "Session") -> str:
    """The interval on a scale that stays the same, and how many answers more would settle it."""
    first, now = session.path[0], session.standing
    reach = max(abs(first.low), abs(first.high), 1e-9)

    def place(value: float) -> int:
        return min(_WIDTH - 1, max(0, round((value + reach) / (2 * reach) * (_WIDTH - 1))))

    cells = [" "] * _WIDTH
    cells[place(0.0)] = "0"
    low, high = place(now.low), place(now.high)
    for i in range(low, high + 1):
        cells[i] = "0" if cells[i] == "0" else "-"
    cells[low], cells[high] = "[", "]"
    more = "settled" if now.settled else "open" if now.more is None else f"about {now.more} more would settle it"
    return f"|{''.join(cells)}| {now.low:+.1f} to {now.high:+.1f} points after {now.asked}; {more}"


def _say(text: str) -> None:
    typer.echo(text, err=True)
