"""Outcomes of each kind of head on an encoder, and the files they are kept in."""

from pathlib import Path

import numpy as np
import pytest
from tests.tiny import tiny_product

from shoptalk import decide
from shoptalk.evaluate.best_head import Seen, kind_answers, kind_outcomes, load_heads, save_heads, served_best
from shoptalk.evaluate.menu import Labelled
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.kinds import FEWEST_IN_POOL, KINDS, chosen_kinds, fit_kind, views_of
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.tiny import WORDS

TOPICS = ("card", "delivery", "refund")


def texts_of(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join([TOPICS[i % 3], *rng.choice(WORDS, 4)]) for i in range(n)]


TEXTS, LABELS = texts_of(36, 0), np.arange(36) % 3
POOL = texts_of(FEWEST_IN_POOL + 10, 1)
TRAINING = decide.draws(LABELS, np.arange(36), shots=3, n_draws=2, seed=0).training


def test_each_kinds_head_of_each_draw_answers_every_text() -> None:
    product = tiny_product()
    found = kind_outcomes(product, TEXTS, LABELS, TRAINING, POOL)
    assert list(found) == list(KINDS)
    own, pool = embed(product, TEXTS), Pool.of(embed(product, POOL))
    views = views_of(own, pool)
    for name, kind in KINDS.items():
        assert found[name].shape == (2, 36)
        for r, chosen in enumerate(TRAINING):
            seen = views[kind.smoothed]
            head = fit_kind(kind, seen[chosen], LABELS[chosen], np.arange(3), pool)
            np.testing.assert_array_equal(found[name][r], head.predict(seen) == LABELS)


def test_labels_names_are_seen_by_each_kind_as_it_sees_texts() -> None:
    product = tiny_product()
    seen = Seen.by(product, TEXTS, POOL, labels=TOPICS)
    assert seen.named is not None
    np.testing.assert_allclose(seen.named, embed(product, TOPICS), atol=1e-6)
    found, pool = kind_answers(seen, LABELS, TRAINING), Pool.of(seen.pool)
    views, named = views_of(seen.texts, pool), views_of(seen.named, pool)
    for name, kind in KINDS.items():
        chosen = TRAINING[0]
        view, said = views[kind.smoothed], named[kind.smoothed]
        head = fit_kind(kind, view[chosen], LABELS[chosen], np.arange(3), pool, said)
        np.testing.assert_array_equal(found[name][0], head.predict(view))
    outcomes = kind_outcomes(product, TEXTS, LABELS, TRAINING, POOL, named=TOPICS)
    np.testing.assert_array_equal(found["linear"] == LABELS, outcomes["linear"])


@pytest.mark.parametrize("unlabelled", [[], POOL[:1], POOL[: FEWEST_IN_POOL - 1]])
def test_with_too_few_unlabelled_texts_there_is_the_linear_kind_alone(unlabelled: list[str]) -> None:
    assert list(kind_outcomes(tiny_product(), TEXTS, LABELS, TRAINING, unlabelled)) == ["linear"]


def test_one_kind_that_is_asked_for_is_the_same_as_among_all() -> None:
    product, name = tiny_product(), "self-trained"
    alone = kind_outcomes(product, TEXTS, LABELS, TRAINING, POOL, only=name)
    assert list(alone) == [name]
    np.testing.assert_array_equal(alone[name], kind_outcomes(product, TEXTS, LABELS, TRAINING, POOL)[name])


def labelled_by(draws: decide.Draws) -> Labelled:
    return Labelled(tuple(TEXTS), LABELS, np.arange(36) // 2, TOPICS, draws)


def test_an_encoders_own_best_kind_is_chosen_on_the_draws_tests_and_clusters() -> None:
    rng = np.random.default_rng(0)
    labelled = labelled_by(decide.draws(LABELS, np.arange(36), shots=3, n_draws=4, seed=0))
    answers = {name: np.where(rng.random((4, 36)) < 0.6, LABELS, (LABELS + 1) % 3).astype(np.int32) for name in KINDS}
    outcomes = {name: found == LABELS for name, found in answers.items()}
    served = served_best(Seen.by(tiny_product(), TEXTS, POOL), answers, labelled, seed=3)
    chosen = chosen_kinds(outcomes, labelled.draws.tested, labelled.cluster, seed=3)
    np.testing.assert_array_equal(served.correct, chosen.outcomes(outcomes))
    assert served.kind == max(KINDS, key=lambda name: outcomes[name][labelled.draws.tested].mean())
    np.testing.assert_array_equal(served.answers, answers[served.kind])


def test_kinds_that_the_first_draws_choose_answer_all_of_them() -> None:
    seen = Seen.by(tiny_product(), TEXTS, POOL)
    labelled = labelled_by(decide.draws(LABELS, np.arange(36), shots=3, n_draws=6, seed=0))
    everything = kind_answers(seen, LABELS, labelled.draws.training)
    first = {name: found[:2] for name, found in everything.items()}
    outcomes = {name: found == LABELS for name, found in everything.items()}
    chosen = chosen_kinds(
        {name: found[:2] for name, found in outcomes.items()}, labelled.draws.tested[:2], labelled.cluster, seed=3
    )
    served = served_best(seen, first, labelled, seed=3)
    np.testing.assert_array_equal(served.correct, chosen.outcomes(outcomes))
    np.testing.assert_array_equal(served.answers, everything[chosen.best])


def test_answers_are_labels_and_what_is_right_of_them_are_the_outcomes() -> None:
    product = tiny_product()
    answers = kind_answers(Seen.by(product, TEXTS, POOL), LABELS, TRAINING)
    outcomes = kind_outcomes(product, TEXTS, LABELS, TRAINING, POOL)
    assert list(answers) == list(outcomes)
    for name, found in answers.items():
        assert set(np.unique(found)) <= {0, 1, 2}
        np.testing.assert_array_equal(found == LABELS, outcomes[name])


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kinds", [(), ("linear",), tuple(KINDS)])
def test_answers_and_vectors_survive_being_written_and_read(
    kinds: tuple[str, ...], named: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    answers = {name: rng.integers(5, size=(3, 7)).astype(np.int32) for name in kinds}
    texts, pool, said = (rng.random((n, 4), dtype=np.float32) for n in (7, 0, 5))
    seen = Seen(texts, pool, said if named else None) if kinds else None
    save_heads(tmp_path, answers, seen)
    found, vectors = load_heads(tmp_path)
    assert list(found) == list(kinds)
    for name in kinds:
        np.testing.assert_array_equal(found[name], answers[name])
    if seen is None:
        assert vectors is None
    else:
        assert vectors is not None
        np.testing.assert_array_equal(vectors.texts, seen.texts)
        assert vectors.pool.shape == (0, 4)
        assert (vectors.named is not None) == named
        if vectors.named is not None:
            np.testing.assert_array_equal(vectors.named, said)
