from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from shoptalk.commands import tune as tuning
from shoptalk.commands import tune_state
from shoptalk.commands.pretrain import pretrain
from shoptalk.commands.tune import tune, usual_steps
from shoptalk.config import Config
from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.logistic import LinearHead
from shoptalk.objectives.toy import toy_corpus
from shoptalk.stages import plan
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log
from shoptalk.training.loop import Step
from shoptalk.training.reporter import Silent
from tests.tiny import tiny_product

CORPUS = toy_corpus(conversations=16)
TEXTS, GROUPS = list(CORPUS.texts), np.asarray(CORPUS.conversation % 3)
TARGETS = np.eye(3, dtype=np.float32)[GROUPS]
TRAIN, DEV = slice(0, 64, 2), slice(1, 64, 2)
DEV_SET = (TEXTS[DEV], TARGETS[DEV])
METHODS = ("classify", "setfit")
QUICK: dict[str, Any] = {"batch": 8, "lr": 2e-3, "looks": 4, "patience": 9}


def tuned(method: str = "classify", **changes: Any) -> tuning.Tuned:
    given: dict[str, Any] = {
        "texts": TEXTS[TRAIN],
        "targets": TARGETS[TRAIN],
        "method": method,
        "dev": None,
        "multi_label": False,
        "seed": 0,
        "settings": QUICK,
        "most_steps": 12,
        "seconds": None,
    } | changes
    return tune(given.pop("product", tiny_product()), given.pop("texts"), given.pop("targets"), **given)


def weights_of(product: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in product.network.state_dict().items()}


def same(one: tuning.Tuned, other: tuning.Tuned) -> bool:
    first, second = weights_of(one.product), weights_of(other.product)
    return (
        all(torch.equal(tensor, second[name]) for name, tensor in first.items())
        and np.array_equal(one.head.weights, other.head.weights)
        and np.array_equal(one.head.intercepts, other.head.intercepts)
        and (one.history, one.steps) == (other.history, other.steps)
    )


# --------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("method", METHODS)
def test_the_given_product_is_unchanged_bit_for_bit(method: str):
    product = tiny_product()
    before, modes = weights_of(product), [part.training for part in product.network.modules()]
    found = tuned(method, product=product, dev=DEV_SET)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(product).items())
    assert [part.training for part in product.network.modules()] == modes
    assert all(parameter.grad is None for parameter in product.network.parameters())
    assert not product.network.backbone.get_input_embeddings().sparse  # type: ignore[operator]
    assert found.product.network is not product.network
    assert not any(part.training for part in found.product.network.modules())


@pytest.mark.parametrize("method", METHODS)
def test_tuning_learns_its_examples_and_moves_the_encoder(method: str):
    product = tiny_product()
    found = tuned(method, most_steps=30)
    before, after = embed(product, TEXTS[TRAIN]), embed(found.product, TEXTS[TRAIN])
    assert np.abs(before - after).max() > 0.01
    assert (found.head.predict(after) == GROUPS[TRAIN]).mean() > 0.9
    assert (found.history, found.steps) == ((), 30)
    assert found.head.weights.shape == (3, 32)


@pytest.mark.parametrize("method", METHODS)
def test_several_labels_a_text_are_learned_each_for_itself(method: str):
    parts = np.stack([CORPUS.conversation % 2, CORPUS.conversation % 3 == 0], axis=1).astype(np.float32)
    dev = (TEXTS[DEV], parts[DEV])
    found = tuned(method, targets=parts[TRAIN], dev=dev, multi_label=True, most_steps=30)
    said = embed(found.product, TEXTS[TRAIN]) @ found.head.weights.T + found.head.intercepts > 0
    true = parts[TRAIN] > 0
    assert 2 * (said & true).sum() / (said.sum() + true.sum()) > 0.9
    assert found.history[0].step == 0


def test_the_score_of_several_labels_is_micro_averaged_f1():
    targets = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    scores = np.array([[1, -1, 1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float32)
    head = LinearHead(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32), np.arange(3))
    found = tune_state.score_of(head, scores, targets, multi_label=True)
    assert found == pytest.approx(100 * 2 * 2 / (2 * 2 + 2 + 1))  # 2 hits, 2 false alarms, 1 miss
    assert tune_state.score_of(head, scores, targets[[1, 1, 0]], multi_label=False) == pytest.approx(100 / 3)


@pytest.mark.parametrize("method", METHODS)
def test_soft_targets_and_weights_are_learned_from(method: str):
    rng = np.random.default_rng(0)
    wrong = rng.random(32) < 0.3
    targets = 0.9 * TARGETS[TRAIN] + 0.1 / 3
    targets[wrong] = np.roll(targets[wrong], 1, axis=1)
    found = tuned(method, targets=targets, weights=np.where(wrong, 0.0, 1.0), most_steps=30)
    predicted = found.head.predict(embed(found.product, TEXTS[TRAIN]))
    assert (predicted[~wrong] == GROUPS[TRAIN][~wrong]).mean() > 0.9


# --------------------------------------------------------------------------------------------- the dev set


@pytest.mark.parametrize("method", METHODS)
def test_the_best_looks_weights_are_returned(method: str, monkeypatch: pytest.MonkeyPatch):
    scores = iter([10.0, 40.0, 90.0, 20.0, 90.0])
    monkeypatch.setattr(tune_state, "score_of", lambda *_, **__: next(scores))
    folder_of: dict[int, dict[str, torch.Tensor]] = {}
    look = tuning.look

    def noting(step: int, looks: Any, training: Any, head: Any, task: Any) -> Any:
        folder_of[step] = weights_of(training.objective.product)
        return look(step, looks, training, head, task)

    monkeypatch.setattr(tuning, "look", noting)
    found = tuned(method, dev=DEV_SET)
    assert [(one.step, one.score) for one in found.history] == [(0, 10), (3, 40), (6, 90), (9, 20), (12, 90)]
    assert found.steps == 6
    returned = weights_of(found.product)
    assert all(torch.equal(tensor, folder_of[6][name]) for name, tensor in returned.items())
    assert not all(torch.equal(tensor, folder_of[12][name]) for name, tensor in returned.items())


@pytest.mark.parametrize("method", METHODS)
def test_tuning_that_never_helps_returns_the_untouched_encoder_and_stops_early(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    scores = iter([50.0, 50.0, 49.0, 48.0])
    monkeypatch.setattr(tune_state, "score_of", lambda *_, **__: next(scores))
    product = tiny_product()
    found = tuned(method, product=product, dev=DEV_SET, settings=QUICK | {"patience": 2}, folder=tmp_path)
    assert [one.step for one in found.history] == [0, 3, 6]
    assert len(read_log(tmp_path)) == 6
    assert found.steps == 0
    before = weights_of(product)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(found.product).items())
    plain = LogisticRegression(C=20, max_iter=2_000, tol=1e-8).fit(embed(product, TEXTS[TRAIN]), GROUPS[TRAIN])
    vectors = embed(product, TEXTS)
    assert (found.head.predict(vectors) == plain.predict(vectors)).mean() > 0.97


def test_a_look_scores_the_head_that_would_be_returned():
    for method in METHODS:
        found = tuned(method, dev=DEV_SET)
        accuracy = 100 * (found.head.predict(embed(found.product, TEXTS[DEV])) == GROUPS[DEV]).mean()
        best = max(found.history, key=lambda one: one.score)
        assert (best.step, best.score) == (found.steps, pytest.approx(accuracy))


# --------------------------------------------------------------------------------------------- settings and plan


def test_weight_decay_and_the_layers_dropout_really_apply():
    plain = tuned(settings=QUICK | {"weight_decay": 0.0})
    decayed = tuned(settings=QUICK | {"weight_decay": 20.0})
    name = "backbone.encoder.layer.0.output.dense.weight"
    assert weights_of(decayed.product)[name].norm() < 0.95 * weights_of(plain.product)[name].norm()
    steady = tiny_product()
    for part in steady.network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    without = tuned(product=steady, settings=QUICK | {"weight_decay": 0.0})
    assert not torch.equal(weights_of(without.product)[name], weights_of(plain.product)[name])


@pytest.mark.parametrize(("examples", "steps"), [(77, 72), (385, 361), (1_000, 400), (10_003, 938)])
def test_few_examples_are_gone_through_often_and_many_a_few_times(examples: int, steps: int):
    assert usual_steps(tuning.make_spec("classify", {"batch": 32, "passes": 30}), examples) == steps


def test_a_limit_of_time_becomes_steps_before_the_first_one(tmp_path: Path):
    found = tuned(seconds=30.0, most_steps=5, folder=tmp_path)
    assert found.steps == 5
    with pytest.raises(ConfigError, match=r"does not pay for one step.*Give more time"):
        tuned(seconds=0.01)


def test_a_timed_tuning_takes_fewer_steps_than_an_unlimited_one(monkeypatch: pytest.MonkeyPatch):
    timed = tuning.time_training

    def slow(training: Any) -> Any:
        return timed(training).model_copy(update={"seconds": 2.0, "save_seconds": 0.0})

    monkeypatch.setattr(tuning, "time_training", slow)
    assert 3 <= tuned(seconds=15.0).steps <= 7


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_tuning_resumes_to_the_same_end(method: str, tmp_path: Path):
    class Impatient(Silent):
        def track(self, steps: Iterable[Step], *, done: int, total: int, name: str) -> Iterator[Step]:
            for step in steps:
                yield step
                if step.number == 7:
                    raise KeyboardInterrupt

    whole = tuned(method, dev=DEV_SET, folder=tmp_path / "whole")
    assert same(whole, tuned(method, dev=DEV_SET))  # the folder changes nothing
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tuning, "_SNAPSHOT_SECONDS", 0.0)
        tuned(method, dev=DEV_SET, folder=tmp_path / "cut", report=Impatient())
    assert len(read_log(tmp_path / "cut")) == 7
    assert same(whole, tuned(method, dev=DEV_SET, folder=tmp_path / "cut"))
    log = (tmp_path / "cut" / "log.jsonl").read_text()
    assert same(whole, tuned(method, dev=DEV_SET, folder=tmp_path / "cut"))  # done is done
    assert (tmp_path / "cut" / "log.jsonl").read_text() == log


def test_another_tunings_folder_is_started_over(tmp_path: Path):
    tuned(dev=DEV_SET, folder=tmp_path)
    assert same(tuned(dev=DEV_SET, seed=1), tuned(dev=DEV_SET, seed=1, folder=tmp_path))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"settings": {"looks": 0}}, r"classify\.looks = 0"),
        ({"settings": {"dropuot": 0.2}}, "Unknown setting 'dropuot' of 'classify'. Did you mean 'dropout'"),
        ({"settings": {"classes": 3}}, "Unknown setting 'classes'"),
        ({"texts": TEXTS[:1], "targets": TARGETS[:1]}, "1 texts with 1 rows of targets. Give at least two texts"),
        ({"texts": TEXTS[:5]}, "5 texts with 32 rows"),
        ({"dev": (TEXTS[:3], TARGETS[:2])}, "The dev set has 3 texts with 2 rows"),
        ({"dev": ([], TARGETS[:0])}, "The dev set has 0 texts"),
    ],
)
def test_what_cannot_be_tuned_is_told_why(change: dict[str, Any], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        tuned(**change)


@pytest.mark.parametrize("method", METHODS)
def test_where_there_is_only_text_it_is_refused_before_anything_is_read(method: str, tmp_path: Path):
    config = Config(base=str(tmp_path / "none"), candidates=(method, "none"))
    with pytest.raises(ConfigError, match=rf"'{method}' learns from labels.*Use `shoptalk finetune"):
        pretrain(World(tmp_path, config, Silent()), [tmp_path / "none"], objective=method, steps=1, card="")
    with pytest.raises(ConfigError, match=rf"'{method}' learns from labels.*Use `shoptalk finetune"):
        plan._specs(config, CORPUS, "text")
