"""What outlives training: the kinds of product, by what all of them can do (DESIGN, section 4).

A stage knows a product only by this contract: it makes its inputs from a corpus, trains, is measured, copied and saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from torch import nn

from shoptalk.nn.precision import Precision
from shoptalk.text.corpus import Corpus

Kind = Literal["text", "image", "pair", "lm", "seq2seq"]
CALLED: dict[Kind, str] = {
    "text": "text encoders",
    "image": "image encoders",
    "pair": "encoders of pictures and texts",
    "lm": "language models",
    "seq2seq": "encoder–decoder language models",
}
"""What people are told of each kind, in the plural."""
TEXT: frozenset[Kind] = frozenset({"text"})
WRITERS: frozenset[Kind] = frozenset({"lm", "seq2seq"})
"""The kinds that write text, and give no vectors."""


def folder_of(kind: Kind) -> str:
    """The folder of a run that a product of this kind is handed out in."""
    return "model" if kind in WRITERS else "encoder"


class Product(ABC):
    """A model as it is trained, measured and shipped."""

    kind: ClassVar[Kind]
    name: str
    network: nn.Module
    """All that trains and ships."""
    precision: Precision
    """Of its layers when it is measured."""

    @abstractmethod
    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Any:
        """What batches of the corpus's items are made from: token ids, pixels. One for each item, in order.

        In a `folder` they are kept as an artifact, mapped into memory and made once; without one they are in memory.
        """

    @abstractmethod
    def units(self, items: Sequence[Any]) -> int:
        """How much of a budget the items are, in the unit that batches count: real tokens."""

    @abstractmethod
    def save(self, folder: Path, *, card: str) -> None:
        """Write it as a folder that opens where Shoptalk is not installed; `card` becomes its model card."""

    @abstractmethod
    def copy(self) -> "Product":
        """The same with weights of its own."""

    def merged(self) -> "Product":
        """What looks read and what is saved: itself; or where a training adds something to weights that stay as they
        are, the same with the sums. It may share weights, and is for reading.
        """
        return self

    @abstractmethod
    def in_precision(self, precision: Precision) -> "Product":
        """The same network, measured in another precision."""

    @abstractmethod
    def ready_to_train(self) -> None:
        """Called before an objective is built on it; an objective that needs something else then says so."""


class Embedder(Product):
    """An encoder: items to unit vectors."""

    prompts: Mapping[str, str] = MappingProxyType({})
    """What is put before a text, by the name of what the text is: "query" of a context, "reply" of an answer to it."""
    context_turns: int | None = None
    """How many turns of a conversation it was trained to read as one context; None where that is not known."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """The width of its vectors."""

    @abstractmethod
    def embed(
        self, items: Sequence[Any], *, precision: Precision | None = None, prompt: str | None = None
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the items in their order, float32; nothing is learned. Layers run in `precision`, else in the
        product's own. With `prompt`, the text of that name in `prompts` is put before each item.
        """

    @abstractmethod
    def copy(self) -> "Embedder":
        """The same with weights of its own."""

    @abstractmethod
    def in_precision(self, precision: Precision) -> "Embedder":
        """The same network, measured in another precision."""


class Scorer(Product):
    """A language model: items to how probable they are."""

    @abstractmethod
    def score(self, items: Sequence[Any]) -> Float[np.ndarray, " N"]:
        """Bits of each item given how it begins: minus the logarithm to base 2 of the probability of the rest. Nothing
        is learned.
        """


class Wrapped(Embedder):
    """An encoder that is read in a way of its own while it is measured; all else is the one inside."""

    def __init__(self, inside: Embedder) -> None:
        self.inside = inside
        self.kind = inside.kind  # type: ignore[misc]
        self.name, self.network, self.precision = inside.name, inside.network, inside.precision
        self.prompts, self.context_turns = inside.prompts, inside.context_turns

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self.inside.dim

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Any:
        """As the one inside makes them."""
        return self.inside.inputs(corpus, folder)

    def units(self, items: Sequence[Any]) -> int:
        """As the one inside counts them."""
        return self.inside.units(items)

    def save(self, folder: Path, *, card: str) -> None:
        """Write the one inside."""
        self.inside.save(folder, card=card)

    def copy(self) -> Embedder:
        """A copy of the one inside."""
        return self.inside.copy()

    def in_precision(self, precision: Precision) -> Embedder:
        """The one inside in another precision."""
        return self.inside.in_precision(precision)

    def ready_to_train(self) -> None:
        """What is read in a way of its own is measured, not trained."""
        raise TypeError(f"{type(self).__name__} of {self.name!r} is there to be measured; train the one inside.")
