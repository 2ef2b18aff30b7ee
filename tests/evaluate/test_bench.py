"""Probes, guards and judges of a run, by stable keys."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tiny import tiny_product
from tests.topics import CLUSTER, LABELS, POOL, TEXTS, TOPICS

from shoptalk.evaluate import labelfree
from shoptalk.evaluate.bench import (
    Bench,
    Guard,
    Measured,
    load_measured,
    make_bench,
    measure,
    outside,
    refuse_other,
    save_measured,
)
from shoptalk.objectives.toy import toy_corpus
from shoptalk.probes import bits_per_byte, forgetting, knn, rank, retrieval
from shoptalk.records import ACCURACY, Example, Measure, Reading
from shoptalk.tasks.judge import Final, Ground, Judge, Score
from shoptalk.tasks.labelled import LabelJudge

LIMITS = {"forgetting": -1.0, "tasks": -0.5}
LENGTH = Measure(
    name="length", unit="cm", difference="cm", finding="is {adapted} long against {base}", examples="rulers", scale=2.0
)


class Lengths(Judge):
    """Scores that a test names, whatever the product is."""

    def __init__(self, key: str, values: np.ndarray, measure: Measure = LENGTH) -> None:
        self.key, self.values, self.measure = key, values, measure
        self.tested = np.ones(values.shape, dtype=bool)
        self.cluster = np.arange(values.shape[1])

    def look(self, product: Any) -> Score:
        return self.values

    def final(self, product: Any, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        return Final(self.values)


def ground(kind: Any = "text") -> Ground:
    examples = tuple(
        Example(id=str(i), text=text, label=TOPICS[LABELS[i]], cluster=int(CLUSTER[i])) for i, text in enumerate(TEXTS)
    )
    corpus = toy_corpus()
    return Ground(kind, examples, (), corpus, corpus, tuple(POOL), n_draws=4, seed=0)


def intents() -> LabelJudge:
    return LabelJudge.draw("intent", ACCURACY, ground())


def reading(key: str, value: float) -> Reading:
    return Reading(key=key, name=key, value=value, unit="points", n=1)


def test_a_measurement_reads_every_probe_and_judge_by_its_key() -> None:
    bench = make_bench(ground(), {"intent": intents()}, goal="intent", sample=tuple(TEXTS), limits=LIMITS)
    measured = measure(tiny_product(), bench)
    assert {"general_similarity", "rankme", "uniformity", "knn_accuracy", "intent"} <= set(measured.values())
    assert set(measured.values()) == {*bench.probes, "intent"}
    judge = bench.judge
    assert judge is not None
    assert measured.values()["intent"] == 100 * measured.scores["intent"][judge.tested].mean()
    assert measured.reading("intent") is not None and measured.reading("nothing") is None
    assert list(bench.guards) == ["forgetting"]


def test_what_does_not_read_texts_has_no_guard_of_general_similarity() -> None:
    bench = make_bench(ground("image"), {}, goal="intent", sample=tuple(TEXTS), limits=LIMITS)
    assert set(bench.probes) == {rank.KEY, "uniformity"} and bench.guards == {}
    nothing = make_bench(ground("lm"), {"intent": intents()}, goal="intent", sample=tuple(TEXTS), limits=LIMITS)
    assert set(nothing.probes) == {bits_per_byte.KEY} and nothing.guards == {}  # its base has nothing to forget


def test_a_language_model_may_read_general_text_so_much_worse_in_per_cent_of_what_the_base_needs() -> None:
    limits = LIMITS | {"general_bits": -2.0}
    bench = make_bench(ground("lm"), {}, goal="language_model", sample=tuple(TEXTS), limits=limits)
    guard = bench.guards["forgetting"]
    key = bits_per_byte.KEY
    assert guard.change({key: 2.0}, {key: 2.03}) == pytest.approx(-1.5)
    before = Measured((reading(key, 2.0),))
    assert outside(bench.guards, before, Measured((reading(key, 2.03),)), kind="lm") is None
    why = outside(bench.guards, before, Measured((reading(key, 2.1),)), kind="lm")
    assert why == "it forgets: general text takes it 5.0 % more bits than the base (guard 2 %)"


def test_without_a_judge_a_challenger_is_scored_by_the_rule_that_needs_no_labels() -> None:
    sample = tuple(f"{text} {i}" for i, text in enumerate(3 * TEXTS))
    bench = make_bench(ground(), {}, goal="intent", sample=sample, limits=LIMITS)
    base = measure(tiny_product(), bench)
    assert base.vectors is not None and labelfree.KEY not in base.values()
    challenger = measure(tiny_product(), bench, base=base)
    assert challenger.values()[labelfree.KEY] == pytest.approx(
        labelfree.label_free_score(base.vectors, base.vectors).value
    )
    few = make_bench(ground(), {}, goal="intent", sample=sample[: labelfree.FEWEST - 1], limits=LIMITS)
    assert labelfree.KEY not in measure(tiny_product(), few, base=measure(tiny_product(), few)).values()


def test_an_entry_is_outside_the_guard_that_it_breaks_and_the_reason_has_its_numbers() -> None:
    guards = {"forgetting": Guard(forgetting.KEY, "forgetting", -1.0, "it forgets: {change:.1f} ({limit:g})")}
    before = Measured((reading(forgetting.KEY, 70.0),))
    assert outside(guards, before, Measured((reading(forgetting.KEY, 69.0),))) is None
    assert outside(guards, before, Measured((reading(forgetting.KEY, 68.5),))) == "it forgets: -1.5 (-1)"


def test_vectors_that_have_collapsed_are_outside_every_guard() -> None:
    collapsed = Reading(key=rank.KEY, name="RankMe", value=1.0, unit="", n=64, detail={"most": 64})
    reason = outside({}, Measured(()), Measured((collapsed,)))
    assert reason is not None and "collapsed" in reason


def test_a_task_that_is_not_the_goal_must_not_lose() -> None:
    values = np.array([[0.5, 0.7]])
    judges = {"intent": intents(), "length": Lengths("length", values)}
    bench = make_bench(ground(), judges, goal="intent", sample=(), limits=LIMITS)
    assert bench.judge is judges["intent"]
    before = Measured((reading(forgetting.KEY, 70.0), reading("length", 1.2)))
    fine = Measured((reading(forgetting.KEY, 70.0), reading("length", 1.195)))
    worse = Measured((reading(forgetting.KEY, 70.0), reading("length", 1.0)))
    assert outside(bench.guards, before, fine) is None
    assert outside(bench.guards, before, worse) == "it loses at length: -0.2 cm (guard -0.01)"


def test_where_less_is_better_a_rise_breaks_the_guard() -> None:
    bits = LENGTH.model_copy(update={"lower_is_better": True})
    judges = {"intent": intents(), "bits": Lengths("bits", np.array([[-1.0, -2.0]]), bits)}
    guard = make_bench(ground(), judges, goal="intent", sample=(), limits=LIMITS).guards["bits"]
    assert guard.change({"bits": 3.0}, {"bits": 3.4}) == pytest.approx(-0.4)
    bench = Bench(goal="bits", judges={"bits": judges["bits"]}, probes={}, guards={})
    assert measure(tiny_product(), bench).values() == {"bits": 3.0}


@pytest.mark.parametrize("scores", [np.array([[True, False]]), np.array([[0.25, -3.0]])])
def test_a_measurement_survives_being_written_and_read(scores: np.ndarray, tmp_path: Path) -> None:
    measured = Measured(
        (reading("a", 1.5), reading(knn.KEY, float("nan"))),
        {"intent": scores},
        np.ones((2, 3), dtype=np.float32),
        reading("masked_bits", 4.0),
    )
    save_measured(tmp_path, measured)
    read = load_measured(tmp_path)
    assert list(read.values()) == ["a", knn.KEY, "masked_bits"]
    np.testing.assert_array_equal(read.scores["intent"], scores)
    assert read.scores["intent"].dtype == scores.dtype
    np.testing.assert_array_equal(read.vectors, measured.vectors)
    save_measured(tmp_path / "bare" if (tmp_path / "bare").mkdir() is None else tmp_path, Measured(()))
    assert load_measured(tmp_path / "bare") == Measured(())


def test_pairs_of_a_conversation_are_asked_of_what_reads_texts() -> None:
    corpus = toy_corpus()
    bench = make_bench(ground(), {}, goal="intent", sample=(), limits=LIMITS)
    assert (retrieval.KEY in bench.probes) == (len(retrieval.choose_pairs(corpus, seed=0)) > 1)


@pytest.mark.parametrize(
    ("scores", "readings"),
    [
        ({}, ("a",)),
        ({"intent": np.zeros((4, 2), dtype=bool)}, ("a",)),
        ({"intent": np.full((4, 3), np.nan)}, ("a",)),
        ({"intent": np.zeros((4, 3), dtype=bool)}, ()),
    ],
)
def test_a_measurement_of_another_bench_is_refused(scores: dict[str, np.ndarray], readings: tuple[str, ...]) -> None:
    judge = Lengths("intent", np.zeros((4, 3)))
    bench = Bench(
        goal="intent", judges={"intent": judge}, probes={}, guards={"forgetting": Guard("a", "forgetting", -1.0, "")}
    )
    refuse_other(Measured((reading("a", 1.0),), {"intent": np.zeros((4, 3), dtype=bool)}), bench)
    with pytest.raises(ValueError, match=r"scores of 'intent'|reading of 'a'"):
        refuse_other(Measured(tuple(reading(key, 1.0) for key in readings), scores), bench)


def test_a_collapse_is_told_of_what_the_product_reads() -> None:
    reading = Reading(key=rank.KEY, name="RankMe", value=1.0, unit="", n=100, detail={"most": 100})
    assert "texts of different meaning" in str(outside({}, Measured(()), Measured((reading,))))
    assert "different pictures lie in one place" in str(outside({}, Measured(()), Measured((reading,)), kind="image"))
