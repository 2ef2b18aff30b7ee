"""A smaller encoder made from a larger one: some of its layers, some rows of its vocabulary.

Sanh et al. (2019, DistilBERT, section 3) start the student from one out of two of the teacher's layers.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import TextEncoder


def layer_count(product: TextEncoder) -> int:
    """How many layers the product's encoder has."""
    return int(product.network.backbone.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]


def kept_layers(there: int, kept: int) -> list[int]:
    """Which of `there` layers a student of `kept` starts from: evenly spread, first and last among them.

    Of 12 layers and 6 these are 0, 2, 4, 7, 9 and 11, as in the code that the DistilBERT paper published. A single
    layer is the first, which reads embeddings.
    """
    return [int(place) for place in np.rint(np.linspace(0, there - 1, kept))]


def with_layers(product: TextEncoder, kept: int) -> TextEncoder:
    """A copy of the product with `kept` of its layers; embeddings, tokenizer and pooling are the same.

    Raises:
        ConfigError: it has fewer layers, or they are not one stack.
    """
    layers = layer_count(product)
    if not 1 <= kept <= layers:
        raise ConfigError(f"layers = {kept}: {product.name!r} has {layers} layers. Give a number from 1 to {layers}.")
    encoder = copy.deepcopy(product.network)
    backbone: Any = encoder.backbone
    stacks = [
        (owner, name)
        for owner in backbone.modules()
        for name, part in owner.named_children()
        if isinstance(part, nn.ModuleList) and len(part) == layers
    ]
    if len(stacks) != 1:
        raise ConfigError(
            f"{product.name!r} is a {backbone.config.model_type} whose layers are not one stack, so a student cannot "
            "be made of some of them. Expected an encoder such as BERT or RoBERTa."
        )
    owner, name = stacks[0]
    stack = getattr(owner, name)
    setattr(owner, name, nn.ModuleList([stack[place] for place in kept_layers(layers, kept)]))
    backbone.config.num_hidden_layers = kept
    return replace(product, network=encoder, name=f"{product.name}, {kept} of {layers} layers")


def with_vocabulary(product: TextEncoder, tokenizer: Any, rows: Int[np.ndarray, " V"]) -> TextEncoder:
    """A copy of the product with another tokenizer, whose id i is id `rows[i]` of the old one."""
    encoder = copy.deepcopy(product.network)
    backbone: Any = encoder.backbone
    old = backbone.get_input_embeddings()
    table = nn.Embedding(len(rows), old.embedding_dim, padding_idx=tokenizer.pad_token_id)
    with torch.no_grad():
        table.weight.copy_(old.weight[torch.from_numpy(rows)])
    backbone.set_input_embeddings(table)
    config = backbone.config
    config.vocab_size = len(rows)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        was = getattr(config, name, None)
        if was is not None:
            setattr(config, name, _place(rows, was))
    return replace(product, network=encoder.eval(), tokenizer=tokenizer)


def _place(rows: Sequence[int] | Int[np.ndarray, " V"], was: int) -> int | None:
    places = np.flatnonzero(np.asarray(rows) == was)
    return int(places[0]) if len(places) else None
