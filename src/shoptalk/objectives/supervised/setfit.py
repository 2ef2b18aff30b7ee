"""SetFit-style tuning: texts of one class attract, texts of different classes repel (Tunstall et al. 2022, section 3).

SetFit tunes a sentence encoder on pairs of texts with and without a label in common and fits a logistic regression on
the tuned vectors. Its loss, a cosine made 1 or 0, sees one partner of a text at a time. Here all pairs of a batch are
used at once: supervised contrastive learning (Khosla et al. 2020, equation 2). For a text i of a batch of 2n texts,

    L_i = sum_{j != i} (a_ij / sum_k a_ik) (- log p_ij),    p_ij proportional to exp( <v_i, v_j> / tau ),  j != i

with a_ij = <t_i, t_j>, the number of labels that both carry: 1 or 0 where each has one. Soft targets make it the
probability of a label in common, multi-label ones weigh partners by how many labels they share.
L is the mean of L_i, weighted, over the texts that have a partner.

As in Koch et al. (2015) partners are drawn, so that every text has one: text i draws one of its labels, and then
another text with that label (by t, where targets are soft). A text that is alone with its label is its own partner,
under another dropout mask, as in SimCSE.

Run alone on a toy: python -m shoptalk.objectives.supervised.setfit
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.losses import similarity_distribution
from shoptalk.nn.product import TEXT, Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.supervised import LabelledBatch, gather_texts, labels_of
from shoptalk.text.corpus import Corpus


class SetfitSpec(Spec):
    """Contrastive tuning from few labels. A step reads 2 `batch` texts. For `shoptalk finetune`."""

    supervised: ClassVar[bool] = True
    needs: ClassVar[str] = "at least two texts"
    kind: Literal["setfit"] = "setfit"
    takes: ClassVar[frozenset[Kind]] = TEXT
    lr: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=32, ge=1)
    passes: float = Field(default=15.0, gt=0)
    temperature: float = Field(default=0.1, gt=0)

    def examples(self, corpus: Corpus) -> Examples:
        """Every text, if there are at least two."""
        return range(len(corpus)) if len(corpus) > 1 else []

    def collate(self, material: Material[TextEncoder]) -> Callable[[Sequence[int], Key], LabelledBatch]:
        """The examples, then a partner of each. `targets` [N, C] and, if there are any, `weights` [N].

        Raises:
            ConfigError: the targets are missing, or do not fit the texts.
        """
        labels = labels_of(material.targets, kind=self.kind, texts=len(material.corpus))
        partner_of = _Partners(labels.targets)

        def collate(examples: Sequence[int], key: Key) -> LabelledBatch:
            partners = [partner_of(i, np.random.default_rng([key.seed, key.step, i])) for i in examples]
            return gather_texts(material.product, material.inputs, labels, [*examples, *partners])

        return collate

    def build(self, product: TextEncoder) -> "Setfit":
        """The encoder, without a head."""
        return Setfit(product, temperature=self.temperature)


class _Partners:
    """Draws, for a text, another one with a label in common."""

    def __init__(self, targets: Float[np.ndarray, "N C"]) -> None:
        self._targets = targets
        # For each class, the cumulative sum of its texts' shares, in which a search draws a text.
        self._running = np.cumsum(targets.T, axis=1, dtype=np.float64)

    def __call__(self, i: int, rng: np.random.Generator) -> int:
        shares = self._targets[i].astype(np.float64)
        totals = self._running[:, -1]
        # A label's chance is its share, if any other text has it.
        chances = shares * (totals - shares > 1e-6)
        if not chances.sum():
            return i
        label = int(rng.choice(len(chances), p=chances / chances.sum()))
        running = self._running[label]
        at = rng.random() * (totals[label] - shares[label])
        if at >= running[i] - shares[label]:
            at += shares[label]  # past the text itself
        return min(int(np.searchsorted(running, at, side="right")), len(running) - 1)


class Setfit(Objective[TextEncoder, LabelledBatch]):
    """Supervised contrastive learning: texts with a label in common attract, all others repel."""

    def __init__(self, product: TextEncoder, *, temperature: float) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.temperature = temperature

    def forward(self, batch: LabelledBatch) -> Loss:
        """The supervised contrastive loss of the batch; 0 where no two of its texts have a label in common."""
        vectors = self.encoder(batch.texts)
        targets, weights = sent(batch.targets, vectors.device), sent(batch.weights, vectors.device)
        shared = (targets @ targets.T).fill_diagonal_(0)
        labels_shared = shared.sum(1)
        weights = weights * (labels_shared > 0)
        shares = shared / labels_shared.clamp(min=1e-12)[:, None]
        losses = -(shares * similarity_distribution(vectors, temperature=self.temperature)).sum(1)
        return Loss(total=(weights * losses).sum() / weights.sum().clamp(min=1e-12), terms={})


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(SetfitSpec(batch=16))
