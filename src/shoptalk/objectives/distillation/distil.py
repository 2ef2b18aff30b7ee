"""Distillation into fewer layers (Sanh et al. 2019, DistilBERT, section 2), for sentence encoders.

The student starts from every other layer of the teacher, the product before training. The loss has three terms:

    L = a KL( p^t ‖ p^s )  +  b (1 / n) sum_i (1 - cos(s_i, t_i))  +  c L_mlm
    p_ij proportional to exp( <v_i, v_j> / tau ),  j != i

t_i and s_i are the teacher's and the student's unit vectors of text i.

What differs from the paper: sentence encoders come without a language model's head, so the soft labels are the
similarity distributions within the batch (Fang et al. 2021, SEED, equation 3), with a temperature as in the paper; the
cosine is that of the text vectors, not of every token's states. Masked language modelling encodes the texts a second
time, corrupted, with a new head tied to the embeddings. It is off by default, because it doubles the cost of a step and
without it 3 of MiniLM's 6 layers keep 99 % of the linear probe (benchmarks/README.md). The teacher embeds the corpus
once, before training; its vectors are the targets.

Run alone on a toy: python -m shoptalk.objectives.distillation.distil
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from shoptalk.errors import ConfigError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.nn.losses import similarity_divergence
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.student import layer_count, with_layers
from shoptalk.nn.token_head import TokenHead
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec, Targets
from shoptalk.text.batching import TokenBatch
from shoptalk.text.corpus import Corpus
from shoptalk.text.masking import Masker


@dataclass(frozen=True)
class Corrupted:
    """The texts with tokens masked, and per group the chosen positions with their original tokens."""

    texts: TokenBatch
    positions: tuple[Int[Tensor, " _"], ...]
    labels: tuple[Int[Tensor, " _"], ...]


@dataclass(frozen=True)
class DistilBatch:
    """n texts, the teacher's vectors of them, and the texts corrupted where their tokens are to be predicted."""

    texts: TokenBatch
    targets: Float[Tensor, "n D"]
    corrupted: Corrupted | None

    @property
    def tokens(self) -> int:
        """Real tokens, of both readings."""
        return self.texts.tokens + (self.corrupted.texts.tokens if self.corrupted else 0)

    @property
    def cells(self) -> int:
        """Tokens and padding, of both readings."""
        return self.texts.cells + (self.corrupted.texts.cells if self.corrupted else 0)


class DistilSpec(Spec):
    """Distillation into a student of fewer layers."""

    kind: Literal["distil"] = "distil"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=3e-4, gt=0)
    batch: int = Field(default=128, ge=2)
    passes: float = Field(default=30.0, gt=0)
    layers: int | None = Field(default=None, ge=1, description="of the student; by default half the teacher's")
    teacher: str | None = Field(default=None, description="whose vectors are the targets; by default the base's own")
    temperature: float = Field(default=0.05, gt=0)
    soft_weight: float = Field(default=1.0, ge=0, description="of the similarity distributions")
    cosine_weight: float = Field(default=5.0, ge=0)
    mlm_weight: float = Field(default=0.0, ge=0)
    mask_rate: float = Field(default=0.15, ge=0.15, le=0.4)

    def examples(self, corpus: Corpus) -> Examples:
        """Every text, if there are at least two."""
        return range(len(corpus)) if len(corpus) > 1 else []

    @property
    def prepares(self) -> bool:
        """True: the teacher's vectors."""
        return True

    def prepare(self, corpus: Corpus, product: TextEncoder) -> Targets:
        """The teacher's unit `vectors` [N, D] of every text.

        Raises:
            ConfigError: another teacher was named, and its vectors have another width than the student's.
        """
        if self.teacher is None:
            return {"vectors": embed(product, corpus.texts)}
        teacher = open_base(self.teacher, max_length=product.max_length)
        if teacher.network.dim != product.network.dim:
            raise ConfigError(
                f"The teacher {self.teacher!r} gives vectors of {teacher.network.dim} dimensions, and the student's "
                f"have {product.network.dim}. Name a teacher of the same width, or none."
            )
        teacher.network.to(product.network.device)
        return {"vectors": embed(teacher, corpus.texts, precision=product.precision)}

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], DistilBatch]:
        """Texts with the teacher's vectors; corrupted anew at every visit where their tokens are predicted too."""
        assert material.targets is not None  # `prepare` always returns them
        teacher_vectors = material.targets["vectors"]
        masker = Masker(material.product.tokenizer, rate=self.mask_rate) if self.mlm_weight else None

        def collate(examples: Sequence[int], key: Key) -> DistilBatch:
            rows, corrupted = [material.inputs[i] for i in examples], None
            if masker is not None:
                masked = masker(rows, examples, seed=key.seed, step=key.step)
                texts = material.product.batch(masked.rows)
                corrupted = Corrupted(texts, *masked.targets(texts))
            vectors = torch.from_numpy(np.asarray(teacher_vectors[list(examples)], dtype=np.float32))
            return DistilBatch(texts=material.product.batch(rows), targets=vectors, corrupted=corrupted)

        return collate

    def build(self, product: TextEncoder) -> "Distil":
        """The student, with copies of some of the product's layers; the product stays as it is.

        Raises:
            ConfigError: the product has fewer layers than are asked for.
        """
        student = with_layers(product, self.layers or max(1, layer_count(product) // 2))
        return Distil(
            student,
            temperature=self.temperature,
            weights=(self.soft_weight, self.cosine_weight, self.mlm_weight),
        )


class Distil(Objective[TextEncoder, DistilBatch]):
    """The student, pulled to the teacher's vectors and to their mutual similarities."""

    def __init__(self, student: TextEncoder, *, temperature: float, weights: tuple[float, float, float]) -> None:
        super().__init__()
        self.product = student
        self.encoder = student.network
        self.temperature = temperature
        self.soft_weight, self.cosine_weight, self.mlm_weight = weights
        self.head = None
        if self.mlm_weight:
            self.encoder.read_rows(sparse=False)  # the head's output layer is the same table, and reads all of it
            self.head = TokenHead(self.encoder.dim, len(student.tokenizer))

    def forward(self, batch: DistilBatch) -> Loss:
        """The weighted sum of the terms, each a mean over the batch, in nats and in 1 - cos."""
        students = self.encoder(batch.texts)
        targets = sent(batch.targets, students.device)
        divergence = similarity_divergence(students, targets, temperature=self.temperature)
        distance = (1 - (students * targets).sum(-1)).mean()
        total = self.soft_weight * divergence + self.cosine_weight * distance
        terms = {"kl": divergence.detach(), "cosine_distance": distance.detach()}
        if batch.corrupted is not None:
            assert self.head is not None  # a batch is corrupted where the weight is not 0
            corrupted = batch.corrupted
            masked = self.head.masked_loss(self.encoder, corrupted.texts, corrupted.positions, corrupted.labels)
            total = total + self.mlm_weight * masked
            terms["mlm"] = masked.detach()
        return Loss(total=total, terms=terms)


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(DistilSpec(batch=16))
