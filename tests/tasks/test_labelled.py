"""Judging by labels: which heads are chosen, on which draws, and what a supplied test asks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.decide.ladder import NAMES, PLAIN_HEAD, UNLABELLED
from shoptalk.errors import InputError
from shoptalk.nn.heads.kind_answers import HeadFits, Seen, kind_answers
from shoptalk.nn.heads.kinds import KINDS, chosen_kinds, fit_kind, views_of
from shoptalk.nn.heads.pool import Pool
from shoptalk.objectives.toy import toy_corpus
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.records import ACCURACY, Example
from shoptalk.tasks import labelled
from shoptalk.tasks.intent import intent
from shoptalk.tasks.judge import Final, Ground, Rung, load_final, refuse_other_final
from shoptalk.tasks.labelled import LabelJudge
from tests.tiny import tiny_product
from tests.topics import CLUSTER, LABELS, POOL, TEXTS, TOPICS

EXAMPLES = tuple(
    Example(id=str(i), text=text, label=TOPICS[LABELS[i]], cluster=int(CLUSTER[i])) for i, text in enumerate(TEXTS)
)


def judge(n_draws: int, *, tests: tuple[Example, ...] = (), kind: Any = "text") -> LabelJudge:
    corpus = toy_corpus()
    ground = Ground(kind, EXAMPLES, tests, corpus, corpus, tuple(POOL), n_draws=n_draws, seed=3)
    made = intent(ground)
    assert made is not None
    return made


def test_there_is_nothing_to_judge_by_without_labels() -> None:
    corpus = toy_corpus()
    assert intent(Ground("text", (), (), corpus, corpus, (), n_draws=5, seed=0)) is None


def test_a_look_is_a_plain_head_on_the_first_splits_that_every_entry_shares() -> None:
    one, product = judge(25), tiny_product()
    splits = decide.splits(np.array([example.label for example in EXAMPLES]), CLUSTER, n_draws=25, seed=3)
    np.testing.assert_array_equal(one.tested, splits)
    np.testing.assert_array_equal(one.tested_by_looks, splits[:20])
    vectors, labels, scores = product.embed(TEXTS), one.classes.labels, one.look(product)
    assert scores.shape == (20, 36)
    for tested, row in zip(splits, scores, strict=False):
        expected = kshot_outcomes(vectors, labels, np.flatnonzero(~tested)[None])[0]
        np.testing.assert_array_equal(row[tested], expected[tested])
    assert (one.key, one.measure, one.looked) == ("intent", ACCURACY, "accuracy with all labels, 80/20 splits")


@pytest.mark.parametrize(("n_examples", "n_draws"), [(100, 20), (2_310, 20), (4_500, 10), (20_000, 5)])
def test_a_look_takes_whole_rounds_of_splits_and_fewer_of_many_examples(n_examples: int, n_draws: int) -> None:
    one = replace(judge(5), tested=np.zeros((100, n_examples), bool), cluster=np.arange(n_examples))
    assert len(one.tested_by_looks) == n_draws


def test_kinds_that_see_texts_alike_share_their_fits_and_answer_as_each_would_alone() -> None:
    one, product = judge(10), tiny_product()
    seen = Seen.by(product, TEXTS, POOL, labels=TOPICS)
    fits = HeadFits(seen, one.classes.labels, ~one.tested)
    for kind in KINDS:
        alone = kind_answers(seen, one.classes.labels, ~one.tested, only=kind)[kind]
        np.testing.assert_array_equal(fits.answers(kind), alone)
    assert list(fits.seconds) == list(KINDS) and all(seconds > 0 for seconds in fits.seconds.values())


def test_an_encoders_own_best_kind_is_chosen_on_all_texts_held_out() -> None:
    one, product = judge(10), tiny_product()
    seen = Seen.by(product, TEXTS, POOL, labels=TOPICS)
    answers = kind_answers(seen, one.classes.labels, ~one.tested)
    outcomes = {name: answered == one.classes.labels for name, answered in answers.items()}
    final = one.final(product)
    # Sets are solved a few at a time, to a tolerance: an answer that is all but a tie may be the other one.
    right = {name: int(outcomes[name][one.tested].sum()) for name in KINDS}
    assert right[final.way] >= max(right.values()) - 1
    np.testing.assert_array_equal(final.scores, final.answers == one.classes.labels)
    assert (final.scores == outcomes[final.way]).mean() > 0.99
    assert final.tried == 10
    chosen = chosen_kinds(outcomes, one.tested, one.cluster, seed=3)
    crossed = final.scores if final.crossed is None else final.crossed
    assert (crossed == chosen.outcomes(outcomes)).mean() > 0.95


def test_the_kind_that_the_first_splits_choose_answers_all_of_them() -> None:
    one, product = judge(15), tiny_product()
    everything = kind_answers(Seen.by(product, TEXTS, POOL, labels=TOPICS), one.classes.labels, ~one.tested)
    first = {name: (answered == one.classes.labels)[:5] for name, answered in everything.items()}
    best = max(KINDS, key=lambda name: first[name][one.tested[:5]].mean())
    beside = Final(np.zeros((15, 36), dtype=bool), "linear", tried=5)
    final = one.final(product, beside=beside)
    assert (final.way, final.tried, final.rungs, final.crossed) == (best, 5, (), None)
    assert final.answers is not None
    assert (final.answers == everything[best]).mean() > 0.99  # sets solved together with others, to a tolerance


def test_a_challenger_is_scored_on_the_splits_that_its_base_was_scored_on() -> None:
    one = judge(15)
    final = one.final(tiny_product(), beside=Final(np.zeros((10, 36), dtype=bool), "linear", tried=5))
    assert final.scores.shape == (10, 36) and final.tried == 5


def test_limited_time_takes_fewer_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    def tried(seconds: float | None, took: float, *, most: int) -> int:
        asked.append(seconds)
        return 5

    def shared_out(seconds: float | None, a_draw: float, n_tried: int, *, most: int) -> int:
        asked.append(seconds)
        return 10

    monkeypatch.setattr(labelled, "_tried", tried)
    monkeypatch.setattr(labelled, "_draws_for", shared_out)
    final = judge(15).final(tiny_product(), seconds=8.0)
    assert asked == [8.0, 8.0]
    assert (final.tried, len(final.scores)) == (5, 10)


@pytest.mark.parametrize(
    ("seconds", "took", "tried", "draws"), [(None, 9.0, 10, 100), (600.0, 2.0, 10, 100), (60.0, 4.0, 5, 10)]
)
def test_splits_are_shared_out_between_trying_and_answering(
    seconds: float | None, took: float, tried: int, draws: int
) -> None:
    assert labelled._tried(seconds, took, most=100) == tried
    assert labelled._draws_for(seconds, took / 5, tried, most=100) == draws
    assert labelled._tried(seconds, took, most=3) == 3


def test_a_supplied_test_is_answered_by_the_shipped_kind_of_head_on_all_labels() -> None:
    tests = (*(Example(id="t", text=text, label=TOPICS[i % 3], cluster=i) for i, text in enumerate(POOL[:9])),)
    one, product = judge(5, tests=(*tests, Example(id="u", text="?", label="unheard of"))), tiny_product()
    final = one.final(product)
    assert one.test is not None
    scores = one.test.scores(product, final)
    assert scores.shape == (1, 9)
    assert len(one.test.cluster) == 9  # a label that nobody learned is not asked for
    seen, pool = Seen.by(product, TEXTS, POOL, labels=TOPICS), Pool.of(product.embed(POOL))
    assert seen.named is not None
    kind = KINDS[final.way]
    views = [views_of(vectors, pool)[kind.smoothed] for vectors in (seen.texts, seen.named, product.embed(POOL[:9]))]
    head = fit_kind(kind, views[0], one.classes.labels, np.arange(3), pool, views[1])
    np.testing.assert_array_equal(scores[0], head.predict(views[2]) == np.arange(9) % 3)


def test_a_test_of_other_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"labels such as parcel, and none of them is in the labels file \(card"):
        judge(4, tests=(Example(id="t", text="where is it", label="parcel"),))


def test_labels_are_no_texts_for_a_product_that_reads_none() -> None:
    assert judge(4).named == TOPICS
    assert judge(4, kind="image").named == ()


def test_rungs_are_plain_heads_without_and_with_the_labels_names_below_a_head_on_unlabelled_text() -> None:
    one, product = judge(4), tiny_product()
    final, seen = one.final(product), Seen.by(product, TEXTS, POOL, labels=TOPICS)
    assert final.step == (UNLABELLED if KINDS[final.way].smoothed else NAMES)
    views = {PLAIN_HEAD: replace(seen, named=None), NAMES: seen}
    steps = [step for step in views if step != final.step]
    assert [rung.step for rung in final.rungs] == steps and PLAIN_HEAD in steps
    for rung in final.rungs:
        answers = kind_answers(views[rung.step], one.classes.labels, ~one.tested, only="linear")["linear"]
        np.testing.assert_array_equal(rung.scores, answers == one.classes.labels)


def test_a_plain_head_without_names_is_the_whole_ladder_of_a_product_without_texts_to_learn_from() -> None:
    final = replace(judge(4), named=(), pool=()).final(tiny_product())
    assert (final.step, final.rungs, final.way) == (PLAIN_HEAD, (), "linear")


@pytest.mark.parametrize("with_vectors", [True, False])
def test_final_scores_survive_being_written_and_read(with_vectors: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = Seen(*(rng.random((n, 4), dtype=np.float32) for n in (7, 3))) if with_vectors else None
    answers = rng.integers(5, size=(3, 7)).astype(np.int32) if with_vectors else None
    rungs = tuple(Rung(step, rng.random((3, 7)) > 0.5) for step in (PLAIN_HEAD, NAMES)) if with_vectors else ()
    crossed = rng.random((3, 7)) > 0.5 if with_vectors else None
    final = Final(rng.random((3, 7)), "smoothed", 2, answers, seen, UNLABELLED, rungs, crossed)
    final.save(tmp_path / "final")
    read = load_final(tmp_path / "final")
    assert (read.step, [rung.step for rung in read.rungs]) == (UNLABELLED, [rung.step for rung in rungs])
    assert (read.crossed is None) == (crossed is None)
    if read.crossed is not None:
        np.testing.assert_array_equal(read.crossed, crossed)
    for kept, rung in zip(read.rungs, rungs, strict=True):
        np.testing.assert_array_equal(kept.scores, rung.scores)
    np.testing.assert_array_equal(read.scores, final.scores)
    assert (read.way, read.tried) == ("smoothed", 2)
    assert (read.answers is None, read.seen is None) == (not with_vectors, not with_vectors)
    if read.answers is not None:
        np.testing.assert_array_equal(read.answers, answers)


def test_final_scores_that_are_not_of_the_judge_are_refused() -> None:
    asked = judge(4)
    shape = asked.tested.shape
    scores, answers = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int32)
    refuse_other_final(Final(scores, "linear", 2, answers), asked)
    for wrong in (
        Final(scores[:, 1:], "linear", 2, answers[:, 1:]),
        Final(scores[:0], "linear", 2, answers[:0]),
        Final(np.concatenate([scores, scores]), "linear", 2, np.concatenate([answers, answers])),
        Final(np.full(shape, np.nan), "linear", 2, answers),
        Final(scores, "linear", -5, answers),
        Final(scores, "linear", 2, None),
        Final(scores, "linear", 2, answers - 1),
        Final(scores, "linear", 2, answers + 100),
        Final(scores, "linear", 2, answers, rungs=(Rung(PLAIN_HEAD, scores[:2]),)),
        Final(scores, "linear", 2, answers, crossed=np.full(shape, np.nan)),
        Final(scores, "linear", 2, answers, rungs=(Rung(PLAIN_HEAD, np.full(shape, np.nan)),)),
    ):
        with pytest.raises(ValueError, match=r"draws|answers|rung"):
            refuse_other_final(wrong, asked)
