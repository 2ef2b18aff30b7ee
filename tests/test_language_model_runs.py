"""The whole story for a language model: documents in, a verdict by bits per byte, a model that opens elsewhere."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from shoptalk.adaptation import adapt
from shoptalk.artifact import create, open_artifact
from shoptalk.commands.pretrain import pretrain
from shoptalk.commands.verify import verify
from shoptalk.config import load
from shoptalk.errors import InputError
from shoptalk.nn.bases import kind_of, open_model
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.scratch_lm import LM_SIZES, LmSize
from shoptalk.readback import refuse_no_run, shipped_in
from shoptalk.stages.world import World
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


def config(**more: object) -> object:
    overrides = ["objectives.clm.batch=8", "objectives.clm.context=64", "objectives.clm.lr=5e-3", "merges=[0.5]"]
    return load(overrides=overrides, task="language_model", base="scratch:gpt-nano", **({"budget": "60ktok"} | more))


@pytest.mark.slow
def test_documents_go_in_and_an_adopted_model_comes_out_that_opens_elsewhere(documents: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with create(run / "encoder", kind="encoder", config={}, parents={}) as inside:  # of an earlier question
        (inside / "config.json").write_text("{}")
    verdict = adapt([documents], out=run, config=config(), report=Listener(), force=True).told()
    assert verdict["choice"] == "adopt" and verdict["task"] == "language_model"
    assert verdict["metric"] == "bits per byte" and verdict["gain"] > 0.5
    assert verdict["adapted"] == pytest.approx(verdict["base"] - verdict["gain"])
    assert {"language_model", "cloze", "general_bits"} <= set(verdict["candidates"][0]["readings"])
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
    with pytest.raises(InputError, match="is a run of a language model"):
        refuse_no_run(run)
    assert shipped_in(run) == "model"
    # The same command again finds all of it done.
    again = Listener()
    assert adapt([documents], out=run, config=config(), report=again).told() == verdict
    assert "pretrain" not in again.stages


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
