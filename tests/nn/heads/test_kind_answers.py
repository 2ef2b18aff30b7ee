"""What heads of each kind answer on an encoder's vectors, and the files those are kept in."""

from pathlib import Path

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.kind_answers import Seen, kind_answers, load_seen, right, save_seen
from shoptalk.nn.heads.kinds import FEWEST_IN_POOL, KINDS, fit_kind, views_of
from shoptalk.nn.heads.pool import Pool
from tests.tiny import tiny_product
from tests.topics import LABELS, POOL, TEXTS, TOPICS

TAUGHT = ~decide.splits(LABELS, np.arange(36), n_draws=2, seed=0)


def test_each_kinds_head_of_each_draw_answers_every_text() -> None:
    product = tiny_product()
    answers = kind_answers(Seen.by(product, TEXTS, POOL), LABELS, TAUGHT)
    assert list(answers) == list(KINDS)
    texts, pool = embed(product, TEXTS), Pool.of(embed(product, POOL))
    views = views_of(texts, pool)
    for name, kind in KINDS.items():
        assert answers[name].shape == (2, 36)
        for r, chosen in enumerate(TAUGHT):
            view = views[kind.smoothed]
            head = fit_kind(kind, view[chosen], LABELS[chosen], np.arange(3), pool)
            np.testing.assert_array_equal(answers[name][r], head.predict(view))
        np.testing.assert_array_equal(right(answers[name], LABELS), answers[name] == LABELS)


def test_labels_names_are_seen_by_each_kind_as_it_sees_texts() -> None:
    product = tiny_product()
    seen = Seen.by(product, TEXTS, POOL, labels=TOPICS)
    assert seen.named is not None
    np.testing.assert_allclose(seen.named, embed(product, TOPICS), atol=1e-6)
    answers, pool = kind_answers(seen, LABELS, TAUGHT), Pool.of(seen.pool)
    views, named = views_of(seen.texts, pool), views_of(seen.named, pool)
    for name, kind in KINDS.items():
        chosen = TAUGHT[0]
        view, spoken = views[kind.smoothed], named[kind.smoothed]
        head = fit_kind(kind, view[chosen], LABELS[chosen], np.arange(3), pool, spoken)
        np.testing.assert_array_equal(answers[name][0], head.predict(view))


@pytest.mark.parametrize("unlabelled", [[], POOL[:1], POOL[: FEWEST_IN_POOL - 1]])
def test_with_too_few_unlabelled_texts_there_is_the_linear_kind_alone(unlabelled: list[str]) -> None:
    assert list(kind_answers(Seen.by(tiny_product(), TEXTS, unlabelled), LABELS, TAUGHT)) == ["linear"]


def test_one_kind_that_is_asked_for_is_the_same_as_among_all() -> None:
    seen, name = Seen.by(tiny_product(), TEXTS, POOL), "self-trained"
    alone = kind_answers(seen, LABELS, TAUGHT, only=name)
    assert list(alone) == [name]
    np.testing.assert_array_equal(alone[name], kind_answers(seen, LABELS, TAUGHT)[name])


@pytest.mark.parametrize("named", [True, False])
def test_vectors_survive_being_written_and_read(named: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts, pool, spoken = (rng.random((n, 4), dtype=np.float32) for n in (7, 0, 5))
    assert load_seen(tmp_path) is None
    save_seen(tmp_path, Seen(texts, pool, spoken if named else None))
    vectors = load_seen(tmp_path)
    assert vectors is not None
    np.testing.assert_array_equal(vectors.texts, texts)
    assert vectors.pool.shape == (0, 4)
    assert (vectors.named is not None) == named
    if vectors.named is not None:
        np.testing.assert_array_equal(vectors.named, spoken)
