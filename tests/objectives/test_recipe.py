"""What a candidate's name says, and which share of replayed text came furthest."""

import pytest

from shoptalk.errors import ConfigError
from shoptalk.objectives import spec_for
from shoptalk.objectives.autoregressive.clm import ClmSpec
from shoptalk.objectives.recipe import Recipe, replay_sentence


def test_a_name_says_how_much_is_replayed_and_of_a_curriculum_in_which_phase() -> None:
    (phase,) = Recipe.parse("clm-replay-25").phases
    assert (phase.name, phase.weights, phase.replay_percent) == ("clm-replay-25", {"clm": 1.0}, 25)
    first, second = Recipe.parse("clm-replay-5-then-sft").phases
    assert (first.replay_percent, second.replay_percent, second.weights) == (5, 0, {"sft": 1.0})
    assert Recipe.parse("clm-replay-5-then-sft").replay_percent == 5
    assert Recipe.parse("clm").replay_percent == Recipe.parse("0.2*mlm+turns").replay_percent == 0


@pytest.mark.parametrize(
    "name",
    ["clm-replay-", "-replay-5", "clm-replay-0", "clm-replay-100", "clm-replay-0.5", "clm-replay-a", "clm-replay-²",
     "0.5*clm-replay-5", "clm+mlm-replay-5", "clm-replay-5-replay-5"],
)  # fmt: skip
def test_a_share_that_is_no_whole_per_cent_or_is_of_several_objectives_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is no objective that replays general text: .* such as clm-replay-25"):
        Recipe.parse(name)


def test_a_replaying_candidate_has_the_settings_of_its_objective_and_may_have_some_of_its_own() -> None:
    own = {"clm": {"lr": 3e-4, "context": 64}, "clm-replay-25": {"lr": 1e-4}}
    spec = spec_for("clm-replay-25", own)
    assert spec == ClmSpec(lr=1e-4, context=64, replay_percent=25) and spec.replays
    assert spec_for("clm", own) == ClmSpec(lr=3e-4, context=64) and not spec_for("clm", own).replays


def test_an_objective_that_replays_nothing_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"'mlm-replay-5': mlm replays no general text\. What can: clm\."):
        spec_for("mlm-replay-5", {})
    with pytest.raises(ConfigError, match=r"No objective 'cln'"):
        spec_for("cln-replay-5", {})
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.clm-replay-5\.lrr'"):
        spec_for("clm-replay-5", {"clm-replay-5": {"lrr": 1.0}})


def test_the_share_that_came_furthest_is_told_with_those_that_were_tried() -> None:
    tried = ["clm-replay-25", "clm", "clm-replay-5", "clm-replay-5"]
    assert replay_sentence(tried, "clm-replay-5") == (
        "Of the shares of replayed general text that were tried (0, 5 and 25 %), 5 % came furthest."
    )
    assert "0 % came furthest" in replay_sentence(tried, "clm")
    assert replay_sentence(["clm-replay-5"], "clm-replay-5") == "Of its rows 5 % were general text that is replayed."
    assert replay_sentence(["clm", "sft"], "clm") == replay_sentence(tried, None) == ""
