import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from shoptalk.adaptation import adapt
from shoptalk.commands.pretrain import pretrain
from shoptalk.config import Config, load
from shoptalk.errors import ConfigError, SourceError
from shoptalk.nn.bases import open_base
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import embed
from shoptalk.nn.precision import Precision
from shoptalk.objectives.mixture import MixtureSpec
from shoptalk.objectives.recipe import Recipe
from shoptalk.stages.curate import open_curated
from shoptalk.stages.curriculum import first_budget, phase_specs, turn_of
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log
from shoptalk.training.plan import Cost, joint_cost
from tests.conftest import BOTH_PRECISIONS, Listener, SmallWorld

pytestmark = BOTH_PRECISIONS

NAME = "mlm-then-neighbours"
EVERY_STEP = "train.snapshot_seconds=1e-6"
"""So that what was killed goes on where it was."""


class Interrupted(Listener):
    """A reporter in whose company the process is killed at a step of a training."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__()
        self.name, self.at = name, at

    def track(self, steps: Iterable[Any], *, done: int, total: int, name: str) -> Iterator[Any]:
        for step in super().track(steps, done=done, total=total, name=name):
            if self.name in name and step.number == self.at:
                raise KeyboardInterrupt
            yield step


def config_for(base: Path | str, *overrides: str, **values: object) -> Config:
    small = [f"objectives.{name}.batch=8" for name in ("mlm", "turns", "neighbours")]
    settings = {"budget": "3ktok", "draws": 5, "shots": 2} | values
    return load(overrides=[*small, *overrides], base=str(base), **settings)


def trained(sources: SmallWorld, base: Path, out: Path, report: Listener, *overrides: str) -> Path:
    """What eight steps of the curriculum leave."""
    run = World(run=out, config=config_for(base, *overrides), report=report)
    pretrain(run, [sources.conversations], objective=NAME, steps=8, card="")
    return out


@dataclass(frozen=True)
class Whole:
    """What runs that nothing interrupted have left."""

    sources: SmallWorld
    pretrained: Path
    adapted: Path
    verdict: dict[str, Any]
    said: list[str]


def adapted(sources: SmallWorld, base: Path, out: Path, report: Listener, *overrides: str) -> dict[str, Any]:
    config = config_for(base, *overrides, candidates=(NAME, "none"))
    return adapt([sources.conversations], out=out, config=config, report=report, labels=sources.labels).told()


@pytest.fixture(scope="module")
def whole(tiny_base: Path, precision: Precision, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, report = tmp_path_factory.mktemp("whole"), Listener()
    sources = SmallWorld(folder)
    pretrained = trained(sources, tiny_base, folder / "p", report)
    verdict = adapted(sources, tiny_base, folder / "run", Listener())
    return Whole(sources, pretrained, folder / "run", verdict, report.said)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def equal(one: Path, other: Path) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def steps_of(listener: Listener) -> list[str]:
    return [line for line in listener.said if "/" in line.split(" ")[-1]]


# --- names and shares


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("mlm", ("mlm",)),
        ("0.2*mlm+turns", ("0.2*mlm+turns",)),
        ("mlm-then-neighbours", ("mlm", "neighbours")),
        ("0.2*mlm+turns-then-neighbours", ("0.2*mlm+turns", "neighbours")),
        ("neighbours-then-neighbours", ("neighbours", "neighbours")),
    ],
)
def test_a_name_tells_its_phases(name: str, phases: tuple[str, ...]) -> None:
    assert tuple(phase.name for phase in Recipe.parse(name).phases) == phases


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlm-then-simcse-then-turns", "expected two phases, and it has 3"),
        ("mlm-then-", "expected two phases, and it has 1"),
        ("-then-mlm", "expected two phases, and it has 1"),
        ("mlm-then-neighbors", r"'neighbors'\. Did you mean 'neighbours'"),
        ("0.2*mml+turns-then-mlm", r"'mml'\. Did you mean 'mlm'"),
        ("mlm-then-none", r"'none'\. "),
        ("mlm-then-classify", r"'classify' learns from labels.*shoptalk finetune"),
        ("mlm-then-turns+classify", r"'classify' learns from labels"),
    ],
)
def test_a_wrong_name_is_refused_with_what_is_wrong_before_anything_is_read(
    name: str, message: str, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    world = World(run=tmp_path / "p", config=config_for(tiny_base), report=listener)
    with pytest.raises(ConfigError, match=message):
        pretrain(world, [tmp_path / "missing"], objective=name, steps=4, card="")
    with pytest.raises(ConfigError, match=message):
        phase_specs(world.config, name)


def test_each_phase_has_its_objectives_settings_and_the_curriculum_has_none(tiny_base: Path) -> None:
    first, second = phase_specs(config_for(tiny_base, "objectives.turns.lr=1e-6"), "0.2*mlm+turns-then-turns")
    assert isinstance(first, MixtureSpec) and [part.weight for part in first.parts] == [0.2, 1.0]
    assert second.lr == first.parts[1].spec.lr == 1e-6
    with pytest.raises(ConfigError, match=r"has no settings of its own.*objectives\.mlm, objectives\.neighbours"):
        phase_specs(config_for(tiny_base, f"objectives.{NAME}.lr=1e-6"), NAME)


@given(st.integers(2, 10_000), st.floats(0.001, 0.999))
def test_the_steps_are_split_as_the_setting_says_and_each_phase_has_one(steps: int, share: float) -> None:
    config = load(overrides=[f"train.curriculum_share={share}"])
    turn = turn_of(NAME, steps, config)
    assert 1 <= turn <= steps - 1
    assert abs(turn - share * steps) <= 1
    assert turn_of("mlm", steps, config) == 0


def test_one_step_is_not_enough_for_two_phases() -> None:
    assert turn_of("mlm", 1, load()) == 0
    with pytest.raises(ConfigError, match="two phases, and 1 step is not enough"):
        turn_of(NAME, 1, load())


@pytest.mark.parametrize(
    ("budget", "part"), [("10m", "150s"), ("3Mtok", "750ktok"), ("2eur@1.20", "0.5eur@1.2"), ("1tok", "1tok")]
)
def test_the_first_phase_gets_its_share_of_any_budget(budget: str, part: str) -> None:
    config = load(budget=budget, overrides=["train.curriculum_share=0.25"])
    assert str(first_budget(config)) == str(load(budget=part).limits())


def test_a_step_costs_what_the_phases_cost_by_their_shares_and_neither_takes_too_many() -> None:
    first, second = (
        Cost(seconds=4.0, tokens=100.0, most_steps=50),
        Cost(seconds=8.0, tokens=20.0, most_steps=90),
    )
    assert joint_cost([first], share=0.25) == first
    assert joint_cost([first, second], share=0.25) == Cost(seconds=7.0, tokens=40.0, most_steps=120, shortest=1)


def test_the_share_changes_no_key_of_a_run_without_curricula() -> None:
    assert "curriculum_share" not in load().train.of_results()


# --- pretrain


def assert_embedded(
    vectors: np.ndarray, texts: Sequence[str], precision: Precision, phase: Path, *, not_by: Path
) -> None:
    """The vectors are those of a phase's encoder in this precision, and not another's."""
    expected = embed(open_base(str(phase / "encoder")), texts, precision=precision)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.abs(vectors - embed(open_base(str(not_by)), texts, precision=precision)).max() > 1e-3


def test_the_second_phase_starts_from_the_first_ones_encoder_and_learns_its_targets(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, precision: Precision
) -> None:
    out, config = tmp_path / "p", config_for(tiny_base, "train.curriculum_share=0.4")
    run = World(run=out, config=config, report=listener)
    artifact = pretrain(run, [world.conversations], objective=NAME, steps=10, card="# both\n")
    first = out / "phases" / "1-mlm"
    assert [len(read_log(folder)) for folder in (first, out)] == [4, 6]
    assert artifact.parents["base"] == base_digest(str(first / "encoder"))

    # Each phase is what an ordinary training from its base would have been.
    for name, base, steps, expected in (
        ("mlm", tiny_base, 4, first),
        ("neighbours", first / "encoder", 6, out),
    ):
        alone = World(run=tmp_path / name, config=config_for(base), report=listener)
        pretrain(alone, [world.conversations], objective=name, steps=steps, card="")
        assert equal(tmp_path / name / "encoder", expected / "encoder")

    texts = open_curated(run).train.texts
    assert_embedded(np.load(out / "targets" / "neighbours" / "vectors.npy"), texts, precision, first, not_by=tiny_base)


def test_the_plan_names_the_first_phase_and_the_same_call_again_trains_nothing(
    whole: Whole, tiny_base: Path, listener: Listener
) -> None:
    out = whole.pretrained
    plan = json.loads((out / "plan.json").read_text())
    (earlier,) = plan["earlier"]
    assert (earlier["objective"], earlier["folder"], earlier["steps"], plan["steps"]) == ("mlm", "phases/1-mlm", 4, 4)
    logs = {name: sum(row["tokens"] for row in read_log(out / name)) for name in (".", earlier["folder"])}
    assert earlier["tokens"] == logs["phases/1-mlm"]
    assert plan["spent"]["tokens"] == sum(logs.values())
    assert plan["spent"]["seconds"] >= earlier["seconds"] > 0
    assert 0.5 < plan["spent"]["ratio"]["tokens"] < 2
    trained(whole.sources, tiny_base, out, listener)
    assert any(line.startswith("neighbours ") for line in whole.said) and not steps_of(listener)


def test_a_pretraining_that_was_killed_in_either_phase_ends_with_the_same_weights(
    whole: Whole, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    in_first, in_second, rest = Interrupted("mlm", 2), Interrupted("neighbours", 3), listener
    for report in (in_first, in_second):
        with pytest.raises(KeyboardInterrupt):
            trained(whole.sources, tiny_base, tmp_path, report, EVERY_STEP)
    trained(whole.sources, tiny_base, tmp_path, rest, EVERY_STEP)
    # It went on each time, and began neither the run nor a phase again.
    assert [steps_of(one)[0] for one in (in_first, in_second, rest)] == ["mlm 1/4", "mlm 3/4", "neighbours 4/4"]
    assert equal(tmp_path / "encoder", whole.pretrained / "encoder")
    for folder in (".", "phases/1-mlm"):
        losses = [[row["loss"] for row in read_log(out / folder)] for out in (tmp_path, whole.pretrained)]
        assert losses[0] == losses[1] and len(losses[0]) == 4


def test_a_budget_of_tokens_pays_for_both_phases(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    config = config_for(tiny_base, "train.curriculum_share=0.25", budget="2ktok")
    out = tmp_path / "p"
    pretrain(World(run=out, config=config, report=listener), [world.conversations], objective=NAME, steps=None, card="")
    first, second = (sum(row["tokens"] for row in read_log(folder)) for folder in (out / "phases/1-mlm", out))
    assert first < second and 0.15 < first / (first + second) < 0.35
    assert 1400 < first + second < 2400  # forecasts of a batch's tokens are means


def test_what_the_second_phase_lacks_is_told_before_the_first_one_trains(
    tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("\n\n".join(f"number {i} is about card and delivery {i * i}" for i in range(30)))
    run = World(run=tmp_path / "p", config=config_for(tiny_base), report=listener)
    with pytest.raises(SourceError, match="'turns' finds nothing to learn from"):
        pretrain(run, [notes], objective="mlm-then-turns", steps=4, card="")
    assert not steps_of(listener)


# --- adapt


def test_a_curriculum_is_one_candidate_on_one_axis_of_steps(
    whole: Whole, tiny_base: Path, listener: Listener, precision: Precision
) -> None:
    out, verdict, config = whole.adapted, whole.verdict, config_for(tiny_base)
    plan = json.loads((out / "plan.json").read_text())
    mine = plan["candidates"][NAME]
    turn = turn_of(NAME, mine["steps"], config)
    assert [spec["kind"] for spec in plan["specs"][NAME]["phases"]] == ["mlm", "neighbours"]
    rows = verdict["candidates"]
    assert {row["objective"] for row in rows} == {NAME}
    assert rows[0]["step"] <= turn < rows[-1]["step"]  # the menu has both phases
    # The first phase's encoder predicts words, the second's does not any more.
    assert ["masked_bits" in row["readings"] for row in rows] == [row["step"] <= turn for row in rows]
    last = rows[-1]["step"]
    log = read_log(out / "menu" / f"{NAME}-{last}")
    assert [row["step"] for row in log] == list(range(1, last + 1))
    assert all(("kl" in row) == (row["step"] > turn) for row in log)
    assert rows[-1]["tokens"] == verdict["spent"]["tokens"] == sum(row["tokens"] for row in log)
    assert log[turn - 1]["lr"] < log[turn // 2]["lr"]  # the first phase's rate has come down at its end

    first = out / "phases" / NAME
    texts = open_curated(World(run=out, config=config, report=listener)).train.texts
    assert_embedded(np.load(out / "targets" / NAME / "vectors.npy"), texts, precision, first, not_by=tiny_base)


def test_a_curriculum_is_compared_with_other_candidates_and_shares_their_targets(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    config = config_for(tiny_base, candidates=("neighbours-then-mlm", "neighbours", "none"), budget="10ktok")
    verdict = adapt([world.conversations], out=out, config=config, report=listener, labels=world.labels).told()
    assert {row["objective"] for row in verdict["candidates"]} == {"neighbours-then-mlm", "neighbours"}
    assert [line for line in listener.said if "preparing" in line] == ["plan: preparing neighbours"]
    assert {row["objective"] for row in verdict["spent"]["candidates"]} == {"neighbours-then-mlm", "neighbours"}
    with pytest.raises(ConfigError, match=r"No candidate 'neighbors'\. Did you mean 'neighbours'"):
        adapt(
            [world.conversations], out=tmp_path / "wrong", report=listener,
            config=config_for(tiny_base, candidates=("mlm-then-neighbors",)),
        )  # fmt: skip


@pytest.mark.slow
def test_an_adaptation_that_was_killed_in_either_phase_ends_with_the_same_result(
    whole: Whole, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    steps = json.loads((whole.adapted / "plan.json").read_text())["candidates"][NAME]["steps"]
    turn = turn_of(NAME, steps, config_for(tiny_base))
    # Between the checkpoint in the first phase and its end, and in the second.
    for phase, at in (("phase 1", turn - 1), ("phase 2", 3)):
        with pytest.raises(KeyboardInterrupt):
            adapted(whole.sources, tiny_base, tmp_path, Interrupted(phase, at), EVERY_STEP)
    verdict = adapted(whole.sources, tiny_base, tmp_path, listener, EVERY_STEP)
    assert steps_of(listener)[0].startswith(f"{NAME}, phase 2 (neighbours) 4/")
    assert _of_no_machine(verdict) == _of_no_machine(whole.verdict)
    last = f"{NAME}-{verdict['candidates'][-1]['step']}"
    menus = [out / "menu" / last for out in (whole.adapted, tmp_path)]
    assert equal(*(folder / "encoder" for folder in menus))
    assert [row["loss"] for row in read_log(menus[0])] == [row["loss"] for row in read_log(menus[1])]


def _of_no_machine(verdict: dict[str, Any]) -> dict[str, Any]:
    """Without seconds and memory."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in verdict["candidates"]]
    return verdict | {"candidates": rows, "spent": verdict["spent"]["tokens"]}
