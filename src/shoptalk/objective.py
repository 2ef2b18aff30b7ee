"""The contract between a paper's loss and everything around it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from shoptalk.nn.encoder import Product
from shoptalk.records import Frozen, Reading
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised

Batch = TypeVar("Batch")
Examples = Sequence[int] | Int[np.ndarray, " E"]
Probe = Callable[[Product], Reading]
"""A cheap, frozen measurement, which leaves a training run unchanged."""
Targets = Mapping[str, np.ndarray]  # by name: what `prepare` found out about the whole corpus


class Key(NamedTuple):
    """The only source of randomness in a batch: the same key, the same batch."""

    seed: int
    step: int


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, its named parts (for the log), and what `after_step` needs of the forward pass."""

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]
    outputs: Any = field(default=None, repr=False)


class Objective(nn.Module, ABC, Generic[Batch]):
    """The paper's loss as one module."""

    product: Product

    @abstractmethod
    def forward(self, batch: Batch) -> Loss:
        """The loss of a batch; pure."""

    def after_step(self, progress: float, outputs: Any) -> None:
        """Teachers, queues, centres, temperatures; nothing else. `progress` runs from 0 to 1."""

    def unseen(self, held_out: Sequence[str], *, seed: int) -> Probe | None:
        """A probe of the pretext task's own loss on texts that training has not seen, where that makes sense."""
        return None


class Spec(Frozen, ABC):
    """An objective's hyperparameters (the paper's defaults), and its factory."""

    supervised: ClassVar[bool] = False
    """Whether it learns from labels, which the caller gives as targets; others learn from text alone."""
    lr: float
    batch: int
    passes: float
    """Most times that training goes through the corpus; past that more steps have not been seen to help."""
    needs: ClassVar[str] = "at least one text"  # what a corpus without `examples` lacks, as people are told

    @abstractmethod
    def examples(self, corpus: Corpus) -> Examples:
        """What one step samples from: positions in `corpus.texts`. Empty where the corpus has nothing to learn from."""

    @property
    def prepares(self) -> bool:
        """Whether `prepare` computes anything: it may take minutes, and people are told what takes them."""
        return False

    def prepare(self, corpus: Corpus, product: Product) -> Targets | None:
        """Corpus-wide knowledge, computed once a phase and kept as an artifact; None where none is needed."""
        return None

    @abstractmethod
    def collate(
        self, corpus: Corpus, tokens: Tokenised, product: Product, targets: Targets | None
    ) -> Callable[[Sequence[int], Key], Any]:
        """Examples and a key to a batch, whose `tokens` and `cells` count real and padded tokens."""

    @abstractmethod
    def build(self, product: Product) -> Objective[Any]:
        """The module to train; it holds `product`, and new heads of its own where it needs them."""
