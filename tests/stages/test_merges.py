"""Merges on the menu: measured, guarded, kept and shipped like every other entry."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from shoptalk import decide
from shoptalk.adaptation import adapt
from shoptalk.config import Config, load
from shoptalk.evaluate import bench
from shoptalk.evaluate.bench import Measured
from shoptalk.records import Decision
from shoptalk.stages import decide as decide_stage_module
from tests.conftest import Listener, SmallWorld


def config_for(base: Path, **values: object) -> Config:
    return load(
        overrides=["objectives.mlm.batch=8"],
        base=str(base),
        **({"draws": 5, "shots": 2, "budget": "6ktok", "candidates": ("mlm",), "merges": (0.25, 0.5)} | values),
    )


def run(world: SmallWorld, out: Path, config: Config, listener: Listener | None = None) -> dict:
    return adapt([world.conversations], out=out, config=config, report=listener, labels=world.labels).told()


@pytest.fixture
def adopting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that adopts the best challenger, whatever the scores, so that shipping can be seen."""
    usual = decide.verdict

    def verdict(*arguments: object, **options: object) -> decide.Ruling:
        ruling = usual(*arguments, **options)  # type: ignore[arg-type]
        said = ruling.decision.model_dump() | {"choice": "adopt"}
        return decide.Ruling(**{**vars(ruling), "decision": Decision(**said)})

    monkeypatch.setattr(decide, "verdict", verdict)


def test_merges_are_entries_of_the_menu_made_of_the_last_one_and_a_resumed_run_says_the_same(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
):
    out, config = tmp_path / "run", config_for(tiny_base)
    verdict = run(world, out, config, listener)
    rows = {row["entry"]: row for row in verdict["candidates"]}
    *trained, last = [row for row in verdict["candidates"] if row.get("merge") is None]
    names = [f"{last['entry']}x0.25", f"{last['entry']}x0.5"]
    assert list(rows)[-2:] == names and [rows[name]["merge"] for name in names] == [0.25, 0.5]
    assert all(row["objective"] == "mlm" and row["gain"] is not None for row in rows.values())
    assert [look.entry for look in listener.looks][-2:] == names
    before = load_file(tiny_base / "model.safetensors")
    after = load_file(out / "menu" / f"mlm-{last['step']}" / "encoder" / "model.safetensors")
    merged = load_file(out / "menu" / f"mlm-{last['step']}x0.25" / "encoder" / "model.safetensors")
    for name, tensor in merged.items():
        np.testing.assert_allclose(tensor, 0.75 * before[name] + 0.25 * after[name], atol=1e-6)
    assert json.loads((out / "plan.json").read_text())["merges"] == [0.25, 0.5]
    shutil.rmtree(out / "decision")
    shutil.rmtree(out / "menu" / f"mlm-{last['step']}x0.5")
    again = run(world, out, config)
    assert again["candidates"][:-1] == verdict["candidates"][:-1]
    untimed = [{k: v for k, v in one["candidates"][-1].items() if k != "seconds"} for one in (again, verdict)]
    assert untimed[0] == untimed[1]
    assert {k: v for k, v in again.items() if k not in ("spent", "candidates")} == {
        k: v for k, v in verdict.items() if k not in ("spent", "candidates")
    }
    assert trained == [row for row in again["candidates"] if row.get("merge") is None][:-1]


@pytest.mark.usefixtures("adopting")
def test_a_merge_ships_like_any_entry_and_its_card_says_what_it_is(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # All but the merge are said to be outside their guards.
    def guarded(baseline: object, entries: list) -> dict[str, str]:
        return {entry.name: "it forgets" for entry in entries if entry.merge is None}

    monkeypatch.setattr(decide_stage_module, "guarded", guarded)
    out = tmp_path / "run"
    verdict = run(world, out, config_for(tiny_base, merges=(0.5,)))
    assert verdict["choice"] == "adopt" and verdict["entry"].endswith("x0.5")
    folder = out / "menu" / verdict["entry"].replace("@", "-") / "encoder"
    served, expected = (load_file(path / "model.safetensors") for path in (out / "encoder", folder))
    for name, tensor in expected.items():
        np.testing.assert_array_equal(served[name], tensor)
    card = (out / "encoder" / "README.md").read_text()
    assert "Its weights are an average: 0.5 of the trained ones, 0.5 of the base's." in card


def test_a_merge_outside_its_guards_is_refused(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usual, counted = bench.measure, [0]

    def forgetful(product: object, of: bench.Bench, **options: object) -> Measured:
        measured = usual(product, of, **options)  # type: ignore[arg-type]
        counted[0] += 1
        readings = [
            one.model_copy(update={"value": one.value - 50}) if one.key == "general_similarity" else one
            for one in measured.readings
        ]
        return Measured(tuple(readings), measured.scores, measured.vectors, measured.pretext)

    monkeypatch.setattr("shoptalk.stages.merges.measure", forgetful)
    verdict = run(world, tmp_path / "run", config_for(tiny_base))
    merges = [row for row in verdict["candidates"] if row.get("merge") is not None]
    assert counted == [2] == [len(merges)]
    assert not any(row["inside_guards"] for row in merges)
    assert all(row["why_not"].startswith("it forgets") for row in merges)
    trained = [row for row in verdict["candidates"] if row.get("merge") is None]
    if any(row["inside_guards"] for row in trained):
        assert "x0." not in verdict["entry"]


@pytest.mark.slow
def test_random_weights_and_runs_without_labels_have_no_merges(world: SmallWorld, tiny_base: Path, tmp_path: Path):
    unlabelled = adapt([world.conversations], out=tmp_path / "a", config=config_for(tiny_base)).told()
    young = run(world, tmp_path / "b", config_for(Path("scratch:mini"), budget="4ktok"))
    for verdict in (unlabelled, young):
        assert verdict["candidates"] and all(row.get("merge") is None for row in verdict["candidates"])
