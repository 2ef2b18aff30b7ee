"""The tokens of what a chat template has written, parted where a reply begins.

    left = stretch_of(tokenizer, whole)
    left, reply = parted(tokenizer, whole, left, begin)      # the tokens before the character `begin`, and from it on

A model that is to reply is given the tokens of what is before the reply, and writes on from those. Where the words that
ask for a reply end in a space, most tokenizers make one token of that space and the reply's first word when they are
given both: a token that the model is never asked for. What it writes then is the word without the space. So the tokens
before a reply are those of what is before it, whatever follows.

Only what stands between two special tokens is read again for that: tokenizers part texts at those first.
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Int

_LEADS = ("\n", ".", "a")
"""What a text is read after, for its tokens in the middle of another: some tokenizers begin every text by a space."""
_SPECIAL: WeakKeyDictionary[Any, tuple[int, frozenset[int]]] = WeakKeyDictionary()
"""Each tokenizer's size, and the numbers of its special tokens."""


@dataclass(frozen=True)
class TokenStretch:
    """Tokens that stand next to each other, and the characters at which they begin."""

    ids: Int[np.ndarray, " n"]
    begins: Int[np.ndarray, " n"]
    """In the whole text. Tokenizers may count a token's white space to none, so that it begins behind it."""

    def __getitem__(self, places: slice) -> "TokenStretch":
        return TokenStretch(self.ids[places], self.begins[places])

    def then(self, other: "TokenStretch") -> "TokenStretch":
        """Both, one after the other."""
        return TokenStretch(np.concatenate([self.ids, other.ids]), np.concatenate([self.begins, other.begins]))


def stretch_of(tokenizer: Any, text: str, *, at: int = 0) -> TokenStretch:
    """The tokens of a text, which begins at a character of another."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    begins = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)[:, 0]
    return TokenStretch(np.asarray(encoded["input_ids"], dtype=np.int64), begins + at)


def special_numbers(tokenizer: Any) -> frozenset[int]:
    """The numbers of the tokenizer's special tokens."""
    size, numbers = _SPECIAL.get(tokenizer, (-1, frozenset()))
    if size != len(tokenizer):
        numbers = frozenset(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
        _SPECIAL[tokenizer] = len(tokenizer), numbers
    return numbers


def parted(tokenizer: Any, text: str, tokens: TokenStretch, at: int) -> tuple[TokenStretch, TokenStretch]:
    """The tokens of a text's beginning, parted at a character: those of what is before it, as they are where nothing
    follows, and the others.

    Args:
        tokenizer: of transformers.
        text: all of it.
        tokens: of its beginning, at least up to that character.
        at: the character.
    """
    marks = np.flatnonzero(np.isin(tokens.ids, list(special_numbers(tokenizer))))
    earlier, later = marks[tokens.begins[marks] < at], marks[tokens.begins[marks] >= at]
    first = int(earlier[-1]) if len(earlier) else 0
    begin = int(tokens.begins[first]) if len(earlier) else 0
    before = stretch_of(tokenizer, text[begin:at], at=begin)
    place = first + len(before.ids)
    if np.array_equal(tokens.ids[first:place], before.ids):
        return tokens[:place], tokens[place:]
    rest = tokens[int(later[0]) :] if len(later) else tokens[len(tokens.ids) :]
    end = int(rest.begins[0]) if len(later) else None
    return tokens[:first].then(before), _continued(tokenizer, text[at:end], at=at).then(rest)


def _continued(tokenizer: Any, text: str, *, at: int) -> TokenStretch:
    """The tokens of a text in the middle of another."""
    for lead in _LEADS:
        head, both = stretch_of(tokenizer, lead), stretch_of(tokenizer, lead + text, at=at - len(lead))
        size = len(head.ids)
        if np.array_equal(both.ids[:size], head.ids):
            return both[size:]
    return stretch_of(tokenizer, text, at=at)
