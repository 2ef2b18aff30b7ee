"""One text while it is written: its tokens, what may come next, and when it ends. It knows no model."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from shoptalk.nn.decoding.generation import Generated, GenerationRequest, Reason
from shoptalk.nn.decoding.prompt_lookup import PromptLookup
from shoptalk.nn.decoding.text_stream import TextStream
from shoptalk.nn.decoding.token_choice import TokenChoice


class WritingRow:
    """A prompt and what has been written after it."""

    def __init__(
        self, request: GenerationRequest, tokenizer: Any, *, ends: frozenset[int], context: int, drafts: int
    ) -> None:
        """`ends` are tokens that end a text, `context` the most tokens of prompt and text, `drafts` the most tokens
        that are guessed at once.
        """
        self.request = request
        self.ids = list(request.ids)
        self.slot = -1
        self.known = 0
        """Of `ids`, how many the model has read."""
        self.reused = self.steps = self.drafted = self.accepted = 0
        self.pieces: deque[str] = deque()
        """Text that nobody has taken yet."""
        self.reason: Reason | None = None
        self.error: BaseException | None = None
        self.asked = False
        """Whether somebody has asked for its text."""
        self._ends, self._context, self._longest = ends, context, drafts
        self._draft = max(1, drafts // 2)
        self._lookup = PromptLookup(request.ids) if drafts else None
        self._text = TextStream(tokenizer, request.stop, before=request.ids if request.continues else ())
        self._stops = _special(tokenizer, request.stop)
        self._choice = TokenChoice(temperature=request.temperature, top_p=request.top_p, seed=request.seed)
        self._made = self._admitted = time.monotonic()

    @property
    def written(self) -> int:
        """Tokens after the prompt."""
        return len(self.ids) - len(self.request.ids)

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.reason is not None or self.error is not None

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return self.request.seconds is not None and time.monotonic() > self._made + self.request.seconds

    def admit(self, slot: int, reused: int) -> None:
        """It has a slot, in which the states of its first `reused` tokens are already."""
        self.slot, self.reused, self._admitted = slot, reused, time.monotonic()

    def give_up(self) -> None:
        """Its time is over before it has had a slot."""
        self._admitted = time.monotonic()
        self._end("time")

    def draft(self, most: int) -> list[int]:
        """Tokens that may come next, to be read together with the last one."""
        if self._lookup is None:
            return []
        room = min(self._context - len(self.ids), self.request.max_tokens - self.written - 1)
        return self._lookup.draft(min(most, self._draft, room))

    def take(self, draft: Sequence[int], logits: Float[np.ndarray, "w V"]) -> None:
        """Write on by the logits after the last token and after each drafted one, as far as the draft was right."""
        accepted = 0
        for place, scores in enumerate(logits):
            token = self._choice(scores)
            right = place < len(draft) and token == draft[place]
            accepted += right
            self._write(token)
            if self.reason is not None or not right:
                break
        self.known = len(self.ids) - (self.reason != "end")  # the last token has not been read yet
        self.steps += 1
        if draft:
            self.drafted, self.accepted = self.drafted + len(draft), self.accepted + accepted
            # As long as guesses have been right of late.
            self._draft = min(self._longest, 2 * self._draft) if accepted == len(draft) else max(1, accepted)

    def generated(self) -> Generated:
        """What has been written, once it is over."""
        assert self.reason is not None
        return Generated(
            text=self._text.text,
            ids=tuple(self.ids[len(self.request.ids) :]),
            reason=self.reason,
            prompt_tokens=len(self.request.ids),
            reused=self.reused,
            steps=self.steps,
            drafted=self.drafted,
            accepted=self.accepted,
            waited=self._admitted - self._made,
        )

    def _write(self, token: int) -> None:
        if token in self._stops:
            self._end("stop")
            return
        if token in self._ends:
            self._end("end")
            return
        self.ids.append(token)
        self._text.add(token)
        if self._lookup is not None:
            self._lookup.append(token)
        if self._text.stopped:
            self._end("stop")
        elif self.written >= self.request.max_tokens:
            self._end("length")
        elif len(self.ids) >= self._context:
            self._end("context")
        elif self.late:
            self._end("time")
        else:
            self._show(self._text.ready())

    def _end(self, reason: Reason) -> None:
        self._show(self._text.end(cut=reason not in ("end", "stop")))
        self.reason = "stop" if self._text.stopped else reason

    def _show(self, piece: str) -> None:
        if piece:
            self.pieces.append(piece)


def _special(tokenizer: Any, stop: Sequence[str]) -> frozenset[int]:
    """The special tokens that are stop strings: they are no text, in which those are looked for."""
    if not stop:
        return frozenset()
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(number for number, token in added if token.special and str(token) in stop)
