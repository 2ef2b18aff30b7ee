import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.pool import smooth
from shoptalk.objective import Key
from shoptalk.objectives.distillation.neighbours import NeighboursSpec
from shoptalk.objectives.toy import toy_corpus
from tests.toyworld import ToyWorld, toy_world

WORLD = toy_world(NeighboursSpec(k=3))


def distribution(vectors: np.ndarray, i: int, temperature: float) -> np.ndarray:
    scores = np.array([np.exp(vectors[i] @ other / temperature) for other in vectors])
    scores[i] = 0
    return scores / scores.sum()


@pytest.mark.parametrize(("temperature", "weight"), [(0.05, 5.0), (0.5, 0.0), (0.5, 5.0)])
def test_the_loss_is_kl_divergence_plus_weighted_cosine_distance(temperature: float, weight: float):
    spec = NeighboursSpec(k=3, temperature=temperature, cosine_weight=weight)
    world = toy_world(spec)
    assert world.targets is not None
    batch = world.collate(list(range(20)), Key(0, 0))
    loss = world.objective.eval()(batch)
    targets = batch.targets.numpy().astype(np.float64)
    chosen = [int(np.abs(world.targets["targets"] - target).sum(1).argmin()) for target in batch.targets.numpy()]
    students = embed(world.product, [world.corpus.texts[i] for i in chosen]).astype(np.float64)
    n = len(chosen)
    kl = 0.0
    for i in range(n):
        p, q = distribution(targets, i, temperature), distribution(students, i, temperature)
        kl += sum(p[j] * np.log(p[j] / q[j]) for j in range(n) if j != i) / n
    distance = np.mean([1 - student @ target for student, target in zip(students, targets, strict=True)])
    assert loss.terms["kl"].item() == pytest.approx(kl, rel=1e-3, abs=1e-5)
    assert loss.terms["cosine_distance"].item() == pytest.approx(distance, rel=1e-3, abs=1e-5)
    assert loss.total.item() == pytest.approx(kl + weight * distance, rel=1e-3, abs=1e-5)


def test_a_student_that_is_its_target_has_nothing_to_learn():
    batch = WORLD.collate(list(range(8)), Key(0, 0))
    texts = batch.texts
    vectors = WORLD.objective.eval().encoder(texts).detach()  # type: ignore[operator]
    loss = WORLD.objective(type(batch)(texts=texts, targets=vectors))
    assert loss.total.item() == pytest.approx(0, abs=1e-5)


@given(st.integers(1, 8), st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_smooth_adds_the_mean_of_the_neighbours_and_normalises(n: int, m: int, k: int, seed: int):
    rng = np.random.default_rng(seed)
    own, corpus = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
    positions = rng.integers(0, m, (n, k))
    found = smooth(own, corpus, positions)
    for i in range(n):
        moved = own[i] + sum(corpus[j] for j in positions[i]) / k
        assert_allclose(found[i], moved / np.linalg.norm(moved))


def test_smooth_works_in_blocks_and_leaves_its_input_alone():
    rng = np.random.default_rng(0)
    own, positions = rng.normal(size=(9_000, 2)), rng.integers(0, 9_000, (9_000, 2))
    before = own.copy()
    found = smooth(own, own, positions)
    assert np.array_equal(own, before)
    moved = own + (own[positions[:, 0]] + own[positions[:, 1]]) / 2
    assert_allclose(found, moved / np.linalg.norm(moved, axis=1, keepdims=True))


def test_the_targets_come_from_each_texts_nearest_others():
    assert WORLD.targets is not None
    fresh = embed(toy_world(NeighboursSpec(k=3)).product, WORLD.corpus.texts)
    assert_allclose(WORLD.targets["vectors"], fresh, atol=1e-6)
    similarities = fresh.astype(np.float64) @ fresh.T
    np.fill_diagonal(similarities, -np.inf)
    for i, found in enumerate(WORLD.targets["neighbours"]):
        best = np.sort(similarities[i])[::-1][:3]
        assert i not in found
        assert_allclose(np.sort(similarities[i, found])[::-1], best, atol=1e-6)
    assert_allclose(WORLD.targets["targets"], smooth(fresh, fresh, WORLD.targets["neighbours"]), atol=1e-6)


def chosen_of(world: ToyWorld, examples: list[int], key: Key) -> list[int]:
    """Which texts a batch holds, in its order, found by their tokens."""
    batch = world.collate(examples, key)
    rows: dict[int, tuple[int, ...]] = {}
    for group in batch.texts.groups:
        for i, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            rows[i] = tuple(group.ids.flatten()[begin : begin + length].tolist())
    known = {tuple(world.tokens[i].tolist()): i for i in range(len(world.corpus))}
    return [known[rows[i]] for i in range(len(rows))]


@given(st.lists(st.integers(0, 95), min_size=2, max_size=48, unique=True), st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_a_batch_is_full_has_no_text_twice_and_begins_with_the_examples(examples: list[int], step: int):
    assert WORLD.targets is not None
    chosen = chosen_of(WORLD, examples, Key(0, step))
    assert len(chosen) == len(set(chosen)) == min(2 * len(examples), len(WORLD.corpus))
    assert chosen[: len(examples)] == examples
    batch = WORLD.collate(examples, Key(0, step))
    assert_allclose(batch.targets.numpy(), WORLD.targets["targets"][chosen])


def test_each_example_brings_one_of_its_neighbours_unless_it_is_there_already():
    assert WORLD.targets is not None
    seen: dict[int, set[int]] = {}
    for step in range(25):
        for example in (5, 40):
            chosen = chosen_of(WORLD, [example, 90], Key(0, step))
            neighbours = set(WORLD.targets["neighbours"][example].tolist())
            assert neighbours & set(chosen[2:3] if 90 not in neighbours else chosen)
            seen.setdefault(example, set()).add(chosen[2])
    assert all(len(found) >= 3 for found in seen.values())  # all three of them sooner or later


def test_a_corpus_with_no_more_texts_than_neighbours_has_no_examples():
    spec = NeighboursSpec(k=4)
    assert len(spec.examples(toy_corpus(conversations=1, turns=4))) == 0
    assert len(spec.examples(toy_corpus(conversations=1, turns=5))) == 5
