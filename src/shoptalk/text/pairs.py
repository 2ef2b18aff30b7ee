"""Two texts as one sequence, "[CLS] A [SEP] B [SEP]" (Devlin et al. 2019, figure 2), from their own token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from shoptalk.errors import ConfigError

Ids = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class PairForm:
    """What a tokenizer puts before and after a text, and how long two texts may be together."""

    before: Ids
    after: Ids
    max_length: int

    @classmethod
    def of(cls, tokenizer: Any, *, max_length: int) -> "PairForm":
        """The form that this tokenizer's rows have.

        Raises:
            ConfigError: it puts nothing around a text, so nothing would tell where the second begins.
        """
        encoded = tokenizer("a", return_special_tokens_mask=True)
        return cls.around(encoded["input_ids"], encoded["special_tokens_mask"], max_length=max_length)

    @classmethod
    def around(cls, encoded: Sequence[int], special_mask: Sequence[int], *, max_length: int) -> "PairForm":
        """The form of rows of which this is one; 1 in the mask is a special token.

        Raises:
            ConfigError: none of them is.
        """
        ids, special = np.array(encoded, dtype=np.int64), np.array(special_mask)
        text = np.flatnonzero(special == 0)
        before, after = ids[: text[0]], ids[text[-1] + 1 :]
        if not len(before) + len(after):
            raise ConfigError(
                "This base's tokenizer puts no special token before or after a text, so two texts cannot be told apart "
                "in one sequence. Expected one with tokens such as [CLS] and [SEP]: choose another base, or another "
                "objective (`turns` reads the two texts apart)."
            )
        return cls(before, after, max_length)

    def join(self, first: Ids, second: Ids) -> Ids:
        """The token ids of two texts joined into one row of at most `max_length`.

        Between the texts stand the tokens that end a text; where the tokenizer has none, those that begin one.
        """
        between = self.after if len(self.after) else self.before
        first, second = (row[len(self.before) : len(row) - len(self.after)] for row in (first, second))
        room = self.max_length - len(self.before) - len(between) - len(self.after)
        kept, other = longest_first(len(first), len(second), room)
        return np.concatenate([self.before, first[:kept], between, second[:other], self.after])


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text stay when the longer one is cut by one until both fit (BERT's rule)."""
    if first + second <= room:
        return first, second
    kept = min(first, max(room - second, -(-room // 2)))
    return kept, room - kept
