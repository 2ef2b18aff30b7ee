"""The whole story for products that are no text encoders, by the contract alone (`tests/families.py`)."""

import json
import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from shoptalk.adaptation import adapt
from shoptalk.config import Config
from shoptalk.objectives import OBJECTIVES
from shoptalk.stages import legs
from shoptalk.tasks import TASKS
from shoptalk.training.advance import Training, advance
from shoptalk.training.loop import Step
from tests import families
from tests.conftest import Listener


class Family:
    """A kind of product with what it learns from."""

    def __init__(self, kind: str, task: str, objective: str, folder: Path, *, rivals: bool = True) -> None:
        self.kind, self.task, self.objective = kind, task, objective
        self.base = families.new_base(kind, folder / "base")
        rng = random.Random(0)
        self.source, self.labels = folder / "source.jsonl", None
        word = lambda: "".join(rng.choices(string.ascii_lowercase, k=9))  # noqa: E731
        if kind == "pair":
            rows = [
                {
                    "turns": [
                        {"role": "user", "text": f"{shape} {word()} {word()}"},
                        {"role": "user", "text": f"a {shape}, {word()} {word()}"},
                    ]
                }
                for shape in families.SHAPES * 100
            ]
        elif kind == "lm":
            syllables = ["ba", "ke", "lo", "mi", "tu"]
            rows = [
                {"turns": [{"role": "user", "text": " ".join("".join(rng.choices(syllables, k=3)) for _ in range(6))}]}
                for _ in range(1200)
            ]
        else:
            rows = [{"text": f"{shape} {word()} {word()}"} for shape in families.SHAPES * 100]
            self.labels = folder / "labels.csv"
            lines = [f"{shape} {word()} {word()},{shape}" for shape in families.SHAPES * 30]
            self.labels.write_text("\n".join(["text,label", *lines]) + "\n")
        self.source.write_text("\n".join(json.dumps(row) for row in rows) + "\n")

    def adapt(self, out: Path, listener: Listener) -> dict[str, Any]:
        config = Config(
            base=str(self.base),
            task=self.task,
            candidates=(self.objective, "none"),
            budget={"image": "400tok", "pair": "3ktok", "lm": "60ktok"}[self.kind],
            draws=5,
            smallest_gain=0.01,
            settle_gain=1.0,
        )
        return adapt([self.source], out=out, config=config, report=listener, labels=self.labels).told()


@pytest.fixture(
    params=[("image", "shape", "two_views"), ("pair", "toy_captions", "align"), ("lm", "letters", "next")],
    ids=["pictures", "pairs", "language model"],
)
def family(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    for name, spec in families.SPECS.items():
        monkeypatch.setitem(OBJECTIVES, name, spec)
    for name, task in families.TASKS.items():
        monkeypatch.setitem(TASKS, name, task)
    for place in ("stages.world", "stages.ship"):
        monkeypatch.setattr(f"shoptalk.{place}.open_model", families.open_toy)
    for place in ("adaptation", "stages.plan"):  # what a toy reads is written as texts
        monkeypatch.setattr(f"shoptalk.{place}.kind_of", lambda ref: "text")
    return Family(*request.param, tmp_path)


def test_a_family_goes_from_its_items_to_a_verdict_and_a_report(family: Family, tmp_path: Path) -> None:
    listener = Listener()
    verdict = family.adapt(tmp_path / "run", listener)
    assert listener.stages[:6] == ["curate", "baseline", "plan", "choose", "pretrain", "decide"]
    assert {row["objective"] for row in verdict["candidates"]} == {family.objective}
    assert len(verdict["candidates"]) > 1
    assert all(family.task in row["readings"] for row in verdict["candidates"])
    page = (tmp_path / "run" / "report.html").read_text()
    shipped = "model" if family.kind == "lm" else "encoder"
    for file in (shipped, f"candidate/{shipped}"):
        assert (tmp_path / "run" / file / "model.safetensors").is_file()
    if family.kind == "lm":
        assert verdict["choice"] == "adopt"
        assert verdict["metric"] == "bits per letter" and verdict["gain"] > 0.5
        assert verdict["adapted"] == pytest.approx(verdict["base"] - verdict["gain"])
        assert (
            f"needs {verdict['adapted']:.3f} bits a letter of unseen texts against {verdict['base']:.3f} bits"
            in verdict["sentence"]
        )
        assert "points" not in verdict["sentence"]
        assert f"{verdict['adapted']:.3f}</span> bits" in page and "gain in bits" in page
        assert "gain in points" not in page
    if family.kind == "pair":
        assert verdict["n_draws"] == 1 and verdict["shots"] is None and verdict["heads"] is None
        assert verdict["gain"] > 0


@pytest.mark.slow
def test_a_family_that_was_interrupted_ends_with_the_same_weights_and_verdict(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = family.adapt(tmp_path / "whole", Listener())
    left = [7]

    def interrupted(training: Training, *, until: int, decay_from: int | None = None) -> Iterator[Step]:
        for step in advance(training, until=until, decay_from=decay_from):
            left[0] -= 1
            if not left[0]:
                step.save(training.folder / f"snapshot-{step.number:08d}")
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(legs, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        family.adapt(tmp_path / "part", Listener())
    again = family.adapt(tmp_path / "part", Listener())
    for key in ("choice", "entry", "base", "adapted", "gain", "interval", "sentence"):
        assert again[key] == whole[key]
    shipped = "model" if family.kind == "lm" else "encoder"
    ends = [load_file(tmp_path / run / "candidate" / shipped / "model.safetensors") for run in ("whole", "part")]
    assert ends[0].keys() == ends[1].keys()
    for name, weights in ends[0].items():  # batch norm's running statistics among them
        np.testing.assert_array_equal(weights, ends[1][name])
