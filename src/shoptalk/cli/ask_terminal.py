"""`ask`: two systems are told apart by a person's answers, in the terminal, on a page, or from a file.

The two are of a run, or each is a file of texts that it has written.

In the terminal, a question is a message, its likely labels with numbers, and what else may be typed. Questions are
written on standard error and what came of them on standard output, as everywhere.
"""

import contextlib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoptalk.cli.options import Json, show
from shoptalk.cli.terminal_text import for_terminal
from shoptalk.errors import InputError
from shoptalk.progress import Console
from shoptalk.report.question_json import NONES, Asks
from shoptalk.report.question_page import matching

if TYPE_CHECKING:
    from shoptalk.commands.ask_session import BlindQuestion, Session

commands = typer.Typer()
_HELPS: Mapping[Asks, str] = {
    "labels": "a number; letters to search all labels; 0 none of these; s skip; u undo; n labelled messages nearby; "
    "q stop",
    "replies": "1 or 2; 0 neither, or both as well; s skip; u undo; q stop",
    "texts": "1 or 2; 0 equally good; b both bad; s skip; u undo; q stop",
}
_ASKED: Mapping[Asks, str] = {"labels": "messages", "replies": "messages", "texts": "prompts"}
_GAIN = 0.5
"""Points that are worth having, where two files are compared and no other is given: that of runs."""
_OTHERS = (
    "{kept:,} answers in {folder} are about other texts, or about the same with OLD and NEW the other way round, and "
    "do not count here: the questions begin anew, and judged.json will be about these files. To keep both, give "
    "another --out; to go on, give the files as they were, in their order."
)
_WIDTH = 48
_MOST_LISTED = 9


@commands.command()
def ask(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|OLD",
            help="The folder of a finished run; or a file of texts (.jsonl or .csv with prompt, text).",
        ),
    ],
    new: Annotated[
        Path | None, typer.Argument(metavar="[NEW]", help="After a file of texts: the same rows by the new system.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Of two files: a folder that keeps the answers.")] = None,
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
    smallest_gain: Annotated[
        float | None,
        typer.Option(help="Of two files: prompts in a hundred by which the new one must be better; 0.5 by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Which of two systems is better, by the fewest answers: a person is asked, blind, where they differ; resumes.

    Of a run, its verdict follows. Of two files of texts, such as summaries by two models, an interval is told.
    """
    if page and answers is not None:
        raise InputError("--page is for a person and --answers for a file: give one of the two.")
    from shoptalk.commands.ask import answer_from_file, result
    from shoptalk.commands.ask_journal import FILE
    from shoptalk.commands.ask_session import open_session
    from shoptalk.commands.ask_texts import open_texts

    who = None if answers is None else f"file {answers.name}"
    by_file = answers is not None
    with Console() as console, contextlib.ExitStack() as stack:
        asked: dict[str, Any] = {"most": most, "who": who, "twice": not by_file}
        if new is None:
            _refuse_of_texts(out, smallest_gain)
            session = stack.enter_context(open_session(target, systems=systems, bank=bank, report=console, **asked))
        else:
            folder = _folder_of_texts(bank, systems, out)
            if answers is None and not page and not (folder / FILE).exists():
                _refuse_no_terminal()  # before the folder is made
            gain = _GAIN if smallest_gain is None else smallest_gain
            session = stack.enter_context(open_texts(target, new, out=folder, smallest_gain=gain, **asked))
            if session.others:
                _say(_OTHERS.format(kept=session.others, folder=folder))
        if answers is not None:
            unknown = answer_from_file(session, answers)
            if unknown:
                typer.echo(
                    f"{answers.name} has no answer to {unknown} of the {_ASKED[session.asks]} asked about", err=True
                )
        elif not session.finished and page:
            from shoptalk.commands.ask_page import ask_on_page

            words = shlex.join([str(target)] if new is None else [str(target), str(new), "--out", str(out)])
            ask_on_page(session, run=str(target) if new is None else f"{target} and {new}", again=words, tell=_say)
        elif not session.finished:
            _converse(session)
        if session.asked >= most and not session.standing.settled:
            _say(f"As many as --most allows ({most:,}) are answered; a larger --most goes on.")
        session.conclude()
        outcome = result(session)
    show(outcome, as_json, lambda: _printed(outcome))


def _refuse_of_texts(out: Path | None, smallest_gain: float | None) -> None:
    if out is not None or smallest_gain is not None:
        raise InputError(
            "--out and --smallest-gain are for two files of texts; a run keeps its answers itself, and has its "
            "smallest gain among its settings. Leave them out, or give two files: shoptalk ask OLD NEW --out DIR."
        )


def _folder_of_texts(bank: Path | None, systems: str | None, out: Path | None) -> Path:
    if bank is not None or systems is not None:
        raise InputError("--bank and --systems are for a run. Leave them out where two files of texts are given.")
    if out is None:
        raise InputError("Give --out DIR, a folder that keeps the answers about these two files.")
    return out


def _printed(outcome: dict[str, Any]) -> str:
    return f"choice: {outcome['choice']}\n{outcome['sentence']}"


def _converse(session: "Session") -> None:
    """Ask until it is settled, or whoever answers stops.

    Raises:
        InputError: nobody is there to answer.
    """
    _refuse_no_terminal()
    wanted = "Which is better?" if session.asks == "texts" else "What is right?"
    _say(f"{wanted} ({_HELPS[session.asks]}) With --page, a browser shows more.")
    while (question := session.question()) is not None:
        if not _asked(session, question):
            return


def _refuse_no_terminal() -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "There is no terminal to ask in. Run this in one, or give --page to be asked in a browser, or --answers "
            "FILE, JSON Lines with a text and a label in each, which answers for a person."
        )


def _asked(session: "Session", question: "BlindQuestion") -> bool:
    """Put one question until something comes of it; whether to go on."""
    options = list(question.options)
    _put(question, options, session.asks)
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
                _say(f"  {label}: {_on_a_line(text)}")
            continue
        elif none := next((none for none in NONES[session.asks] if none.key == typed.casefold()), None):
            session.answer(question.key, None, none.choice)
        elif typed.isdecimal() and 0 < int(typed) <= len(options):
            session.answer(question.key, options[int(typed) - 1])
        elif typed and not typed.isdecimal() and session.labels:
            options = _search(typed, session.labels) or options
            _list(options)
            continue
        else:
            _say(f"Expected {_HELPS[session.asks]}.")
            continue
        _say(drawn(session))
        return True


def _put(question: "BlindQuestion", options: list[str], asks: Asks) -> None:
    _say("")
    for role, text in question.context:
        _say(f"  {_on_a_line(role) or 'turn'}: {_on_a_line(text)}")
    if asks == "labels":
        _say(f"{question.number}. {_on_a_line(question.text)}")
    elif asks == "replies":
        _say(f"{question.number}. Which of these two replies fits?")
    else:
        _say(f"{question.number}. {for_terminal(question.text)}\nWhich of these two texts is better?")
    _list(options)


def _list(options: list[str]) -> None:
    """The options with their numbers; the lines of one stay lines, and stand behind its number."""
    for number, option in enumerate(options, start=1):
        head = f"  {number} "
        lines = for_terminal(option.replace("\r\n", "\n")).strip().split("\n")
        behind = [line and f"{' ' * len(head)}{line}" for line in map(str.rstrip, lines[1:])]
        _say(head + "\n".join([lines[0].rstrip() or "(nothing was written)", *behind]))


def _on_a_line(text: str) -> str:
    return for_terminal(" ".join(text.split()))


def _search(typed: str, labels: tuple[str, ...]) -> list[str]:
    """The labels that hold all words of what was typed, as on the page."""
    hits = [label for _, label in matching(labels, typed)]
    if not hits:
        _say(f"No label has {typed!r} in it.")
    elif len(hits) > _MOST_LISTED:
        _say(f"{len(hits)} labels have it; the first {_MOST_LISTED}:")
    return hits[:_MOST_LISTED]


def drawn(session: "Session") -> str:
    """The interval on a scale that stays the same, and how many answers more would settle it. Of texts, before the
    end, only how many are answered: an end that moves, and a number that falls after one text and rises after the
    other, would tell which system wrote what.
    """
    first, now = session.path[0], session.standing
    if session.asks == "texts" and not session.finished:
        return f"{now.asked} answered"
    more = "settled" if now.settled else "open" if now.more is None else f"about {now.more} more would settle it"
    reach = max(abs(first.low), abs(first.high), 1e-9)

    def place(value: float) -> int:
        return min(_WIDTH - 1, max(0, round((value + reach) / (2 * reach) * (_WIDTH - 1))))

    cells = [" "] * _WIDTH
    cells[place(0.0)] = "0"
    low, high = place(now.low), place(now.high)
    for i in range(low, high + 1):
        cells[i] = "0" if cells[i] == "0" else "-"
    cells[low], cells[high] = "[", "]"
    return f"|{''.join(cells)}| {now.low:+.1f} to {now.high:+.1f} points after {now.asked}; {more}"


def _say(text: str) -> None:
    typer.echo(text, err=True)
