"""The whole classifier on planted worlds: the choice of kind, calibration, scope, several labels, files."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.decide import FOLDS, deal_folds
from shoptalk.errors import ArtifactError, InputError
from shoptalk.nn.heads.classifier import (
    Classifier,
    described,
    micro_f1,
    temperature_of,
    train,
    train_multi,
)
from shoptalk.nn.heads.head_files import load, save
from shoptalk.nn.heads.kinds import KINDS
from shoptalk.nn.heads.logistic import LinearHead, log_softmax

CENTRES = np.eye(5, 16)
"""Of four labels, and a fifth place that has none."""
LABELS = np.array(["card", "fee", "pin", "visa"])


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def near(codes: np.ndarray, *, noise: float = 0.2, seed: int = 0) -> np.ndarray:
    return unit(CENTRES[codes] + noise * np.random.default_rng(seed).normal(size=(len(codes), 16)))


CODES = np.arange(80) % 4
TEXTS = near(CODES)
NAMES = LABELS[CODES].tolist()
NEW_CODES = np.arange(400) % 4
NEW = near(NEW_CODES, seed=1)
STRANGERS = near(np.full(100, 4), seed=2)
POOL = near(np.arange(300) % 4, noise=0.5, seed=3)
APART = np.arange(80)


def trained(**changes: Any) -> Classifier:
    return train(TEXTS, NAMES, APART, **changes)


def right(found: Classifier, vectors: np.ndarray = NEW, codes: np.ndarray = NEW_CODES) -> float:
    said = [answer.labels for answer in found.answers(vectors)]
    return float(np.mean([labels == (LABELS[code],) for labels, code in zip(said, codes, strict=True)]))


# --- the kind


def test_answers_are_the_labels_with_their_probabilities() -> None:
    found = trained()
    assert found.kind == "linear" and found.pool is None and right(found) > 0.95
    chances = found.probabilities(NEW)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)
    answer = found.answers(NEW[:1])[0]
    assert answer.labels == (LABELS[chances[0].argmax()],)
    assert answer.probability == pytest.approx(chances[0].max())


def test_all_kinds_compete_on_labels_left_out_and_the_best_is_fitted_on_all() -> None:
    few, cluster = near(CODES[:24], noise=0.45, seed=7), np.arange(24)
    pool = near(np.arange(600) % 4, noise=0.45, seed=8)
    found = train(few, NAMES[:24], cluster, unlabelled=pool)
    assert list(found.dev) == list(KINDS)
    assert found.dev[found.kind] == max(found.dev.values())
    fresh = near(NEW_CODES, noise=0.45, seed=9)
    plain = train(few, NAMES[:24], cluster, unlabelled=pool, kinds=("linear",))
    assert found.kind != "linear" and plain.kind == "linear"
    assert right(found, fresh) > right(plain, fresh) + 0.03


def test_of_equally_good_kinds_the_plainest_is_taken() -> None:
    easy = near(CODES, noise=0.01)
    found = train(easy, NAMES, APART, unlabelled=near(np.arange(100) % 4, noise=0.01))
    assert set(found.dev.values()) == {100.0} and found.kind == "linear" and found.pool is None


def test_what_is_left_out_was_not_trained_on() -> None:
    """Labels that mean nothing are known by heart and guessed at when left out."""
    names = np.random.default_rng(0).permutation(NAMES).tolist()
    found = train(unit(np.random.default_rng(1).normal(size=(80, 64))), names, APART)
    assert found.dev["linear"] < 50


def test_near_duplicates_are_left_out_together() -> None:
    """Forty random texts with random labels, each twice: apart, each copy would tell the other's label."""
    rng = np.random.default_rng(0)
    texts = np.repeat(unit(rng.normal(size=(40, 64))), 2, axis=0)
    names = np.repeat(rng.permutation(NAMES[:40]), 2).tolist()
    together, apart = train(texts, names, np.arange(80) // 2), train(texts, names, APART)
    assert together.dev["linear"] < 50 and apart.dev["linear"] > 70


def test_with_one_example_a_label_nothing_can_be_left_out_and_nothing_is_claimed() -> None:
    found = train(TEXTS[:4], NAMES[:4], np.arange(4))
    assert (found.kind, found.temperature, found.gate, dict(found.dev)) == ("linear", 1.0, None, {})
    assert right(found) > 0.9
    assert "no label has two examples" in described(found)


def test_a_label_with_one_example_does_not_count_against_the_kinds() -> None:
    vectors, names = np.concatenate([TEXTS, STRANGERS[:1]]), [*NAMES, "odd"]
    found = train(vectors, names, np.arange(81))
    assert found.dev["linear"] == pytest.approx(trained().dev["linear"], abs=3)
    assert "odd" in found.head.labels.tolist()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kinds": ("linnear",)}, r"no kind of head 'linnear'\. Give one of: linear, smoothed"),
        ({"kinds": ("linear", "smoothed")}, r"'smoothed' head needs at least two unlabelled texts.*Give them"),
    ],
)
def test_kinds_that_cannot_be_fitted_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        trained(**change)


def test_one_label_is_refused() -> None:
    with pytest.raises(InputError, match=r"at least two labels, and was given \['card'\]\. Add examples of another"):
        train(TEXTS[:3], ["card"] * 3, np.arange(3))


# --- labels' names


def test_names_help_where_examples_are_few_and_the_classifier_says_so(tmp_path: Path) -> None:
    few = near(CODES[:4], noise=0.6, seed=5)
    plain = train(few, NAMES[:4], np.arange(4))
    found = train(few, NAMES[:4], np.arange(4), named=near(np.arange(4), noise=0.1))
    assert right(found) > right(plain) and found.named and not plain.named
    assert "reads the labels' names too" in described(found) and "names" not in described(plain)
    save(found, tmp_path)
    assert load(tmp_path).named


def test_with_names_one_example_a_label_can_be_left_out_and_the_kind_stays_the_best_known_one() -> None:
    found = train(near(CODES[:4]), NAMES[:4], np.arange(4), named=CENTRES[:4].astype(np.float32), unlabelled=POOL)
    assert found.dev["self-trained"] == 100 and found.kind == "self-trained" and found.temperature < 1


def test_names_that_mean_nothing_change_nothing() -> None:
    nonsense = unit(np.random.default_rng(1).normal(size=(4, 16)))[[0, 0, 0, 0]]
    found, plain = trained(named=nonsense), trained()
    assert not found.named and dict(found.dev) == dict(plain.dev)
    np.testing.assert_array_equal(found.head.weights, plain.head.weights)


# --- folds


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6), st.integers(1, 60), st.integers(1, 3))
def test_near_duplicates_share_a_fold_and_labels_are_spread_evenly(
    seed: int, classes: int, n: int, per_cluster: int
) -> None:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(rng.permutation(n) * 3, per_cluster)
    codes = np.repeat(rng.integers(0, classes, n), per_cluster)
    order = rng.permutation(len(cluster))
    fold = deal_folds(codes[order], cluster[order], seed=seed)
    assert set(fold) <= set(range(FOLDS))
    for number in np.unique(cluster):
        assert len(set(fold[cluster[order] == number])) == 1
    for code in range(classes):
        sizes = np.bincount(fold[codes[order] == code], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= per_cluster


# --- calibration


@pytest.mark.parametrize("confidence", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_planted_confidence(confidence: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(scale=2, size=(4000, 3))
    truth = np.array([rng.choice(3, p=np.exp(row)) for row in log_softmax(scores)])
    assert temperature_of(confidence * scores, truth) == pytest.approx(confidence, rel=0.07)


def test_a_few_right_answers_leave_some_doubt() -> None:
    scores = np.eye(4)[np.arange(12) % 4] * 5.0
    assert 0.1 < temperature_of(scores, np.arange(12) % 4) < 1
    assert trained().probabilities(TEXTS).max() < 1.0


def test_probabilities_say_how_often_answers_are_right_on_texts_that_are_hard() -> None:
    codes = np.arange(400) % 4
    found = train(near(codes, noise=0.6, seed=5), LABELS[codes].tolist(), np.arange(400))
    fresh = near(NEW_CODES, noise=0.6, seed=6)
    sure = found.probabilities(fresh).max(axis=1)
    assert sure.mean() == pytest.approx(right(found, fresh), abs=0.05)


# --- scope


@pytest.mark.parametrize("negatives", [False, True])
def test_the_gate_catches_planted_outsiders_and_costs_at_most_what_it_may(negatives: bool) -> None:
    outside = near(np.full(40, 4), seed=4) if negatives else None
    found = trained(outside=outside, scope_loss=2.0)
    assert (found.none is not None) == (found.examples is not None) == negatives
    strangers, friends = found.answers(STRANGERS), found.answers(NEW)
    assert np.mean([not answer.in_scope for answer in strangers]) > (0.95 if negatives else 0.7)
    pairs = zip(friends, NEW_CODES, strict=True)
    lost = [answer.labels == (LABELS[code],) and not answer.in_scope for answer, code in pairs]
    assert np.mean(lost) < 0.06
    assert "abstains out of scope" in described(found)


def test_without_enough_texts_or_without_a_right_answer_there_is_no_gate() -> None:
    small = train(TEXTS[:40], NAMES[:40], APART[:40])
    assert small.gate is None and all(answer.in_scope for answer in small.answers(STRANGERS))
    lonely = unit(np.random.default_rng(0).normal(size=(60, 64)))
    assert train(lonely, [f"label{i}" for i in range(60)], np.arange(60)).gate is None
    assert "never abstains" in described(small)


def test_a_larger_allowed_loss_admits_fewer() -> None:
    share = [np.mean(trained(scope_loss=loss).admits(NEW)) for loss in (0.0, 5.0, 30.0)]
    assert share[0] >= share[1] > share[2]


# --- several labels


def several(n: int, seed: int) -> tuple[np.ndarray, list[list[str]]]:
    """Texts with none, one or several of three labels, which are directions."""
    marks = np.random.default_rng(seed).random((n, 3)) < 0.4
    away = (~marks.any(axis=1)).astype(float)
    points = marks @ CENTRES[:3] + away[:, None] * CENTRES[4]
    noisy = unit(points + 0.1 * np.random.default_rng(seed + 1).normal(size=points.shape))
    return noisy, [[str(LABELS[c]) for c in np.flatnonzero(row)] for row in marks]


def test_texts_get_none_one_or_several_labels() -> None:
    vectors, labels = several(240, 0)
    found = train_multi(vectors, labels, np.arange(240))
    fresh, truth = several(120, 10)
    said = [answer.labels for answer in found.answers(fresh)]
    assert {0, 1, 2} <= {len(given) for given in said}
    assert np.mean([set(given) == set(true) for given, true in zip(said, truth, strict=True)]) > 0.9
    assert found.dev["linear"] > 90 and "micro-F1" in described(found)
    assert all(answer.in_scope for answer in found.answers(fresh))
    chances = found.probabilities(fresh)
    assert ((chances >= 0) & (chances <= 1)).all() and chances.sum(axis=1).max() > 1.2


def test_the_threshold_is_in_the_middle_of_the_best_ones() -> None:
    vectors, labels = several(240, 0)
    clean = [vector for vector, given in zip(vectors, labels, strict=True) if len(given) <= 1]
    kept = [given for given in labels if len(given) <= 1]
    found = train_multi(np.array(clean), kept, np.arange(len(kept)))
    assert found.dev["linear"] == 100.0 and 0.2 < found.threshold < 0.8


def test_labels_that_no_text_has_are_refused() -> None:
    with pytest.raises(InputError, match="None of the labelled texts has a label"):
        train_multi(TEXTS[:3], [[], [], []], np.arange(3))


def test_micro_f1_by_hand() -> None:
    given = np.array([[True, True, False], [False, False, False]])
    true = np.array([[True, False, True], [False, True, False]])
    assert micro_f1(given, true) == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert micro_f1(given & False, true & False) == 1.0


# --- files


@pytest.mark.parametrize(
    "make",
    [
        trained,
        lambda: trained(unlabelled=POOL, kinds=("smoothed",)),
        lambda: trained(unlabelled=POOL, kinds=("self-trained",)),
        lambda: trained(outside=STRANGERS[:40]),
        lambda: train_multi(*several(100, 0), np.arange(100)),
    ],
    ids=["linear", "smoothed", "self-trained", "negatives", "several"],
)
def test_what_is_loaded_answers_as_what_was_saved(make: Callable[[], Classifier], tmp_path: Path) -> None:
    found = make()
    save(found, tmp_path)
    again = load(tmp_path)
    unseen = np.concatenate([NEW, STRANGERS])
    before, after = found.answers(unseen), again.answers(unseen)
    assert [answer.labels for answer in before] == [answer.labels for answer in after]
    assert np.mean([x.in_scope == y.in_scope for x, y in zip(before, after, strict=True)]) > 0.995  # float16
    np.testing.assert_allclose([x.probability for x in before], [x.probability for x in after], atol=5e-3)
    assert described(again) == described(found)
    assert (again.kind, again.threshold, again.temperature) == (found.kind, found.threshold, found.temperature)


def test_transposed_weights_are_written_as_they_are_read(tmp_path: Path) -> None:
    found = trained()
    head = LinearHead(np.asfortranarray(found.head.weights), found.head.intercepts, found.head.labels)
    save(dataclasses.replace(found, head=head), tmp_path)
    np.testing.assert_array_equal(load(tmp_path).head.weights, found.head.weights)


def test_the_description_on_disk_is_json_that_others_read_too(tmp_path: Path) -> None:
    save(trained(outside=STRANGERS[:40]), tmp_path)
    text = (tmp_path / "head.json").read_text()
    about = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert about["labels"] == LABELS.tolist() and len(about["gate"]["weights"]) == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "head.json").unlink(),
        lambda folder: (folder / "head.json").write_text("{"),
        lambda folder: (folder / "head.json").write_text("{}"),
        lambda folder: (folder / "head.safetensors").unlink(),
        lambda folder: (folder / "head.safetensors").write_bytes(b"1234567890"),
        lambda folder: (folder / "head.safetensors").write_bytes((folder / "head.safetensors").read_bytes()[:-9]),
    ],
)
def test_a_damaged_head_is_said_to_be_one(damage: Any, tmp_path: Path) -> None:
    save(trained(), tmp_path)
    damage(tmp_path)
    with pytest.raises(ArtifactError, match=r"holds no readable head.*Delete it"):
        load(tmp_path)
