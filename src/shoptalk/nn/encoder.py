"""Text encoders: a transformers backbone, masked-mean or first-token pooling, unit length. In memory and on disk.

On disk an encoder is a sentence-transformers folder: `SentenceTransformer(path)` and `AutoModel.from_pretrained(path)`
open it where Shoptalk is not installed.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shoptalk.artifact import write_text
from shoptalk.text.batching import Group, TokenBatch, group_by_length, unsort
from shoptalk.text.tokens import tokenise

Pooling = Literal["mean", "cls"]


class Encoder(nn.Module):
    """Texts to unit vectors; the tokens' hidden states are there for objectives that predict tokens."""

    def __init__(self, backbone: nn.Module, *, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling: Pooling = pooling

    @property
    def dim(self) -> int:
        """Width of the hidden states and of the text vectors."""
        return int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def hidden(self, group: Group) -> Float[Tensor, "R L D"]:
        """The last layer's hidden states of one group."""
        ids, mask = group.ids.to(self.device), group.mask.to(self.device)
        states: Tensor = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        return states

    def pool(self, hidden: Float[Tensor, "R L D"], group: Group) -> Float[Tensor, "R D"]:
        """Unit-length text vectors of hidden states, computed in float32 whatever the precision of the layers."""
        hidden = hidden.float()
        if self.pooling == "cls":
            return nn.functional.normalize(hidden[:, 0], dim=-1)
        mask = group.mask.to(hidden.device).unsqueeze(-1).to(hidden.dtype)
        # Tokenizers that add no special tokens leave nothing of an empty text; its vector is zero, not NaN.
        return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1), dim=-1)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "n D"]:
        """One unit vector a text, in the batch's order."""
        return unsort([self.pool(self.hidden(group), group) for group in batch.groups], batch)


@dataclass(frozen=True)
class Product:
    """What outlives training: a text encoder with its tokenizer, and where it came from."""

    encoder: Encoder
    tokenizer: Any
    max_length: int
    name: str

    def tokens(self, texts: Sequence[str]) -> int:
        """Real tokens of the texts, as the encoder would see them."""
        return int(tokenise(self.tokenizer, texts, max_length=self.max_length).starts[-1])


def embed(product: Product, texts: Sequence[str], *, batch: int = 1024) -> Float[np.ndarray, "N D"]:
    """Unit vectors of the texts in their order, float32; dropout is off and nothing is learned.

    Texts are sorted by length inside, so that padding stays small.
    """
    encoder = product.encoder
    tokens = tokenise(product.tokenizer, texts, max_length=product.max_length)
    order = np.argsort(tokens.lengths, kind="stable")
    vectors = np.zeros((len(texts), encoder.dim), dtype=np.float32)
    with evaluating(encoder), torch.inference_mode():
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            found = encoder(group_by_length([tokens[i] for i in part], pad_id=product.tokenizer.pad_token_id))
            vectors[part] = found.float().cpu().numpy()
    return vectors


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each submodule's own mode again afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def save_encoder(product: Product, folder: Path, *, card: str) -> None:
    """Write a sentence-transformers folder with float32 safetensors; `card` becomes its README.md."""
    folder.mkdir(parents=True, exist_ok=True)
    product.encoder.backbone.save_pretrained(folder)  # type: ignore[operator]
    product.tokenizer.save_pretrained(folder)
    pooling = {
        "word_embedding_dimension": product.encoder.dim,
        "pooling_mode_cls_token": product.encoder.pooling == "cls",
        "pooling_mode_mean_tokens": product.encoder.pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "2_Normalize").mkdir(exist_ok=True)
    write_text(folder / "1_Pooling" / "config.json", json.dumps(pooling, indent=2))
    write_text(folder / "modules.json", json.dumps(modules, indent=2))
    write_text(
        folder / "sentence_bert_config.json",
        json.dumps({"max_seq_length": product.max_length, "do_lower_case": False}, indent=2),
    )
    write_text(
        folder / "config_sentence_transformers.json",
        json.dumps({"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}, indent=2),
    )
    write_text(folder / "README.md", card)
