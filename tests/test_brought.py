"""The first two sentences of a verdict: what the user's text brought in all, and whether training was part of it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from shoptalk.decide import Ladder, Rise, brought
from shoptalk.decide.adoption import Ruling
from shoptalk.records import ACCURACY, Decision, Measure
from shoptalk.tasks.language_model import MEASURE

RECIPROCAL = Measure(
    name="mean reciprocal rank",
    unit="",
    difference="points",
    finding="ranks the true reply at {adapted} against {base}",
    examples="conversations",
    scale=100.0,
)
HEADS = ("plain head", "labels' names", "unlabelled text")


def a_ladder(*levels: float, steps: tuple[str, ...], counted: int, in_all: float = 1.5, measure: Measure = ACCURACY):
    """Levels one above the other, each gain known to 1 point and the gain in all to `in_all` points."""
    gains = [after - before for before, after in pairwise(levels)]
    whole = levels[counted] - levels[0]
    return Ladder(
        steps=steps,
        level=levels,
        rises=tuple(Rise(gain, gain - 1.0, gain + 1.0) for gain in gains),
        shipped=counted,
        in_all=Rise(whole, whole - in_all, whole + in_all) if counted else None,
        c=2.0,
        measure=measure,
    )


def a_ruling(choice: str, gain: float | None, ends: tuple[float, float] | None) -> Ruling:
    decision = Decision(choice=choice, options=(), rule="", readings=(), sentence="")
    return Ruling(decision, "", "x@1", gain, ends, 0.0, 0.0, None, None)


IN_ALL = (
    "With your labels' names and unlabelled text the assistant answers 77.7 % of unseen messages correctly against "
    "54.2 % without them (+23.5 points, 95 % interval +22.0 to +25.0)."
)


def test_an_adopted_encoder_is_part_of_what_the_text_brought() -> None:
    steps = a_ladder(54.2, 65.0, 77.7, 80.0, steps=(*HEADS, "adapted encoder"), counted=3)
    assert brought(steps, a_ruling("adopt", 2.3, (1.1, 3.5)), candidate="neighbours") == (
        "With your labels' names and unlabelled text the assistant answers 80.0 % of unseen messages correctly against "
        "54.2 % without them (+25.8 points, 95 % interval +24.3 to +27.3). "
        "Training the encoder with neighbours was part of that: +2.3 points (+1.1 to +3.5)."
    )


@pytest.mark.parametrize(
    ("choice", "gain", "ends", "more", "second"),
    [
        ("inconclusive", 0.8, (-0.1, 1.6), {},
         "Training the encoder with neighbours was no proven part of that: it changed the result by +0.8 points "
         "(-0.1 to +1.6)."),
        ("inconclusive", 0.8, (0.2, 1.4), {},
         "Training the encoder with neighbours was no part of that yet: it changed the result by +0.8 points "
         "(+0.2 to +1.4)."),
        ("keep_base", -0.4, (-1.2, 0.4), {},
         "Training the encoder with neighbours was no part of that: it changed the result by -0.4 points "
         "(-1.2 to +0.4)."),
        ("keep_base", 2.2, (1.2, 3.2), {"guarded": True},
         "Training the encoder with neighbours was no part of that: it would change the result by +2.2 points "
         "(+1.2 to +3.2), and be outside its guards."),
        ("keep_base", -0.4, (-1.2, 0.4), {"on_test": True},
         "On the test, training the encoder with neighbours was no part of that: it changed the result by -0.4 points "
         "(-1.2 to +0.4)."),
    ],
    ids=["open", "open but a gain", "no gain", "outside its guards", "on a test"],
)  # fmt: skip
def test_where_the_base_is_kept_its_heads_are_what_the_text_brought(
    choice: str, gain: float, ends: tuple[float, float], more: dict[str, Any], second: str
) -> None:
    steps = a_ladder(54.2, 65.0, 77.7, 77.7 + gain, steps=(*HEADS, "adapted encoder"), counted=2)
    assert brought(steps, a_ruling(choice, gain, ends), candidate="neighbours", **more) == f"{IN_ALL} {second}"


def test_where_nothing_was_trained_the_heads_have_their_say() -> None:
    steps = a_ladder(54.2, 65.0, 77.7, steps=HEADS, counted=2)
    ruling = a_ruling("keep_base", None, None)
    assert brought(steps, ruling, candidate=None) == f"{IN_ALL} No encoder was trained."


def test_a_step_that_changed_nothing_is_not_thanked_for_it() -> None:
    steps = a_ladder(54.2, 54.2, 60.0, steps=HEADS, counted=2)
    assert brought(steps, a_ruling("keep_base", None, None), candidate=None).startswith(
        "With your unlabelled text the assistant answers 60.0 % of unseen messages correctly against 54.2 % without it"
    )
    names_alone = a_ladder(54.2, 60.0, steps=HEADS[:2], counted=1)
    said = brought(names_alone, a_ruling("keep_base", None, None), candidate=None)
    assert said.startswith("With your labels' names the assistant answers 60.0 %") and " without them (" in said


@pytest.mark.parametrize(("level", "doubt"), [(54.6, "), which may be chance."), (51.0, "), a loss.")])
def test_what_is_no_proven_gain_in_all_is_not_called_one(level: float, doubt: str) -> None:
    steps = a_ladder(54.2, level, 54.2, steps=("plain head", "labels' names", "adapted encoder"), counted=1)
    first, _, second = brought(steps, a_ruling("keep_base", 0.1, (-0.2, 0.4)), candidate="mlm").partition(". Training")
    assert f"{first}.".endswith(doubt)
    assert second == " the encoder with mlm was no part of that: it changed the result by +0.1 points (-0.2 to +0.4)."


def test_without_heads_an_adopted_encoder_is_all_that_there_is() -> None:
    steps = a_ladder(31.4, 36.2, steps=("base model", "adapted encoder"), counted=1, measure=RECIPROCAL)
    assert brought(steps, a_ruling("adopt", 4.8, (3.3, 6.3)), candidate="turns") == (
        "With your unlabelled text the assistant ranks the true reply at 36.2 against 31.4 without it (+4.8 points, "
        "95 % interval +3.3 to +6.3). "
        "All of that is training the encoder with turns."
    )


@pytest.mark.parametrize(
    ("measure", "standing"),
    [(ACCURACY, "accuracy 31.4 %"), (RECIPROCAL, "mean reciprocal rank 31.4")],
)
def test_where_nothing_is_adopted_the_base_stays_as_it_is(measure: Measure, standing: str) -> None:
    steps = a_ladder(31.4, 31.0, steps=("base model", "adapted encoder"), counted=0, measure=measure)
    assert brought(steps, a_ruling("keep_base", -0.4, (-1.2, 0.4)), candidate="turns") == (
        f"The base model stays as it is ({standing}): nothing that your text brings is adopted. "
        "Training the encoder with turns changed the result by -0.4 points (-1.2 to +0.4)."
    )


def test_a_gain_outside_the_guards_is_said_to_be_both() -> None:
    steps = a_ladder(10.8, 21.7, steps=("base model", "adapted encoder"), counted=0, measure=RECIPROCAL)
    sentences = brought(steps, a_ruling("keep_base", 10.9, (8.6, 13.2)), candidate="turns", guarded=True)
    assert sentences.endswith(
        "Training the encoder with turns would change the result by +10.9 points (+8.6 to +13.2), and be outside its "
        "guards."
    )


def test_another_base_is_told_apart_from_the_users_text() -> None:
    steps = (*HEADS, "another base", "adapted encoder")
    kept = a_ladder(54.2, 65.0, 77.7, 82.0, 79.0, steps=steps, counted=3)
    said = brought(kept, a_ruling("keep_base", -3.0, (-4.0, -2.0)), candidate="mlm")
    assert said.startswith(
        "With your labels' names and unlabelled text, and on another base, the assistant answers 82.0 % of unseen "
        "messages correctly against 54.2 % without any of it (+27.8 points"
    )
    led = a_ladder(54.2, 55.0, 56.0, 82.0, 79.0, steps=steps, counted=3)
    said = brought(led, a_ruling("keep_base", -3.0, (-4.0, -2.0)), candidate="mlm")
    assert said.startswith(
        "On another base, and with your labels' names and unlabelled text, the assistant answers 82.0 % of unseen "
        "messages correctly against 54.2 % on the first, without any of it (+27.8 points"
    )
    assert said.endswith(
        " Against that base, what was trained with mlm changed the result by -3.0 points (-4.0 to -2.0), and is no "
        "part of that."
    )
    alone = a_ladder(54.2, 60.0, steps=("plain head", "another base"), counted=1)
    said = brought(alone, a_ruling("keep_base", None, None), candidate=None)
    assert said.startswith(
        "On another base the assistant answers 60.0 % of unseen messages correctly against 54.2 % on"
    )
    adopted = a_ladder(54.2, 65.0, 77.7, 78.0, 82.0, steps=steps, counted=4)
    assert "another base" not in brought(adopted, a_ruling("adopt", 4.0, (3.0, 5.0)), candidate="mlm")


def test_of_a_language_model_people_are_told_what_the_model_does_and_that_less_is_better() -> None:
    steps = a_ladder(1.017, 0.901, steps=("base model", "adapted encoder"), counted=1, measure=MEASURE)
    rise = Rise(0.116, 0.103, 0.129)
    assert brought(
        replace(steps, rises=(rise,), in_all=rise), a_ruling("adopt", 0.116, (0.103, 0.129)), candidate="clm"
    ) == (
        "With your unlabelled text the model needs 0.901 bits a byte of unseen documents against 1.017 bits without it "
        "(less is better: a gain of +0.116 bits, 95 % interval +0.103 to +0.129). "
        "All of that is training the model with clm."
    )
    steps = a_ladder(1.017, 0.901, steps=("base model", "adapted encoder"), counted=0, measure=MEASURE)
    kept = brought(steps, a_ruling("keep_base", -0.01, (-0.02, 0.001)), candidate="clm")
    assert kept.endswith("Training the model with clm brought a gain of -0.010 bits (-0.020 to +0.001).")
    worse = brought(steps, a_ruling("keep_base", -0.394, (-0.406, -0.382)), candidate="clm")
    assert worse.endswith("Training the model with clm cost 0.394 bits (0.382 to 0.406).")


def test_where_a_base_that_needs_no_training_is_best_the_first_sentence_says_to_use_it() -> None:
    steps = a_ladder(24.5, 51.0, 27.4, steps=("plain head", "another base", "adapted encoder"), counted=1)
    ruling = a_ruling("keep_base", -23.7, (-30.8, -16.5))
    assert brought(steps, ruling, candidate="simclr", base="hog").startswith(
        "Use hog, which needs no training: on it the assistant answers 51.0 %"
    )
    assert brought(steps, ruling, candidate="simclr", base="mpnet").startswith("On another base the assistant")
    chance = replace(steps, in_all=Rise(26.5, -3.0, 56.0))
    assert brought(chance, ruling, candidate="simclr", base="hog").startswith("On another base the assistant")
