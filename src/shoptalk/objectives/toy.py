"""A toy to run any objective on by itself: random weights, a few made-up conversations, a few dozen steps."""

import sys

import numpy as np
import torch

from shoptalk.nn.tiny import WORDS, tiny_product
from shoptalk.objective import Key, Material, Spec, Targets
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
        items=tuple(texts),
        conversation=np.repeat(np.arange(conversations), turns),
        turn=np.tile(np.arange(turns), conversations),
        digest=f"toy-{conversations}-{turns}-{seed}",
    )


def toy_dialogues(conversations: int = 64, *, seed: int = 0) -> Corpus:
    """A greeting and a thank-you each, about one of two things: easy to put in order and to tell apart."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(conversations):
        topic = ("card", "ticket")[number % 2]
        texts += [f"{word} {topic} {topic} {topic} {rng.choice(WORDS)}" for word in ("hello", "thanks")]
    return Corpus(
        items=tuple(texts),
        conversation=np.repeat(np.arange(conversations), 2),
        turn=np.tile(np.arange(2), conversations),
        digest=f"dialogues-{conversations}-{seed}",
    )


def toy_labels(corpus: Corpus) -> Targets:
    """Every other conversation's texts have another label; one-hot targets [N, 2]."""
    return {"targets": np.eye(2, dtype=np.float32)[corpus.conversation % 2]}


def run(spec: Spec, *, steps: int = 40, corpus: Corpus | None = None) -> list[float]:
    """Train on the toy (`toy_corpus`, unless another is given) and print the loss five times; returns the losses."""
    torch.manual_seed(0)
    product, corpus = tiny_product(), corpus or toy_corpus()
    tokens = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
    data = spec.examples(corpus)
    targets = toy_labels(corpus) if spec.supervised else spec.prepare(corpus, product)
    collate = spec.collate(Material(corpus, product, tokens, targets))
    objective = spec.build(product).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=2e-3)
    losses = []
    for step in range(steps):
        chosen = np.random.default_rng([0, step]).choice(len(data), min(spec.batch, len(data)), replace=False)
        loss = objective(collate([data[i] for i in chosen], Key(seed=0, step=step)))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        with torch.no_grad():
            objective.after_step((step + 1) / steps, loss.outputs)
        losses.append(loss.total.item())
        if step % (steps // 4) == 0 or step == steps - 1:
            sys.stdout.write(f"step {step:3d}  loss {losses[-1]:.4f}\n")
    return losses
