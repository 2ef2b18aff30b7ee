"""A weighted sum of objectives on one encoder, itself an objective: "0.2*mlm+neighbours".

    L = sum_p w_p L_p

One part's loss can preserve what another's destroys: a little masked language modelling keeps the meanings of words
while a contrastive loss moves the texts' vectors (multi-task learning by a weighted sum: Caruana 1997).

Every part has its own batches. The loop gives the examples of the first part; every other part draws a batch of its own
size, as a function of (seed, step, part), so a resumed run draws the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, SerializeAsAny
from torch import nn

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import TEXT, Kind
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Probe, Spec, Targets
from shoptalk.records import Frozen
from shoptalk.text.corpus import Corpus
from shoptalk.text.order import drawn


@dataclass(frozen=True)
class MixedBatch:
    """One batch per part, in the order of the parts."""

    parts: tuple[Any, ...]

    @property
    def tokens(self) -> int:
        """Real tokens of all parts."""
        return sum(part.tokens for part in self.parts)

    @property
    def cells(self) -> int:
        """Tokens and padding of all parts."""
        return sum(part.cells for part in self.parts)


class Part(Frozen):
    """One objective of a mixture."""

    name: str
    weight: float = Field(gt=0)
    spec: SerializeAsAny[Spec]


class MixtureSpec(Spec):
    """A weighted sum of objectives. `batch` is the first part's; the others keep their own."""

    kind: Literal["mixture"] = "mixture"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "what each of its parts needs"
    lr: float = Field(gt=0)
    batch: int = Field(ge=1)
    passes: float = Field(gt=0)
    parts: tuple[Part, ...] = Field(min_length=1)

    def accepts(self, kind: Kind) -> bool:
        """Whether all of its parts train products of this kind; none of language models, whose objectives draw rows of
        their own making, and not the examples that a sum would hand them.
        """
        return kind != "lm" and all(part.spec.accepts(kind) for part in self.parts)

    @staticmethod
    def defaults(parts: Sequence[Part]) -> dict[str, Any]:
        """A mixture's default settings: rate and batch of its first part, and the fewest passes of any part."""
        first = parts[0].spec
        return {"lr": first.lr, "batch": first.batch, "passes": min(part.spec.passes for part in parts)}

    def examples(self, corpus: Corpus) -> Examples:
        """The examples of the first part; none where a part has none."""
        examples = [part.spec.examples(corpus) for part in self.parts]
        return examples[0] if all(map(len, examples)) else []

    @property
    def prepares(self) -> bool:
        """Whether any part prepares targets."""
        return any(part.spec.prepares for part in self.parts)

    def prepare(self, corpus: Corpus, product: TextEncoder) -> Targets | None:
        """The parts' targets, each under its part's name: `neighbours.targets`."""
        merged: dict[str, np.ndarray] = {}
        for part in self.parts:
            targets = part.spec.prepare(corpus, product) or {}
            merged |= {f"{part.name}.{name}": array for name, array in targets.items()}
        return merged or None

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], MixedBatch]:
        """The first part's batch from the examples, and from every other part its own next batch."""
        makers = [
            part.spec.collate(replace(material, targets=_targets_of(part.name, material.targets)))
            for part in self.parts
        ]
        others = [(part.spec.examples(material.corpus), part.spec.batch) for part in self.parts[1:]]

        def collate(examples: Sequence[int], key: Key) -> MixedBatch:
            batches = [makers[0](examples, key)]
            for number, (make, (data, size)) in enumerate(zip(makers[1:], others, strict=True), start=1):
                part_key = Key(seed=_seed_of(key.seed, number), step=key.step)
                chosen = drawn(len(data), size, seed=part_key.seed, step=part_key.step)
                batches.append(make([int(data[i]) for i in chosen], part_key))
            return MixedBatch(tuple(batches))

        return collate

    def build(self, product: TextEncoder) -> "Mixture":
        """The parts' modules around one encoder, which each part gets as the one before it has left it: a part may give
        it prompts.
        """
        parts: dict[str, Objective[Any, Any]] = {}
        described = product
        for part in self.parts:
            parts[part.name] = part.spec.build(described)
            if parts[part.name].product.network is product.network:
                described = parts[part.name].product
        return Mixture(described, parts=parts, weights=[part.weight for part in self.parts])


def _targets_of(name: str, targets: Targets | None) -> Targets | None:
    prefix = f"{name}."
    unprefixed = {key.removeprefix(prefix): array for key, array in (targets or {}).items() if key.startswith(prefix)}
    return unprefixed or None


def _seed_of(seed: int, number: int) -> int:
    """A seed per part, so that parts neither draw the same texts nor corrupt them in the same way."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


class Mixture(Objective[TextEncoder, MixedBatch]):
    """Several objectives that train one encoder at once."""

    def __init__(
        self, product: TextEncoder, *, parts: dict[str, Objective[Any, Any]], weights: Sequence[float]
    ) -> None:
        super().__init__()
        apart = [name for name, part in parts.items() if part.product.network is not product.network]
        if apart:
            raise ConfigError(
                f"{', '.join(apart)} trains an encoder of its own (a student), which it cannot share with "
                f"{', '.join(name for name in parts if name not in apart) or 'another'}. Train one after the other."
            )
        self.product = product
        self.parts = nn.ModuleDict(parts)
        self.weights = tuple(weights)

    def forward(self, batch: MixedBatch) -> Loss:
        """The weighted sum. The terms are each part's unweighted loss and its own terms, under the part's name."""
        total = torch.zeros((), device=self.product.network.device)
        terms, outputs = {}, []
        for (name, part), weight, part_batch in zip(self.parts.items(), self.weights, batch.parts, strict=True):
            loss = part(part_batch)
            total = total + weight * loss.total
            terms[f"{name}.loss"] = loss.total.detach()
            terms |= {f"{name}.{term}": value for term, value in loss.terms.items()}
            outputs.append(loss.outputs)
        return Loss(total=total, terms=terms, outputs=tuple(outputs))

    def after_step(self, progress: float, outputs: Any) -> None:
        """Call every part's `after_step` with that part's outputs."""
        for part, part_outputs in zip(self.parts.values(), outputs, strict=True):
            assert isinstance(part, Objective)
            part.after_step(progress, part_outputs)

    def unseen(self, held_out: Sequence[str], *, seed: int) -> Probe | None:
        """The probe of the first part that has one."""
        for part in self.parts.values():
            assert isinstance(part, Objective)
            probe = part.unseen(held_out, seed=seed)
            if probe is not None:
                return probe
        return None
