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
from pydantic import model_validator
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from shoptalk.nn.product import Embedder, Kind, Product
from shoptalk.records import Frozen, Reading
from shoptalk.text.corpus import Corpus

Examples = Sequence[int] | Int[np.ndarray, " E"]
Probe = Callable[[Any], Reading]
"""A cheap, frozen measurement of a product, which leaves a training run unchanged."""
Targets = Mapping[str, np.ndarray]  # by name: what `prepare` computed from the whole corpus


@runtime_checkable
class Batch(Protocol):
    """The examples of one step. Budgets are counted in its `tokens`: real tokens of text; for a picture, its width
    times its height / 256.
    """

    @property
    def tokens(self) -> int:
        """Real tokens, without padding."""

    @property
    def cells(self) -> int:
        """All cells that are computed: real tokens and padding."""


P = TypeVar("P", bound=Product)
B = TypeVar("B", bound=Batch)


class Key(NamedTuple):
    """The only source of randomness in a batch: the same key gives the same batch."""

    seed: int
    step: int


@dataclass(frozen=True)
class Material(Generic[P]):
    """All that a batch is made from."""

    corpus: Corpus
    product: P
    inputs: Any
    """What the product made of the corpus's items (token ids, pixels), one per item, in order."""
    targets: Targets | None
    """What `prepare` computed from the whole corpus, or the labels that a caller gave."""
    general: "Material[P] | None" = None
    """General text to replay beside the corpus, against forgetting; None where none was given."""


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, its named parts (for the log), and what `after_step` needs of the forward pass."""

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]
    outputs: Any = field(default=None, repr=False)


class Objective(nn.Module, ABC, Generic[P, B]):
    """The paper's loss as one module."""

    product: P
    """What is trained. Its `network` must be a submodule of the objective: the loop refuses an objective without it."""

    @abstractmethod
    def forward(self, batch: B) -> Loss:
        """The loss of a batch, without side effects."""

    def after_step(self, progress: float, outputs: Any) -> None:
        """Update teachers, queues, centres and temperatures, and nothing else. `progress` runs from 0 to 1."""

    def unseen(self, held_out: Sequence[Any], *, seed: int) -> Probe | None:
        """A probe of the pretext task's own loss on items that training has not seen, where that makes sense."""
        return None


def _filled(value: Any, field: FieldInfo | None) -> Any:
    if field is None or not (isinstance(value, Mapping) and isinstance(field.default, Frozen)):
        return value
    return {**field.default.model_dump(), **value}


class Spec(Frozen, ABC):
    """An objective's hyperparameters (the paper's defaults), and its factory.

    A concrete spec narrows the types: `collate(material: Material[TextEncoder])`, `build(product: TextEncoder)`.
    """

    takes: ClassVar[frozenset[Kind]]
    """The kinds of product that it trains."""
    supervised: ClassVar[bool] = False
    """Whether it learns from labels, which the caller gives as targets; others learn from items alone."""
    head_rate: ClassVar[float | None] = None
    """The learning rate of its heads relative to the product's. None is the loop's factor, for a trained product whose
    new heads must catch up; 1 is for objectives that train both from random weights."""
    lr: float
    batch: int
    passes: float
    """The most passes through the corpus; no gain from more of them has been seen."""
    needs: ClassVar[str] = "at least one text"  # what a corpus without `examples` lacks, in words for messages
    has_ceiling: ClassVar[bool] = False
    """Whether `ceiling` returns an encoder."""

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, given: Any) -> Any:
        """Complete a section that is given in part, such as a chain of augmentations, by this spec's default for it."""
        if not isinstance(given, Mapping):
            return given
        return {name: _filled(value, cls.model_fields.get(name)) for name, value in given.items()}

    def accepts(self, kind: Kind) -> bool:
        """Whether it trains products of this kind."""
        return kind in self.takes

    @abstractmethod
    def examples(self, corpus: Corpus) -> Examples:
        """The positions in the corpus that there is something to learn from; empty where there are none."""

    def most_steps(self, examples: int) -> int:
        """The most steps that are worth taking on so many examples, at least one."""
        return max(1, round(self.passes * examples / min(self.batch, examples)))

    def drawn_from(self, material: Material[Any]) -> Examples:
        """What steps sample from: the `examples`, or what the product's inputs are laid out in, such as rows of tokens,
        by their numbers. `collate` is given these.
        """
        return self.examples(material.corpus)

    @property
    def replays(self) -> bool:
        """Whether its batches need `Material.general`."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether `prepare` computes anything with the product, which may take minutes: it is announced, and gets as
        many texts as the budget pays for. What only looks through the words, as `sft` does, is neither.
        """
        return False

    def prepare(self, corpus: Corpus, product: Any) -> Targets | None:
        """Targets from the whole corpus, computed once per phase and kept as an artifact; None where there are none."""
        return None

    def remark(self, targets: Targets) -> str | None:
        """What people should know of the targets, such as how many examples were left out, and why; None where there is
        nothing to say.
        """
        return None

    def ceiling(self, product: Any, targets: Targets) -> Embedder | None:
        """An encoder whose vectors are the targets of training themselves, for objectives that can compute them for any
        item: the best that training could reach. Unlike a trained encoder it needs the whole corpus to embed an item.
        """
        return None

    @abstractmethod
    def collate(self, material: Material[Any]) -> Callable[[Sequence[int], Key], Any]:
        """The function that makes a `Batch` of positions in the corpus and a key."""

    @abstractmethod
    def build(self, product: Any) -> Objective[Any, Any]:
        """The module to train: it holds `product`, and new heads where it needs them."""
