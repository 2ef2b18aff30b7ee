"""Texts that an encoder–decoder writes for texts that it reads: translations, summaries, answers in another tone.

    rewritten(open_model("runs/translator"), ["Two dogs run."], beams=4)     # ["Zwei Hunde rennen."]

Decoding is transformers' own `generate`: greedy, or the beam with the highest mean log-probability a token.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from shoptalk.nn.encoder import evaluating
from shoptalk.nn.encoder_decoder import EncoderDecoder

BEAMS = 4
"""Of a beam search, as Vaswani et al. (2017, section 6.1) have."""
AT_ONCE = 128
"""Rows that are decoded together, beams counted."""
LONGER, MORE = 2, 16
"""What is written has at most so many times the tokens of its source, and so many more."""


def rewritten(
    product: EncoderDecoder, texts: Sequence[str], *, beams: int = 1, most_tokens: int | None = None
) -> list[str]:
    """What the model writes for each text, in their order; nothing is drawn at random.

    Args:
        product: the model.
        texts: what it reads; of one longer than its context the beginning.
        beams: how many beginnings are kept in view; 1 takes the likeliest token each time.
        most_tokens: of what is written; by default in proportion to the source.
    """
    tokens = product.ids(texts)
    sources = [product.framed(tokens[number]) for number in range(len(tokens))]
    order = sorted(range(len(texts)), key=lambda number: (len(sources[number]), number))
    written = [""] * len(texts)
    at_once = max(1, AT_ONCE // beams)
    for begin in range(0, len(order), at_once):
        numbers = order[begin : begin + at_once]
        rows = [sources[number] for number in numbers]
        limits = [most_tokens or min(product.max_length, LONGER * len(row) + MORE) for row in rows]
        for number, text in zip(numbers, _written(product, rows, beams, limits), strict=True):
            written[number] = text
    return written


def _written(
    product: EncoderDecoder, rows: Sequence[Int[np.ndarray, " _"]], beams: int, limits: Sequence[int]
) -> list[str]:
    """What is written for each row, cut at its own limit, so that longer rows beside it do not matter."""
    width, pad = max(map(len, rows)), product.tokenizer.pad_token_id or 0
    ids = torch.full((len(rows), width), pad, dtype=torch.int64)
    seen = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.from_numpy(row)
        seen[number, : len(row)] = 1
    device = product.network.device
    with evaluating(product.network), torch.inference_mode():
        output: Tensor = product.network.backbone.generate(  # type: ignore[operator]
            input_ids=ids.to(device),
            attention_mask=seen.to(device),
            max_new_tokens=max(limits),
            num_beams=beams,
            do_sample=False,
        )
    lines = [ids[: 1 + limit] for ids, limit in zip(output.cpu().tolist(), limits, strict=True)]  # and the first token
    return [text.strip() for text in product.tokenizer.batch_decode(lines, skip_special_tokens=True)]
