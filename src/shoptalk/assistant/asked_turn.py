"""What a visitor asks, read from a conversation's turns."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from shoptalk.records import Turn

OURS = ("assistant", "agent", "bot", "system", "action", "tool")
"""Roles of turns that are not the visitor's."""
_CONTEXT_CHARACTERS = 400
_JOINERS = "\u200c\u200d"
"""Signs without a width that words of Persian, or of Indian scripts, and emoji are spelt with."""


@dataclass(frozen=True)
class AskedTurn:
    """The visitor's message, and what the visitor said before."""

    message: str
    before: tuple[str, ...]
    last: str = ""
    """The turn right before the message, whoever's it is; of a long one the end."""

    @property
    def readable(self) -> bool:
        """Whether there is anything to read in it."""
        return any(character.isalnum() for character in self.message)

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> "AskedTurn":
        """Of the last turns that are the visitor's."""
        last: list[str] = []
        rest = [Turn(role=turn.role, text=_legible(turn)) for turn in turns]
        while rest and rest[-1].role not in OURS:
            last.insert(0, rest.pop().text.strip())
        before = tuple(turn.text.strip() for turn in rest if turn.role not in OURS and turn.text.strip())
        before_it = rest[-1].text.strip()[-_CONTEXT_CHARACTERS:] if rest else ""
        return cls("\n".join(text for text in last if text), before, before_it)


def _legible(turn: Turn) -> str:
    """A turn as a tokenizer and the rules read it: half a character, which a message from bytes that are no UTF-8 may
    hold, becomes a question mark. Of what the visitor wrote, signs without a width are left out and letters of another
    width are as usual: people paste both without seeing it.
    """
    text = turn.text.encode("utf-8", "replace").decode()
    if turn.role in OURS or text.isascii():
        return text
    seen = (sign for sign in text if sign in _JOINERS or unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFC", "".join(map(_of_usual_width, seen)))


def _of_usual_width(sign: str) -> str:
    """A letter of Asian width as the usual one; "½" and "²" stay, which are other numbers when they are taken apart."""
    form, _, usual = unicodedata.decomposition(sign).partition(" ")
    return chr(int(usual, 16)) if form in ("<wide>", "<narrow>") else sign
