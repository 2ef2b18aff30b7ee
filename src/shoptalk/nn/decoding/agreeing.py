"""Whether reading token by token gives what reading at once gives: asked of every model before it writes.

Decoders differ in how they count positions, keep states and take masks, and the compiled pass knows only how a Llama is
built. So a short text is read by each way that will be used, beside another text of another length, and the logits are
compared with those of the stock model without a cache.
"""

import sys
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shoptalk.errors import BaseModelError
from shoptalk.nn.decoding.compiled_forward import CompiledForward, compiled_forward
from shoptalk.nn.decoding.forward import Feed, Forward, StockForward
from shoptalk.nn.decoding.kv_cache import KeyValueCache
from shoptalk.nn.language_model import LanguageModel

TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.2}
"""Of the logits' deviation from their mean, the share by which they may be off. Rounding costs float32 some 1e-5 at the
worst token. It costs bfloat16 a twentieth at the median one, in thirty layers, and all of it after a first token whose
states are a thousand times larger than others': so there the median counts. A wrong mask or position costs a third."""
_TOKENS, _FIRST = 16, 7


def checked_forwards(
    product: LanguageModel, cache: KeyValueCache, context: int
) -> tuple[StockForward, CompiledForward | None]:
    """The passes that this model can be read by, each compared with the stock model.

    Raises:
        BaseModelError: not even transformers' own, with a cache, gives what it gives without one.
    """
    backbone: Any = product.network.backbone
    backbone.eval()
    stock = StockForward(backbone, cache, context)
    ids = _trial(product, min(_TOKENS, context - 1))
    with torch.inference_mode():
        plain = backbone(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().numpy()
    dtype = next(backbone.parameters()).dtype
    if (wrong := _disagreement(stock, ids, plain, cache.slots, dtype)) is not None:
        raise BaseModelError(
            f"{product.name!r} cannot be read token by token: with earlier states kept, {wrong}. Expected a decoder "
            "whose layers all attend to their whole context, such as smollm2."
        )
    compiled = compiled_forward(backbone, cache)
    if compiled is not None and (wrong := _disagreement(compiled, ids, plain, cache.slots, dtype)) is not None:
        sys.stderr.write(
            f"shoptalk: the compiled pass of this {backbone.config.model_type} does not give what transformers gives "
            f"({wrong}), so the slower one is used. Please report it.\n"
        )
        compiled = None
    return stock, compiled


def _trial(product: LanguageModel, count: int) -> list[int]:
    """Token ids from all over the vocabulary, after the one that begins a document."""
    size = len(product.network.table)
    return [product.part, *(number * 7_919 % size for number in range(1, count))]


def _disagreement(
    forward: Forward, ids: list[int], plain: Float[np.ndarray, "L V"], slots: int, dtype: torch.dtype
) -> str | None:
    """How logits differ from the plain ones, in the last slot and beside a shorter text; None where they do not."""
    first = min(_FIRST, len(ids) - 1)
    last = slots - 1
    try:
        (begun,) = forward([Feed(last, 0, ids[:first])])
        rest = [Feed(last, first, ids[first:])]
        continued = forward([*rest, Feed(0, 0, ids[: first - 1])] if last else rest)
    except Exception as error:  # models raise anything
        return f"it raises {type(error).__name__}: {error}"
    expected = [plain[:first], plain[first:], plain[: first - 1]]
    worst = np.max if dtype == torch.float32 else np.median
    pairs = zip([begun, *continued], expected, strict=False)
    off = max(float(worst(_distances(logits, right))) for logits, right in pairs)
    return None if off <= TOLERANCE[dtype] else f"logits are off by {off:.1g} of their deviation"


def _distances(logits: Float[np.ndarray, "w V"], expected: Float[np.ndarray, "w V"]) -> Float[np.ndarray, " w"]:
    """How far each token's logits are off, as a share of their deviation from the mean; infinite for NaN."""
    size = np.linalg.norm(expected - expected.mean(axis=1, keepdims=True), axis=1)
    off = np.linalg.norm(logits - expected, axis=1) / np.maximum(size, 1e-12)
    return np.asarray(np.nan_to_num(off, nan=np.inf))
