"""Further bases: measured as the first is, and refused where they cannot be compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import MPNetConfig, MPNetModel

from shoptalk.adaptation import adapt
from shoptalk.config import Config, load
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.evaluate.base_choice import MeasuredBase, Price, best_of
from shoptalk.evaluate.bench import Bench, Guard, Measured
from shoptalk.nn.encoder import Encoder, TextEncoder
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.records import ACCURACY, Reading
from shoptalk.report.reading import read_facts
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.other_bases import check_bases
from shoptalk.stages.world import World
from shoptalk.tasks.general_cloze import GeneralCloze
from shoptalk.tasks.judge import Final, Judge
from tests.conftest import Listener, SmallWorld
from tests.tiny import tiny_product


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random MPNet as an encoder folder."""
    folder = tmp_path_factory.mktemp("mpnet")
    tokenizer = tiny_product().tokenizer
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    backbone = MPNetModel(MPNetConfig(vocab_size=len(tokenizer), max_position_embeddings=66, **sizes))
    TextEncoder(Encoder(backbone).eval(), tokenizer, 64, "another").save(folder, card="# another\n")
    return folder


def config_for(*bases: Path, **values: object) -> Config:
    return load(bases=tuple(map(str, bases)), draws=5, shots=2, budget="12ktok", **values)


def baseline_of(world: SmallWorld, run: Path, config: Config, listener: Listener, *, labels: bool = True) -> Baseline:
    inside = World(run, config, listener)
    curated = curate_stage(inside, [world.conversations], world.labels if labels else None, None)
    return baseline_stage(inside, curated)


def test_every_base_is_measured_as_the_first_is_and_only_once(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path, listener: Listener
):
    config = config_for(tiny_base, another)
    baseline = baseline_of(world, tmp_path / "run", config, listener)
    ((name, other),) = baseline.others.items()
    alone = baseline_of(world, tmp_path / "alone", config_for(another), listener)
    assert name == other.name == str(another)
    assert baseline.measured.values()["intent"] != other.measured.values()["intent"]
    for key, scores in alone.measured.scores.items():
        np.testing.assert_array_equal(other.measured.scores[key], scores)
    assert baseline.final is not None and other.final is not None
    assert other.final.scores.shape == baseline.final.scores.shape
    assert baseline.price is not None and baseline.price.megabytes > other.price.megabytes > 0
    assert (other.price.ms_per_message or 0) > 0
    again = Listener()
    repeated = baseline_of(world, tmp_path / "run", config, again)
    assert not [line for line in again.said if "measuring" in line]
    assert repeated.others[name].price == other.price


def test_what_a_look_at_another_base_embeds_is_not_embedded_again_for_its_heads(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path, listener: Listener, monkeypatch: Any
):
    embedded: list[tuple[str, tuple[str, ...], str | None]] = []
    real = TextEncoder.embed

    def counting(self: TextEncoder, items: Any, **options: Any) -> Any:
        if len(items) > 1:  # one alone is timed
            embedded.append((self.name, tuple(items), options.get("prompt")))
        return real(self, items, **options)

    monkeypatch.setattr(TextEncoder, "embed", counting)
    baseline_of(world, tmp_path / "run", config_for(tiny_base, another), listener)
    assert len(embedded) == len(set(embedded))


def test_another_number_of_shots_is_no_reason_to_measure_the_base_again(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
):
    config = config_for(tiny_base)
    baseline_of(world, tmp_path / "run", config, listener)
    again = Listener()
    baseline_of(world, tmp_path / "run", config.model_copy(update={"shots": 3}), again)
    assert not [line for line in again.said if "measuring" in line]


def test_bases_that_cannot_be_compared_are_refused_before_anything_is_read(tiny_base: Path, another: Path):
    copy = another.parent / "copy"
    copy.exists() or copy.symlink_to(another)
    with pytest.raises(ConfigError, match=r"copy' and '.*mpnet.*' have the same weights\. Leave one of them out"):
        check_bases(config_for(another, copy))
    with pytest.raises(ConfigError, match=r"'scratch:mini' is random weights.*put it first"):
        check_bases(load(bases=(str(tiny_base), "scratch:mini")))
    with pytest.raises(BaseModelError, match=r"No model 'nowhere'"):
        check_bases(load(bases=(str(tiny_base), "nowhere")))
    check_bases(load(bases=("scratch:mini", str(tiny_base))))


def test_without_labels_there_is_nothing_to_compare_bases_by_and_a_line_says_so(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path, listener: Listener
):
    baseline = baseline_of(world, tmp_path / "run", config_for(tiny_base, another), listener, labels=False)
    assert baseline.others == {}
    assert any("nothing to compare bases by" in line and str(another) in line for line in listener.said)


def adapted(world: SmallWorld, run: Path, *bases: Path, **values: object) -> dict[str, Any]:
    batches = {f"objectives.{name}.batch": 8 for name in ("mlm", "neighbours")}
    overrides = [f"{key}={value}" for key, value in batches.items()]
    config = load(
        overrides=overrides,
        bases=tuple(map(str, bases)),
        **({"draws": 5, "shots": 2, "budget": "6ktok", "candidates": ("mlm",), "merges": ()} | values),
    )
    return adapt([world.conversations], out=run, config=config, labels=world.labels).told()


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_the_verdict_is_over_the_best_base_whichever_is_adapted_and_that_base_is_kept(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path
):
    verdicts = {
        first: adapted(world, tmp_path / first.name, first, other)
        for first, other in ((tiny_base, another), (another, tiny_base))
    }
    best = {verdict["base_model"] for verdict in verdicts.values()}
    assert len(best) == 1, "the order in which bases are named does not decide which is best"
    for first, verdict in verdicts.items():
        rows = {row["base"]: row for row in verdict["bases"]}
        assert next(iter(rows)) == str(first)
        winner = rows[verdict["base_model"]]
        assert winner["value"] == max(row["value"] for row in rows.values())
        assert winner["value"] == pytest.approx(verdict["base"], abs=1e-4)
        assert [row["best"] for row in rows.values()].count(True) == 1 and winner["best"]
        assert all(row["megabytes"] > 0 and row["ms_per_message"] > 0 for row in rows.values())
        low, high = verdict["bases"][1]["interval"]
        assert low <= verdict["bases"][1]["gain"] <= high
        assert verdict["gain"] == pytest.approx(verdict["adapted"] - verdict["base"])
        assert f"Of 2 bases {verdict['base_model']} answers best as it is" in verdict["sentence"]
        told = read_facts(json.loads((tmp_path / first.name / "decision" / "facts.json").read_text()))
        starts = [curve.start for curve in told.curves]
        assert starts and all((start is None) == rows[str(first)]["best"] for start in starts)
        assert all(start.gain < 0 and start.low <= start.gain <= start.high for start in starts if start is not None)
        if verdict["choice"] != "adopt":
            assert "what is kept" in verdict["sentence"]
            expected = weights_of(Path(verdict["base_model"]))
            served = weights_of(tmp_path / first.name / "encoder")
            assert served.keys() == expected.keys()
            for name, tensor in expected.items():
                np.testing.assert_array_equal(served[name], tensor)
        challenger = weights_of(tmp_path / first.name / "candidate" / "encoder")
        assert challenger.keys() == weights_of(first).keys(), "the first base is the one that is adapted"


def test_where_nothing_is_trained_the_best_base_is_kept_with_its_head(
    world: SmallWorld, tiny_base: Path, another: Path, tmp_path: Path
):
    verdict = adapted(world, tmp_path / "run", another, tiny_base, candidates=("none",))
    assert verdict["choice"] == "keep_base" and verdict["gain"] is None
    best = weights_of(Path(verdict["base_model"]))
    assert weights_of(tmp_path / "run" / "encoder").keys() == best.keys()
    assert (tmp_path / "run" / "head" / "manifest.json").is_file()
    again = adapted(world, tmp_path / "run", another, tiny_base, candidates=("none",))
    assert again == verdict


def measured_base(name: str, score: float, *, other_task: float = 50.0) -> MeasuredBase:
    values = np.full((2, 4), score)
    readings = (Reading(key="reply", name="reply", value=other_task, unit="%", n=4),)
    final = Final(values)
    price = Price(ms_per_message=1.0, megabytes=1.0, threads=1)
    measured = Measured(readings, {"intent": values})
    return MeasuredBase(name, name, measured, final, 1.0, 1.0, price)


class Told(Judge):
    """A judge whose scores are given."""

    key, measure = "intent", ACCURACY
    tested, cluster = np.ones((2, 4), bool), np.arange(4)

    def look(self, product: Any) -> Any:
        raise NotImplementedError

    def final(self, product: Any, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        raise NotImplementedError


def test_of_equal_bases_the_first_is_the_best_and_a_loss_at_another_task_rules_one_out():
    judge = Told()
    guards = {"reply": Guard("reply", "reply", -1.0, "it loses"), "forgetting": Guard("gone", "forgetting", -1.0, "")}
    bench = Bench("intent", {"intent": judge, "reply": judge}, {}, guards)
    first, equal, better = measured_base("a", 0.5), measured_base("b", 0.5), measured_base("c", 0.6)
    assert best_of([first, equal], bench) is first
    assert best_of([first, equal, better], bench) is better
    assert best_of([first, measured_base("c", 0.6, other_task=48.0)], bench) is first
    assert best_of([first, better], Bench("intent", {}, {}, {})) is first  # nothing to judge by


def test_other_bases_are_read_by_the_judges_of_tasks_alone_for_what_is_not_trained_forgets_nothing(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("first", "second")):
        tiny_language_model(seed).save(tmp_path / name, card="")
    text = "The early ferry {} of the company goes from the old pier to the harbour and costs {} euros for each person."
    (tmp_path / "texts").mkdir()
    for number in range(60):
        (tmp_path / "texts" / f"{number}.md").write_text(text.format(100 + number, 17 * number))
    asked: list[str] = []
    final = GeneralCloze.final

    def noted(self: GeneralCloze, product: Any, **more: Any) -> Final:
        asked.append(product.name)
        return final(self, product, **more)

    monkeypatch.setattr(GeneralCloze, "final", noted)
    bases = (str(tmp_path / "first"), str(tmp_path / "second"))
    config = load(bases=bases, task="language_model", other_tasks=("cloze",), budget="12ktok")
    world = World(tmp_path / "run", config, listener)
    baseline = baseline_stage(world, curate_stage(world, [tmp_path / "texts"], None, None, reads="lm"))
    assert len(asked) == 1 and "general_cloze" in baseline.other_tasks
    assert baseline.other_tasks.keys() - baseline.others[bases[1]].other_tasks.keys() == {"general_cloze"}
