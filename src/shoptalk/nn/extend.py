"""New rows of the embedding table for words that a tokenizer learns to leave whole.

The row of a new word is the mean of its pieces' rows: Gee et al. 2022 ("Fast Vocabulary Transfer for Language Model
Compression", section 3), after Hewitt 2021 ("Initializing New Word Embeddings for Pretrained Language Models"), who
takes the mean of all rows. So the vector of a new word starts near those of its pieces.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from shoptalk.nn.encoder import TextEncoder
from shoptalk.text.extension import with_words


def extend(product: TextEncoder, words: Sequence[str]) -> TextEncoder:
    """The product with these words as whole tokens. Its encoder is changed in place, by new rows only: texts without
    the words keep their vectors.
    """
    old = product.tokenizer
    pieces = [old(word, add_special_tokens=False)["input_ids"] for word in words]
    tokenizer = with_words(old, list(words))
    backbone: Any = product.network.backbone
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # the library draws rows of its own first
        backbone.resize_token_embeddings(max(len(tokenizer), backbone.config.vocab_size), mean_resizing=False)
        rows = backbone.get_input_embeddings().weight
        for word, ids in zip(words, pieces, strict=True):
            rows[tokenizer.convert_tokens_to_ids(word)] = rows[ids].mean(dim=0)
    return replace(product, tokenizer=tokenizer)
