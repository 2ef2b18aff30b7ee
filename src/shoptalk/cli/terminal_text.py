"""Text that somebody else or a model has written, as a terminal may show it.

    for_terminal("\x1b]0;title\x07")     # "\\x1b]0;title\\x07"

A terminal takes control characters for commands: to move over what stands there, to name its window, to fill the
clipboard. They are shown as Python writes them, and do nothing. Line feeds and tabs stay.
"""

import re
import sys

import typer

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but line feed and tab; those that turn the order of writing or part lines; halves of one."""


def for_terminal(text: str) -> str:
    """The text with each character that a terminal would obey as its escape. Any piece of a text may be given."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def print_text(text: str, *, end: str = "\n") -> None:
    """Print a text on standard output: as it is into files and pipes, and as `for_terminal` gives it on a terminal."""
    typer.echo((for_terminal(text) if sys.stdout.isatty() else text) + end, nl=False)
