import math

import numpy as np
import pytest
import torch

from shoptalk.objective import Key
from shoptalk.objectives.masked.nsp import JudgedBatch, NspSpec, choose
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.corpus import Corpus
from tests.toyworld import ToyWorld, toy_world

CLS, SEP = 2, 3


def rows_of(batch: JudgedBatch) -> list[list[int]]:
    """Each pair's token ids, in the batch's order."""
    found = {}
    for group in batch.texts.groups:
        for i, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            found[i] = group.ids.flatten()[begin : begin + length].tolist()
    return [found[i] for i in range(batch.texts.n)]


def judged_loss(world: ToyWorld, rows: list[list[int]], labels: list[bool]) -> tuple[float, float]:
    """Devlin et al. 2019, task 2: softmax over (no, yes) of a dense tanh layer, text by text; and the accuracy."""
    objective = world.objective
    head = {name: value.detach().numpy().astype(np.float64) for name, value in objective.head.named_parameters()}  # type: ignore[union-attr, operator]
    losses, right = [], []
    for row, label in zip(rows, labels, strict=True):
        with torch.no_grad():
            hidden = world.product.network.backbone(input_ids=torch.tensor([row])).last_hidden_state[0].numpy()  # type: ignore[operator]
        vector = hidden.astype(np.float64).mean(0)
        vector *= math.sqrt(len(vector)) / np.linalg.norm(vector)
        inner = np.tanh(head["dense.weight"] @ vector + head["dense.bias"])
        scores = np.array([0.0, (head["score.weight"] @ inner + head["score.bias"])[0]])
        probabilities = np.exp(scores) / np.exp(scores).sum()
        losses.append(-math.log(probabilities[int(label)]))
        right.append(probabilities.argmax() == int(label))
    return float(np.mean(losses)), float(np.mean(right))


def test_the_loss_is_the_mean_cross_entropy_of_the_judgements():
    world = toy_world(NspSpec())
    objective = world.objective.eval()
    batch = world.collate(list(world.data[:40]), Key(0, 2))
    loss = objective(batch)
    expected, accuracy = judged_loss(world, rows_of(batch), batch.follows.tolist())
    assert loss.total.item() == pytest.approx(expected, rel=1e-4)
    assert loss.terms["accuracy"].item() == pytest.approx(accuracy)
    assert 0.2 < batch.follows.float().mean() < 0.8


def test_a_pair_is_a_turn_and_what_followed_or_a_reply_of_another_conversation():
    world = toy_world(NspSpec())
    examples = list(world.data)
    texts = {tuple(world.tokens[i].tolist()[1:-1]): i for i in range(len(world.corpus))}
    batch = world.collate(examples, Key(0, 0))
    for example, row, follows in zip(examples, rows_of(batch), batch.follows.tolist(), strict=True):
        middle = row.index(SEP)
        assert (row[0], row[-1]) == (CLS, SEP)
        first, second = texts[tuple(row[1:middle])], texts[tuple(row[middle + 1 : -1])]
        assert first == example
        if follows:
            assert second == first + 1
        else:
            assert world.corpus.conversation[second] != world.corpus.conversation[first]
            assert world.corpus.turn[second] > 0


def test_half_of_the_pairs_are_true_ones():
    corpus = toy_corpus(conversations=60)
    contexts = corpus.contexts().numbers
    shares = [choose(corpus, contexts, contexts.astype(np.int64), Key(5, step))[1].mean() for step in range(50)]
    # 50 times 180 fair coins: the standard error is 0.0053.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.022)


def test_a_pair_does_not_depend_on_the_batch_it_is_in():
    corpus = toy_corpus()
    contexts = corpus.contexts().numbers
    together = choose(corpus, contexts, np.arange(0, 40, 4), Key(1, 7))
    alone = choose(corpus, contexts, np.array([12]), Key(1, 7))
    assert (together[0][3], together[1][3]) == (alone[0][0], alone[1][0])
    other = choose(corpus, contexts, np.arange(0, 40, 4), Key(1, 8))
    assert not np.array_equal(together[0], other[0])


def test_the_true_replys_words_are_never_a_wrong_reply():
    texts = ("where is it", "thanks", "is it open", "thanks", "one more", "thanks", "cancel that", "done")
    corpus = Corpus(texts, np.repeat(np.arange(4), 2), np.tile(np.arange(2), 4), "x")
    contexts = corpus.contexts().numbers
    for step in range(40):
        seconds, follows = choose(corpus, contexts, np.array([0, 2, 4, 6]), Key(0, step))
        assert [texts[i] == "done" for i in seconds[:3]] == [not one for one in follows[:3]]
        assert follows[3] == (seconds[3] == 7)


@pytest.mark.parametrize("turn", [-1, 0])
def test_passages_and_a_single_conversation_have_no_examples(turn: int):
    n = 6
    if turn == -1:
        corpus = Corpus(tuple("abcdef"), np.repeat([0, 1], 3), np.full(n, -1), "x")
    else:
        corpus = Corpus(tuple("abcdef"), np.zeros(n, dtype=int), np.arange(n), "x")
    assert len(NspSpec().examples(corpus)) == 0
