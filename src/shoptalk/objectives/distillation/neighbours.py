"""Neighbourhood self-distillation: each text's target is its base vector, smoothed over its nearest neighbours.

All texts are embedded once with the unadapted encoder. The target of text i is its embedding e_i moved towards the
mean of its k nearest neighbours N(i), on the unit sphere:

    t_i = normalise( e_i + (1 / k) sum_{j in N(i)} e_j )

The student's vectors s must match the targets' similarity distribution within the batch, and the targets themselves:

    L = (1 / n) sum_i KL( p_i^t || p_i^s ) + w (1 / n) sum_i (1 - cos(s_i, t_i)),
    p_ij proportional to exp( <v_i, v_j> / tau ),  j != i

A batch holds texts together with one random neighbour of each, so that it contains close pairs.

Sources: distilling similarity distributions is SEED (Fang et al. 2021, equation 3); neighbours as positives are NNCLR
(Dwibedi et al. 2021); smoothing embeddings over a neighbour graph is label spreading's operator (Zhou et al. 2004).
What differs: the teacher is the encoder before training, fixed, and the neighbours come from the whole corpus.

Run alone on a toy: python -m shoptalk.objectives.distillation.neighbours
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from shoptalk.index import build, search
from shoptalk.index import neighbours as nearest
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.nn.heads.pool import smooth
from shoptalk.nn.losses import similarity_divergence
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import TEXT, Embedder, Kind, Wrapped
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec, Targets
from shoptalk.text.batching import TextBatch
from shoptalk.text.corpus import Corpus


@dataclass(frozen=True)
class TargetBatch(TextBatch):
    """n texts and their target unit vectors."""

    targets: Float[Tensor, "n D"]


class NeighboursSpec(Spec):
    """Neighbourhood self-distillation. A step reads 2 `batch` texts, half of them neighbours of the others."""

    kind: Literal["neighbours"] = "neighbours"
    takes: ClassVar[frozenset[Kind]] = TEXT
    needs: ClassVar[str] = "more texts than k, its number of neighbours"
    has_ceiling: ClassVar[bool] = True
    lr: float = Field(default=6e-5, gt=0)
    batch: int = Field(default=128, ge=2)
    passes: float = Field(default=3.0, gt=0)
    k: int = Field(default=10, ge=1, description="neighbours that make a target")
    temperature: float = Field(default=0.05, gt=0)
    cosine_weight: float = Field(default=5.0, ge=0)

    def examples(self, corpus: Corpus) -> Examples:
        """Every text, where there are more than k."""
        return range(len(corpus)) if len(corpus) > self.k else []

    @property
    def prepares(self) -> bool:
        """True: vectors, neighbours and targets."""
        return True

    def prepare(self, corpus: Corpus, product: TextEncoder) -> Targets:
        """Every text's embedding by the base `vectors` [N, D], its `neighbours` [N, k] and its `targets` [N, D]."""
        vectors = embed(product, corpus.texts)
        _, positions = nearest(vectors, self.k)
        return {
            "vectors": vectors,
            "neighbours": positions.astype(np.int32),
            "targets": smooth(vectors, vectors, positions),
        }

    def ceiling(self, product: Embedder, targets: Targets) -> "SeenByNeighbours":
        """The base, with each text's vector smoothed over the corpus as the targets are."""
        return SeenByNeighbours(product, np.asarray(targets["vectors"]), k=targets["neighbours"].shape[1])

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], TargetBatch]:
        """The examples, one random neighbour of each, and random texts in place of those that would be in it twice."""
        assert material.targets is not None  # `prepare` always returns them
        targets, neighbours = material.targets["targets"], material.targets["neighbours"]

        def collate(examples: Sequence[int], key: Key) -> TargetBatch:
            companions = []
            for example in examples:
                rng = np.random.default_rng([key.seed, key.step, example])
                companions.append(int(rng.choice(neighbours[example])))
            # A full batch keeps the tensors' shapes in their small set.
            rng = np.random.default_rng([key.seed, key.step])
            fill = rng.permutation(len(material.corpus))[: 4 * len(examples)].tolist()
            chosen = list(dict.fromkeys([*examples, *companions, *fill]))[: 2 * len(examples)]
            return TargetBatch(
                texts=material.product.batch([material.inputs[i] for i in chosen]),
                targets=torch.from_numpy(np.asarray(targets[chosen], dtype=np.float32)),
            )

        return collate

    def build(self, product: TextEncoder) -> "Neighbours":
        """The encoder, without a head."""
        return Neighbours(product, temperature=self.temperature, cosine_weight=self.cosine_weight)


class SeenByNeighbours(Wrapped):
    """An encoder whose vectors are moved towards their nearest neighbours in a corpus, as the targets are."""

    def __init__(self, inside: Embedder, corpus: Float[np.ndarray, "M D"], *, k: int) -> None:
        super().__init__(inside)
        self.corpus, self.index, self.k = corpus, build(corpus), k

    def embed(
        self, items: Sequence[Any], *, precision: Precision | None = None, prompt: str | None = None
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the items, each smoothed over the corpus."""
        vectors = self.inside.embed(items, precision=precision, prompt=prompt)
        _, positions = search(self.index, vectors, self.k)
        return smooth(vectors, self.corpus, positions)


class Neighbours(Objective[TextEncoder, TargetBatch]):
    """The student, pulled to the targets and to their mutual similarities."""

    def __init__(self, product: TextEncoder, *, temperature: float, cosine_weight: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.temperature = temperature
        self.cosine_weight = cosine_weight

    def forward(self, batch: TargetBatch) -> Loss:
        """KL divergence of the similarity distributions plus the weighted cosine distance."""
        students = self.encoder(batch.texts)
        targets = sent(batch.targets, students.device)
        divergence = similarity_divergence(students, targets, temperature=self.temperature)
        distance = (1 - (students * targets).sum(-1)).mean()
        terms = {"kl": divergence.detach(), "cosine_distance": distance.detach()}
        return Loss(total=divergence + self.cosine_weight * distance, terms=terms)


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(NeighboursSpec(batch=16))
