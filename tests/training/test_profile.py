"""Where a run's time goes, by stage and by part."""

import time

import pytest

from shoptalk.training.profile import Profile


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test moves it on."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_part_inside_a_part_is_counted_once(clock: list[float]) -> None:
    profile = Profile()
    with profile.stage("choose"):
        clock[0] += 1
        with profile.part("looks"):
            clock[0] += 2
            with profile.part("saving"):
                clock[0] += 4
            profile.add("training", 0.5)
    assert profile.stages == {"choose": 7}
    assert profile.parts == {"choose": {"saving": 4, "training": 0.5, "looks": 1.5}}


def test_parts_add_up_within_a_stage_and_not_across_stages(clock: list[float]) -> None:
    profile = Profile()
    for stage in ("choose", "pretrain"):
        with profile.stage(stage):
            for _ in range(3):
                with profile.part("looks"):
                    clock[0] += 2
    assert profile.parts == {"choose": {"looks": 6}, "pretrain": {"looks": 6}}


def test_a_part_that_fails_is_counted_and_leaves_none_open(clock: list[float]) -> None:
    profile = Profile()
    with profile.stage("plan"):
        with pytest.raises(ValueError, match="no"), profile.part("targets"):
            clock[0] += 3
            raise ValueError("no")
        with profile.part("timing"):
            clock[0] += 1
    assert profile.parts["plan"] == {"targets": 3, "timing": 1}
