"""An encoder for embedding alone, opened without transformers, so that `predict` starts in half the time.

Importing transformers' models takes longer than importing torch and answering together. An encoder that Shoptalk itself
has saved does not need them: `bertlike.py` runs the layers of BERT and its kin, and needs of a model only the weights
under their usual names; the tokenizers library needs only `tokenizer.json`. Any other folder is opened by transformers,
and so is every folder on a machine without the kernels. The vectors are the same, bit for bit.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from shoptalk.artifact import open_artifact
from shoptalk.nn import attention, bertlike
from shoptalk.nn.admission import WEIGHTS, admit, refuse_infinite, refuse_unable
from shoptalk.nn.encoder import MAX_LENGTH, Encoder, TextEncoder, dialogue_of, longest_of, pooling_of
from shoptalk.nn.features import reads_pictures
from shoptalk.nn.product import Embedder

_PRESENT: dict[str, Any] = {
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}
"""What `bertlike.py` computes; a configuration that says another thing is left to transformers."""


def open_to_read(folder: Path) -> Embedder:
    """The encoder in a folder, in float32 and evaluation mode, for embedding alone: it cannot be trained or saved.

    Raises:
        BaseModelError: its files are missing, damaged, or not an encoder's.
    """
    product = _lean(folder)
    if product is not None:
        return product
    from shoptalk.nn.bases import open_base  # which imports transformers

    return open_base(str(folder))


def _lean(folder: Path) -> TextEncoder | None:
    """The same without transformers; None where the folder is not Shoptalk's own, or asks for more than is here."""
    artifact = open_artifact(folder)
    if artifact is None or artifact.kind not in {"encoder", "base"} or reads_pictures(folder):
        return None
    admit(folder, str(folder))
    # Whatever is wrong, `open_base` has the message for it.
    with contextlib.suppress(Exception):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] not in bertlike.FAMILY or any(config.get(k, v) != v for k, v in _PRESENT.items()):
            return None
        tokenizer = Pieces(folder)
        backbone = _backbone(config, folder)
        if backbone is None or tokenizer.pad_token_id is None:
            return None
        refuse_infinite(backbone, folder, str(folder))
        longest = longest_of(folder, MAX_LENGTH, tokenizer.model_max_length, config["max_position_embeddings"])
        encoder = Encoder(backbone, pooling=pooling_of(folder)).eval()
        encoder.hold_weights()
        prompts, turns = dialogue_of(folder)
        product = TextEncoder(encoder, tokenizer, longest, name=str(folder), prompts=prompts, context_turns=turns)
        refuse_unable(product.embed, folder, str(folder))
        return product
    return None


class Pieces:
    """As much of a transformers tokenizer as reading needs: texts to ids by `tokenizer.json`."""

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers knows no other
            raise ValueError(f"{folder / 'tokenizer.json'}: {error}") from error
        self._tokenizer.no_padding()
        about = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._side = str(about.get("truncation_side", "right"))
        self.pad_token_id: int | None = self._tokenizer.token_to_id(about["pad_token"])
        self.model_max_length = int(about["model_max_length"])

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizers library's, by its name in transformers: it tells where tokens stand in a text."""
        return self._tokenizer

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def __call__(self, texts: Sequence[str], *, truncation: bool, max_length: int, **_: Any) -> dict[str, Any]:
        """The ids of each text, special tokens included."""
        if truncation:
            self._tokenizer.enable_truncation(max_length, direction=self._side)
        return {"input_ids": [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]}


# --- the weights, under the names that bertlike.py reads ----------------------------------------------------------


class _Embeddings(nn.Module):
    """BERT's: token, segment and position embeddings, summed and normalised."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = _table(config["vocab_size"], width)
        self.token_type_embeddings = _table(config["type_vocab_size"], width)
        self.position_embeddings = _table(config["max_position_embeddings"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, *, input_ids: Int[Tensor, "R W"], position_ids: Int[Tensor, "R W"]) -> Float[Tensor, "R W D"]:
        """Every token is of the first segment; the order of the sums is transformers'."""
        states = self.word_embeddings(input_ids) + self.token_type_embeddings(torch.zeros_like(input_ids))
        normalised: Tensor = self.LayerNorm(states + self.position_embeddings(position_ids))
        return normalised


def _table(rows: int, width: int) -> nn.Embedding:
    # Not nn.Embedding(rows, width): its random start on the meta device imports torch's compiler, which takes a second.
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        torch.empty(rows, width), freeze=False
    )
    return table


def _layer(config: dict[str, Any]) -> nn.Module:
    width, wide = config["hidden_size"], config["intermediate_size"]

    def block(entering: int) -> nn.Module:
        norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        return _named(dense=nn.Linear(entering, width), LayerNorm=norm, dropout=nn.Dropout(0.0))

    inner: Any = _named(**{name: nn.Linear(width, width) for name in ("query", "key", "value")})
    inner.num_attention_heads = config["num_attention_heads"]
    attending = nn.ModuleDict({"self": inner, "output": block(width)})
    return _named(attention=attending, intermediate=_named(dense=nn.Linear(width, wide)), output=block(wide))


def _named(**parts: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


def _backbone(config: dict[str, Any], folder: Path) -> Any | None:
    """The model's weights without its forward pass; None where a weight is missing or the kernels do not serve it."""
    with torch.device("meta"):  # the memory is that of the file
        layers = nn.ModuleList(_layer(config) for _ in range(config["num_hidden_layers"]))
        backbone: Any = _named(embeddings=_Embeddings(config), encoder=_named(layer=layers))
    tensors = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    if backbone.load_state_dict(tensors, strict=False, assign=True).missing_keys:
        return None
    known = {"hidden_act": "gelu", "is_decoder": False} | config
    backbone.config = SimpleNamespace(**known, _attn_implementation=attention.NAME)
    return backbone if bertlike.serves(backbone) else None
