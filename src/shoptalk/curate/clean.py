"""Repairing one text: mojibake, control characters, lone surrogates, stray whitespace."""

import re
import unicodedata

import ftfy

SAMPLE_CHARACTERS = 80

# Everything of category Cc but tab and newline, and what is left of broken surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Printable ASCII without the ampersand that begins a character reference: there is nothing in it to repair. Passing it
# by made curating English chats four times as fast.
_SOUND = re.compile(r"[\t\n -%'-~]*")


def repair(text: str) -> str:
    """The text as its author meant it: mojibake undone, NFC, no control characters, no whitespace around it.

    A lone surrogate becomes U+FFFD, so that the result can always be encoded as UTF-8.
    """
    if _SOUND.fullmatch(text):
        return text.strip()
    # ftfy turns character references such as &#7; into characters, so controls are removed after it; what stood on
    # either side of one may then compose, so NFC comes last.
    return unicodedata.normalize("NFC", _CONTROL.sub("", ftfy.fix_text(text))).strip()


def printable(text: str) -> str:
    """Any string, such as a file name that is not UTF-8, in a form that can be printed and written to JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def sample(text: str) -> str:
    """The beginning of a text on one line, for a drop's report."""
    return printable(" ".join(text[:SAMPLE_CHARACTERS].split()))
