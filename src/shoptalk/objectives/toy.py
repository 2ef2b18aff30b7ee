"""A toy to run any objective on by itself: random weights, a few made-up conversations, a few dozen steps."""

import sys

import numpy as np
import torch

from shoptalk.nn.toy import WORDS, tiny_product
from shoptalk.objective import Key, Spec
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import tokenise


def toy_corpus(conversations: int = 24, turns: int = 4, *, seed: int = 0) -> Corpus:
    """Conversations whose turns share a topic word, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(conversations):
        topic = list(rng.choice(WORDS, 3, replace=False))
        texts += [" ".join([*topic, *rng.choice(WORDS, rng.integers(2, 8))]) for _ in range(turns)]
    return Corpus(
        texts=tuple(texts),
        conversation=np.repeat(np.arange(conversations), turns),
        turn=np.tile(np.arange(turns), conversations),
        digest=f"toy-{conversations}-{turns}-{seed}",
    )


def run(spec: Spec, *, steps: int = 40) -> list[float]:
    """Train on the toy and print the loss; returns the losses."""
    torch.manual_seed(0)
    product, corpus = tiny_product(), toy_corpus()
    tokens = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
    data = spec.examples(corpus)
    collate = spec.collate(corpus, tokens, product, spec.prepare(corpus, product))
    objective = spec.build(product).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=2e-3)
    losses = []
    for step in range(steps):
        chosen = np.random.default_rng([0, step]).choice(len(data), min(spec.batch, len(data)), replace=False)
        loss = objective(collate([data[i] for i in chosen], Key(seed=0, step=step)))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
        if step % 10 == 0 or step == steps - 1:
            sys.stdout.write(f"step {step:3d}  loss {losses[-1]:.4f}\n")
    return losses
