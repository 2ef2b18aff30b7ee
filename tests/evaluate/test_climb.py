"""The ladder of a run is composed of what was measured, and training's step is the verdict's gain."""

from typing import Any

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.evaluate.climb import climb, ladder_facts
from shoptalk.records import ACCURACY
from shoptalk.tasks.judge import Final, Judge, Rung

RNG = np.random.default_rng(5)
SHAPE = (4, 120)


class Asked(Judge):
    key, measure = "asked", ACCURACY
    tested, cluster = RNG.random(SHAPE) < 0.5, np.arange(120)

    def look(self, product: Any) -> Any:
        raise NotImplementedError

    def final(self, product: Any, *, beside: Any = None, seconds: Any = None) -> Any:
        raise NotImplementedError


def right(share: float) -> np.ndarray:
    return RNG.random(SHAPE) < share


def with_heads(crossed: np.ndarray | None) -> Final:
    rungs = (Rung("plain head", right(0.4)), Rung("labels' names", right(0.5)))
    return Final(right(0.6), "smoothed", step="unlabelled text", rungs=rungs, crossed=crossed)


@pytest.mark.parametrize("crossed", [None, right(0.58)], ids=["one head", "halves that disagree"])
def test_training_is_the_verdicts_gain_and_the_steps_add_up(crossed: np.ndarray | None) -> None:
    base, adapted, judge = with_heads(crossed), Final(right(0.65)), Asked()
    ladder = climb(base, None, adapted, judge, adopted=True, chosen_c=2.5, seed=0)
    pair = decide.Scores(("x",), np.stack([base.scores, adapted.scores]), judge.tested, judge.cluster)
    gain = decide.estimate_chosen(pair, c=2.5, seed=0).gain[0]

    assert ladder.steps == ("plain head", "labels' names", "unlabelled text", "adapted encoder")
    assert ladder.rises[-1].gain == pytest.approx(gain)
    assert ladder.in_all is not None
    assert ladder.in_all.gain == pytest.approx(sum(rise.gain for rise in ladder.rises))
    heads = base.scores if crossed is None else crossed
    assert ladder.level[2] == pytest.approx(100 * heads[judge.tested].mean())


def test_what_is_not_adopted_is_drawn_and_not_counted_and_another_base_stands_between() -> None:
    base, other, adapted = with_heads(None), Final(right(0.7)), Final(right(0.68))
    facts = ladder_facts(climb(base, other, adapted, Asked(), adopted=False, chosen_c=2.5, seed=0))
    assert [row["step"] for row in facts["ladder"]][2:] == ["unlabelled text", "another base", "adapted encoder"]
    assert facts["in_all"]["step"] == "another base"
    assert facts["in_all"]["gain"] == pytest.approx(facts["ladder"][3]["value"] - facts["ladder"][0]["value"])
    assert facts["ladder"][0]["gain"] is None and facts["ladder"][0]["interval"] is None


def test_a_task_without_heads_has_the_base_and_the_adapted_encoder_and_steps_not_measured_are_not_there() -> None:
    base = Final(right(0.4))
    facts = ladder_facts(climb(base, None, Final(right(0.5)), Asked(), adopted=False, chosen_c=2.5, seed=0))
    assert [row["step"] for row in facts["ladder"]] == ["base model", "adapted encoder"]
    assert facts["in_all"] == {"step": "base model", "gain": None, "interval": None}
    alone = ladder_facts(climb(base, None, None, Asked(), adopted=False, chosen_c=None, seed=0))
    assert [row["step"] for row in alone["ladder"]] == ["base model"]


def test_what_a_language_models_training_adds_is_named_after_a_model() -> None:
    class Read(Asked):
        measure = ACCURACY.model_copy(update={"trained": "model"})

    facts = ladder_facts(climb(Final(right(0.4)), None, Final(right(0.5)), Read(), adopted=True, chosen_c=2.5, seed=0))
    assert [row["step"] for row in facts["ladder"]] == ["base model", "adapted model"]
    assert facts["in_all"]["step"] == "adapted model"
