"""The dose curves of a tiny run, the guard against over-fitting in the stage that uses it, and what losers cost."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.adaptation import adapt
from shoptalk.artifact import open_artifact
from shoptalk.commands.dose import dose
from shoptalk.commands.dose_texts import FEWEST_TEXTS, FRACTIONS
from shoptalk.commands.report import report
from shoptalk.commands.verify import verify
from shoptalk.config import Budget, Config, load
from shoptalk.errors import ArtifactError, SourceError, StorageError
from shoptalk.evaluate.bench import Bench, Guard, Measured
from shoptalk.objectives.toy import toy_corpus
from shoptalk.probes import forgetting
from shoptalk.records import ACCURACY, Example, Reading
from shoptalk.report import render
from shoptalk.stages import pretrain
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.decide import guarded
from shoptalk.stages.entry import Entry, scores
from shoptalk.stages.plan import Prepared
from shoptalk.stages.pretrain import pretrain_stage
from shoptalk.stages.world import World
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.labelled import LabelJudge
from shoptalk.telling.facts import open_facts
from shoptalk.text.tokens import tokenise
from shoptalk.training.plan import LOSER_MOST
from tests.attacks import DEEP, NO_JSON, STRANGE, replaced, reseal
from tests.conftest import Listener, SmallWorld
from tests.tiny import tiny_product
from tests.training.test_plan import cost, plan_for

BUDGET = 12_000
CANDIDATES = ("mlm", "turns", "none")
SMALL = [f"objectives.{name}.batch=8" for name in ("mlm", "simcse", "turns", "neighbours")]


def config_for(base: Path, **values: object) -> Config:
    return load(overrides=SMALL, base=str(base), **({"budget": f"{BUDGET}tok", "draws": 5, "shots": 2} | values))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    return SmallWorld(tmp_path_factory.mktemp("world"), labels_per_class=12)


@pytest.fixture(scope="module")
def finished(world: SmallWorld, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    adapt(
        [world.conversations],
        out=out,
        config=config_for(tiny_base, candidates=CANDIDATES),
        report=Listener(),
        labels=world.labels,
    )
    return out


@pytest.fixture(scope="module")
def dosed(finished: Path) -> dict[str, Any]:
    return dose(finished, budget=None, report=Listener()).told()


@pytest.fixture
def copied(finished: Path, dosed: dict[str, Any], tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(finished, tmp_path / "run"))


def files_of(run: Path) -> dict[str, bytes]:
    names = ("verdict.json", "plan.json", "decision/manifest.json", "evidence/manifest.json")
    return {name: (run / name).read_bytes() for name in names}


# --- curves


def test_a_run_gets_three_curves_each_with_a_sentence(finished: Path, dosed: dict[str, Any]) -> None:
    assert dosed == json.loads((finished / "dose.json").read_text())
    assert list(dosed["curves"]) == ["tokens", "texts", "labels"]
    for curve in dosed["curves"].values():
        assert curve["sentence"].endswith(".") and curve["points"]
        amounts = [point["dose"] for point in curve["points"]]
        assert amounts == sorted(set(amounts))
        for point in curve["points"]:
            assert point["gain"] == pytest.approx(point["adapted"] - point["base"], abs=1e-4)
            assert point["interval"][0] <= point["gain"] <= point["interval"][1]


def test_the_tokens_curve_is_the_winners_menu(finished: Path, dosed: dict[str, Any]) -> None:
    rows = json.loads((finished / "verdict.json").read_text())["candidates"]
    mine = [row for row in rows if row["objective"] == dosed["objective"] and "merge" not in row]
    points = dosed["curves"]["tokens"]["points"]
    assert [point["dose"] for point in points] == [row["tokens"] for row in mine]
    assert [point["gain"] for point in points] == pytest.approx([row["gain"] for row in mine], abs=1e-4)


def test_the_texts_curve_ends_with_the_run_itself_and_holds_the_steps(finished: Path, dosed: dict[str, Any]) -> None:
    curve = dosed["curves"]["texts"]
    verdict = json.loads((finished / "verdict.json").read_text())
    assert curve["points"][-1]["gain"] == pytest.approx(verdict["heads"]["plain_gain"], abs=1e-4)
    whole = curve["points"][-1]["dose"]
    shares = [point["dose"] / whole for point in curve["points"]]
    assert shares == pytest.approx([*sorted(x for x in FRACTIONS if x * whole >= FEWEST_TEXTS), 1.0], abs=0.05)
    for folder in (finished / "dose").glob("texts-*/menu/*"):
        assert json.loads((folder / "progress.json").read_text())["step"] == curve["steps"]
    assert not list((finished / "dose").glob("texts-*/work"))


def test_the_labels_curve_goes_up_to_what_the_labels_allow(dosed: dict[str, Any]) -> None:
    curve = dosed["curves"]["labels"]
    assert [point["dose"] for point in curve["points"]] == [1, 2, 5]  # 12 a class, and 80 % of them teach
    for arm in ("base", "adapted"):
        told = curve["accuracy"][arm]["points"]
        assert [p["adapted"] for p in told] == pytest.approx([p[arm] for p in curve["points"]])


def test_the_run_itself_is_left_as_it_was(world: SmallWorld, tiny_base: Path, copied: Path) -> None:
    before = files_of(copied)
    shutil.rmtree(copied / "dose")
    dose(copied, budget=Budget(tokens=1), report=Listener())
    assert files_of(copied) == before
    again = Listener()
    config = config_for(tiny_base, candidates=CANDIDATES)
    adapt([world.conversations], out=copied, config=config, report=again, labels=world.labels)
    assert again.said == []


def test_the_same_command_again_trains_nothing_and_says_the_same(copied: Path, dosed: dict[str, Any]) -> None:
    listener = Listener()
    assert dose(copied, budget=None, report=listener).told() == dosed
    assert not [line for line in listener.said if "/" in line]


def test_the_report_shows_the_curves_from_then_on_also_when_adapt_writes_it(
    world: SmallWorld, tiny_base: Path, copied: Path, dosed: dict[str, Any]
) -> None:
    assert open_facts(copied).told()["dose"] == dosed
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert page == render(open_facts(copied)) != render(open_facts(copied).told() | {"dose": None})
    (copied / "report.html").unlink()
    config = config_for(tiny_base, candidates=CANDIDATES)
    adapt([world.conversations], out=copied, config=config, report=Listener(), labels=world.labels)
    assert (copied / "report.html").read_text(encoding="utf-8") == page


def test_curves_of_another_verdict_than_the_one_that_stands_are_not_shown(copied: Path) -> None:
    found = json.loads((copied / "dose.json").read_text())
    (copied / "dose.json").write_text(json.dumps(found | {"of": "0" * 64}))
    assert open_facts(copied).dose is None
    (copied / "dose.json").unlink()
    assert open_facts(copied).dose is None


def test_a_training_that_is_missing_is_made_again_with_the_same_result(copied: Path, dosed: dict[str, Any]) -> None:
    shutil.rmtree(copied / "dose" / "texts-0.5")
    listener = Listener()
    assert dose(copied, budget=None, report=listener).told() == dosed
    assert [line for line in listener.said if "/" in line]


def test_a_budget_buys_the_quarter_first_and_names_what_it_left_out(copied: Path, dosed: dict[str, Any]) -> None:
    rows = json.loads((copied / "verdict.json").read_text())["candidates"]
    steps = dosed["curves"]["texts"]["steps"]
    tokens = next(row["tokens"] for row in rows if row["objective"] == dosed["objective"] and row["step"] == steps)
    found = dose(copied, budget=Budget(tokens=int(1.5 * tokens)), report=Listener()).told()["curves"]["texts"]
    assert len(found["points"]) == 2
    assert found["points"][0] in dosed["curves"]["texts"]["points"] or len(dosed["curves"]["texts"]["points"]) > 2
    assert "50.0%" in found["left_out"] and "25.0%" not in found["left_out"]
    assert "too few for a law" in found["sentence"]


# --- what cannot be dosed


def test_a_folder_without_a_decision_is_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is not a finished run.*shoptalk adapt"):
        dose(tmp_path, budget=None, report=Listener())


def test_without_labels_there_is_no_gain_to_draw(world: SmallWorld, tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, candidates=("mlm", "none"), budget="3ktok")
    adapt([world.conversations], out=tmp_path / "run", config=config, report=Listener())
    with pytest.raises(SourceError, match=r"had nothing to judge by.*Label about 400 messages"):
        dose(tmp_path / "run", budget=None, report=Listener())


def test_where_nothing_was_trained_there_is_no_dose(world: SmallWorld, tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, candidates=("none",))
    adapt([world.conversations], out=tmp_path / "run", config=config, report=Listener(), labels=world.labels)
    with pytest.raises(SourceError, match=r"Nothing was trained.*--candidates"):
        dose(tmp_path / "run", budget=None, report=Listener())


def test_a_run_whose_plan_was_changed_is_refused_and_left_alone(copied: Path) -> None:
    plan = json.loads((copied / "plan.json").read_text())
    (copied / "plan.json").write_text(json.dumps(plan | {"before_seconds": plan["before_seconds"] + 1}))
    before = files_of(copied)
    with pytest.raises(ArtifactError, match=r"has changed since.*Run the same `shoptalk adapt` again"):
        dose(copied, budget=None, report=Listener())
    assert files_of(copied) == before


# --- what somebody may have changed


@pytest.mark.parametrize("strange", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("name", ["verdict.json", "facts.json"])
def test_a_decision_that_was_changed_together_with_its_manifest_is_made_anew_by_adapt_and_refused_by_dose(
    world: SmallWorld, tiny_base: Path, copied: Path, name: str, strange: Callable[[Path], object]
) -> None:
    replaced(copied / "decision" / name, strange)
    reseal(copied / "decision")
    with pytest.raises(ArtifactError, match=r"Delete .*decision and run again|has changed since"):
        dose(copied, budget=None, report=Listener())
        report([copied], form="md")
    if strange in (NO_JSON["a list"], NO_JSON["depth"]):
        listener = Listener()
        config = config_for(tiny_base, candidates=CANDIDATES)
        adapt([world.conversations], out=copied, config=config, report=listener, labels=world.labels)
        assert "adapt: decision of this run is missing or damaged, and is made anew" in listener.said
        assert not verify(copied, report=Listener())["damaged"]


def test_a_verdict_that_was_changed_without_its_manifest_is_refused(copied: Path) -> None:
    path = copied / "decision" / "verdict.json"
    path.write_text(path.read_text().replace('"choice": "', '"choice": "x', 1)[: path.stat().st_size])
    with pytest.raises(ArtifactError, match=r"(changed|damaged) 'verdict.json'"):
        dose(copied, budget=None, report=Listener())


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_plan_that_is_no_plan_is_refused(copied: Path, strange: Callable[[Path], object]) -> None:
    replaced(copied / "plan.json", strange)
    with pytest.raises((ArtifactError, StorageError), match=r"plan\.json|has changed since"):
        dose(copied, budget=None, report=Listener())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("baseline/timing.json", b'{"name": "x", "value": 1, "unit": "s", "n": 1}'),
        ("baseline/timing.json", b"[]"),
        ("baseline/readings.jsonl", b"{}\n"),
        ("baseline/readings.jsonl", b"\xff"),
        ("baseline/scores.intent.npy", b"no array"),
        ("baseline/final/*", b"no array"),
        ("corpus/remarks.json", b"{}"),
        ("corpus/labels.jsonl", b'{"id": 3}\n'),
        ("menu/*/progress.json", b'{"step": "far"}'),
        ("menu/*/progress.json", DEEP.encode()),
        ("menu/*/readings.jsonl", b"[]\n"),
        ("menu/*/scores.intent.npy", b""),
        ("dose/labels/correct.npy", b"no array"),
    ],
)
def test_what_a_stage_has_left_and_somebody_has_changed_with_its_manifest_is_said_to_be_damaged(
    copied: Path, name: str, content: bytes
) -> None:
    changed = sorted(copied.glob(name))
    assert changed
    for path in changed:
        path.write_bytes(content)
        reseal(copied / path.relative_to(copied).parts[0] if name.startswith("baseline") else path.parent)
    with pytest.raises(
        ArtifactError, match=r"(is damaged|does not hold what Shoptalk writes there).*Delete .* and run"
    ):
        dose(copied, budget=None, report=Listener())


def test_a_corpus_or_a_menu_that_was_deleted_is_said_to_be_missing(copied: Path) -> None:
    shutil.rmtree(copied / "menu")
    with pytest.raises(ArtifactError, match=r"has changed since"):
        dose(copied, budget=None, report=Listener())
    shutil.rmtree(copied / "corpus")
    with pytest.raises(ArtifactError, match=r"corpus is not there"):
        dose(copied, budget=None, report=Listener())


# --- over-fitting, where it is asked


class Planted:
    """A stage's surroundings in which training is a script: accuracies and losses are given, nothing is computed."""

    def __init__(self, folder: Path, config: Config, accuracies: Sequence[float], losses: Sequence[float]) -> None:
        self.rng = np.random.default_rng(0)
        self.folder, self.accuracies, self.losses = folder, dict(enumerate(accuracies)), losses
        examples = [Example(id=str(i), text=f"text {i}", label=f"l{i % 4}", cluster=i) for i in range(400)]
        corpus, product = toy_corpus(), tiny_product()
        ground = Ground("text", tuple(examples), (), corpus, corpus, (), n_draws=10, seed=0)
        self.judge = LabelJudge.draw("intent", ACCURACY, ground)
        bench = Bench(
            "intent",
            {"intent": self.judge},
            {},
            {"forgetting": Guard(forgetting.KEY, "forgetting", -1.0, "it forgets")},
        )
        self.ability = self.rng.random(400)
        plan = plan_for({"mlm": cost()}, look_seconds=5.0)
        self.world = World(run=folder, config=config, report=Listener())
        (folder / "baseline").mkdir()
        artifact = self.artifact(folder / "baseline")
        self.baseline = Baseline(artifact, "text", bench, self.measured(0.7), 1.0, 1.0, None, 0.0)
        self.prepared = Prepared(
            corpus, tokenise(product.tokenizer, corpus.texts, max_length=64), {}, plan,
            plan.forecast(Budget(seconds=600)), "key",
        )  # fmt: skip
        self.steps = plan.candidates["mlm"].checkpoints

    @staticmethod
    def artifact(folder: Path) -> Any:
        from shoptalk.artifact import create

        with create(folder, kind="entry", config={}, parents={}):
            pass
        return open_artifact(folder)

    def measured(self, accuracy: float) -> Measured:
        correct = self.ability + self.rng.normal(scale=0.01, size=(10, 400)) < accuracy
        similarity = Reading(key=forgetting.KEY, name="general similarity", value=50.0, unit="points", n=1)
        return Measured((similarity,), {"intent": correct})

    def train_to(self, *_: Any, earlier: Sequence[Entry], **__: Any) -> Entry:
        number = len(earlier)
        folder = self.folder / f"mlm-{number}"
        artifact = self.artifact(folder)
        rows = [
            {"step": step + 1, "loss": loss + 0.01 * self.rng.normal(), "seconds": 1.0, "tokens": 1, "cells": 1}
            for loss, end, begin in zip(self.losses, self.steps, [0, *self.steps], strict=False)
            for step in range(begin, end)
        ]
        (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        step = self.steps[number]
        return Entry(f"mlm@{step}", "mlm", step, step, folder, artifact, self.measured(self.accuracies[number]), 1.0, 1)

    def run(self, monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
        monkeypatch.setattr(pretrain, "train_to", self.train_to)
        return pretrain_stage(self.world, self.prepared, self.baseline, "mlm", [])[0]

    @property
    def said(self) -> list[str]:
        assert isinstance(self.world.report, Listener)
        return self.world.report.said


def test_a_candidate_that_over_fits_is_stopped_and_its_better_checkpoint_is_the_challenger(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Planted(tmp_path, config_for(tiny_base), [0.75, 0.80, 0.71, 0.90], [3.0, 2.5, 2.0, 1.5])
    entries = planted.run(monkeypatch)
    assert len(entries) == 3  # the fourth, which would have been best, is not trained
    assert entries[-1].alarm is not None and entries[-1].alarm.fires
    assert entries[-1].alarm.better == entries[1].name
    assert any("Over-fitting" in line and "Training stops here" in line for line in planted.said)
    outside = guarded(planted.baseline, entries)
    assert list(outside) == [entries[-1].name] and "it over-fits" in outside[entries[-1].name]
    found = decide.verdict(
        decide.estimate(scores(planted.baseline, planted.judge, entries), seed=0),
        guarded=outside, smallest_gain=0.5, settle_gain=2.0, n_clusters=400,
    )  # fmt: skip
    assert found.entry == entries[1].name


@pytest.mark.parametrize(
    ("accuracies", "losses"),
    [
        ([0.72, 0.74, 0.76, 0.78, 0.80, 0.82], [3.0, 2.5, 2.0, 1.5, 1.2, 1.0]),  # healthy
        ([0.75, 0.80, 0.71, 0.71, 0.71, 0.71], [3.0, 2.5, 3.5, 4.0, 4.5, 5.0]),  # and it diverges
    ],
)
def test_health_and_divergence_are_no_over_fitting(
    accuracies: list[float],
    losses: list[float],
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted = Planted(tmp_path, config_for(tiny_base), accuracies, losses)
    entries = planted.run(monkeypatch)
    assert len(entries) >= 3
    assert not any(entry.alarm is not None and entry.alarm.fires for entry in entries)
    assert guarded(planted.baseline, entries) == {}


# --- what losers cost


def test_a_bad_candidate_costs_at_most_fifteen_per_cent_and_the_verdict_says_what_losers_cost(finished: Path) -> None:
    verdict = json.loads((finished / "verdict.json").read_text())
    spent = verdict["spent"]
    lost = [row for row in spent["candidates"] if not row["went_on"]]
    assert lost and len(lost) == len(spent["candidates"]) - 1
    assert max(row["tokens"] for row in lost) <= LOSER_MOST * BUDGET
    assert spent["losers"]["tokens"] == sum(row["tokens"] for row in lost)
    assert spent["losers"]["seconds"] == pytest.approx(sum(row["seconds"] for row in lost), abs=0.5)
    assert 0 < spent["losers"]["share"] == pytest.approx(spent["losers"]["seconds"] / spent["seconds"], abs=0.01)
    assert sum(row["share"] for row in spent["candidates"]) < 1
    assert all(row["seconds"] > 0 for row in verdict["candidates"])
    facts = json.loads((finished / "decision" / "facts.json").read_text())
    assert facts["cost"]["losers"] == spent["losers"]
