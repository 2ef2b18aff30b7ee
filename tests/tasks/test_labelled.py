"""Judging by labels: which heads are chosen, on which draws, and what a supplied test asks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.errors import InputError
from shoptalk.nn.heads.kind_answers import Seen, kind_answers
from shoptalk.nn.heads.kinds import KINDS, chosen_kinds
from shoptalk.objectives.toy import toy_corpus
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.records import ACCURACY, Example
from shoptalk.tasks import labelled
from shoptalk.tasks.intent import intent
from shoptalk.tasks.judge import NAMES, PLAIN_HEAD, UNLABELLED, Final, Ground, Rung, load_final, refuse_other_final
from shoptalk.tasks.labelled import LabelJudge
from tests.tiny import tiny_product
from tests.topics import CLUSTER, LABELS, POOL, TEXTS, TOPICS

EXAMPLES = tuple(
    Example(id=str(i), text=text, label=TOPICS[LABELS[i]], cluster=int(CLUSTER[i])) for i, text in enumerate(TEXTS)
)


def judge(n_draws: int, *, tests: tuple[Example, ...] = (), kind: Any = "text") -> LabelJudge:
    corpus = toy_corpus()
    ground = Ground(kind, EXAMPLES, tests, corpus, corpus, tuple(POOL), shots=3, n_draws=n_draws, seed=3)
    made = intent(ground)
    assert made is not None
    return made


def test_there_is_nothing_to_judge_by_without_labels() -> None:
    corpus = toy_corpus()
    assert intent(Ground("text", (), (), corpus, corpus, (), shots=3, n_draws=5, seed=0)) is None


def test_a_look_is_a_plain_head_on_the_draws_that_every_entry_shares() -> None:
    one, product = judge(4), tiny_product()
    drawn = decide.draws(np.array([example.label for example in EXAMPLES]), CLUSTER, shots=3, n_draws=4, seed=3)
    np.testing.assert_array_equal(one.tested, drawn.tested)
    expected = kshot_outcomes(product.embed(TEXTS), one.classes.labels, drawn.training)
    np.testing.assert_array_equal(one.look(product), expected)
    assert (one.key, one.measure, one.looked, one.shots) == ("intent", ACCURACY, "3-shot accuracy", 3)


def test_an_encoders_own_best_kind_is_chosen_on_the_draws_tests_and_clusters() -> None:
    one, product = judge(4), tiny_product()
    seen = Seen.by(product, TEXTS, POOL, labels=TOPICS)
    answers = kind_answers(seen, one.classes.labels, one.classes.training)
    outcomes = {name: answered == one.classes.labels for name, answered in answers.items()}
    chosen = chosen_kinds(outcomes, one.tested, one.cluster, seed=3)
    final = one.final(product)
    np.testing.assert_array_equal(final.scores, chosen.outcomes(outcomes))
    assert final.way == max(KINDS, key=lambda name: outcomes[name][one.tested].mean())
    np.testing.assert_array_equal(final.answers, answers[final.way])
    assert final.tried == 4


def test_kinds_that_the_first_draws_choose_answer_all_of_them() -> None:
    one, product = judge(6), tiny_product()
    everything = kind_answers(Seen.by(product, TEXTS, POOL, labels=TOPICS), one.classes.labels, one.classes.training)
    outcomes = {name: answered == one.classes.labels for name, answered in everything.items()}
    first = {name: answered[:2] for name, answered in outcomes.items()}
    chosen = chosen_kinds(first, one.tested[:2], one.cluster, seed=3)
    beside = Final(np.zeros((6, 36), dtype=bool), "linear", tried=2)
    final = one.final(product, beside=beside)
    np.testing.assert_array_equal(final.scores, chosen.outcomes(outcomes))
    np.testing.assert_array_equal(final.answers, everything[chosen.best])


def test_a_challenger_is_scored_on_the_draws_that_its_base_was_scored_on() -> None:
    one = judge(6)
    final = one.final(tiny_product(), beside=Final(np.zeros((4, 36), dtype=bool), "linear", tried=3))
    assert final.scores.shape == (4, 36) and final.tried == 3


def test_limited_time_tries_kinds_on_as_many_draws_as_it_pays_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    def shared_out(seconds: float | None, a_draw: float, *, most: int) -> tuple[int, int]:
        asked.append(seconds)
        return 3, 6

    monkeypatch.setattr(labelled, "_draws_for", shared_out)
    final = judge(14).final(tiny_product(), seconds=8.0)
    assert asked == [8.0]
    assert (final.tried, len(final.scores)) == (3, 6)


@pytest.mark.parametrize(
    ("seconds", "a_draw", "expected"), [(None, 9.0, (20, 20)), (60.0, 0.5, (12, 20)), (9.0, 9.0, (5, 5))]
)
def test_draws_are_shared_out_between_trying_and_answering(
    seconds: float | None, a_draw: float, expected: tuple[int, int]
) -> None:
    assert labelled._draws_for(seconds, a_draw, most=20) == expected


def test_a_supplied_test_is_answered_by_heads_of_the_shipped_kind() -> None:
    tests = (*(Example(id="t", text=text, label=TOPICS[i % 3], cluster=i) for i, text in enumerate(POOL[:9])),)
    one, product = judge(4, tests=(*tests, Example(id="u", text="?", label="unheard of"))), tiny_product()
    final = one.final(product)
    assert one.test is not None
    scores = one.test.scores(product, final)
    assert scores.shape == (4, 9)
    assert len(one.test.cluster) == 9  # a label that nobody learned is not asked for
    seen = Seen.by(product, [*TEXTS, *POOL[:9]], POOL, labels=TOPICS)
    labels = np.concatenate([one.classes.labels, np.arange(9) % 3])
    answers = kind_answers(seen, labels, one.classes.training, only=final.way)[final.way]
    np.testing.assert_array_equal(scores, answers[:, 36:] == labels[36:])


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
        answers = kind_answers(views[rung.step], one.classes.labels, one.classes.training, only="linear")["linear"]
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
    final = Final(rng.random((3, 7)), "smoothed", 2, answers, seen, UNLABELLED, rungs)
    final.save(tmp_path / "final")
    read = load_final(tmp_path / "final")
    assert (read.step, [rung.step for rung in read.rungs]) == (UNLABELLED, [rung.step for rung in rungs])
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
        Final(scores, "linear", 2, answers, rungs=(Rung(PLAIN_HEAD, np.full(shape, np.nan)),)),
    ):
        with pytest.raises(ValueError, match=r"draws|answers|rung"):
            refuse_other_final(wrong, asked)
