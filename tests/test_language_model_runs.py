"""The whole story for a language model: documents in, a verdict by bits per byte, a model that opens elsewhere."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from shoptalk.adaptation import adapt
from shoptalk.artifact import create, open_artifact
from shoptalk.cli import printed
from shoptalk.commands.pretrain import pretrain
from shoptalk.commands.verify import verify
from shoptalk.config import Config, load
from shoptalk.control import JUDGED, control
from shoptalk.curate.curation import count_drops, open_part
from shoptalk.errors import ConfigError, InputError, StorageError
from shoptalk.nn.bases import kind_of, open_model
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.scratch_lm import LM_SIZES, LmSize
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.probes.forgetting import general_pairs
from shoptalk.readback import refuse_no_run, shipped_in
from shoptalk.stages import choose
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World
from shoptalk.tasks.judge import load_final
from tests.conftest import Listener

NAMES = ("Harbour Line", "Meridian Gate", "Northwind Pier", "Ostrava Quay", "Palermo Dock", "Quarry Wharf")


@pytest.fixture(autouse=True)
def _a_smaller_nano(monkeypatch: pytest.MonkeyPatch) -> None:
    small = LmSize("scratch:gpt-nano", layers=2, width=32, heads=2, hidden=64, vocabulary=400)
    monkeypatch.setitem(LM_SIZES, "scratch:gpt-nano", small)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    rng = random.Random(0)
    lines = []
    for number in range(700):
        sentences = [
            f"The early ferry of the company goes from the old pier to {rng.choice(NAMES)} on days of market and costs "
            f"{rng.randint(10, 99)} euros for each person who is on board with a card of the line {number}."
            for _ in range(2)
        ]
        lines.append(json.dumps({"id": f"d{number}", "text": f"Route {number}. {' '.join(sentences)}"}))
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(lines))
    return path


def config(*more: str, budget: str = "60ktok", base: str = "scratch:gpt-nano") -> Config:
    overrides = ["objectives.clm.batch=8", "objectives.clm.context=64", "objectives.clm.lr=5e-3", "merges=[0.5]"]
    overrides += more
    return load(overrides=overrides, task="language_model", base=base, budget=budget)


@pytest.mark.slow
def test_documents_go_in_and_an_adopted_model_comes_out_that_opens_elsewhere(documents: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with create(run / "encoder", kind="encoder", config={}, parents={}) as inside:  # of an earlier question
        (inside / "config.json").write_text("{}")
    verdict = adapt([documents], out=run, config=config(), report=Listener(), force=True).told()
    assert verdict["choice"] == "adopt" and verdict["task"] == "language_model"
    assert verdict["metric"] == "bits per byte" and verdict["gain"] > 0.5
    assert verdict["adapted"] == pytest.approx(verdict["base"] - verdict["gain"])
    first, trained = verdict["ladder"]
    assert (first["step"], trained["step"]) == ("base model", "adapted model")
    assert (first["value"], trained["value"]) == pytest.approx((verdict["base"], verdict["adapted"]))
    assert first["gain"] is None and trained["gain"] == pytest.approx(verdict["gain"]) and trained["unit"] == "bits"
    assert 0 < trained["interval"][0] < trained["gain"] < trained["interval"][1]
    assert verdict["in_all"] == {name: trained[name] for name in ("step", "gain", "interval")}
    assert {"language_model", "cloze", "general_bits"} <= set(verdict["candidates"][0]["readings"])
    (cloze,) = verdict["other_tasks"]
    assert cloze["task"] == "cloze" and cloze["n_examples"] > 1 and cloze["sentence"] in verdict["sentence"]
    base = load_final(run / "baseline" / "other" / "cloze")
    assert cloze["base"] == pytest.approx(100 * base.scores.mean())
    assert cloze["gain"] == pytest.approx(cloze["adapted"] - cloze["base"])
    timing = json.loads((run / "baseline" / "timing.json").read_text())
    assert timing["detail"]["other_seconds"] > 0
    for folder in ("model", "candidate/model"):
        model, tokenizer = (kind.from_pretrained(run / folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
        assert tokenizer.decode(tokenizer("The ferry costs 12.")["input_ids"]) == "The ferry costs 12."
        assert model.config.vocab_size == len(tokenizer)
        assert (run / folder / "README.md").read_text().count("AutoModelForCausalLM") == 2
    assert not (run / "encoder").exists() and verify(run, report=Listener())["damaged"] == []
    assert kind_of(str(run)) == "lm"
    opened = open_model(str(run))
    assert isinstance(opened, LanguageModel)
    page = (run / "report.html").read_text()
    assert "bits per byte" in page and "gain in bits" in page
    assert "What each step brings" in page and "+ adapted model" in re.sub("<[^>]+>", "", page)
    with pytest.raises(InputError, match="is a run of a language model"):
        refuse_no_run(run)
    assert shipped_in(run) == "model"
    # The same command again finds all of it done.
    again = Listener()
    assert adapt([documents], out=run, config=config(), report=again).told() == verdict
    assert "pretrain" not in again.stages


_RNG = random.Random(1)
RIVERS = [
    f"River {number} carries sand for {_RNG.randint(10, 99)} miles, and its mouth is wide and shallow in the summer "
    "when no boat can go there."
    for number in range(120)
]


@pytest.fixture
def general(tmp_path: Path, documents: Path) -> Path:
    """Rivers, a guarded sentence, and a document of which some are held out."""
    texts = [*RIVERS, general_pairs()[0].a, *(json.loads(line)["text"] for line in documents.read_text().splitlines())]
    path = tmp_path / "rivers.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return path


@pytest.mark.slow
def test_shares_of_replayed_text_compete_and_the_verdict_says_which_came_furthest(
    documents: Path, general: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, listener, ranked = tmp_path / "run", Listener(), list[str]()

    def best_forgets(baseline: Baseline, entries: Sequence[Entry]) -> dict[str, str]:
        by_bits = sorted(entries, key=lambda entry: entry.measured.values()["language_model"])
        ranked[:] = [entry.candidate for entry in by_bits]
        return {by_bits[0].name: "it forgets"}

    monkeypatch.setattr(choose, "guarded", best_forgets)
    shares, budget = "replay.percents=[0, 40]", "90ktok"
    settings = config(f"replay.sources={json.dumps([str(general)])}", shares, budget=budget)
    verdict = adapt([documents], out=run, config=settings, report=listener).told()
    assert listener.candidates == ["clm", "clm-replay-40"]
    assert len(ranked) == 2 and listener.winner == ranked[1]  # the other one's pilot was outside its guards
    assert {row["objective"] for row in verdict["candidates"]} == {"clm", "clm-replay-40"}
    share = {"clm": 0, "clm-replay-40": 40}[verdict["objective"]]
    assert (
        f"Of the shares of replayed general text that were tried (0 and 40 %), {share} % came furthest."
        in verdict["sentence"]
    )
    drops = count_drops(run / "replay" / "text")
    assert drops["judged-text"] > 100  # the guarded sentence, and of the documents those that are held out
    held_out = set(open_part(run / "corpus", "held_out", digest="").texts)
    assert held_out and not held_out & set(open_part(run / "replay" / "text", "train", digest="").texts)
    plan = json.loads((run / "plan.json").read_text())
    assert plan["specs"]["clm-replay-40"]["replay_percent"] == 40
    tokens = {name: plan["candidates"][name]["tokens_per_step"] for name in plan["candidates"]}
    assert tokens["clm-replay-40"] / tokens["clm"] == pytest.approx(1 / 0.6, rel=0.1)  # they count in the budget
    assert "rivers.jsonl" in (run / "candidate" / "model" / "DATASET.md").read_text()
    assert verify(run, report=Listener())["damaged"] == []
    # Other general text is another question, and the same text elsewhere is not.
    (tmp_path / "elsewhere").mkdir()
    moved = general.rename(tmp_path / "elsewhere" / general.name)
    settings_moved = config(f"replay.sources={json.dumps([str(moved)])}", shares, budget=budget)
    assert adapt([documents], out=run, config=settings_moved, report=Listener()).told()["gain"] == verdict["gain"]
    moved.write_text(moved.read_text() + '\n{"text": "One more."}')
    with pytest.raises(StorageError, match=r"another question .*general"):
        adapt([documents], out=run, config=settings_moved, report=Listener())


@pytest.mark.slow
def test_a_low_rank_adaptation_is_measured_averaged_and_shipped_as_a_plain_model(
    documents: Path, tmp_path: Path
) -> None:
    run, rank, folder = tmp_path / "run", "objectives.clm.lora.rank=4", tmp_path / "base"
    tiny_language_model().save(folder, card="# tiny\n")
    settings = config(rank, budget="30ktok", base=str(folder))
    verdict = adapt([documents], out=run, config=settings, report=Listener()).told()
    assert verdict["objective"] == "clm" and verdict["gain"] > 0
    base = load_file(folder / "model.safetensors")
    entries = sorted((run / "menu").glob("clm-*"))
    assert any("x0.5" in entry.name for entry in entries)
    folders = [run / "candidate" / "model", *(entry / "encoder" for entry in entries)]
    for weights in (load_file(folder / "model.safetensors") for folder in folders):
        assert weights.keys() == base.keys()  # no adapter beside them
        changed = {name for name in base if not np.array_equal(weights[name], base[name])}
        assert changed == {name for name in base if name.endswith("proj.weight")}
    model = AutoModelForCausalLM.from_pretrained(run / "candidate" / "model")
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert "| lora.rank | 4 |" in (run / "candidate" / "model" / "README.md").read_text()


@pytest.mark.slow
def test_pretraining_replays_general_text_and_resumes(documents: Path, general: Path, tmp_path: Path) -> None:
    replay = [f"replay.sources={json.dumps([str(general)])}", "train.snapshot_seconds=1e-6"]

    def run(folder: str, reporter: Listener, objective: str = "clm-replay-40") -> list[dict[str, float]]:
        world = World(run=tmp_path / folder, config=config(*replay), report=reporter)
        pretrain(world, [documents], objective=objective, steps=6, card="# A model\n")
        return [json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()]

    class Killed(Listener):
        def track(self, steps: Any, **more: Any) -> Any:
            for step in steps:
                yield step
                if step.number == 3:
                    raise KeyboardInterrupt

    whole = run("whole", Listener())
    with pytest.raises(KeyboardInterrupt):
        run("resumed", Killed())
    resumed = run("resumed", Listener())
    told = ("step", "loss", "tokens", "cells")
    assert [[row[name] for name in told] for row in whole] == [[row[name] for name in told] for row in resumed]
    weights = [load_file(tmp_path / folder / "model" / "model.safetensors") for folder in ("whole", "resumed")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    with pytest.raises(ConfigError, match=r"nothing that is trained \(clm\) replays any"):
        run("refused", Listener(), objective="clm")
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_pretraining_alone_leaves_a_model(documents: Path, tmp_path: Path) -> None:
    world = World(run=tmp_path / "out", config=config(), report=Listener())
    pretrain(world, [documents], objective="clm", steps=6, card="# A model\n")
    artifact = open_artifact(tmp_path / "out" / "model")
    assert artifact is not None
    model = open_model(str(tmp_path / "out"))
    assert isinstance(model, LanguageModel) and np.isfinite(model.score(["The ferry"])).all()
    losses = [json.loads(line)["loss"] for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 6 and losses[-1] < losses[0]


# Text of another domain -------------------------------------------------------------------------------------------


def of_another_domain(base: Path, documents: Path, out: Path, listener: Listener, **more: Any) -> dict[str, Any]:
    settings = config("other_tasks=[]", budget="20ktok", base=str(base))
    result = control("wrong-domain", [documents], labels=None, out=out, config=settings, report=listener, **more)
    saved = float(result["sentence"].partition(" saved ")[2].split()[0])
    assert saved == pytest.approx(result["verdict"]["gain"], abs=1e-3)
    low, high = result["verdict"]["interval"]
    assert f"({low:.3f} to {high:.3f})" in result["sentence"]
    return result


@pytest.mark.slow
def test_text_of_another_domain_is_judged_on_the_documents_of_a_run_and_not_adopted_where_it_teaches_nothing(
    documents: Path, tmp_path: Path
) -> None:
    world = World(run=tmp_path / "read", config=config("objectives.clm.passes=40"), report=Listener())
    pretrain(world, [documents], objective="clm", steps=150, card="# It has read the documents\n")
    out, listener = tmp_path / "control", Listener()
    result = of_another_domain(tmp_path / "read", documents, out, listener)
    assert result["passed"] and result["verdict"]["gain"] < 0
    assert "did not adopt" in result["sentence"] and "Training as such mends nothing here" in result["sentence"]
    assert any(
        "documents of another domain" in said and "characters where the sources" in said for said in listener.said
    )
    # What is judged on is what a run holds out, and nothing of the sources is learned from.
    sources = World(run=tmp_path / "own", config=config(), report=Listener())
    own = curate_stage(sources, [documents], None, None, reads="lm")
    judged, learned = (open_part(out / "corpus", name, digest="") for name in ("held_out", "train"))
    assert len(judged) > 100 and list(judged.texts) == list(own.held_out.texts)
    assert not set(learned.texts) & {*own.train.texts, *own.held_out.texts}
    assert "foreign.jsonl" in (out / "candidate" / "model" / "DATASET.md").read_text()
    again = Listener()
    assert of_another_domain(tmp_path / "read", documents, out, again) == result and "pretrain" not in again.stages


@pytest.mark.slow
def test_a_base_that_any_text_mends_fails_its_control_and_says_what_to_subtract(
    documents: Path, tmp_path: Path
) -> None:
    tiny_language_model().save(tmp_path / "base", card="# random weights, so that letters are news\n")
    (foreign := tmp_path / "given.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in RIVERS))
    out = tmp_path / "control"
    result = of_another_domain(tmp_path / "base", documents, out, Listener(), foreign=[foreign])
    assert not result["passed"] and result["verdict"]["gain"] > 0
    assert "The procedure adopted a model that was trained on text of another domain" in result["sentence"]
    assert "Subtract that from the gain of a run on your own text" in result["sentence"]
    assert "FAILED: adopted what your text had no part in" in printed.control(result)
    assert JUDGED in (out / "model" / "DATASET.md").read_text() and not (out / "control" / "foreign.jsonl").exists()
