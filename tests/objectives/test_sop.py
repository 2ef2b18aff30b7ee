import numpy as np
import pytest

from shoptalk.objective import Key
from shoptalk.objectives.masked.sop import OrderBatch, SopSpec
from shoptalk.text.corpus import Corpus
from tests.objectives.test_nsp import judged_loss, rows_of
from tests.toyworld import toy_world

CLS, SEP = 2, 3


def test_the_loss_is_the_mean_cross_entropy_of_the_judgements():
    world = toy_world(SopSpec())
    objective = world.objective.eval()
    batch = world.collate(list(world.data[:40]), Key(0, 2))
    loss = objective(batch)
    expected, accuracy = judged_loss(world, rows_of(batch), batch.ordered.tolist())
    assert loss.total.item() == pytest.approx(expected, rel=1e-4)
    assert loss.terms["accuracy"].item() == pytest.approx(accuracy)


def test_a_pair_is_two_consecutive_turns_in_order_or_swapped():
    world = toy_world(SopSpec())
    examples, shares = list(world.data), []
    for step in range(20):
        batch: OrderBatch = world.collate(examples, Key(0, step))
        for example, row, ordered in zip(examples, rows_of(batch), batch.ordered.tolist(), strict=True):
            parts = [world.tokens[example + place].tolist()[1:-1] for place in (0, 1)]
            first, second = parts if ordered else reversed(parts)
            assert row == [CLS, *first, SEP, *second, SEP]
        shares.append(batch.ordered.float().mean().item())
    # 20 times 72 fair coins: the standard error is 0.013.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.055)
    assert len(set(shares)) > 3


def test_the_order_of_a_pair_does_not_depend_on_the_batch_it_is_in():
    world = toy_world(SopSpec())
    together = world.collate(list(world.data[:20]), Key(3, 1)).ordered
    alone = [world.collate([example], Key(3, 1)).ordered.item() for example in world.data[:20]]
    assert together.tolist() == alone


def test_turns_of_the_same_words_and_passages_are_no_examples():
    texts = ("ok", "ok", "and then", "first part", "second part")
    corpus = Corpus(texts, np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, -1, -1]), "x")
    assert list(SopSpec().examples(corpus)) == [1]
