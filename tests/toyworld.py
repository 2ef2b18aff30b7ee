"""Everything a training of one objective needs, on the toy: for tests of objectives and of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shoptalk.nn.encoder import Product
from shoptalk.objective import Objective, Spec, Targets
from shoptalk.objectives import OBJECTIVES
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise
from tests.tiny import tiny_product


@dataclass(frozen=True)
class ToyWorld:
    """One objective, built on a fresh tiny product, with the toy corpus collated for it."""

    spec: Spec
    product: Product
    corpus: Corpus
    tokens: Tokenised
    targets: Targets | None
    data: Sequence[int]
    collate: Callable[..., Any]
    objective: Objective[Any]


def toy_world(spec: Spec, *, corpus: Corpus | None = None) -> ToyWorld:
    product = tiny_product()
    corpus = corpus if corpus is not None else toy_corpus()
    tokens = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
    targets = spec.prepare(corpus, product)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        objective = spec.build(product)
    return ToyWorld(
        spec=spec,
        product=product,
        corpus=corpus,
        tokens=tokens,
        targets=targets,
        data=spec.examples(corpus),
        collate=spec.collate(corpus, tokens, product, targets),
        objective=objective,
    )


def small_spec(name: str) -> Spec:
    return OBJECTIVES[name](batch=8)  # type: ignore[call-arg]
