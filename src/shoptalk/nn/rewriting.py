"""Texts that an encoder–decoder writes for texts that it reads: translations, summaries, answers in another tone.

    rewritten(open_model("runs/translator"), ["Two dogs run."], beams=4)     # ["Zwei Hunde rennen."]

Decoding is transformers' own `generate`: greedy, or the beam with the highest mean log-probability a token. Of what a
folder's generation_config.json asks for, the tokens that begin a text, end it or may not be in it are followed, and
nothing else: least lengths, penalties and forbidden repetitions are for other texts than these.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from shoptalk.nn.encoder import evaluating
from shoptalk.nn.encoder_decoder import EncoderDecoder

BEAMS = 4
"""Of a beam search, as Vaswani et al. (2017, section 6.1) have."""
AT_ONCE = 128
"""Rows that are decoded together, beams counted."""
LONGER, MORE = 2, 16
"""What is written has at most so many times the tokens of its source, and so many more."""
_TOKENS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
)
"""Settings of a folder that say what its tokens are for; `forced_bos_token_id` is the language that is written."""


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
    """What is written for each row, ended at its own limit, so that longer rows beside it do not matter."""
    width, pad = max(map(len, rows)), product.tokenizer.pad_token_id or 0
    ids = torch.full((len(rows), width), pad, dtype=torch.int64)
    seen = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.from_numpy(row)
        seen[number, : len(row)] = 1
    device = product.network.device
    with evaluating(product.network), torch.inference_mode(), _plain_decoding(product.network.backbone):
        output: Tensor = product.network.backbone.generate(  # type: ignore[operator]
            input_ids=ids.to(device),
            attention_mask=seen.to(device),
            max_new_tokens=max(limits),
            num_beams=beams,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([_EndsAtItsLimit(limits)]),
        )
    return [text.strip() for text in product.tokenizer.batch_decode(output.tolist(), skip_special_tokens=True)]


class _EndsAtItsLimit(StoppingCriteria):  # type: ignore[misc]
    """Ends each row where it has as many tokens as it may, as if it were alone: beams that went on with a longer row
    would be another text, cut off.
    """

    def __init__(self, limits: Sequence[int]) -> None:
        self._limits = torch.tensor(limits)

    def __call__(self, input_ids: Int[Tensor, "M T"], scores: object, **_: object) -> Bool[Tensor, " M"]:
        """Which of the beginnings, those of a row beside each other, are as long as they may be."""
        of_each = self._limits.to(input_ids.device).repeat_interleave(len(input_ids) // len(self._limits))
        return input_ids.shape[1] > of_each  # and the token that begins a text


@contextmanager
def _plain_decoding(backbone: nn.Module) -> Iterator[None]:
    """Within, `generate` does what it is asked, and the folder's settings for decoding say only what tokens mean."""
    asked: GenerationConfig = backbone.generation_config
    backbone.generation_config = GenerationConfig(**{name: getattr(asked, name, None) for name in _TOKENS})
    try:
        yield
    finally:
        backbone.generation_config = asked
