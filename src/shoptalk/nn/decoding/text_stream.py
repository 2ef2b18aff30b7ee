"""Text out of tokens while they come: in pieces that cut no character, and end before a stop string."""

from collections.abc import Sequence
from typing import Any

_HALF = "\N{REPLACEMENT CHARACTER}"
"""What a decoder shows for bytes that are no whole character, or not yet."""
_READ_AGAIN = 8
"""Tokens that are decoded before those of the text: a character has up to 4."""


class TextStream:
    """The text so far, and how much of it may be shown already."""

    def __init__(self, tokenizer: Any, stop: Sequence[str] = (), *, before: Sequence[int] = ()) -> None:
        """`before` are the tokens that the text goes on from, as far as a space may stand between them and it."""
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._ids = self._whole_end(before)
        # Tokens before `_read` are text already. Those from `_begin` on are decoded with the new ones, since some
        # tokenizers write a space between two tokens that neither has.
        self._begin, self._read = 0, len(self._ids)
        self._shown = 0
        self.text = ""
        self.stopped = False
        """Whether a stop string has come; the text ends before it."""

    def add(self, token: int) -> None:
        """One token more."""
        self._ids.append(token)
        whole, before = self._decoded(self._ids[self._begin :]), self._decoded(self._ids[self._begin : self._read])
        if len(whole) > len(before) and not whole.endswith(_HALF):
            self._begin, self._read = self._read, len(self._ids)
            self._append(whole[len(before) :])

    def ready(self) -> str:
        """What may be shown since the last call: all but what could be the beginning of a stop string."""
        return self._until(len(self.text) if self.stopped else len(self.text) - self._held())

    def end(self, *, cut: bool = False) -> str:
        """The rest, when no more tokens come. Where the text was `cut`, a character whose last tokens are missing is
        left out; where the model itself ended within one, it is shown as such.
        """
        if not self.stopped and self._read < len(self._ids):
            before = self._decoded(self._ids[self._begin : self._read])
            rest = self._decoded(self._ids[self._begin :])[len(before) :]
            self._append(rest.rstrip(_HALF) if cut else rest)
        return self._until(len(self.text))

    def _whole_end(self, ids: Sequence[int]) -> list[int]:
        """The last tokens, from one on that begins a character."""
        ends = (list(ids[begin:]) for begin in range(max(0, len(ids) - _READ_AGAIN), len(ids)))
        return next((end for end in ends if _HALF not in self._decoded(end)), [])

    def _append(self, piece: str) -> None:
        if self.stopped:
            return
        longest = max(map(len, self._stop), default=0)
        begin = max(0, len(self.text) - longest + 1)
        self.text += piece
        places = [place for stop in self._stop if (place := self.text.find(stop, begin)) >= 0]
        if places:
            self.text, self.stopped = self.text[: min(places)], True

    def _held(self) -> int:
        """Characters at the end with which a stop string may begin."""
        return max(
            (size for stop in self._stop for size in range(1, len(stop)) if self.text.endswith(stop[:size])), default=0
        )

    def _until(self, end: int) -> str:
        piece = self.text[self._shown : end]
        self._shown = max(self._shown, end)
        return piece

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
