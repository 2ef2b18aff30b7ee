"""Whether packed rows give what the stock transformers model gives: asked the first time a model is opened.

Packed rows and the CPU kernels reach into transformers' models by names that it does not promise to keep
(`layer.attention.self`, `config._attn_implementation`, masks of its attention interface). Its next version may rename
one, which fails, or change what one means, which would not. So a few short texts go both ways once per architecture
and process. That takes some tens of milliseconds, less than the hash of the weights that a record of it on disk would
need, and works where nothing can be written.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shoptalk.artifact import digest
from shoptalk.nn import attention
from shoptalk.nn.encoder import Encoder, evaluating
from shoptalk.text.batching import make_batch
from shoptalk.text.tokens import tokenise

TEXTS = ("Hello.", "Where is my order?", "I was charged twice for one ticket; please refund the second of them.")
TOLERANCE = 1e-3
"""Largest error of a token's state, relative to its length. Rounding in float32 gives 1e-6, after a dozen layers 1e-5;
a wrong mask, position or norm gives more than 1e-2."""

_equal: set[str] = set()


def pack_if_equal(encoder: Encoder, tokenizer: Any) -> None:
    """Let several texts share a row where that gives the stock model's states. Otherwise the stock model is used, with
    one text per row, and one line on standard error says why.

    `encoder` is in evaluation mode, on the CPU, and has its stock attention.
    """
    backbone: Any = encoder.backbone
    config = backbone.config.to_dict()
    architecture = digest({key: value for key, value in config.items() if not key.startswith("_")})
    wrong = None
    if architecture not in _equal:
        ids = tokenise(tokenizer, TEXTS, max_length=max(4, min(16, config["max_position_embeddings"] - 2)))
        rows = [ids[i] for i in range(len(ids))]
        wrong = disagreement(encoder, rows, pad_id=tokenizer.pad_token_id)
    if wrong is None:
        _equal.add(architecture)
        attention.use(backbone, attention.NAME)
        return
    attention.use(backbone, "eager")
    import transformers

    sys.stderr.write(
        f"shoptalk: packed rows of this {config['model_type']} do not give what transformers "
        f"{transformers.__version__} gives ({wrong}), so its stock model is used, with one text per row. The results "
        "are right, but come more slowly. Please report it.\n"
    )


def disagreement(encoder: Encoder, rows: Sequence[Int[np.ndarray, " _"]], *, pad_id: int) -> str | None:
    """How packed rows of these token ids differ from the stock model's states of each text alone; None where they do
    not. Leaves the encoder with either attention.
    """
    backbone: Any = encoder.backbone
    with evaluating(encoder), torch.inference_mode():
        alone = [backbone(input_ids=torch.from_numpy(row)[None]).last_hidden_state[0] for row in rows]
        try:
            attention.use(backbone, attention.NAME)
            packed = _packed(encoder, rows, pad_id)
        except Exception as error:  # whatever a renamed part of a stock model may raise
            return f"{type(error).__name__}: {error}"
    off = max(float(_distance(states, expected)) for states, expected in zip(packed, alone, strict=True))
    return None if off <= TOLERANCE else f"a state is off by {off:.1g} of its length"


def _packed(encoder: Encoder, rows: Sequence[Int[np.ndarray, " _"]], pad_id: int) -> list[Float[Tensor, "L D"]]:
    """Each text's states, from rows that it shares with others."""
    states: dict[int, Tensor] = {}
    for group in make_batch(rows, pad_id=pad_id, packed=True).groups:
        hidden = encoder.hidden(group).flatten(0, 1)
        for text, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            states[text] = hidden[begin : begin + length]
    return [states[text] for text in range(len(rows))]


def _distance(states: Float[Tensor, "L D"], expected: Float[Tensor, "L D"]) -> Float[Tensor, ""]:
    """The largest distance of a token's states, as a share of their length; infinite for NaN."""
    off = (states - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=1e-12)
    largest: Tensor = off.nan_to_num(nan=float("inf")).max()
    return largest
