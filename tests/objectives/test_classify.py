import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import embed
from shoptalk.objective import Key, Material
from shoptalk.objectives import make_pretext
from shoptalk.objectives.supervised.classify import Classify, ClassifySpec
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.tokens import tokenise
from shoptalk.training.loop import LoopConfig, train
from tests.tiny import tiny_product

CORPUS = toy_corpus(conversations=6)
N = len(CORPUS)
TOKENS = tokenise(tiny_product().tokenizer, CORPUS.texts, max_length=64)


def head_of(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(classes, 32)).astype(np.float32) * 3, rng.normal(size=classes).astype(np.float32)


def built(spec: ClassifySpec, seed: int = 0) -> Classify:
    objective = spec.build(tiny_product())
    weights, intercepts = head_of(spec.classes, seed)
    objective.start(torch.from_numpy(weights), torch.from_numpy(intercepts))
    return objective


def loss_of(spec: ClassifySpec, objective: Classify, targets: dict[str, np.ndarray], examples: list[int]) -> float:
    collate = spec.collate(Material(CORPUS, objective.product, TOKENS, targets))
    return float(objective.eval()(collate(examples, Key(0, 0))).total.item())


def cross_entropy(scores: np.ndarray, target: np.ndarray) -> float:
    total = math.log(sum(math.exp(score) for score in scores))
    return -sum(t * (score - total) for t, score in zip(target, scores, strict=True))


def binary(scores: np.ndarray, target: np.ndarray) -> float:
    loss = 0.0
    for t, score in zip(target, scores, strict=True):
        p = 1 / (1 + math.exp(-score))
        loss -= t * math.log(p) + (1 - t) * math.log(1 - p)
    return loss


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_the_loss_is_the_weighted_cross_entropy_of_the_heads_scores(multi_label: bool, scale: float):
    rng = np.random.default_rng(3)
    targets = rng.random((N, 4)).astype(np.float32) if multi_label else rng.dirichlet(np.ones(4), N).astype(np.float32)
    weights = rng.random(N) + 0.1
    spec = ClassifySpec(classes=4, multi_label=multi_label, scale=scale)
    objective = built(spec)
    examples = [3, 0, 11, 7, 20]
    found = loss_of(spec, objective, {"targets": targets, "weights": weights}, examples)
    matrix, bias = (part.astype(np.float64) for part in head_of(4, 0))
    expected = 0.0
    for i, vector in zip(examples, embed(objective.product, [CORPUS.texts[i] for i in examples]), strict=True):
        scores = np.array([row @ vector + b for row, b in zip(matrix, bias, strict=True)])
        loss = (binary if multi_label else cross_entropy)(scores, targets[i].astype(np.float64))
        expected += weights[i] / weights.mean() * loss / len(examples)
    assert found == pytest.approx(expected, rel=1e-4)


@given(st.integers(2, 6), st.booleans(), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_permuting_the_classes_permutes_what_the_head_learns(classes: int, multi_label: bool, seed: int):
    rng = np.random.default_rng(seed)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, N)]
    order = rng.permutation(classes)
    spec = ClassifySpec(classes=classes, multi_label=multi_label, batch=6)

    def gradients(wanted: np.ndarray) -> list[np.ndarray]:
        objective = spec.build(tiny_product()).eval()  # without dropout
        collate = spec.collate(Material(CORPUS, objective.product, TOKENS, {"targets": wanted}))
        objective(collate(range(6), Key(seed=0, step=0))).total.backward()
        body = {id(part) for part in objective.product.network.parameters()}
        return [part.grad.numpy() for part in objective.parameters() if id(part) not in body and part.grad is not None]

    plain, permuted = gradients(targets), gradients(targets[:, order])
    assert max(np.abs(part).max() for part in plain) > 1e-3
    for before, after in zip(plain, permuted, strict=True):
        assert_allclose(after, before[order], atol=1e-5)


@given(st.floats(0.01, 100), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_only_the_ratios_of_weights_count(factor: float, seed: int):
    targets = np.eye(2, dtype=np.float32)[CORPUS.conversation % 2]
    weights = np.random.default_rng(seed).random(N)
    spec = ClassifySpec()
    objective = built(spec)
    one, other = (
        loss_of(spec, objective, {"targets": targets, "weights": w}, [1, 5, 9]) for w in (weights, weights * factor)
    )
    assert one == pytest.approx(other, rel=1e-5)


def test_an_example_of_weight_zero_teaches_nothing():
    targets = np.eye(2, dtype=np.float32)[CORPUS.conversation % 2]
    weights = np.ones(N)
    weights[5] = 0
    spec = ClassifySpec()
    objective = built(spec)
    flipped = targets.copy()
    flipped[5] = targets[5, ::-1]
    one, other = (loss_of(spec, objective, {"targets": t, "weights": weights}, [4, 5, 6]) for t in (targets, flipped))
    assert one == other != loss_of(spec, objective, {"targets": flipped}, [4, 5, 6])


def test_a_head_that_starts_training_is_the_one_that_comes_out_of_it():
    objective = ClassifySpec(classes=3).build(tiny_product())
    weights, intercepts = head_of(3, 1)
    objective.start(torch.from_numpy(weights), torch.from_numpy(intercepts))
    found = objective.linear()
    assert_allclose(found[0].numpy(), weights, rtol=1e-6)
    assert_allclose(found[1].numpy(), intercepts, rtol=1e-6)


def test_the_head_drops_out_in_training_alone():
    spec = ClassifySpec(dropout=0.5)
    objective = built(spec)
    for part in objective.encoder.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    batch = spec.collate(Material(CORPUS, objective.product, TOKENS, {"targets": np.eye(2)[CORPUS.conversation % 2]}))(
        [0, 1, 2], Key(0, 0)
    )
    objective.train()
    losses = {objective(batch).total.item() for _ in range(4)}
    assert len(losses) == 4
    objective.eval()
    assert len({objective(batch).total.item() for _ in range(4)}) == 1


def test_weight_decay_shrinks_the_head_and_the_layers():
    spec = ClassifySpec(batch=8)
    targets = {"targets": np.eye(2, dtype=np.float32)[CORPUS.conversation % 2]}

    def norms(weight_decay: float) -> tuple[float, float]:
        objective = built(spec)
        collate = spec.collate(Material(CORPUS, objective.product, TOKENS, targets))
        config = LoopConfig(steps=4, batch=8, lr=1e-4, weight_decay=weight_decay)
        for _ in train(objective, range(N), collate, config):
            pass
        layer = objective.encoder.backbone.encoder.layer[0].output.dense.weight  # type: ignore[union-attr, index]
        return float(objective.head.weight.detach().norm()), float(layer.detach().norm())  # type: ignore[union-attr]

    without, with_decay = norms(0.0), norms(100.0)
    assert with_decay[0] < 0.9 * without[0]  # its rate is ten times the layers'
    assert with_decay[1] < 0.98 * without[1]


# ------------------------------------------------------------------------------------------- what is refused


def test_without_labels_it_says_that_it_needs_them():
    spec = ClassifySpec()
    assert len(spec.examples(CORPUS)) == N
    assert spec.prepare(CORPUS, tiny_product()) is None
    with pytest.raises(ConfigError, match=r"'classify' learns from labels.*Use `shoptalk finetune"):
        spec.collate(Material(CORPUS, tiny_product(), TOKENS, None))


@pytest.mark.parametrize("name", ["classify", "setfit"])
def test_it_is_no_pretext_task(name: str):
    with pytest.raises(ConfigError, match=f"'{name}' learns from labels.*Use `shoptalk finetune"):
        make_pretext(name, {})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"targets": np.zeros((N - 1, 2))}, rf"shape \({N - 1}, 2\).* for {N} texts\. Give one row"),
        ({"targets": np.zeros((N, 3))}, r"3 classes, and was built for 2\. Set objectives\.classify\.classes=3"),
        ({"targets": np.full((N, 2), 1.5)}, "outside 0 to 1"),
        ({"targets": np.full((N, 2), np.nan)}, "outside 0 to 1"),
        ({"weights": np.zeros(N)}, "weights that are below 0, not finite, or all 0"),
        ({"weights": np.full(N, -1.0)}, "weights that are below 0"),
    ],
)
def test_targets_that_do_not_fit_are_told_why(change: dict[str, np.ndarray], complaint: str):
    targets = {"targets": np.eye(2)[CORPUS.conversation % 2], "weights": np.ones(N)} | change
    with pytest.raises(ConfigError, match=complaint):
        ClassifySpec().collate(Material(CORPUS, tiny_product(), TOKENS, targets))


def test_a_corpus_of_one_text_has_no_examples():
    one = replace(CORPUS, items=CORPUS.texts[:1], conversation=CORPUS.conversation[:1], turn=CORPUS.turn[:1])
    assert len(ClassifySpec().examples(one)) == 0
