import math

import numpy as np
import pytest
import torch

from shoptalk.objective import Key
from shoptalk.objectives.masked.bow import BagBatch, BowSpec, weights_of
from shoptalk.text.tokens import Tokenised
from tests.toyworld import toy_world


def test_a_tokens_weight_falls_with_its_share_of_the_corpus():
    flat = np.array([0] * 5 + [1] * 999 + [2], dtype=np.int64)  # 0 is special
    weights = weights_of(Tokenised(flat, np.array([0, len(flat)])), np.array([False, True, True, True]))
    assert weights[1:].tolist() == pytest.approx([0.001 / (0.001 + 0.999), 0.5, 1.0])


def test_the_loss_is_the_weighted_cross_entropy_of_each_texts_distinct_words():
    world = toy_world(BowSpec())
    objective, examples = world.objective.eval(), list(range(12))
    with torch.no_grad():
        objective.output.bias.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr, operator]
    batch: BagBatch = world.collate(examples, Key(0, 1))
    p = {name: value.detach().numpy().astype(np.float64) for name, value in objective.named_parameters()}
    with torch.no_grad():
        vectors = objective.encoder(batch.texts).numpy().astype(np.float64)  # type: ignore[operator]
    special = set(world.product.tokenizer.all_special_ids) - {world.product.tokenizer.unk_token_id}
    everything = [t for i in range(len(world.tokens)) for t in world.tokens[i].tolist() if t not in special]
    losses = []
    for i, vector in zip(examples, vectors, strict=True):
        scores = p["output.weight"] @ (vector * math.sqrt(len(vector)) / 10) + p["output.bias"]
        logs = scores - math.log(np.exp(scores).sum())
        bag = set(world.tokens[i].tolist()) - special
        rarity = {w: 0.001 / (0.001 + everything.count(w) / len(everything)) for w in bag}
        losses.append(-sum(rarity[w] * logs[w] for w in bag) / sum(rarity.values()))
    loss = objective(batch)
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert loss.terms["bits"].item() == pytest.approx(np.mean(losses) / math.log(2), rel=1e-4)


def test_the_encoder_misses_words_that_the_vector_must_tell():
    world = toy_world(BowSpec(deletion=0.5))
    examples = list(range(40))
    batch: BagBatch = world.collate(examples, Key(0, 3))
    whole = sum(len(world.tokens[i]) for i in examples)
    assert batch.tokens < 0.8 * whole
    for place, i in enumerate(examples):
        assert set(batch.words[batch.owners == place].tolist()) <= set(world.tokens[i].tolist())
        assert batch.weights[batch.owners == place].sum().item() == pytest.approx(1, abs=1e-5)


def test_missing_words_are_its_only_noise():
    world = toy_world(BowSpec())
    batch: BagBatch = world.collate(list(range(8)), Key(0, 1))
    objective = world.objective.train()
    assert objective(batch).total.item() == objective(batch).total.item()
    assert all(part.training for part in objective.modules())


def test_texts_without_words_have_nothing_to_tell():
    world = toy_world(BowSpec())
    none = torch.zeros(0, dtype=torch.int64)
    batch = BagBatch(
        texts=world.product.batch([np.array([2]), np.array([], dtype=np.int64)]),
        words=none,
        owners=none,
        weights=torch.zeros(0),
    )
    assert world.objective(batch).total.item() == 0
