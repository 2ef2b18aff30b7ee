import json
from pathlib import Path

import numpy as np
import pytest

from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.objective import Key
from shoptalk.objectives import spec_for
from shoptalk.objectives.contrastive.turns import TurnsSpec
from shoptalk.text.corpus import Corpus
from tests.tiny import tiny_product
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
REPLIES = [1, 2, 4, 6, 8, 10]


def fair(i: int, j: int, *, turns: int) -> bool:
    """Whether reply j is a fair negative of the context of reply i, by going through the rules one by one."""
    (conversation, _, context), (_, _, reply) = ROWS[i - 1], ROWS[i]
    (other, _, other_context), (_, _, other_reply) = ROWS[j - 1], ROWS[j]
    if conversation == other or (turns == 1 and context == other_context):
        return False
    return other_reply not in (reply, context)


def written(i: int, turns: int) -> str:
    """The context of reply i, newest turn first, by hand."""
    conversation = ROWS[i][0]
    return " ".join(text for owner, _, text in ROWS[i - 1 :: -1][:turns] if owner == conversation)


def one_direction(queries: np.ndarray, keys: np.ndarray, fair: np.ndarray, temperature: float) -> float:
    """ConveRT's response selection: softmax cross-entropy over the true reply and the fair negatives."""
    losses = []
    for i, query in enumerate(queries.astype(np.float64)):
        scores = np.exp(keys.astype(np.float64) @ query / temperature)
        allowed = [j for j in range(len(keys)) if j == i or fair[i, j]]
        losses.append(-np.log(scores[i] / scores[allowed].sum()))
    return float(np.mean(losses))


def test_only_turns_that_answer_another_are_examples():
    assert list(TurnsSpec().examples(CORPUS)) == REPLIES


def test_a_corpus_without_conversations_has_no_examples():
    passages = Corpus(CORPUS.texts, CORPUS.conversation, np.full(len(ROWS), -1), "x")
    assert list(TurnsSpec().examples(passages)) == []


@pytest.mark.parametrize("turns", [1, 3])
def test_the_same_conversation_and_the_same_words_are_no_negatives(turns: int):
    world = toy_world(TurnsSpec(context_turns=turns, near=0), corpus=CORPUS)
    examples = [6, 1, 10, 4, 2, 8]
    related = world.collate(examples, Key(0, 0)).related
    for a, i in enumerate(examples):
        for b, j in enumerate(examples):
            assert bool(related[a, b]) == (not fair(i, j, turns=turns)), (ROWS[i], ROWS[j])
    assert not related.all()


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("turns", [1, 3])
def test_the_loss_is_the_mean_of_both_directions_over_fair_negatives(temperature: float, turns: int):
    spec = TurnsSpec(temperature=temperature, context_turns=turns, near=0, query="help ", reply="card ")
    world = toy_world(spec, corpus=CORPUS)
    loss = world.objective.eval()(world.collate(REPLIES, Key(0, 0)))
    contexts = embed(world.product, ["help " + written(i, turns) for i in REPLIES])
    replies = embed(world.product, ["card " + ROWS[i][2] for i in REPLIES])
    allowed = np.array([[fair(i, j, turns=turns) for j in REPLIES] for i in REPLIES])
    forwards = one_direction(contexts, replies, allowed, temperature)
    backwards = one_direction(replies, contexts, allowed.T, temperature)
    assert loss.terms["context_to_reply"].item() == pytest.approx(forwards, rel=1e-3)
    assert loss.terms["reply_to_context"].item() == pytest.approx(backwards, rel=1e-3)
    assert loss.total.item() == pytest.approx((forwards + backwards) / 2, rel=1e-3)
    assert forwards != pytest.approx(backwards, rel=1e-6)


def test_without_anything_related_every_other_reply_is_a_negative():
    world = toy_world(TurnsSpec(temperature=0.5, context_turns=1, near=0, query="", reply=""))
    examples = list(range(1, 96, 4))  # one pair of each conversation
    batch = world.collate(examples, Key(0, 0))
    assert batch.related.sum() == len(examples)  # each its own
    contexts = embed(world.product, [world.corpus.texts[i - 1] for i in examples])
    replies = embed(world.product, [world.corpus.texts[i] for i in examples])
    everything = np.ones((len(examples), len(examples)), dtype=bool)
    expected = (
        one_direction(contexts, replies, everything, 0.5) + one_direction(replies, contexts, everything, 0.5)
    ) / 2
    assert world.objective.eval()(batch).total.item() == pytest.approx(expected, rel=1e-3)


def test_near_replies_are_those_of_other_conversations_that_are_not_nearly_equal():
    spec = TurnsSpec(near=0.5, near_equal=0.9)
    world = toy_world(spec)
    assert world.targets is not None
    positions = list(spec.examples(world.corpus))
    vectors = embed(tiny_product(), [world.corpus.texts[i] for i in positions])
    near = world.targets["near"]
    assert near.shape[0] == len(positions)
    for example, row in enumerate(near):
        order = sorted((j for j in range(len(positions)) if j != example), key=lambda j: -vectors[j] @ vectors[example])
        expected = [
            j
            for j in order[: near.shape[1]]
            if world.corpus.conversation[positions[j]] != world.corpus.conversation[positions[example]]
            and vectors[j] @ vectors[example] < 0.9
        ]
        assert [j for j in row.tolist() if j >= 0] == expected


def test_a_batch_with_hard_negatives_keeps_its_size_and_holds_near_replies_of_its_own_examples():
    spec = TurnsSpec(near=0.5, near_equal=1.0)
    world = toy_world(spec)
    assert world.targets is not None
    positions = list(spec.examples(world.corpus))
    examples = positions[::9]
    batch = world.collate(examples, Key(0, 3))
    kept = examples[: len(examples) - round(0.5 * len(examples))]
    near = {positions[j] for i in kept for j in world.targets["near"][positions.index(i)].tolist() if j >= 0}
    words = world.corpus.texts
    fresh = world.product.batch([world.tokens[i] for i in sorted(near)])
    assert batch.related.shape == (len(examples), len(examples))
    assert len(fresh.groups) and batch.tokens > 0
    again = world.collate(examples, Key(0, 3))
    assert (again.related == batch.related).all() and again.tokens == batch.tokens
    assert {words[i] for i in kept}  # the first half stays


def test_a_sum_with_turns_saves_its_prompts_and_the_turns_of_a_context(tmp_path: Path):
    settings = {"turns": {"query": "q: ", "reply": "r: ", "context_turns": 4}}
    for name in ("turns", "0.3*mlm+turns", "turns+0.3*mlm"):
        objective = toy_world(spec_for(name, settings)).objective
        objective.product.save(tmp_path / name, card="")
        config = json.loads((tmp_path / name / "config_sentence_transformers.json").read_text())
        assert config["prompts"] == {"query": "q: ", "reply": "r: "}
        product = open_base(str(tmp_path / name))
        assert (dict(product.prompts), product.context_turns) == ({"query": "q: ", "reply": "r: "}, 4)
        named = product.embed(["hello card"], prompt="query")
        assert np.allclose(named, product.embed(["q: hello card"]), atol=1e-6)


def test_sentence_transformers_gives_equal_vectors_under_the_saved_prompt(tmp_path: Path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    objective = toy_world(TurnsSpec(query="help ", reply="card ")).objective
    objective.product.save(tmp_path, card="")
    texts = ["hello card", "where is my order"]
    model = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    for name in ("query", "reply"):
        theirs = model.encode(texts, prompt_name=name)
        assert np.allclose(theirs, open_base(str(tmp_path)).embed(texts, prompt=name), atol=1e-5)
    assert not np.allclose(model.encode(texts, prompt_name="query"), model.encode(texts, prompt_name="reply"))
