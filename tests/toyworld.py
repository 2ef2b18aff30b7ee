"""Everything a training of one objective needs, on the toy: for tests of objectives and of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shoptalk.nn.encoder import TextEncoder
from shoptalk.objective import Material, Objective, Spec, Targets
from shoptalk.objectives import spec_for
from shoptalk.objectives.recipe import PhaseRecipe
from shoptalk.objectives.toy import toy_corpus, toy_labels
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise
from tests.tiny import tiny_product


@dataclass(frozen=True)
class ToyWorld:
    """One objective, built on a fresh tiny product, with the toy corpus collated for it."""

    spec: Spec
    product: TextEncoder
    corpus: Corpus
    tokens: Tokenised
    targets: Targets | None
    data: Sequence[int]
    collate: Callable[..., Any]
    objective: Objective[Any, Any]


def toy_world(spec: Spec, *, corpus: Corpus | None = None) -> ToyWorld:
    product = tiny_product()
    corpus = corpus if corpus is not None else toy_corpus()
    tokens = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
    targets = toy_labels(corpus) if spec.supervised else spec.prepare(corpus, product)
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
        collate=spec.collate(Material(corpus, product, tokens, targets)),
        objective=objective,
    )


MIXTURE = "0.3*mlm+neighbours+byol_text"
"""Parts of every kind: one that reads the whole vocabulary, one with targets, one with a teacher."""


def small_spec(name: str, batch: int = 8) -> Spec:
    return spec_for(name, {part: {"batch": batch} for part in PhaseRecipe.parse(name).weights})
