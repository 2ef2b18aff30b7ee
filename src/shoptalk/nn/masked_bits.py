"""Bits per masked token on held-out text: how well a head predicts tokens from the hidden states of their context.

Source: the masked language model of Devlin, Chang, Lee, Toutanova, "BERT", NAACL 2019, section 3.1, as a measurement:
every chosen token becomes the mask token, and the same tokens are chosen each time.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shoptalk.errors import BaseModelError
from shoptalk.nn.encoder import TextEncoder, evaluating
from shoptalk.records import Reading
from shoptalk.text.batching import Group
from shoptalk.text.tokens import Tokenised, tokenise

Head = Callable[[Float[Tensor, "m D"]], Float[Tensor, "m V"]]
"""Hidden states at the masked positions to logits over the vocabulary."""


def token_bits(logits: Float[Tensor, "m V"], targets: Int[Tensor, " m"]) -> Float[np.ndarray, " m"]:
    """-log2 of the probability that each row of logits gives its target; computed in float32."""
    nats = nn.functional.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")
    return nats.double().cpu().numpy() / math.log(2.0)


def choose_masked(
    tokens: Tokenised, *, special: Collection[int], mask_rate: float, seed: int
) -> list[Int[np.ndarray, " m"]]:
    """The positions to mask in each text: `mask_rate` of its tokens that are not special, and at least one of them.

    A text's positions depend on the seed, its number and its length alone. A text of nothing but special tokens has
    none.
    """
    chosen = []
    for i in range(len(tokens)):
        regular = np.flatnonzero(~np.isin(tokens[i], list(special)))
        count = max(1, round(mask_rate * len(regular)))
        chosen.append(np.sort(np.random.default_rng((seed, i)).permutation(regular)[:count]))
    return chosen


def masked_bits(
    texts: Sequence[str], *, mask_rate: float = 0.15, seed: int, head: Head
) -> Callable[[TextEncoder], Reading]:
    """A probe: the mean cross-entropy of the texts' masked tokens, in bits; every masked token has the same weight.

    Outcomes are one per text: its summed bits times texts / masked tokens, so that their mean is the value and a
    paired test can resample whole texts. `head` is applied without dropout and without gradients.

    Raises:
        ValueError: there is no text, or no text has a token to mask; or `mask_rate` is not between 0 and 1.
        BaseModelError: the product's tokenizer has no mask token (raised by the probe).
    """
    if not texts or not 0.0 < mask_rate < 1.0:
        raise ValueError(f"{len(texts)} texts at mask rate {mask_rate}: expected a text or more, and 0 < rate < 1.")

    def probe(product: TextEncoder) -> Reading:
        mask_id = product.tokenizer.mask_token_id
        if mask_id is None:
            raise BaseModelError(
                f"The tokenizer of {product.name!r} has no mask token, which bits per masked token needs; "
                "expected a masked language model such as BERT. Leave this probe out for this model."
            )
        tokens = tokenise(product.tokenizer, texts, max_length=product.max_length)
        chosen = choose_masked(tokens, special=product.tokenizer.all_special_ids, mask_rate=mask_rate, seed=seed)
        masked = sum(len(positions) for positions in chosen)
        if masked == 0:
            raise ValueError(f"None of the {len(texts)} texts has a token to mask; give texts with words in them.")
        bits = _bits_by_text(product, tokens, chosen, head, mask_id)
        return Reading(
            key="masked_bits",
            name="bits per masked token",
            value=float(bits.sum() / masked),
            unit="bits/token",
            n=len(texts),
            outcomes=tuple((bits * len(texts) / masked).tolist()),
            detail={"masked_tokens": masked, "mask_rate": mask_rate, "seed": seed},
        )

    return probe


def _bits_by_text(
    product: TextEncoder, tokens: Tokenised, chosen: Sequence[Int[np.ndarray, " _"]], head: Head, mask_id: int
) -> Float[np.ndarray, " N"]:
    """Summed bits of each text's masked tokens."""
    rows = []
    for i, positions in enumerate(chosen):
        row = tokens[i].copy()
        row[positions] = mask_id
        rows.append(row)
    batch = product.batch(rows)
    bits = np.zeros(len(rows))
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(product.network))
        if isinstance(head, nn.Module):
            stack.enter_context(evaluating(head))
        stack.enter_context(torch.inference_mode())
        for group in batch.groups:
            texts = group.rows.tolist()
            places = [chosen[i] for i in texts]
            targets = np.concatenate([tokens[i][chosen[i]] for i in texts])
            counts = [len(place) for place in places]
            np.add.at(bits, np.repeat(texts, counts), _group_bits(product, group, places, targets, head))
    return bits


def _group_bits(
    product: TextEncoder,
    group: Group,
    places: Sequence[Int[np.ndarray, " _"]],
    targets: Int[np.ndarray, " m"],
    head: Head,
) -> Float[np.ndarray, " m"]:
    """Bits of one group's masked tokens, row by row."""
    cells = np.concatenate([begin + place for begin, place in zip(group.begins.tolist(), places, strict=True)])
    hidden = product.network.hidden(group).flatten(0, 1)
    # Logits only where there is a target: the vocabulary is the widest layer by far.
    logits = head(hidden[torch.from_numpy(cells).to(hidden.device)])
    return token_bits(logits, torch.from_numpy(targets))
