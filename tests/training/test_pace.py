from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from shoptalk.config import load
from shoptalk.stages import legs
from shoptalk.stages.world import World
from shoptalk.training.loop import Step
from shoptalk.training.pace import slowdown_notice, watched
from tests.conftest import Listener
from tests.training.test_forecast import training_in


def steps_of(seconds: Sequence[float]) -> list[Step]:
    return [
        Step(
            number=number, loss=1.0, terms={}, tokens=1, cells=1, seconds=taken, lr=1e-3, last=False,
            write=lambda folder, choice: None,
        )
        for number, taken in enumerate(seconds, start=1)
    ]  # fmt: skip


def said_of(seconds: Sequence[float], *, expected: float | None, total: int = 100) -> list[str]:
    said: list[str] = []
    steps = steps_of(seconds)
    assert list(watched(iter(steps), expected=expected, total=total, name="mlm", say=said.append)) == steps
    return said


@pytest.mark.parametrize(
    ("before", "now", "remedy"),
    [
        ("compiled kernels on cpu", "kernels of torch alone on cpu", "where there is a C++ compiler"),
        ("kernels of torch alone on cpu", "compiled kernels on cpu", "with SHOPTALK_NATIVE=0"),
        ("kernels of torch alone on cuda", "compiled kernels on cpu", "again with kernels of torch alone on cuda"),
    ],
)
def test_a_step_that_is_computed_otherwise_than_the_one_before_is_told_with_what_brings_the_old_way_back(
    before: str, now: str, remedy: str
):
    said: list[str] = []
    steps = [replace(step, computed=now, computed_before=now) for step in steps_of([1.0] * 3)]
    steps[1] = replace(steps[1], computed_before=before)
    list(watched(iter(steps), expected=1.0, total=3, name="mlm", say=said.append))
    (told,) = said
    assert told.startswith(f"mlm: from step 2 on it is computed by {now}, and was by {before} before.")
    assert remedy in told


def test_a_machine_that_became_slower_is_told_with_both_times_that_are_left():
    notice = slowdown_notice(4.2, 2.0, left=180)
    assert notice is not None
    assert "2.1 times slower than when it was timed" in notice
    assert "about 13 min of training are left, where 6.0 min were forecast" in notice


@pytest.mark.parametrize(("seconds", "left"), [(2.0, 100), (2.9, 100), (1.0, 100), (9.0, 0)])
def test_nothing_is_told_where_steps_take_about_what_they_should_or_none_is_left(seconds: float, left: int):
    assert slowdown_notice(seconds, 2.0, left=left) is None


def test_a_slow_stretch_is_told_once():
    (line,) = said_of([3.0] * 10 + [9.0] * 40, expected=3.0)
    assert line.startswith("mlm: this machine has become ")


def test_the_first_step_and_a_few_long_ones_are_not_a_slow_machine():
    assert said_of([60.0, *[3.0] * 20, 9.0, *[3.0] * 20], expected=3.0) == []


def test_a_few_seconds_are_not_judged():
    assert said_of([0.1] * 20 + [0.3] * 20, expected=0.1) == []


def test_it_is_told_again_when_it_has_become_much_slower_still_or_slow_anew():
    assert len(said_of([3.0] * 10 + [6.0] * 20 + [20.0] * 20, expected=3.0)) > 1
    assert len(said_of([3.0] * 10 + [6.0] * 20 + [3.0] * 20 + [6.0] * 20, expected=3.0)) == 2


def test_without_a_forecast_the_first_steps_are_what_later_ones_are_compared_with():
    assert said_of([5.0] * 30, expected=None) == []
    (line,) = said_of([5.0] * 20 + [10.0] * 20, expected=None)
    assert "than when this training began" in line


def test_a_candidate_of_adapt_and_its_curriculum_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listener = Listener()
    monkeypatch.setattr(legs, "advance", lambda *given, **named: iter(steps_of([9.0] * 20)))
    world = World(run=tmp_path, config=load(), report=listener)
    training = training_in(tmp_path)
    for expected, lines in ((3.0, 1), (None, 0)):
        listener.said.clear()
        legs.train_leg(world, legs.Leg("mlm", training, step_seconds=expected), until=100, done=0)
        assert sum("times slower" in line for line in listener.said) == lines
