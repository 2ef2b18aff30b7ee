"""BERT's head for judging a pair of texts (Devlin et al. 2019, sections 3.1 and A.2): dense, tanh, one score."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from shoptalk.nn.transfer import sent


class PairHead(nn.Module):
    """A binary classifier of a vector; its one logit is equivalent to the paper's softmax over two."""

    def __init__(self, width: int) -> None:
        """`width` is that of the vectors."""
        super().__init__()
        self.dense, self.score = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, vectors: Float[Tensor, "n D"]) -> Float[Tensor, " n"]:
        """Logits of yes, from unit vectors: scaled to the size that hidden states have, for which layers are made."""
        wide = vectors * vectors.shape[1] ** 0.5
        logits: Tensor = self.score(torch.tanh(self.dense(wide)))[:, 0]
        return logits.float()

    def loss(
        self, vectors: Float[Tensor, "n D"], labels: Bool[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean binary cross-entropy in nats, and the share of right answers."""
        logits = self(vectors)
        labels = sent(labels, logits.device)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
        return loss, ((logits > 0) == labels).float().mean()
