"""The contract between a paper's loss and everything around it (DESIGN, section 4).

An objective is a `Spec`, its hyperparameters and factory, and the module that the spec builds. It states which kinds of
product it takes; its types name the one product and batch that it is written for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from shoptalk.nn.product import Embedder, Kind, Product
from shoptalk.records import Frozen, Reading
from shoptalk.text.corpus import Corpus

Examples = Sequence[int] | Int[np.ndarray, " E"]
Probe = Callable[[Any], Reading]
"""A cheap, frozen measurement of a product, which leaves a training run unchanged."""
Targets = Mapping[str, np.ndarray]  # by name: what `prepare` found out about the whole corpus


@runtime_checkable
class Batch(Protocol):
    """What one step learns from. Budgets are counted in `tokens`: real tokens of text; a picture's are its width times
    its height / 256.
    """

    @property
    def tokens(self) -> int:
        """Of what is there to learn from, without padding."""

    @property
    def cells(self) -> int:
        """With padding: what is computed."""


P = TypeVar("P", bound=Product)
B = TypeVar("B", bound=Batch)


class Key(NamedTuple):
    """The only source of randomness in a batch: the same key, the same batch."""

    seed: int
    step: int


@dataclass(frozen=True)
class Material(Generic[P]):
    """All that a batch is made from."""

    corpus: Corpus
    product: P
    inputs: Any
    """What the product has made of the corpus's items, one for each, in order: token ids, pixels."""
    targets: Targets | None
    """What `prepare` has found out about the whole corpus, or a caller's labels."""


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, its named parts (for the log), and what `after_step` needs of the forward pass."""

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]
    outputs: Any = field(default=None, repr=False)


class Objective(nn.Module, ABC, Generic[P, B]):
    """The paper's loss as one module."""

    product: P
    """Whose `network` is trained, and must be among the module's parts: the loop refuses one that forgot it."""

    @abstractmethod
    def forward(self, batch: B) -> Loss:
        """The loss of a batch; pure."""

    def after_step(self, progress: float, outputs: Any) -> None:
        """Teachers, queues, centres, temperatures; nothing else. `progress` runs from 0 to 1."""

    def unseen(self, held_out: Sequence[Any], *, seed: int) -> Probe | None:
        """A probe of the pretext task's own loss on items that training has not seen, where that makes sense."""
        return None


class Spec(Frozen, ABC):
    """An objective's hyperparameters (the paper's defaults), and its factory.

    A concrete spec narrows the types: `collate(material: Material[TextEncoder])`, `build(product: TextEncoder)`.
    """

    takes: ClassVar[frozenset[Kind]]
    """The kinds of product that it trains."""
    supervised: ClassVar[bool] = False
    """Whether it learns from labels, which the caller gives as targets; others learn from items alone."""
    lr: float
    batch: int
    passes: float
    """Most times that training goes through the corpus; past that more steps have not been seen to help."""
    needs: ClassVar[str] = "at least one text"  # what a corpus without `examples` lacks, as people are told
    has_ceiling: ClassVar[bool] = False
    """Whether `ceiling` gives one."""

    def accepts(self, kind: Kind) -> bool:
        """Whether it trains products of this kind."""
        return kind in self.takes

    @abstractmethod
    def examples(self, corpus: Corpus) -> Examples:
        """What one step samples from: positions in the corpus. Empty where the corpus has nothing to learn from."""

    @property
    def prepares(self) -> bool:
        """Whether `prepare` computes anything: it may take minutes, and people are told what takes them."""
        return False

    def prepare(self, corpus: Corpus, product: Any) -> Targets | None:
        """Corpus-wide knowledge, computed once a phase and kept as an artifact; None where none is needed."""
        return None

    def ceiling(self, product: Any, targets: Targets) -> Embedder | None:
        """The encoder as training would make it if it met its targets, where they say so of any item: what it could
        reach, at the price of having the whole corpus at hand whenever an item is read.
        """
        return None

    @abstractmethod
    def collate(self, material: Material[Any]) -> Callable[[Sequence[int], Key], Any]:
        """Examples and a key to a `Batch`."""

    @abstractmethod
    def build(self, product: Any) -> Objective[Any, Any]:
        """The module to train; it holds `product`, and new heads of its own where it needs them."""
