"""A language model that writes: one prompt or many at a time, on the CPU.

    writer = open_writer("smollm2")
    writing = writer.begin(GenerationRequest(writer.prompt("Once upon a time")))
    for piece in writing:                        # text as it comes
        print(piece, end="")
    writing.result()                             # all of it, and why it ended

    writer.write([request, request, ...])       # several at a time, each weight read once for all of them

Texts join and leave as they come and end: whoever waits for one moves all of them on, so many threads may ask at once.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shoptalk.errors import BaseModelError, InputError
from shoptalk.nn.bases import hush, kind_of, resolve
from shoptalk.nn.decoding.agreeing import checked_forwards
from shoptalk.nn.decoding.arithmetic import faster_weights, store_weights
from shoptalk.nn.decoding.compiled_forward import MOST
from shoptalk.nn.decoding.forward import SLACK, Feed
from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.decoding.kv_cache import KeyValueCache
from shoptalk.nn.decoding.slots import SlotTable
from shoptalk.nn.decoding.writing_row import WritingRow
from shoptalk.nn.language_model import LONGEST_ITEM, LanguageModel
from shoptalk.nn.machine import prepare
from shoptalk.nn.open_lm import open_decoder
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import CALLED
from shoptalk.text.chat import Message, end_of_turn, prompt_ids
from shoptalk.text.tokens import tokenise

CONTEXT = 2_048
"""Tokens of prompt and text together, where the model takes as many."""
SLOTS = 8
"""Texts at a time."""
DRAFTS = 10
"""Most tokens that are guessed at once."""
_CELLS = 32
"""Most tokens of all texts together in one pass, unless there are more texts."""
_PATIENCE = 0.02
"""Seconds after which a thread that waits for its turn looks whether another has done its work."""


class Writer:
    """Writes on from prompts; many threads may ask."""

    def __init__(
        self, product: LanguageModel, *, slots: int = SLOTS, drafts: int = DRAFTS, reuse: bool = True,
        compiled: bool = True,
    ) -> None:  # fmt: skip
        """The model's weights are used as they are, in their own type.

        Args:
            product: on the CPU; its `max_length` is the context.
            slots: texts at a time; further ones wait.
            drafts: most tokens that are guessed from the text so far and read at once; 0 guesses none.
            reuse: whether a prompt begins with the states of one before that began alike.
            compiled: whether the compiled pass may be used, where there is one.

        Raises:
            BaseModelError: it cannot be read token by token, or its settings name an end token that is no number.
        """
        self.product = product
        self.context = _context_of(product)
        self._cache = KeyValueCache(slots=slots, capacity=self.context + SLACK)
        self._stock, self._compiled = checked_forwards(product, self._cache, self.context)
        if not compiled:
            self._compiled = None
        self._drafts, self._reuse = drafts, reuse
        self._slots = SlotTable(slots)
        self.ends = _ends_of(product)
        self._waiting: deque[WritingRow] = deque()
        self._rows: list[WritingRow] = []
        self._turn = Lock()

    @property
    def precision(self) -> str:
        """The type of the weights."""
        return str(next(self.product.network.parameters()).dtype).removeprefix("torch.")

    # --- prompts ------------------------------------------------------------------------------------------------------

    def prompt(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that begins a document."""
        ids = tokenise(self.product.tokenizer, [text], max_length=LONGEST_ITEM, special=False)[0]
        return self.product.begin, *map(int, ids)

    @property
    def converses(self) -> bool:
        """Whether the model has a chat template."""
        return bool(getattr(self.product.tokenizer, "chat_template", None))

    def chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The tokens of a conversation, up to where the assistant is to speak.

        Raises:
            ConfigError: the model has no chat template, it cannot write this conversation, or it writes tokens that the
                model has no weights for.
        """
        return prompt_ids(self.product.tokenizer, messages, weights=len(self.product.network.table))

    # --- writing ------------------------------------------------------------------------------------------------------

    def begin(self, request: GenerationRequest) -> "Writing":
        """A text, which is asked for when somebody first iterates over it. From then on it is written while somebody
        iterates over it, or over another of this writer's.

        Raises:
            InputError: the prompt is empty, or as long as the context.
        """
        if not request.ids:
            raise InputError("The prompt is empty. Give some text to go on from.")
        if len(request.ids) >= self.context:
            raise InputError(
                f"The prompt has {len(request.ids):,} tokens, and prompt and text together may have {self.context:,} "
                f"with {self.product.name}. Give a shorter prompt, or fewer passages."
            )
        row = WritingRow(request, self.product.tokenizer, ends=self.ends, context=self.context, drafts=self._drafts)
        return Writing(self, row)

    def write(self, requests: Sequence[GenerationRequest]) -> list[Generated]:
        """Several texts at a time, in the order of the requests. Where one fails, none of the others is written on.

        Raises:
            InputError: a prompt is empty, or as long as the context; none is written then.
        """
        writings = [self.begin(request) for request in requests]
        try:
            for writing in writings:
                writing.ask()
            return [writing.result() for writing in writings]
        finally:
            for writing in writings:
                writing.leave()

    def queue(self, row: WritingRow) -> None:
        """Somebody waits for this text from now on."""
        if not row.asked:
            row.asked = True
            self._waiting.append(row)

    def advance(self, row: WritingRow) -> None:
        """Return when this text has something new: after a pass by this thread, which moves all texts on, or by another
        one, which need not let this one have its turn.
        """
        while not row.over and not row.pieces:
            if self._turn.acquire(timeout=_PATIENCE):
                try:
                    if not row.over and not row.pieces:
                        self._step()
                finally:
                    self._turn.release()

    def leave(self, row: WritingRow) -> None:
        """Nobody waits for this text any more. One that is over has been seen to by the pass that ended it."""
        if row.over:
            return
        with self._turn:
            if row in self._waiting:
                self._waiting.remove(row)
            self._release(row)
            if not row.over:
                row.error = RuntimeError("nobody waited for this text until it ended")

    def _step(self) -> None:
        try:
            self._admit_waiting()
            self._read_on()
        except BaseException as error:  # a thread that is interrupted
            self._fail(self._rows, error)
            raise
        for row in [row for row in self._rows if row.over]:
            self._release(row)

    def _admit_waiting(self) -> None:
        """Give slots to those that came first, as far as there are some, and end those whose time has passed."""
        for row in list(self._waiting):
            if row.late:
                self._waiting.remove(row)
                row.give_up()
            elif self._slots.free:
                self._waiting.remove(row)
                self._admit(row)

    def _admit(self, row: WritingRow) -> None:
        """Give a text a slot, and read its prompt, or what is new of it."""
        place = self._slots.take(row.ids if self._reuse else ())
        self._rows.append(row)
        row.admit(place.slot, max(0, place.reused))
        try:
            if place.source != place.slot and row.reused:
                self._cache.copy(place.source, place.slot, row.reused)
            self._slots.note(row.slot, row.ids, row.reused)
            (logits,) = self._forward([Feed(row.slot, row.reused, row.ids[row.reused :], every=False)])
        except Exception as error:  # models raise anything
            self._fail([row], error)
        else:
            self._take(row, (), logits)

    def _read_on(self) -> None:
        """A pass over the last token of each text and what is guessed to follow it."""
        rows = [row for row in self._rows if not row.over]
        if not rows:
            return
        each = max(1, _CELLS // len(rows))
        feeds = [Feed(row.slot, row.known, [row.ids[-1], *row.draft(each - 1)]) for row in rows]
        try:
            passed = self._forward(feeds)
        except Exception as error:  # models raise anything
            self._fail(rows, error)
            return
        for row, feed, logits in zip(rows, feeds, passed, strict=True):
            self._take(row, feed.ids[1:], logits)

    def _take(self, row: WritingRow, draft: Sequence[int], logits: Float[np.ndarray, "w V"]) -> None:
        """Write a text on. What its own tokens or numbers raise ends it and no other."""
        try:
            row.take(draft, logits)
        except Exception as error:  # tokenizers raise anything
            self._fail([row], error)
        else:
            self._slots.note(row.slot, row.ids, row.known)

    def _fail(self, rows: Sequence[WritingRow], error: BaseException) -> None:
        """These texts end, and nobody goes on from their states, which may be half written."""
        for row in list(rows):
            row.error, row.known = error, 0
            self._release(row)

    def _forward(self, feeds: Sequence[Feed]) -> list[Float[np.ndarray, "w V"]]:
        few = sum(len(feed.ids) for feed in feeds) <= MOST
        return self._compiled(feeds) if self._compiled is not None and few else self._stock(feeds)

    def _release(self, row: WritingRow) -> None:
        if row in self._rows:
            self._rows.remove(row)
            self._slots.note(row.slot, row.ids, row.known)
            self._slots.leave(row.slot)


class Writing:
    """A text that is being written. Iterating gives its pieces, which together are its text."""

    def __init__(self, writer: Writer, row: WritingRow) -> None:
        self._writer, self._row = writer, row

    def __iter__(self) -> Iterator[str]:
        row = self._row
        self.ask()
        try:
            while True:
                while row.pieces:
                    yield row.pieces.popleft()
                if row.error is not None:
                    raise row.error
                if row.reason is not None and not row.pieces:
                    return
                self._writer.advance(row)
        finally:
            self.leave()

    def ask(self) -> None:
        """Have it written from now on."""
        self._writer.queue(self._row)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self._writer.leave(self._row)

    def result(self) -> Generated:
        """All of it, when it has ended."""
        for _ in self:
            pass
        return self._row.generated()


def open_writer(ref: str, *, context: int = CONTEXT, precision: Precision | None = None, slots: int = SLOTS) -> Writer:
    """The language model that `ref` names, ready to write, with weights in this machine's faster type.

    Raises:
        BaseModelError: it cannot be opened, or is no language model.
        InputError: it is a model of another kind.
    """
    prepare(torch.device("cpu"))
    hush()
    kind = kind_of(ref)
    if kind == "seq2seq":
        raise InputError(
            f"{ref!r} is one of the {CALLED[kind]}, which write a text for a text and continue none. Give the text to "
            "`shoptalk translate` instead."
        )
    if kind != "lm":
        raise InputError(
            f"{ref!r} is one of the {CALLED[kind]}, which write nothing. Give a language model: smollm2, or the folder "
            "of a run with --task language_model or chat."
        )
    product = open_decoder(resolve(ref), ref, max_length=context)
    store_weights(product, precision or faster_weights())
    return Writer(product, slots=slots)


def _context_of(product: LanguageModel) -> int:
    """Tokens that the model reads at once: no more than its window, where it looks back through one."""
    window = getattr(product.network.backbone.config, "sliding_window", None)
    return min(product.max_length, window) if isinstance(window, int) and window > 0 else product.max_length


def _ends_of(product: LanguageModel) -> frozenset[int]:
    """Tokens that end a text: those that the model names, the tokenizer's, what parts documents, and what ends the
    assistant's turn by the chat template.
    """
    backbone: Any = product.network.backbone
    named = backbone.generation_config.eos_token_id if backbone.generation_config is not None else None
    ends = [end for end in (named if isinstance(named, list) else [named]) if end is not None]
    if strange := [end for end in ends if not isinstance(end, int)]:
        raise BaseModelError(
            f"generation_config.json or config.json of {product.name!r} names {strange[0]!r} as an end token "
            "(eos_token_id). Expected a token's number, or a list of numbers; correct it, or fetch the model again."
        )
    tokenizer = product.tokenizer
    ends += [tokenizer.eos_token_id, product.part, end_of_turn(tokenizer)]
    return frozenset(end for end in ends if end is not None)
