"""Which pilot goes on."""

import itertools
from unittest.mock import Mock

import pytest

from shoptalk.evaluate import labelfree
from shoptalk.evaluate.bench import Bench, Guard, Measured, beyond, outside
from shoptalk.objective import Material
from shoptalk.probes import rank
from shoptalk.records import Reading
from shoptalk.stages import choose
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.candidate import PreparedCandidate
from shoptalk.stages.choose import Chosen, choose_stage
from shoptalk.stages.entry import Entry
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World
from shoptalk.training.plan import CandidatePlan
from tests.conftest import Listener

GUARDS = {
    "forgetting": Guard("general", "forgetting", -5.0, "it forgets", "%", lower_is_better=True, relative=True),
    "answer": Guard("answer", "answer", -1.0, "it loses"),
}


def measured(gain: float, *, general: float = 2.0, answer: float = 50.0) -> Measured:
    values = {labelfree.KEY: gain, "general": general, "answer": answer}
    return Measured(tuple(Reading(key=key, name=key, value=value, unit="points", n=1) for key, value in values.items()))


def chosen(monkeypatch: pytest.MonkeyPatch, listener: Listener, pilots: dict[str, Measured], *, replay: bool) -> Chosen:
    """Of candidates with these pilots."""

    def train_to(world: World, prepared: Prepared, baseline: Baseline, name: str, step: int, **_: object) -> Entry:
        entry = Mock(spec=Entry, candidate=name, measured=pilots[name], alarm=None)
        entry.name = f"{name}@{step}"
        return entry

    monkeypatch.setattr(choose, "train_to", train_to)
    plan = CandidatePlan(steps=20, checkpoints=(10, 20), tokens_per_step=1.0, seconds_per_step=1.0)
    general = Mock(spec=Material) if replay else None
    prepared = Mock(spec=Prepared, plan=Mock(candidates=dict.fromkeys(pilots, plan), keep=(1,)))
    prepared.candidates = {name: Mock(spec=PreparedCandidate, general=general) for name in pilots}
    bench = Bench("chat", {}, {}, GUARDS, kind="lm")
    baseline = Mock(spec=Baseline, bench=bench, measured=measured(0.0), kind="lm")
    return choose_stage(Mock(spec=World, report=listener), prepared, baseline)


def test_where_every_pilot_is_outside_its_guards_the_one_that_is_least_outside_goes_on(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    pilots = {
        "clm": measured(3.0, general=2.6),  # 30 % more bits, and 5 % are allowed
        "clm-replay-5": measured(2.0, general=2.4),
        "clm-replay-25": measured(1.0, general=2.2),
    }
    ranking = chosen(monkeypatch, listener, pilots, replay=True).ranking
    assert ranking == ("clm-replay-25", "clm-replay-5", "clm") and listener.winner == "clm-replay-25"
    assert listener.said[-1] == (
        "choose: clm-replay-25 goes on (all are outside their guards, by so many limits, or points where a guard "
        "allows nothing: clm-replay-25 1.0, clm-replay-5 3.0, clm 5.0)"
    )


def test_where_one_pilot_is_inside_its_guards_gains_rank_those_inside(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    pilots = {"clm": measured(3.0, general=2.6), "a": measured(1.0), "b": measured(2.0)}
    assert chosen(monkeypatch, listener, pilots, replay=True).ranking == ("b", "a", "clm")
    assert "goes on (against the base: b +2.00" in listener.said[-1]


def test_without_replay_gains_alone_rank(monkeypatch: pytest.MonkeyPatch, listener: Listener) -> None:
    pilots = {"a": measured(1.0, general=2.2), "b": measured(2.0, general=2.6)}
    assert chosen(monkeypatch, listener, pilots, replay=False).ranking == ("b", "a")


@pytest.mark.parametrize("limits", [(-5.0, -1.0), (0.0, 0.0), (-1e-3, -0.5)])
@pytest.mark.parametrize("has_collapsed", [False, True])
def test_an_entry_is_outside_its_guards_exactly_where_it_is_some_way_beyond_them(
    limits: tuple[float, float], has_collapsed: bool
) -> None:
    guards = {name: guard._replace(limit=limit) for (name, guard), limit in zip(GUARDS.items(), limits, strict=True)}
    collapsed = Reading(key=rank.KEY, name="RankMe", value=1.0, unit="", n=64, detail={"most": 64})
    for general, answer in itertools.product((1.9, 2.0, 2.05, 2.2, float("nan")), (51.0, 50.0, 49.25, 49.0, 46.0)):
        entry = measured(0.0, general=general, answer=answer)
        if has_collapsed:
            entry = Measured((*entry.readings, collapsed))
        assert (outside(guards, measured(0.0), entry) is None) == (beyond(guards, measured(0.0), entry) == 0.0)
        assert not has_collapsed or beyond(guards, measured(0.0), entry) == float("inf")


def test_where_a_guard_allows_nothing_what_breaks_it_counts_in_points() -> None:
    bits = Guard("answer", "bits", 0.0, "it loses", "bits", lower_is_better=True, point=0.08)
    guards = {"forgetting": GUARDS["forgetting"], "bits": bits}
    assert beyond(guards, measured(0.0), measured(0.0, answer=50.32)) == pytest.approx(4.0)
    assert beyond(guards, measured(0.0), measured(0.0, answer=50.04, general=2.2)) == pytest.approx(1.0)


def test_how_far_outside_counts_in_limits_of_the_guard_that_is_broken_most() -> None:
    base = measured(0.0)
    assert beyond(GUARDS, base, measured(9.0, general=2.05, answer=49.0)) == 0.0
    assert beyond(GUARDS, base, measured(9.0, general=2.2)) == pytest.approx(1.0)
    assert beyond(GUARDS, base, measured(9.0, general=2.2, answer=46.0)) == pytest.approx(3.0)
    assert beyond(GUARDS, base, measured(9.0, general=float("nan"))) == float("inf")
    assert beyond({}, base, measured(9.0, general=2.6)) == 0.0
