from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import embed
from shoptalk.objective import Key, Material
from shoptalk.objectives.supervised import LabelledBatch
from shoptalk.objectives.supervised.setfit import SetfitSpec
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.tokens import tokenise
from tests.tiny import tiny_product

CORPUS = toy_corpus(conversations=6)
N = len(CORPUS)
PRODUCT = tiny_product()
TOKENS = tokenise(PRODUCT.tokenizer, CORPUS.texts, max_length=64)
ONE_HOT = np.eye(6, dtype=np.float32)[CORPUS.conversation]


def loss_by_hand(vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray, temperature: float) -> float:
    """Khosla et al. 2020, equation 2, with shares of labels in the place of the set of positives."""
    total = weight = 0.0
    for i in range(len(vectors)):
        others = [j for j in range(len(vectors)) if j != i]
        shared = {j: sum(a * b for a, b in zip(targets[i], targets[j], strict=True)) for j in others}
        if not sum(shared.values()):
            continue
        normaliser = sum(np.exp(vectors[i] @ vectors[j] / temperature) for j in others)
        loss = 0.0
        for j in others:
            loss -= (
                shared[j] / sum(shared.values()) * np.log(np.exp(vectors[i] @ vectors[j] / temperature) / normaliser)
            )
        total, weight = total + weights[i] * loss, weight + weights[i]
    return total / weight


@pytest.mark.parametrize("kind", ["one-hot", "soft", "multi-label"])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_the_papers_supervised_contrastive_one(kind: str, temperature: float):
    rng = np.random.default_rng(2)
    targets = {
        "one-hot": ONE_HOT,
        "soft": rng.dirichlet(np.ones(4), N).astype(np.float32),
        "multi-label": (rng.random((N, 4)) < 0.3).astype(np.float32),
    }[kind]
    weights = rng.random(N).astype(np.float32)
    spec = SetfitSpec(temperature=temperature)
    collate = spec.collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": targets, "weights": weights}))
    batch = collate([2, 9, 4, 17, 20], Key(0, 0))
    chosen = chosen_of(batch)
    vectors = embed(PRODUCT, [CORPUS.texts[i] for i in chosen]).astype(np.float64)
    expected = loss_by_hand(
        vectors, targets[chosen].astype(np.float64), weights[chosen].astype(np.float64), temperature
    )
    assert spec.build(PRODUCT).eval()(batch).total.item() == pytest.approx(expected, rel=1e-4)


def chosen_of(batch: LabelledBatch) -> list[int]:
    """Which texts a batch holds, in its order, found by their tokens."""
    rows: dict[int, tuple[int, ...]] = {}
    for group in batch.texts.groups:
        for i, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            rows[i] = tuple(group.ids.flatten()[begin : begin + length].tolist())
    known = {tuple(TOKENS[i].tolist()): i for i in range(N)}
    assert len(known) == N
    return [known[rows[i]] for i in range(len(rows))]


@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True), st.integers(0, 9), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_every_example_brings_another_text_with_its_label(examples: list[int], step: int, seed: int):
    batch = SetfitSpec().collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": ONE_HOT}))(examples, Key(seed, step))
    chosen = chosen_of(batch)
    assert chosen[: len(examples)] == examples
    for example, partner in zip(examples, chosen[len(examples) :], strict=True):
        assert partner != example
        assert CORPUS.conversation[partner] == CORPUS.conversation[example]
    assert np.array_equal(batch.targets.numpy(), ONE_HOT[chosen])


def test_a_partner_is_a_function_of_seed_step_and_example_alone():
    collate = SetfitSpec().collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": ONE_HOT}))
    together, alone = collate([3, 8, 14], Key(1, 4)), collate([8], Key(1, 4))
    assert chosen_of(together)[4] == chosen_of(alone)[1]
    partners = {chosen_of(collate([8], Key(1, step)))[1] for step in range(30)}
    assert partners == {i for i in range(N) if CORPUS.conversation[i] == CORPUS.conversation[8]} - {8}


def test_partners_are_drawn_by_their_share_of_the_drawn_label():
    targets = np.zeros((N, 2), dtype=np.float32)
    targets[0] = [0.5, 0.5]
    targets[1], targets[2], targets[3] = [1, 0], [0, 0.25], [0, 0.75]
    collate = SetfitSpec().collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": targets}))
    found = Counter(chosen_of(collate([0], Key(0, step)))[1] for step in range(1_000))
    assert set(found) == {1, 2, 3}
    for partner, chance in ((1, 0.5), (2, 0.125), (3, 0.375)):
        assert found[partner] / 1_000 == pytest.approx(chance, abs=0.06)


def test_a_text_that_is_alone_with_its_label_is_its_own_partner_under_another_dropout_mask():
    targets = np.eye(N, dtype=np.float32)
    spec = SetfitSpec()
    batch = spec.collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": targets}))([4, 7], Key(0, 0))
    assert chosen_of(batch) == [4, 7, 4, 7]
    objective = spec.build(tiny_product())
    assert objective.train()(batch).total.item() != objective.eval()(batch).total.item() > 0


def test_texts_without_any_label_repel_the_others_and_have_no_loss_of_their_own():
    targets = ONE_HOT.copy()
    targets[20:] = 0
    spec = SetfitSpec()
    collate, objective = (
        spec.collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": targets})),
        spec.build(tiny_product()).eval(),
    )
    with_one, without = objective(collate([0, 1, 20], Key(0, 0))), objective(collate([0, 1], Key(0, 0)))
    assert with_one.total.item() > without.total.item()
    nothing = objective(collate([20, 21], Key(0, 0)))
    assert nothing.total.item() == 0
    nothing.total.backward()
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


@given(st.permutations(range(6)))
@settings(max_examples=10, deadline=None)
def test_the_names_of_the_classes_do_not_matter(order: list[int]):
    spec = SetfitSpec()
    objective = spec.build(tiny_product()).eval()
    batch = spec.collate(Material(CORPUS, PRODUCT, TOKENS, {"targets": ONE_HOT}))([0, 5, 9], Key(0, 0))
    permuted = replace(batch, targets=batch.targets[:, list(order)])
    assert objective(batch).total.item() == pytest.approx(objective(permuted).total.item(), rel=1e-6)


def test_without_labels_it_says_that_it_needs_them():
    assert SetfitSpec().prepare(CORPUS, PRODUCT) is None
    with pytest.raises(ConfigError, match=r"'setfit' learns from labels.*Use `shoptalk finetune"):
        SetfitSpec().collate(Material(CORPUS, PRODUCT, TOKENS, None))
