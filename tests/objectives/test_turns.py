import numpy as np
import pytest

from shoptalk.nn.encoder import embed
from shoptalk.objective import Key
from shoptalk.objectives.contrastive.turns import TurnsSpec
from shoptalk.text.corpus import Corpus
from tests.toyworld import toy_world

# Conversation, turn, text. "thanks" answers two conversations; "hello" opens two; "no" is a reply in one conversation
# and a context in another.
ROWS = [
    (0, 0, "hello"),
    (0, 1, "how can i help"),
    (0, 2, "cancel my order please"),
    (1, 0, "where is my card"),
    (1, 1, "thanks"),
    (2, 0, "i want a refund"),
    (2, 1, "thanks"),
    (3, 0, "hello"),
    (3, 1, "no"),
    (4, 0, "no"),
    (4, 1, "what time is it"),
    (5, -1, "an order can be returned"),
    (5, -1, "within the month"),
]
CORPUS = Corpus(
    items=tuple(text for _, _, text in ROWS),
    conversation=np.array([conversation for conversation, _, _ in ROWS]),
    turn=np.array([turn for _, turn, _ in ROWS]),
    digest="rows",
)


def fair(i: int, j: int) -> bool:
    """Whether the reply of context j is a fair negative of context i, by going through the rules one by one."""
    (conversation, _, context), (_, _, reply) = ROWS[i], ROWS[i + 1]
    (other, _, other_context), (_, _, other_reply) = ROWS[j], ROWS[j + 1]
    if conversation == other:
        return False
    return context != other_context and other_reply not in (reply, context)


def one_direction(queries: np.ndarray, keys: np.ndarray, fair: np.ndarray, temperature: float) -> float:
    """ConveRT's response selection: softmax cross-entropy over the true reply and the fair negatives."""
    losses = []
    for i, query in enumerate(queries.astype(np.float64)):
        scores = np.exp(keys.astype(np.float64) @ query / temperature)
        allowed = [j for j in range(len(keys)) if j == i or fair[i, j]]
        losses.append(-np.log(scores[i] / scores[allowed].sum()))
    return float(np.mean(losses))


def test_only_contexts_with_a_reply_are_examples():
    assert list(TurnsSpec().examples(CORPUS)) == [0, 1, 3, 5, 7, 9]


def test_a_corpus_without_conversations_has_no_examples():
    passages = Corpus(CORPUS.texts, CORPUS.conversation, np.full(len(ROWS), -1), "x")
    assert list(TurnsSpec().examples(passages)) == []


def test_the_same_conversation_and_the_same_words_are_no_negatives():
    world = toy_world(TurnsSpec(), corpus=CORPUS)
    examples = [5, 0, 9, 3, 1, 7]
    related = world.collate(examples, Key(0, 0)).related
    for a, i in enumerate(examples):
        for b, j in enumerate(examples):
            assert bool(related[a, b]) == (not fair(i, j)), (ROWS[i], ROWS[j + 1])
    assert not related.all()


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_loss_is_the_mean_of_both_directions_over_fair_negatives(temperature: float):
    world = toy_world(TurnsSpec(temperature=temperature), corpus=CORPUS)
    examples = [0, 1, 3, 5, 7, 9]
    loss = world.objective.eval()(world.collate(examples, Key(0, 0)))
    contexts = embed(world.product, [CORPUS.texts[i] for i in examples])
    replies = embed(world.product, [CORPUS.texts[i + 1] for i in examples])
    allowed = np.array([[fair(i, j) for j in examples] for i in examples])
    forwards = one_direction(contexts, replies, allowed, temperature)
    backwards = one_direction(replies, contexts, allowed.T, temperature)
    assert loss.terms["context_to_reply"].item() == pytest.approx(forwards, rel=1e-3)
    assert loss.terms["reply_to_context"].item() == pytest.approx(backwards, rel=1e-3)
    assert loss.total.item() == pytest.approx((forwards + backwards) / 2, rel=1e-3)
    assert forwards != pytest.approx(backwards, rel=1e-3)


def test_without_anything_related_every_other_reply_is_a_negative():
    world = toy_world(TurnsSpec(temperature=0.5))
    examples = list(range(0, 96, 4))  # one pair of each conversation
    batch = world.collate(examples, Key(0, 0))
    assert batch.related.sum() == len(examples)  # each its own
    contexts = embed(world.product, [world.corpus.texts[i] for i in examples])
    replies = embed(world.product, [world.corpus.texts[i + 1] for i in examples])
    everything = np.ones((len(examples), len(examples)), dtype=bool)
    expected = (
        one_direction(contexts, replies, everything, 0.5) + one_direction(replies, contexts, everything, 0.5)
    ) / 2
    assert world.objective.eval()(batch).total.item() == pytest.approx(expected, rel=1e-3)
